//! `docs/blob-format.md` suffices to read a blob: `tests/decoder/decode.py`,
//! written from it, finds the numbers that the library finds, and refuses what
//! the library refuses, in the name of the same place.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use tiny_ddpm::blob::records::{Form, Info, LayerInfo, Packing, Quant, Record};
use tiny_ddpm::blob::{BlobError, HEADER_LEN, Writer, header};
use tiny_ddpm::picture::picture_hash;
use tiny_ddpm::unet::{Geometry, Part, Stage};
use tiny_ddpm::{Data, Level, Model, Prediction, ScheduleKind, Topology};
use tiny_ddpm_tests::{digits, models};
use tiny_ddpm_train::quant::{Target, repack};

#[path = "../../core/tests/common/mod.rs"]
mod common;

use common::{
    info, nibble_blob, point_topology, random_blob, small_topology, smallest_topology,
    transformed_blob,
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What the decoder says of each blob.
fn decode(blobs: &[Vec<u8>]) -> Result<Vec<Value>> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("python3");
    command.arg(repository().join("tests/decoder/decode.py"));
    for (i, blob) in blobs.iter().enumerate() {
        let path = folder.path().join(format!("{i}"));
        fs::write(&path, blob)?;
        command.arg(path);
    }
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "python3 is not installed, and this test needs it; on Debian or Ubuntu:\n  \
             sudo apt-get install --no-install-recommends python3"
        ),
        other => other.context("cannot run python3")?,
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(errors.is_empty(), "the decoder failed: {errors}");
    let lines = std::str::from_utf8(&output.stdout)?.lines();
    let mut found: Vec<Value> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(
        found.len() == blobs.len(),
        "{} answers for {} blobs",
        found.len(),
        blobs.len()
    );
    for value in &mut found {
        let object = value.as_object_mut().context("no JSON object")?;
        object.remove("file");
        if let Some(error) = object.get_mut("error").and_then(Value::as_object_mut) {
            let what = error.remove("what");
            ensure!(what.is_some(), "an error that says nothing");
        }
    }
    Ok(found)
}

/// What it should say.
fn expected(blob: &[u8]) -> Value {
    let model = match Model::load(blob) {
        Ok(model) => model,
        Err(error) => return json!({"error": {"where": place(error)}}),
    };
    let info = model.info();
    let schedule = match info.schedule {
        ScheduleKind::Linear {
            beta_start,
            beta_end,
        } => json!({"kind": "linear", "beta_start": beta_start, "beta_end": beta_end}),
        ScheduleKind::Cosine => json!({"kind": "cosine"}),
        _ => json!("unknown"),
    };
    let mut layers = Vec::new();
    let mut parameters = 0;
    model.for_each_layer(|layer| {
        let (layer, count) = describe(model.topology().data(), layer);
        parameters += count;
        layers.push(layer);
    });
    json!({
        "bytes": blob.len(),
        "arch_hash": model.arch_hash(),
        "info": {
            "name": info.name,
            "topology": info.topology,
            "schedule": schedule,
            "timesteps": info.timesteps,
            "prediction": info.prediction,
            "packing": u8::from(info.packing),
            "recommended": info.recommended,
        },
        "layers": layers,
        "parameters": parameters,
    })
}

/// Where a blob is wrong, in the decoder's words.
fn place(error: BlobError) -> String {
    match error {
        BlobError::TooShort { .. }
        | BlobError::TooLong { .. }
        | BlobError::BadMagic
        | BlobError::Version { .. }
        | BlobError::HeaderCrc { .. }
        | BlobError::Reserved { .. }
        | BlobError::Crc { .. } => "header".into(),
        BlobError::Info => "info".into(),
        BlobError::ArchMismatch { .. } => "architecture".into(),
        BlobError::Topology(_) => "topology".into(),
        BlobError::Schedule(_) => "schedule".into(),
        BlobError::Packing { .. } => "packing".into(),
        BlobError::Recommended => "recommended".into(),
        BlobError::Record { layer } | BlobError::Param { layer, .. } => format!("layer {layer}"),
        BlobError::TrailingBytes { .. } => "end".into(),
        other => format!("an error that this test does not know: {other}"),
    }
}

/// A layer, and how many parameters it has.
fn describe(data: Data, layer: &LayerInfo<'_>) -> (Value, usize) {
    let (side, channels) = (layer.output.side, layer.output.channels);
    let crc = picture_hash;
    let quant = |quant: Quant| json!({"scale": quant.scale, "zero_point": quant.zero_point});
    let weights = |form, weights| canonical(data, layer, form, weights).map(|rows| crc(&rows));
    let (kind, parameters, rest) = match layer.record {
        Record::Linear(r) => {
            let crc = json!({
                "weights": crc(r.weights), "scales": crc(r.scales), "bias": crc(r.bias),
            });
            let parameters = channels * (layer.fan_in + 1);
            ("linear", parameters, json!({"crc": crc}))
        }
        Record::Table(r) => {
            let crc = json!({"values": crc(r.values)});
            let rest = json!({"scale": r.scale, "crc": crc});
            ("table", r.values.len() / 2, rest)
        }
        Record::Input(r) => ("input", 0, json!({"output": quant(r.output)})),
        Record::Norm(r) => {
            let crc = json!({"gains": crc(r.gains), "offsets": crc(r.offsets)});
            let output = quant(r.output);
            let rest = json!({"multiplier": r.multiplier, "output": output, "crc": crc});
            ("norm", 2 * channels, rest)
        }
        Record::Conv(r) => {
            let crc = json!({
                "weights": weights(r.form, r.weights),
                "bias": crc(r.bias),
                "multipliers": crc(r.multipliers),
                "shifts": crc(r.shifts),
                "zero_points": crc(r.zero_points),
            });
            let form = name(r.form);
            let rest = json!({"form": form, "residual": r.residual, "scale": r.scale, "crc": crc});
            ("conv", channels * (layer.fan_in + 1), rest)
        }
        Record::Mix(r) => {
            let output = quant(r.output);
            let rest = json!({"logit": r.logit, "value": r.value, "output": output});
            ("mix", 0, rest)
        }
        Record::Output(r) => {
            let crc = json!({
                "weights": weights(Form::Direct, r.weights),
                "bias": crc(r.bias),
                "scales": crc(r.scales),
            });
            let rest = json!({"form": "direct", "crc": crc});
            ("output", channels * (layer.fan_in + 1), rest)
        }
        _ => ("unknown", 0, json!({})),
    };
    let mut all = Map::new();
    all.insert("name".into(), json!(layer.site.to_string()));
    all.insert("kind".into(), json!(kind));
    all.insert("shape".into(), json!([side, side, channels]));
    all.insert("parameters".into(), json!(parameters));
    if let Value::Object(rest) = rest {
        all.extend(rest);
    }
    (Value::Object(all), parameters)
}

fn name(form: Form) -> &'static str {
    match form {
        Form::Direct => "direct",
        Form::Winograd => "winograd",
        Form::Phases => "phases",
        Form::Nibbles => "nibbles",
        _ => "unknown",
    }
}

/// Weights of a convolution in canonical order; none where no weights give
/// what is stored.
fn canonical(data: Data, layer: &LayerInfo<'_>, form: Form, packed: &[u8]) -> Option<Vec<u8>> {
    let geometry = match (layer.site.stage, layer.site.part) {
        (_, Part::Shortcut | Part::Query | Part::Key | Part::Value | Part::Project) => {
            Geometry::Pointwise
        }
        _ if matches!(data, Data::Point { .. }) => Geometry::Pointwise,
        (Stage::Downsample { .. }, _) => Geometry::Down,
        (Stage::Upsample { .. }, _) => Geometry::Up,
        _ => Geometry::Same,
    };
    let (inputs, outputs) = (layer.fan_in / geometry.taps(), layer.output.channels);
    let mut rows = vec![0; layer.fan_in * outputs];
    form.unpack(geometry, inputs, packed, &mut rows);
    let mut again = vec![0; form.bytes(geometry, inputs, outputs)];
    form.pack(geometry, inputs, &rows, &mut again);
    let exact = again == packed && !rows.contains(&i8::MIN);
    exact.then(|| rows.iter().map(|&weight| weight as u8).collect())
}

/// The first place where two values differ, and what is there.
fn difference(found: &Value, expected: &Value) -> Option<String> {
    let below = |place: String, found, expected| {
        difference(found, expected).map(|rest| format!("/{place}{rest}"))
    };
    match (found, expected) {
        (Value::Object(f), Value::Object(e)) if f.keys().eq(e.keys()) => {
            let mut pairs = f.iter().zip(e.values());
            pairs.find_map(|((key, f), e)| below(key.clone(), f, e))
        }
        (Value::Array(f), Value::Array(e)) if f.len() == e.len() => {
            let mut pairs = f.iter().zip(e).enumerate();
            pairs.find_map(|(i, (f, e))| below(i.to_string(), f, e))
        }
        (Value::Number(f), Value::Number(e)) if f.is_f64() && e.is_f64() => {
            // The parser of JSON may be off by a last bit of f64, far below one
            // of f32.
            let (f, e) = (f.as_f64()?, e.as_f64()?);
            let same = (f - e).abs() <= f64::EPSILON * e.abs();
            (!same).then(|| format!(": {f:e} instead of {e:e}"))
        }
        _ => (found != expected).then(|| format!(": {found} instead of {expected}")),
    }
}

/// Checks that decoder and library agree on each blob; returns what both say.
fn agree(blobs: &[(String, Vec<u8>)]) -> Result<Vec<Value>> {
    let bytes: Vec<Vec<u8>> = blobs.iter().map(|(_, blob)| blob.clone()).collect();
    let found = decode(&bytes)?;
    let mut wrong = Vec::new();
    for ((name, blob), found) in blobs.iter().zip(&found) {
        if let Some(difference) = difference(found, &expected(blob)) {
            let short: String = difference.chars().take(200).collect();
            wrong.push(format!("{name}: the decoder has {short}"));
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {} blobs:\n{}",
        wrong.len(),
        blobs.len(),
        wrong[..wrong.len().min(10)].join("\n")
    );
    Ok(found)
}

/// The same for blobs that must be accepted, with all their weights; returns
/// the forms of weights that they have.
fn agree_and_accept(blobs: &[(String, Vec<u8>)]) -> Result<BTreeSet<String>> {
    let mut forms = BTreeSet::new();
    for ((name, _), value) in blobs.iter().zip(agree(blobs)?) {
        let layers = value["layers"].as_array();
        for layer in layers.with_context(|| format!("{name} was refused: {value}"))? {
            let Some(form) = layer["form"].as_str() else {
                continue;
            };
            forms.insert(form.to_owned());
            assert!(layer["crc"]["weights"].is_u64(), "{name}: {layer}");
        }
    }
    Ok(forms)
}

/// The same body, changed, with checksums that are right.
fn sealed(blob: &[u8], arch_hash: u32) -> Vec<u8> {
    let body = blob.get(HEADER_LEN..).unwrap_or_default();
    [&header::seal(arch_hash, body), body].concat()
}

/// As [`sealed`], the hash of the topology among them wherever that is what a
/// change made wrong.
fn repaired(blob: &[u8]) -> Vec<u8> {
    let stored = blob[12..16].try_into().map_or(0, u32::from_le_bytes);
    let repaired = sealed(blob, stored);
    match Model::load(&repaired) {
        Err(BlobError::ArchMismatch { computed, .. }) => sealed(blob, computed),
        _ => repaired,
    }
}

/// A portable blob with the upper halves of its convolutions' weights alone.
fn with_four_bits(blob: &[u8]) -> Result<Vec<u8>> {
    let model = Model::load(blob)?;
    let mut places = Vec::new();
    model.for_each_layer(|layer| {
        if let Record::Conv(conv) = layer.record {
            let start = conv.weights.as_ptr().addr() - blob.as_ptr().addr();
            places.push(start..start + conv.weights.len());
        }
    });
    let mut coarse = blob.to_vec();
    for weight in places.into_iter().flatten() {
        coarse[weight] = match coarse[weight] & 0xf0 {
            0x80 => 0x90,
            upper => upper,
        };
    }
    Ok(sealed(&coarse, model.arch_hash()))
}

/// Where the description of a blob ends.
fn first_record(blob: &[u8]) -> Result<usize> {
    Ok(blob.len() - Model::load(blob)?.records().remaining())
}

/// The same network with a linear schedule.
fn with_linear_schedule(blob: &[u8], beta_start: f64, beta_end: f64) -> Result<Vec<u8>> {
    // Behind it: two bytes of T, one each of prediction, packing and steps,
    // and two f32.
    let kind = first_record(blob)? - 14;
    ensure!(blob[kind] == 1, "no cosine schedule");
    let mut changed = blob.to_vec();
    // 16 bytes: what follows stays aligned.
    let betas = [beta_start.to_le_bytes(), beta_end.to_le_bytes()].concat();
    changed.splice(kind..=kind, [&[0], &betas[..]].concat());
    Ok(repaired(&changed))
}

/// Channels that fill neither pairs nor fours, on two levels with attention.
fn odd_topology() -> Topology {
    let level = |channels| Level {
        channels,
        attention: true,
    };
    Topology {
        image_size: 12,
        patch: 3,
        levels: [level(5), level(15)].into_iter().collect(),
        blocks: 2,
        heads: 5,
        group_channels: 5,
        embedding: 130,
        ..small_topology()
    }
}

#[test]
fn every_shipped_model_is_read_to_the_last_number() -> Result<()> {
    let mut blobs = Vec::new();
    for entry in fs::read_dir(models())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "tddpm") {
            blobs.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    ensure!(!blobs.is_empty(), "no blob in models/");
    agree_and_accept(&blobs)?;
    Ok(())
}

#[test]
fn every_form_of_weights_is_read() -> Result<()> {
    let repacked = repack(&digits()?, Target::CortexM4, 880 << 10)?;
    let forms = agree_and_accept(&[("repacked".into(), repacked)])?;
    assert!(forms.contains("winograd") && forms.contains("phases"));

    let four_bits = repack(&with_four_bits(&digits()?)?, Target::Portable, 0)?;
    let forms = agree_and_accept(&[("4 bits".into(), four_bits)])?;
    assert!(forms.contains("nibbles"));

    let mut blobs = Vec::new();
    for (shape, topology) in [("even", small_topology()), ("odd", odd_topology())] {
        for (packing, make) in [
            ("direct", random_blob as fn(_, _) -> _),
            ("transformed", transformed_blob),
            ("nibbles", nibble_blob),
        ] {
            blobs.push((format!("{shape}, {packing}"), make(topology.clone(), 1)));
        }
    }
    let linear = with_linear_schedule(&blobs[0].1, 1e-4, 0.02)?;
    blobs.push(("linear".into(), linear));
    agree_and_accept(&blobs)?;
    Ok(())
}

#[test]
fn the_page_shows_the_first_bytes_of_nano() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/blob-format.md"))?;
    let blob = fs::read(models().join("nano.tddpm"))?;
    for (i, line) in blob.chunks(16).take(6).enumerate() {
        let pairs: Vec<String> = line
            .chunks(2)
            .map(|pair| pair.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        let line = format!("{:08x}: {}", 16 * i, pairs.join(" "));
        assert!(page.contains(&line), "the page should have {line}");
    }
    Ok(())
}

/// They run as they are, and whoever stored them in another way would change
/// the pictures.
#[test]
fn transformed_weights_of_no_weights_are_not_repacked() -> Result<()> {
    let clean = transformed_blob(small_topology(), 4);
    repack(&clean, Target::Portable, 0)?;
    let mut found = Vec::new();
    Model::load(&clean)?.for_each_layer(|layer| {
        if let Record::Conv(conv) = layer.record
            && matches!(conv.form, Form::Winograd | Form::Phases)
        {
            let start = conv.weights.as_ptr().addr() - clean.as_ptr().addr();
            found.push((start, layer.site.to_string()));
        }
    });
    ensure!(found.len() > 5, "{found:?}");
    for (start, layer) in found {
        let mut blob = clean.clone();
        blob[start] ^= 1;
        let blob = repaired(&blob);
        Model::load(&blob).with_context(|| format!("{layer}: must run"))?;
        for target in [Target::Portable, Target::CortexM4] {
            let error = repack(&blob, target, usize::MAX).map(drop).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(&layer), "{layer}: {message}");
            assert!(message.contains("export"), "{message}");
        }
    }
    Ok(())
}

/// Bytes of a blob that are no number of an array, and those at the ends of
/// arrays.
fn telling_places(blob: &[u8]) -> Result<Vec<usize>> {
    let mut inner = BTreeSet::new();
    Model::load(blob)?.for_each_layer(|layer| {
        let arrays = match layer.record {
            Record::Linear(r) => vec![r.weights, r.scales, r.bias],
            Record::Table(r) => vec![r.values],
            Record::Norm(r) => vec![r.gains, r.offsets],
            Record::Conv(r) => vec![r.weights, r.bias, r.multipliers, r.zero_points],
            Record::Output(r) => vec![r.weights, r.bias, r.scales],
            _ => Vec::new(),
        };
        for array in arrays {
            let start = array.as_ptr().addr() - blob.as_ptr().addr();
            inner.extend((start..start + array.len()).skip(2).rev().skip(2));
        }
    });
    let outside = (0..blob.len()).filter(|place| !inner.contains(place));
    Ok(outside.collect())
}

#[test]
fn what_is_damaged_is_refused_or_accepted_alike() -> Result<()> {
    let smallest = random_blob(smallest_topology(), 2);
    let mut blobs = Vec::new();
    let linear = with_linear_schedule(&smallest, 1e-4, 0.02)?;
    let bases = [
        ("smallest", smallest.clone(), 5),
        ("linear", linear, 100),
        ("points", random_blob(point_topology(), 6), 23),
        ("nibbles", nibble_blob(smallest_topology(), 3), 19),
        ("transformed", transformed_blob(small_topology(), 4), 19),
    ];
    for (name, base, step) in &bases {
        // Before the records everything, of them some of it.
        let first = first_record(base)?;
        for (i, place) in telling_places(base)?.into_iter().enumerate() {
            if place > first && i % step > 0 {
                continue;
            }
            let flip = [0x80, 0x01, 0xff, 0x10][i % 4];
            let mut blob = base.clone();
            blob[place] ^= flip;
            let name = format!("{name}, byte {place} ^ {flip:02x}");
            if place >= HEADER_LEN {
                // Once with the old topology's hash, and once with the new.
                let stored = base[12..16].try_into().map_or(0, u32::from_le_bytes);
                let old = sealed(&blob, stored);
                blob = repaired(&blob);
                if old != blob {
                    blobs.push((name.clone(), old));
                }
            }
            blobs.push((name, blob));
        }
    }

    for place in [10, 11, 24, 27] {
        let mut reserved = smallest.clone();
        reserved[place] = 1;
        let crc = picture_hash(&reserved[..28]);
        reserved[28..32].copy_from_slice(&crc.to_le_bytes());
        ensure!(Model::load(&reserved).is_err(), "byte {place} must be 0");
        blobs.push((format!("reserved byte {place}"), reserved));
    }

    for length in (0..smallest.len()).step_by(61) {
        let short = smallest[..length].to_vec();
        if length >= HEADER_LEN {
            blobs.push((format!("{length} bytes, sealed"), repaired(&short)));
        }
        blobs.push((format!("{length} bytes"), short));
    }
    for more in 1..4 {
        let long = [&smallest[..], &[0; 3][..more]].concat();
        blobs.push((format!("{more} more"), long.clone()));
        blobs.push((format!("{more} more, sealed"), repaired(&long)));
    }

    // T = 1000 in three bytes instead of two, and a byte less of padding.
    let first = first_record(&smallest)?;
    let timesteps = first - 13;
    ensure!(
        smallest[timesteps..timesteps + 2] == [0xe8, 0x07],
        "T is elsewhere"
    );
    ensure!(smallest[first] > 0, "no padding to take from");
    let mut long = smallest.clone();
    long[first] -= 1;
    long.remove(first + 1);
    long.splice(timesteps + 1..timesteps + 2, [0x87, 0x00]);
    let long = repaired(&long);
    let refused = Model::load(&long).is_err_and(|error| error == BlobError::Info);
    ensure!(refused, "a varint is no longer than it must be");
    // And with a bit that 16 bits have no place for.
    let mut beyond = long.clone();
    beyond[timesteps + 2] = 4;
    blobs.push(("a varint beyond 16 bits".into(), repaired(&beyond)));
    blobs.push(("a long varint".into(), long));
    // A length in as many bytes as 64 bits have, of which 32 know nothing.
    for more in 1..10 {
        let mut length = smallest.clone();
        length[HEADER_LEN] |= 0x80;
        let zeros = [&vec![0x80; more - 1][..], &[0]].concat();
        length.splice(HEADER_LEN + 1..HEADER_LEN + 1, zeros);
        blobs.push((format!("a length of {} bytes", 1 + more), repaired(&length)));
    }

    let said = agree(&blobs)?;
    let mut places = BTreeSet::new();
    let mut accepted = 0;
    for value in &said {
        match value["error"]["where"].as_str() {
            Some(place) => {
                places.insert(place);
            }
            None => accepted += 1,
        }
    }
    // The test would show little if all were refused, or for one reason.
    println!("{} blobs, {accepted} accepted, {places:?}", said.len());
    assert!(accepted > 100 && said.len() - accepted > 300 && places.len() > 40);
    for place in [
        "header",
        "info",
        "topology",
        "architecture",
        "packing",
        "schedule",
        "recommended",
        "end",
        "layer time.linear1",
        "layer time.classes",
        "layer conv_in",
        "layer mid.attn.mix",
        "layer out.conv",
    ] {
        assert!(places.contains(place), "nothing was wrong with {place}");
    }
    Ok(())
}

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
    site: &str,
    pick: impl for<'b> Fn(&Record<'b>) -> Option<&'b [u8]>,
) -> Result<usize> {
    let mut found = None;
    Model::load(blob)?.for_each_layer(|layer| {
        if layer.site.to_string() == site {
            found = pick(&layer.record);
        }
    });
    let array = found.with_context(|| format!("{site} has no such array"))?;
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
        let site = format!("mid.attn.{part}");
        let place = format!("layer {site}").leak();
        case(
            &blob,
            array_of(&blob, &site, array!(Conv, shifts))?,
            &[1],
            place,
        );
        let zero = array_of(&blob, &site, array!(Conv, zero_points))?;
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
    let nibbles = nibble_blob(small_topology(), 5);
    let at = array_of(&nibbles, "mid0.conv1", array!(Conv, weights))?;
    for (byte, place) in [(0x97, ""), (0x79, ""), (0x08, conv), (0x80, conv)] {
        case(&nibbles, at, &[byte], place);
    }
    // Forms that the packing does not announce, or the geometry does not have:
    // the form lies behind the zero points.
    let form = array_of(&transformed, "mid0.conv1", array!(Conv, zero_points))? + 2 * 16;
    ensure!(transformed[form] == 1, "no Winograd here");
    for other in [0, 2, 3, 4] {
        case(&transformed, form, &[other], conv);
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
