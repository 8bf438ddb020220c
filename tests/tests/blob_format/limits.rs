//! What the library accepts just so, the decoder does, and no more.

use super::*;

/// Checks that each blob is refused where it should be; accepted where that
/// says nothing.
fn agree_that(cases: Vec<(String, Vec<u8>, &str)>) -> Result<()> {
    let blobs: Vec<_> = cases
        .iter()
        .map(|(name, blob, _)| (name.clone(), blob.clone()))
        .collect();
    for ((name, _, place), value) in cases.iter().zip(agree(&blobs)?) {
        let found = value["error"]["where"].as_str().unwrap_or_default();
        assert_eq!(found, *place, "{name}");
    }
    Ok(())
}

#[test]
fn descriptions_are_accepted_up_to_the_same_limits() -> Result<()> {
    type Change = fn(&mut Info<'_>);
    /// One level without attention, of which all sides are possible.
    fn plain(info: &mut Info<'_>, image_size: u8, patch: u8, channels: u16) {
        let level = Level {
            channels,
            attention: false,
        };
        info.topology = Topology {
            image_size,
            patch,
            levels: [level].into_iter().collect(),
            mid_attention: false,
            group_channels: 1,
            ..small_topology()
        };
    }
    fn linear(info: &mut Info<'_>, timesteps: u16, beta_start: f64, beta_end: f64) {
        info.timesteps = timesteps;
        info.recommended.steps = 1;
        info.schedule = ScheduleKind::Linear {
            beta_start,
            beta_end,
        };
    }
    const GOOD: &str = "layer time.linear1";
    let cases: &[(&str, Change)] = &[
        (GOOD, |i| i.name = ""),
        (GOOD, |i| i.name = "größer als 127 Bytes, ".repeat(9).leak()),
        (GOOD, |i| i.prediction = Prediction::Epsilon),
        (GOOD, |i| i.prediction = Prediction::X0),
        (GOOD, |i| plain(i, 64, 8, 256)),
        ("topology", |i| plain(i, 65, 5, 4)),
        (GOOD, |i| plain(i, 0, 8, 4)),
        ("topology", |i| plain(i, 0, 9, 4)),
        ("topology", |i| plain(i, 0, 0, 4)),
        ("topology", |i| plain(i, 63, 9, 4)),
        ("topology", |i| plain(i, 8, 0, 4)),
        ("topology", |i| plain(i, 8, 3, 4)),
        ("topology", |i| plain(i, 8, 2, 257)),
        ("topology", |i| plain(i, 8, 2, 0)),
        ("topology", |i| i.topology.levels.clear()),
        (GOOD, |i| i.topology.blocks = 4),
        ("topology", |i| i.topology.blocks = 5),
        ("topology", |i| i.topology.blocks = 0),
        ("topology", |i| i.topology.heads = 0),
        ("topology", |i| i.topology.heads = 3),
        (GOOD, |i| {
            plain(i, 8, 2, 4);
            i.topology.heads = 3;
        }),
        ("topology", |i| i.topology.group_channels = 0),
        ("topology", |i| i.topology.group_channels = 3),
        (GOOD, |i| {
            plain(i, 64, 1, 16);
            i.topology.group_channels = 16;
        }),
        ("topology", |i| {
            plain(i, 64, 1, 17);
            i.topology.group_channels = 17;
        }),
        // So much work, and more than a run may ask for.
        (GOOD, |i| plain(i, 64, 1, 79)),
        ("topology", |i| plain(i, 64, 1, 80)),
        // 16 or 17 positions a side attend to each other.
        (GOOD, |i| {
            plain(i, 64, 4, 4);
            i.topology.mid_attention = true;
        }),
        ("topology", |i| {
            plain(i, 34, 2, 4);
            i.topology.mid_attention = true;
        }),
        ("topology", |i| {
            plain(i, 34, 2, 4);
            i.topology.levels[0].attention = true;
        }),
        // A side of 3 is halved.
        ("topology", |i| i.topology.image_size = 6),
        ("topology", |i| i.topology.time_features = 0),
        ("topology", |i| i.topology.time_features = 3),
        (GOOD, |i| i.topology.time_features = 512),
        ("topology", |i| i.topology.time_features = 514),
        ("topology", |i| i.topology.embedding = 0),
        (GOOD, |i| i.topology.embedding = 512),
        ("topology", |i| i.topology.embedding = 513),
        (GOOD, |i| i.topology.classes = 0),
        (GOOD, |i| i.topology.classes = 256),
        ("topology", |i| i.topology.classes = 257),
        ("packing", |i| i.packing = Packing::Unknown(3)),
        ("schedule", |i| i.timesteps = 0),
        ("schedule", |i| i.timesteps = 4001),
        (GOOD, |i| linear(i, 1000, 1e-12, 1e-12)),
        ("schedule", |i| linear(i, 1000, 9e-13, 1e-3)),
        ("schedule", |i| linear(i, 1000, 2e-3, 1e-3)),
        ("schedule", |i| linear(i, 1000, f64::NAN, 1e-3)),
        ("schedule", |i| linear(i, 2, 0.5, 1.0)),
        (GOOD, |i| linear(i, 1, 0.25, 0.5)),
        (GOOD, |i| linear(i, 99, 0.5, 0.5)),
        ("schedule", |i| linear(i, 100, 0.5, 0.5)),
        (GOOD, |i| i.recommended.steps = 1000),
        ("recommended", |i| i.recommended.steps = 1001),
        ("recommended", |i| i.recommended.steps = 0),
        (GOOD, |i| i.recommended.guidance = 100.0),
        ("recommended", |i| {
            i.recommended.guidance = 100.0_f32.next_up()
        }),
        ("recommended", |i| i.recommended.guidance = -1e-9),
        ("recommended", |i| i.recommended.guidance = f32::NAN),
        (GOOD, |i| i.recommended.eta = 1.0),
        ("recommended", |i| i.recommended.eta = 1.0_f32.next_up()),
        ("recommended", |i| i.recommended.eta = f32::NAN),
    ];
    // A blob that ends with its description: where that is accepted, it is
    // the first layer's record that is missing.
    let blobs = cases.iter().enumerate().map(|(i, (place, change))| {
        let mut info = info(small_topology());
        change(&mut info);
        let mut buffer = vec![0; 1 << 10];
        let length = Writer::new(&mut buffer, &info)
            .context("the buffer is too small")?
            .finish();
        buffer.truncate(length);
        Ok((format!("case {i}"), buffer, *place))
    });
    agree_that(blobs.collect::<Result<_>>()?)
}

/// Where an array of a layer begins in its blob.
fn array_of(
    blob: &[u8],
    layer: &str,
    pick: impl for<'b> Fn(&Record<'b>) -> Option<&'b [u8]>,
) -> Result<usize> {
    let mut found = None;
    Model::load(blob)?.for_each_layer(|info| {
        if info.id.to_string() == layer {
            found = pick(&info.record);
        }
    });
    let array = found.with_context(|| format!("{layer} has no such array"))?;
    Ok(array.as_ptr().addr() - blob.as_ptr().addr())
}

#[test]
fn numbers_are_accepted_up_to_the_same_limits() -> Result<()> {
    macro_rules! array {
        ($kind:ident, $field:ident) => {
            |record| match record {
                Record::$kind(record) => Some(record.$field),
                _ => None,
            }
        };
    }
    let blob = random_blob(small_topology(), 5);
    let mut cases = Vec::new();
    let mut case = |base: &[u8], at: usize, bytes: &[u8], place| {
        let mut changed = base.to_vec();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        let name = format!("{bytes:02x?} at {at}");
        cases.push((name, repaired(&changed), place));
    };

    let (conv, norm, linear) = ("layer mid0.conv1", "layer mid0.norm1", "layer mid0.emb");
    let at = array_of(&blob, "mid0.conv1", array!(Conv, bias))? + 4;
    let limit = 1 << 29;
    for (bias, place) in [(limit, ""), (-limit, ""), (limit + 1, conv), (!limit, conv)] {
        case(&blob, at, &i32::to_le_bytes(bias), place);
    }
    let at = array_of(&blob, "mid0.conv1", array!(Conv, multipliers))? + 4;
    for (multiplier, place) in [(0, ""), (i32::MAX, ""), (-1, conv)] {
        case(&blob, at, &multiplier.to_le_bytes(), place);
    }
    for at in [
        array_of(&blob, "mid0.norm1", array!(Norm, gains))? + 4,
        array_of(&blob, "mid0.norm1", array!(Norm, offsets))? + 4,
    ] {
        let limit = 1 << 22;
        for (gain, place) in [(limit, ""), (-limit, ""), (limit + 1, norm), (!limit, norm)] {
            case(&blob, at, &i32::to_le_bytes(gain), place);
        }
    }
    for at in [
        array_of(&blob, "mid0.emb", array!(Linear, scales))? + 4,
        array_of(&blob, "mid0.emb", array!(Linear, bias))? + 4,
    ] {
        case(&blob, at, &(-f32::MAX).to_le_bytes(), "");
        case(&blob, at, &f32::INFINITY.to_le_bytes(), linear);
        case(&blob, at, &f32::NAN.to_le_bytes(), linear);
    }

    // A conv's scale lies before the byte of its shifts' length, a table's
    // behind its values.
    let values = 2 * 4 * usize::from(small_topology().embedding);
    for (at, layer) in [
        (
            array_of(&blob, "mid0.conv1", array!(Conv, shifts))? - 5,
            conv,
        ),
        (
            array_of(&blob, "out.conv", array!(Output, scales))?,
            "layer out.conv",
        ),
        (
            array_of(&blob, "time.classes", array!(Table, values))? + values,
            "layer time.classes",
        ),
    ] {
        let least = f32::MIN_POSITIVE;
        for scale in [least, f32::MAX] {
            case(&blob, at, &scale.to_le_bytes(), "");
        }
        for scale in [least.next_down(), 0.0, -1.0, f32::INFINITY, f32::NAN] {
            case(&blob, at, &scale.to_le_bytes(), layer);
        }
    }

    let shift = array_of(&blob, "mid0.conv2", array!(Conv, shifts))?;
    let zero = array_of(&blob, "mid0.conv2", array!(Conv, zero_points))?;
    let mut plain = blob.clone();
    plain[zero..zero + 2].fill(0);
    case(&plain, shift, &[7], "");
    case(&plain, shift, &[8], "layer mid0.conv2");
    plain[shift] = 3;
    for (point, place) in [
        (2047, ""),
        (-2047, ""),
        (2048, "layer mid0.conv2"),
        (-2048, "layer mid0.conv2"),
    ] {
        case(&plain, zero, &i16::to_le_bytes(point), place);
    }
    for part in ["q", "k", "v"] {
        let layer = format!("mid.attn.{part}");
        let place = format!("layer {layer}").leak();
        case(
            &blob,
            array_of(&blob, &layer, array!(Conv, shifts))?,
            &[1],
            place,
        );
        let zero = array_of(&blob, &layer, array!(Conv, zero_points))?;
        case(&blob, zero, &[1, 0], place);
    }
    // What is read with padding is checked where it is read.
    for (made, read) in [
        ("down0.0.conv2", "layer downsample0.conv"),
        ("up1.0.attn.proj", "layer upsample1.conv"),
    ] {
        let mut fine = blob.clone();
        fine[array_of(&blob, made, array!(Conv, shifts))?] = 7;
        let zero = array_of(&blob, made, array!(Conv, zero_points))?;
        for (point, place) in [(127, ""), (-128, ""), (128, read), (-129, read)] {
            case(&fine, zero, &i16::to_le_bytes(point), place);
        }
    }

    let weights = array_of(&blob, "mid0.conv1", array!(Conv, weights))?;
    case(&blob, weights, &[0x81], "");
    case(&blob, weights, &[0x80], conv);
    let transformed = transformed_blob(small_topology(), 5);
    let up = "layer upsample1.conv";
    let winograd = array_of(&transformed, "mid0.conv1", array!(Conv, weights))?;
    let phases = array_of(&transformed, "upsample1.conv", array!(Conv, weights))?;
    for (at, limit, layer) in [(winograd, 1143, conv), (phases, 508, up)] {
        for (weight, place) in [
            (limit, ""),
            (-limit, ""),
            (limit + 1, layer),
            (!limit, layer),
        ] {
            case(&transformed, at, &i16::to_le_bytes(weight), place);
        }
    }
    let int4 = int4_blob(small_topology(), 5);
    let at = array_of(&int4, "mid0.conv1", array!(Conv, weights))?;
    for (byte, place) in [(0x97, ""), (0x79, ""), (0x08, conv), (0x80, conv)] {
        case(&int4, at, &[byte], place);
    }
    // Forms that the packing does not announce, or the geometry does not have:
    // the layout lies behind the zero points.
    let layout = array_of(&transformed, "mid0.conv1", array!(Conv, zero_points))? + 2 * 16;
    ensure!(transformed[layout] == 1, "no Winograd here");
    for other in [0, 2, 3, 4] {
        case(&transformed, layout, &[other], conv);
    }
    let packing = first_record(&transformed)? - 10;
    ensure!(transformed[packing] == 1, "the packing is elsewhere");
    case(&transformed, packing, &[0], "layer conv_in");
    case(&transformed, packing, &[2], "");

    // Varints in as many bytes as there are. A norm's multiplier lies behind
    // its offsets, a mix's numbers before those of proj.
    let at = array_of(&blob, "mid0.norm1", array!(Norm, offsets))? + 4 * 16;
    for (bytes, place) in [
        ([0xfe, 0xff, 0x03], ""),
        ([0x80, 0x80, 0x04], norm),
        ([0x81, 0x80, 0x01], norm),
    ] {
        case(&blob, at, &bytes, place);
    }
    let mix = [0x80, 0x80, 0x80, 0x01, 0x80, 0x80, 0x10];
    let places: Vec<usize> = (0..blob.len())
        .filter(|&at| blob[at..].starts_with(&mix))
        .collect();
    ensure!(
        places.len() == 3,
        "{} times the numbers of a mix",
        places.len()
    );
    // Two on the way, and that in the middle comes second.
    let layer = "layer mid.attn.mix";
    for (logit, value, place) in [
        ([0x80, 0x80, 0x01], [0x80, 0x80, 0x80, 0x08], ""),
        ([0x80, 0x80, 0x01], [0x82, 0x80, 0x80, 0x08], layer),
        ([0x80, 0x80, 0x01], [0x81, 0x80, 0x80, 0x01], layer),
        ([0x81, 0x80, 0x01], [0x80, 0x80, 0x80, 0x01], layer),
        // 0 in more bytes than it needs.
        ([0x80, 0x80, 0x00], [0x80, 0x80, 0x80, 0x01], layer),
    ] {
        case(&blob, places[1], &[&logit[..], &value].concat(), place);
    }

    let padding = first_record(&blob)?;
    ensure!(blob[padding] > 0, "no padding to change");
    case(&blob, padding + 1, &[1], "layer time.linear1");
    let mut wide = blob.clone();
    wide[padding] += 16;
    wide.splice(padding + 1..padding + 1, [0; 16]);
    cases.push((
        "too much padding".into(),
        repaired(&wide),
        "layer time.linear1",
    ));
    let mut narrow = blob.clone();
    narrow[padding] -= 1;
    narrow.remove(padding + 1);
    cases.push(("too little".into(), repaired(&narrow), "layer time.linear1"));
    agree_that(cases)
}
