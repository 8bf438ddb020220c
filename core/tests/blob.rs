//! Any bytes as a blob: a typed error or a model that runs.

mod common;

use common::{
    Numbers, changed_blob, info, int4_blob, point_topology, random_blob, small_topology,
    smallest_topology, transformed_blob,
};
use proptest::prelude::*;
use tiny_ddpm::blob::records::{Info, Packing, Recommended, Record, WeightLayout};
use tiny_ddpm::blob::{BlobError, HEADER_LEN, ParamError, Writer, encoded_len, header};
use tiny_ddpm::kernels::packing::{MAX_PHASE, MAX_WINOGRAD};
use tiny_ddpm::picture::picture_hash;
use tiny_ddpm::{Denoiser, Model, Unet};

/// Runs one step, so that whatever was accepted must also run.
fn one_step(blob: &[u8]) -> Result<Vec<f32>, BlobError> {
    let model = Model::load(blob)?;
    let mut workspace = vec![0; model.workspace_words()];
    let pixels = model.topology().pixels();
    let x: Vec<f32> = (0..pixels).map(|i| (i as f32).sin()).collect();
    let mut out = vec![0.0; pixels];
    let mut unet = Unet::new(&model, &mut workspace).expect("the workspace is as long as asked");
    unet.predict(&x, 1, None, &mut out)
        .expect("an accepted model runs");
    Ok(out)
}

/// Loads a model where the output of convolution `layer` has changed numbers.
fn load_changed(layer: &str, change: impl Fn(&mut Numbers)) -> Result<(), BlobError> {
    let mut changed = 0;
    let blob = changed_blob(small_topology(), 7, |id, numbers| {
        if id.to_string() == layer {
            change(numbers);
            changed += 1;
        }
    });
    assert_eq!(changed, 1, "no layer is called {layer}");
    one_step(&blob).map(|_| ())
}

/// Checks that such a change is refused, and in whose name.
#[track_caller]
fn refused(layer: &str, expected: ParamError, named: &str, change: impl Fn(&mut Numbers)) {
    let error = load_changed(layer, change).unwrap_err();
    assert!(
        matches!(error, BlobError::Param { what, layer } if what == expected && layer.to_string() == named),
        "{layer}: {error}"
    );
    let message = error.to_string();
    assert!(message.contains(named), "{message}");
}

/// Makes `zero` the zero point of channel 2.
fn set_zero_point(numbers: &mut Numbers, zero: i16) {
    numbers.zero_points[4..6].copy_from_slice(&zero.to_le_bytes());
}

/// Puts valid checksums on a changed body.
fn reseal(blob: &mut [u8]) {
    let hash = u32::from_le_bytes(blob[12..16].try_into().unwrap());
    let (header, body) = blob.split_at_mut(HEADER_LEN);
    header.copy_from_slice(&header::seal(hash, body));
}

#[test]
fn a_random_model_loads_and_runs() {
    let blob = random_blob(small_topology(), 1);
    let out = one_step(&blob).unwrap();
    assert!(out.iter().all(|v| v.is_finite()));
    assert!(out.iter().any(|&v| v != out[0]), "the output is constant");
}

/// Pictures lie in a blob as ever; points have no side, which builds that do
/// not know of them refuse.
#[test]
fn the_encodings_of_both_kinds_of_data_stay() {
    for (topology, start, hash, crc) in [
        (small_topology(), [8, 2, 2, 8], 0x984a_4907, 0x90eb_3a6a),
        (point_topology(), [0, 3, 1, 16], 0xf5d1_d659, 0xaf39_55d8),
    ] {
        let blob = random_blob(topology, 1);
        let model = Model::load(&blob).unwrap();
        // After the name and its length.
        let name = HEADER_LEN + 1 + model.info().name.len();
        assert_eq!(blob[name..name + 4], start);
        let found = (model.arch_hash(), picture_hash(&blob));
        assert_eq!(found, (hash, crc), "{found:#010x?}");
    }
}

/// In a flash partition a blob is followed by whatever was there.
#[test]
fn a_blob_s_length_is_in_its_header() {
    let blob = random_blob(small_topology(), 1);
    let mut partition = blob.clone();
    partition.resize(blob.len() + 1000, 0xff);
    assert!(matches!(
        Model::load(&partition),
        Err(BlobError::TooLong { .. })
    ));
    assert_eq!(encoded_len(&partition), Ok(blob.len()));
    assert_eq!(encoded_len(&blob[..HEADER_LEN]), Ok(blob.len()));
    let (needed, found) = (HEADER_LEN, HEADER_LEN - 1);
    let error = encoded_len(&blob[..found]);
    assert_eq!(error, Err(BlobError::TooShort { needed, found }));
    for at in 0..HEADER_LEN {
        let mut changed = partition.clone();
        changed[at] ^= 1;
        assert!(encoded_len(&changed).is_err(), "byte {at}");
    }
    // The largest length that a header can hold.
    let mut header: [u8; HEADER_LEN] = blob[..HEADER_LEN].try_into().unwrap();
    header[16..20].fill(0xff);
    let crc = picture_hash(&header[..28]).to_le_bytes();
    header[28..].copy_from_slice(&crc);
    let len = (u32::MAX as usize).saturating_add(HEADER_LEN);
    assert_eq!(encoded_len(&header), Ok(len));
}

#[test]
fn a_random_point_model_loads_and_runs() {
    for blob in [
        random_blob(point_topology(), 1),
        int4_blob(point_topology(), 1),
    ] {
        let out = one_step(&blob).unwrap();
        assert_eq!(out.len(), 3);
        assert!(out.iter().all(|v| v.is_finite() && *v != 0.0), "{out:?}");
    }
}

#[test]
fn loading_borrows_from_the_blob() {
    let blob = random_blob(small_topology(), 1);
    let model = Model::load(&blob).unwrap();
    let name = model.info().name.as_ptr().addr();
    assert!((blob.as_ptr().addr()..blob.as_ptr().addr() + blob.len()).contains(&name));
}

#[test]
fn a_model_s_blob_is_as_long_as_it_says() {
    for topology in [small_topology(), point_topology()] {
        let blob = random_blob(topology, 1);
        assert_eq!(Model::load(&blob).unwrap().blob_len(), blob.len());
    }
}

/// Each of three numbers is looked at.
#[test]
fn recommendations_out_of_range_are_refused() {
    let blob = random_blob(small_topology(), 1);
    let load = |steps, guidance, eta| {
        let (mut info, records) =
            postcard::take_from_bytes::<Info<'_>>(&blob[HEADER_LEN..]).unwrap();
        info.recommended = Recommended {
            steps,
            guidance,
            eta,
        };
        let mut buffer = [0; 64];
        let info = postcard::to_slice(&info, &mut buffer).unwrap();
        let mut changed = [&blob[..HEADER_LEN], info, records].concat();
        assert_eq!(changed.len(), blob.len());
        reseal(&mut changed);
        Model::load(&changed).map(|model| model.info().recommended)
    };
    for (guidance, eta) in [(0.0, 0.0), (100.0, 1.0)] {
        let found = load(1, guidance, eta).unwrap();
        assert_eq!((found.guidance, found.eta), (guidance, eta));
    }
    for (steps, guidance, eta) in [
        (0, 0.0, 0.0),
        (1, -0.1, 0.0),
        (1, 100.1, 0.0),
        (1, f32::NAN, 0.0),
        (1, 0.0, -0.1),
        (1, 0.0, 1.1),
        (1, 0.0, f32::NAN),
    ] {
        let found = load(steps, guidance, eta);
        assert_eq!(
            found,
            Err(BlobError::Recommended),
            "{steps} {guidance} {eta}"
        );
    }
}

#[test]
fn every_truncation_is_too_short() {
    let blob = random_blob(smallest_topology(), 2);
    for length in 0..blob.len() {
        let error = Model::load(&blob[..length]).unwrap_err();
        assert!(
            matches!(error, BlobError::TooShort { found, .. } if found == length),
            "{length} bytes: {error}"
        );
    }
}

#[test]
fn a_longer_blob_is_too_long() {
    let mut blob = random_blob(small_topology(), 2);
    blob.push(0);
    let error = Model::load(&blob).unwrap_err();
    assert!(matches!(error, BlobError::TooLong { .. }), "{error}");
}

#[test]
fn every_flipped_bit_is_found() {
    let mut blob = random_blob(smallest_topology(), 3);
    for bit in 0..8 * blob.len() {
        blob[bit / 8] ^= 1 << (bit % 8);
        let error = Model::load(&blob).unwrap_err();
        let expected = match bit / 8 {
            0..8 => matches!(error, BlobError::BadMagic),
            8..10 => matches!(error, BlobError::Version { .. }),
            10..32 => matches!(error, BlobError::HeaderCrc { .. }),
            _ => matches!(error, BlobError::Crc { .. }),
        };
        assert!(expected, "bit {bit}: {error}");
        blob[bit / 8] ^= 1 << (bit % 8);
    }
    Model::load(&blob).unwrap();
}

#[test]
fn a_wrong_architecture_hash_is_found() {
    let mut blob = random_blob(small_topology(), 3);
    blob[12] ^= 1;
    reseal(&mut blob);
    let error = Model::load(&blob).unwrap_err();
    assert!(matches!(error, BlobError::ArchMismatch { .. }), "{error}");
}

/// Those that were 0 in every blob so far.
#[test]
fn reserved_bytes_must_be_0() {
    let clean = random_blob(smallest_topology(), 3);
    for at in [10, 11, 24, 25, 26, 27] {
        for value in [1, 0x80, 0xff] {
            let mut blob = clean.clone();
            blob[at] = value;
            let crc = picture_hash(&blob[..28]);
            blob[28..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(Model::load(&blob).unwrap_err(), BlobError::Reserved { at });
        }
    }
}

/// The varint at `at`, made longer by `more` bytes that say nothing.
fn lengthened(blob: &[u8], at: usize, more: usize) -> Vec<u8> {
    let last = at + blob[at..].iter().position(|byte| byte & 0x80 == 0).unwrap();
    let mut longer = blob.to_vec();
    longer[last] |= 0x80;
    let zeros = [&[0x80_u8; 16][..more - 1], &[0]].concat();
    longer.splice(last + 1..last + 1, zeros);
    reseal(&mut longer);
    longer
}

/// Where an array's length stands: a varint of as few bytes as it can have.
fn length_of(blob: &[u8], array: &[u8]) -> usize {
    let start = array.as_ptr().addr() - blob.as_ptr().addr();
    let bits = usize::BITS - array.len().leading_zeros();
    start - bits.div_ceil(7).max(1) as usize
}

/// What 32 bits cannot read, 64 do not read either, and nothing has two
/// encodings.
#[test]
fn a_number_in_more_bytes_than_it_needs_is_refused() {
    let clean = random_blob(small_topology(), 3);
    let model = Model::load(&clean).unwrap();
    let name = model.info().name;
    // The name's length, that of the levels, and the first level's channels.
    let levels = HEADER_LEN + 1 + name.len() + 2;
    for at in [HEADER_LEN, levels, levels + 1] {
        for more in [1, 4, 5, 9, 10] {
            let error = Model::load(&lengthened(&clean, at, more)).unwrap_err();
            assert_eq!(error, BlobError::Info, "byte {at}, {more} more");
        }
    }
    let mut places = Vec::new();
    model.for_each_layer(|layer| {
        let end = |array: &[u8]| array.as_ptr().addr() + array.len() - clean.as_ptr().addr();
        let mut place = |at| places.push((at, layer.id));
        let arrays = match layer.record {
            Record::Linear(r) => vec![r.padding, r.weights, r.scales, r.bias],
            Record::Table(r) => vec![r.values],
            Record::Norm(r) => {
                // The multiplier.
                place(end(r.offsets));
                vec![r.gains, r.offsets]
            }
            Record::Conv(r) => {
                // The factor of a residual, and the layout.
                place(end(r.multipliers));
                place(end(r.zero_points));
                vec![
                    r.padding,
                    r.weights,
                    r.bias,
                    r.multipliers,
                    r.shifts,
                    r.zero_points,
                ]
            }
            Record::Output(r) => vec![r.padding, r.weights, r.bias, r.scales],
            _ => Vec::new(),
        };
        for array in arrays {
            place(length_of(&clean, array));
        }
    });
    assert!(places.len() > 300, "{}", places.len());
    for (at, layer) in places {
        for more in [1, 4, 5, 9, 10] {
            let error = Model::load(&lengthened(&clean, at, more)).unwrap_err();
            assert_eq!(error, BlobError::Record { layer }, "byte {at}, {more} more");
        }
    }
}

#[test]
fn bytes_after_the_last_layer_are_found() {
    let mut blob = random_blob(small_topology(), 3);
    blob.extend([0; 5]);
    reseal(&mut blob);
    assert_eq!(
        Model::load(&blob).unwrap_err(),
        BlobError::TrailingBytes { count: 5 }
    );
}

#[test]
fn a_weight_of_minus_128_is_named() {
    let mut blob = random_blob(small_topology(), 4);
    // The last record ends with weights, 16 bytes of bias and 16 of scales,
    // each array after its length.
    let weight = blob.len() - 17 - 17 - 1;
    blob[weight] = 0x80;
    reseal(&mut blob);
    let error = Model::load(&blob).unwrap_err();
    assert!(
        matches!(error, BlobError::Param { what: ParamError::Weight, layer } if layer.to_string() == "out.conv"),
        "{error}"
    );
}

#[test]
fn zero_points_that_padding_cannot_hold_are_refused() {
    // Each is read by a 3x3 convolution, which is the one to complain.
    for (layer, reader) in [
        ("down0.0.conv2", "downsample0.conv"),
        ("up1.0.attn.proj", "upsample1.conv"),
    ] {
        for zero in [-128, 127] {
            let change = |numbers: &mut Numbers| set_zero_point(numbers, zero);
            assert_eq!(load_changed(layer, change), Ok(()));
        }
        for zero in [-200, -129, 128, 200] {
            refused(layer, ParamError::ZeroPoint, reader, |numbers| {
                numbers.shifts[2] = 7;
                set_zero_point(numbers, zero);
            });
        }
    }
}

#[test]
fn zero_points_out_of_range_are_refused() {
    for layer in [
        "conv_in",
        "down0.0.conv1",
        "mid.attn.proj",
        "up0.0.shortcut",
    ] {
        for shift in 0..=7 {
            let limit = 256_i32 << shift;
            for zero in [limit - 1, 1 - limit, limit, -limit] {
                let Ok(word) = i16::try_from(zero) else {
                    continue;
                };
                let change = |numbers: &mut Numbers| {
                    numbers.shifts[2] = shift;
                    set_zero_point(numbers, word);
                };
                if zero.abs() < limit {
                    assert_eq!(load_changed(layer, change), Ok(()), "{layer}: {zero}");
                } else {
                    refused(layer, ParamError::ZeroPoint, layer, change);
                }
            }
        }
    }
}

#[test]
fn queries_keys_and_values_have_one_scale_around_0() {
    for layer in ["mid.attn.q", "down1.0.attn.k", "up1.0.attn.v"] {
        refused(layer, ParamError::Shift, layer, |n| n.shifts[3] = 1);
        for zero in [-1, 1] {
            refused(layer, ParamError::ZeroPoint, layer, |numbers| {
                set_zero_point(numbers, zero);
            });
        }
    }
}

#[test]
fn a_shift_beyond_7_is_refused() {
    for layer in ["conv_in", "down0.0.conv2", "mid0.conv1", "upsample1.conv"] {
        let change = |numbers: &mut Numbers| numbers.shifts.fill(7);
        assert_eq!(load_changed(layer, change), Ok(()));
        for shift in [8, 255] {
            refused(layer, ParamError::Shift, layer, |n| n.shifts[0] = shift);
        }
    }
}

#[test]
fn wrong_numbers_of_channels_are_refused() {
    let length = |expected, found| ParamError::Length { expected, found };
    for (layer, channels) in [("conv_in", 8), ("mid1.conv2", 16), ("mid.attn.q", 16)] {
        for found in [0, channels - 1, channels + 1] {
            refused(layer, length(channels, found), layer, |numbers| {
                numbers.shifts.resize(found, 0);
            });
        }
        for found in [0, 2 * channels - 1, 2 * channels + 1, 2 * channels + 2] {
            refused(layer, length(2 * channels, found), layer, |numbers| {
                numbers.zero_points.resize(found, 0);
            });
        }
    }
}

/// Weights stored in a way of tomorrow.
#[test]
fn an_unknown_packing_is_refused_by_its_number() {
    let mut buffer = vec![0; 1 << 16];
    for found in [3, 9, 255] {
        let info = Info {
            packing: Packing::Unknown(found),
            ..info(smallest_topology())
        };
        let length = Writer::new(&mut buffer, &info).unwrap().finish();
        let error = Model::load(&buffer[..length]).unwrap_err();
        assert_eq!(error, BlobError::Packing { found });
        let message = error.to_string();
        assert!(message.contains(&found.to_string()), "{message}");
        assert!(message.contains("export"), "{message}");
    }
}

/// Makes a blob say that its packing is another one.
fn rename_packing(blob: &mut [u8], from: Packing, to: Packing) {
    let [from, to] = [from, to].map(|packing| {
        let info = Info {
            packing,
            ..info(small_topology())
        };
        let mut buffer = vec![0; 1 << 12];
        let length = Writer::new(&mut buffer, &info).unwrap().finish();
        buffer[HEADER_LEN..length].to_vec()
    });
    assert_eq!(from.len(), to.len());
    let body = &mut blob[HEADER_LEN..];
    assert!(body.starts_with(&from));
    body[..to.len()].copy_from_slice(&to);
    reseal(blob);
}

/// A blob that says it is portable has nothing else in it: a device that reads
/// only that need not look further. The same of one without weights of 4 bits.
#[test]
fn forms_that_the_packing_does_not_announce_are_refused() {
    let transformed = transformed_blob(small_topology(), 3);
    let int4 = int4_blob(small_topology(), 3);
    for (blob, from, to) in [
        (&transformed, Packing::Transformed, Packing::Portable),
        (&int4, Packing::Int4, Packing::Portable),
        (&int4, Packing::Int4, Packing::Transformed),
    ] {
        let mut blob = blob.clone();
        one_step(&blob).unwrap();
        rename_packing(&mut blob, from, to);
        let error = one_step(&blob).unwrap_err();
        let layout = ParamError::WeightLayout;
        assert!(
            matches!(error, BlobError::Param { what, .. } if what == layout),
            "{from:?} as {to:?}: {error}"
        );
    }
}

/// Where 4 bits are announced, all other layouts may be, too.
#[test]
fn a_blob_of_four_bits_may_have_every_form() {
    let mut blob = transformed_blob(small_topology(), 3);
    let pictures = [Packing::Transformed, Packing::Int4].map(|packing| {
        rename_packing(&mut blob, Packing::Transformed, packing);
        one_step(&blob).unwrap()
    });
    assert_eq!(pictures[0], pictures[1]);
}

/// Weights of 4 bits take half the bytes, and -8 is no weight, wherever it is.
#[test]
fn minus_eight_is_refused() {
    let clean = int4_blob(small_topology(), 4);
    let mut found = Vec::new();
    Model::load(&clean).unwrap().for_each_layer(|layer| {
        if let Record::Conv(conv) = layer.record
            && conv.layout == WeightLayout::Int4
        {
            // Channels are whole groups, but for the first convolution's.
            assert_eq!(2 * conv.weights.len(), layer.fan_in * layer.output.channels);
            let start = conv.weights.as_ptr().addr() - clean.as_ptr().addr();
            found.push((start, conv.weights.len(), layer.id.to_string()));
        }
    });
    assert!(found.len() > 10, "{found:?}");
    for (start, length, layer) in found {
        for at in [start, start + length / 2, start + length - 1] {
            for (byte, accepted) in [
                (0x00, true),
                (0x79, true),
                (0x97, true),
                (0x80, false),
                (0x08, false),
                (0x78, false),
            ] {
                let mut blob = clean.clone();
                blob[at] = byte;
                reseal(&mut blob);
                match one_step(&blob) {
                    Ok(_) => assert!(accepted, "{layer}: {byte:#x}"),
                    Err(BlobError::Param { what, layer: named }) => {
                        assert!(
                            !accepted && what == ParamError::Weight,
                            "{layer}: {byte:#x}"
                        );
                        assert_eq!(named.to_string(), layer);
                    }
                    Err(error) => panic!("{layer}: {error}"),
                }
            }
        }
    }
}

/// Transformed weights have limits, too: no weights give larger ones.
#[test]
fn transformed_weights_beyond_their_limit_are_refused() {
    let clean = transformed_blob(small_topology(), 4);
    let mut found = Vec::new();
    Model::load(&clean).unwrap().for_each_layer(|layer| {
        if let Record::Conv(conv) = layer.record {
            let start = conv.weights.as_ptr().addr() - clean.as_ptr().addr();
            match conv.layout {
                WeightLayout::Winograd => found.push((start, MAX_WINOGRAD, layer.id.to_string())),
                WeightLayout::Phases => found.push((start, MAX_PHASE, layer.id.to_string())),
                _ => {}
            }
        }
    });
    assert!(found.len() > 5, "{found:?}");
    for (start, limit, layer) in found {
        for (weight, accepted) in [
            (limit, true),
            (-limit, true),
            (limit + 1, false),
            (-limit - 1, false),
            (i16::MIN, false),
        ] {
            let mut blob = clean.clone();
            blob[start..start + 2].copy_from_slice(&weight.to_le_bytes());
            reseal(&mut blob);
            match one_step(&blob) {
                Ok(_) => assert!(accepted, "{layer}: {weight}"),
                Err(BlobError::Param { what, layer: named }) => {
                    assert!(!accepted && what == ParamError::Weight, "{layer}: {weight}");
                    assert_eq!(named.to_string(), layer);
                }
                Err(error) => panic!("{layer}: {error}"),
            }
        }
    }
}

#[test]
fn scales_that_are_not_positive_and_normal_are_refused() {
    for scale in [0.0, -0.03, 1e-40, f32::INFINITY, f32::NAN] {
        refused("mid0.conv1", ParamError::Scale, "mid0.conv1", |numbers| {
            numbers.scale = scale;
        });
    }
}

#[test]
fn a_flipped_bit_behind_valid_checksums_is_an_error_or_a_model() {
    for clean in [
        random_blob(small_topology(), 5),
        int4_blob(small_topology(), 5),
        random_blob(point_topology(), 5),
    ] {
        let mut accepted = 0;
        for byte in HEADER_LEN..clean.len() {
            // All bits where the structure is, then a sample of the weights.
            if byte > 600 && byte % 61 != 0 {
                continue;
            }
            for bit in 0..8 {
                let mut blob = clean.clone();
                blob[byte] ^= 1 << bit;
                reseal(&mut blob);
                accepted += usize::from(one_step(&blob).is_ok());
            }
        }
        assert!(accepted > 0, "changed weights still make a model");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Model::load(&bytes).is_err());
    }

    #[test]
    fn any_body_is_refused_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..300), hash: u32) {
        let mut blob = header::seal(hash, &body).to_vec();
        blob.extend(body);
        prop_assert!(Model::load(&blob).is_err());
    }

    #[test]
    fn a_mangled_model_is_an_error_or_a_model(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        int4: bool,
        points: bool,
    ) {
        let topology = if points { point_topology() } else { small_topology() };
        let mut blob = match int4 {
            true => int4_blob(topology, 6),
            false => random_blob(topology, 6),
        };
        for (index, value) in changes {
            let at = HEADER_LEN + index.index(blob.len() - HEADER_LEN);
            blob[at] = value;
        }
        reseal(&mut blob);
        let _ = one_step(&blob);
    }
}
