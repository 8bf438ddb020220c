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
use tiny_ddpm::blob::records::{Info, LayerInfo, Packing, Quant, Record, WeightLayout};
use tiny_ddpm::blob::{BlobError, HEADER_LEN, Writer, header};
use tiny_ddpm::graph::{Geometry, Part, Stage};
use tiny_ddpm::picture::picture_hash;
use tiny_ddpm::{Data, Level, Model, Prediction, ScheduleKind, Topology};
use tiny_ddpm_tests::{digits, models};
use tiny_ddpm_train::quant::{Target, repack};

#[path = "../../../core/tests/common/mod.rs"]
mod common;
mod damaged;
mod limits;
mod whole;

use common::{
    info, int4_blob, point_topology, random_blob, small_topology, smallest_topology,
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
    let weights = |layout, weights| canonical(data, layer, layout, weights).map(|rows| crc(&rows));
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
                "weights": weights(r.layout, r.weights),
                "bias": crc(r.bias),
                "multipliers": crc(r.multipliers),
                "shifts": crc(r.shifts),
                "zero_points": crc(r.zero_points),
            });
            let layout = name(r.layout);
            let rest =
                json!({"layout": layout, "residual": r.residual, "scale": r.scale, "crc": crc});
            ("conv", channels * (layer.fan_in + 1), rest)
        }
        Record::Mix(r) => {
            let output = quant(r.output);
            let rest = json!({"logit": r.logit, "value": r.value, "output": output});
            ("mix", 0, rest)
        }
        Record::Output(r) => {
            let crc = json!({
                "weights": weights(WeightLayout::Direct, r.weights),
                "bias": crc(r.bias),
                "scales": crc(r.scales),
            });
            let rest = json!({"layout": "direct", "crc": crc});
            ("output", channels * (layer.fan_in + 1), rest)
        }
        _ => ("unknown", 0, json!({})),
    };
    let mut all = Map::new();
    all.insert("name".into(), json!(layer.id.to_string()));
    all.insert("kind".into(), json!(kind));
    all.insert("shape".into(), json!([side, side, channels]));
    all.insert("parameters".into(), json!(parameters));
    if let Value::Object(rest) = rest {
        all.extend(rest);
    }
    (Value::Object(all), parameters)
}

fn name(layout: WeightLayout) -> &'static str {
    match layout {
        WeightLayout::Direct => "direct",
        WeightLayout::Winograd => "winograd",
        WeightLayout::Phases => "phases",
        WeightLayout::Int4 => "int4",
        _ => "unknown",
    }
}

/// Weights of a convolution in canonical order; none where no weights give
/// what is stored.
fn canonical(
    data: Data,
    layer: &LayerInfo<'_>,
    layout: WeightLayout,
    packed: &[u8],
) -> Option<Vec<u8>> {
    let geometry = match (layer.id.stage, layer.id.part) {
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
    layout.unpack(geometry, inputs, packed, &mut rows);
    let mut again = vec![0; layout.bytes(geometry, inputs, outputs)];
    layout.pack(geometry, inputs, &rows, &mut again);
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
/// the layouts of weights that they have.
fn agree_and_accept(blobs: &[(String, Vec<u8>)]) -> Result<BTreeSet<String>> {
    let mut layouts = BTreeSet::new();
    for ((name, _), value) in blobs.iter().zip(agree(blobs)?) {
        let layers = value["layers"].as_array();
        for layer in layers.with_context(|| format!("{name} was refused: {value}"))? {
            let Some(layout) = layer["layout"].as_str() else {
                continue;
            };
            layouts.insert(layout.to_owned());
            assert!(layer["crc"]["weights"].is_u64(), "{name}: {layer}");
        }
    }
    Ok(layouts)
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
