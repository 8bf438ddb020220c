//! What is in a blob, and what it needs from whoever runs it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tiny_ddpm::blob::VERSION;
use tiny_ddpm::blob::records::{Channels, LayerInfo, Packing, Recommended, Record, WeightLayout};
use tiny_ddpm::graph::{Cost, Part, Shape};
use tiny_ddpm::{Data, Model, Prediction, ScheduleKind, Topology};

use crate::model_file;
use crate::output::{grouped, print};

/// Show what is in a blob, layer by layer, and what it needs: flash, RAM, work
///
/// Checks the blob from its first to its last byte on the way, as the chip
/// does.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  tiny-ddpm inspect models/digits.tddpm
  tiny-ddpm inspect models/digits.tddpm --json | jq .ram_bytes
  tiny-ddpm inspect models/digits.tddpm --rust > src/sizes.rs")]
pub struct InspectArgs {
    /// The weights, as `tiny-ddpm export` writes them
    #[arg(value_name = "BLOB")]
    pub blob: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print the sizes of all buffers as Rust constants, for firmware
    #[arg(long, conflicts_with = "json")]
    pub rust: bool,
}

/// Prints what is in a blob.
///
/// # Errors
/// Where it cannot be read or is not valid.
pub fn run(args: &InspectArgs) -> Result<()> {
    let bytes = model_file::read(&args.blob)?;
    let model = model_file::load(&args.blob, &bytes)?;
    let report = Report::new(&args.blob, &bytes, &model);
    if args.rust {
        return print(&constants(&report, &model));
    }
    print(&if args.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        report.to_text()
    })
}

/// The sizes of a model's buffers as Rust constants, with the names of
/// `core/examples/embed.rs`.
fn constants(report: &Report, model: &Model<'_>) -> String {
    let topology = model.topology();
    let plan = model.plan();
    let side = match topology.data() {
        Data::Picture { side } => format!(
            "/// Width and height of a picture.\npub const SIDE: usize = {side};\n\
             pub const PIXELS: usize = SIDE * SIDE;\n"
        ),
        Data::Point { values } => {
            format!("/// Values of a point.\npub const PIXELS: usize = {values};\n")
        }
    };
    let mut text = format!(
        "// Buffers of {}, SHA-256 {}.\n{side}",
        report.name, report.sha256
    );
    let mut workspace = |prefix: &str, purpose: &str, words: usize| {
        let bytes = grouped(4 * words as u64).replace(',', "_");
        let _ = write!(
            text,
            "/// Workspace of `Unet` for {purpose}.\n\
             pub const {prefix}WORKSPACE_BYTES: usize = {bytes};\n\
             pub const {prefix}WORKSPACE_WORDS: usize = {prefix}WORKSPACE_BYTES / 4;\n"
        );
    };
    workspace(
        "",
        "`Sampler`, and for `InPlaceSampler` without guidance, at full speed",
        model.workspace_words(),
    );
    workspace("LEAST_", "the same, at least", plan.least_workspace_words());
    if topology.classes > 0 {
        workspace(
            "GUIDED_",
            "`InPlaceSampler` with guidance, at full speed",
            plan.guided_workspace_words(),
        );
        workspace(
            "LEAST_GUIDED_",
            "the same, at least",
            plan.least_guided_workspace_words(),
        );
    }
    text
}

/// What is in a blob.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The blob's file.
    pub blob: PathBuf,
    /// What its makers call it.
    pub name: String,
    /// Of the blob, in hexadecimal.
    pub sha256: String,
    /// Of the format.
    pub format_version: u16,
    /// Models of one shape have one.
    pub arch_hash: String,
    /// How the weights are stored: portable, or some of them transformed.
    pub packing: &'static str,
    /// Bytes of the blob.
    pub flash_bytes: usize,
    /// Bytes of all buffers, for sampling with guidance.
    pub ram_bytes: usize,
    /// The same without guidance.
    pub ram_bytes_without_guidance: usize,
    /// Bytes of the least buffers, for sampling in place with guidance.
    pub ram_bytes_least: usize,
    /// The same without guidance.
    pub ram_bytes_least_without_guidance: usize,
    /// What makes up `ram_bytes`.
    pub buffers: Buffers,
    /// Bytes of activations at the peak; part of the workspace.
    pub activation_bytes: usize,
    /// The layer that makes that peak.
    pub peak_layer: String,
    /// Trained numbers.
    pub parameters: usize,
    /// Multiply-accumulates of one run of the network: a step without
    /// guidance.
    pub macs_per_step: u64,
    /// Multiply-accumulates of a picture with the recommended settings.
    pub macs_per_picture: u64,
    /// The noise schedule.
    pub schedule: ScheduleKind,
    /// T of the schedule.
    pub timesteps: u16,
    /// What the network predicts.
    pub prediction: Prediction,
    /// Sampling settings that its makers recommend.
    pub recommended: Recommended,
    /// The network's shape.
    #[serde(with = "crate::topology")]
    pub topology: Topology,
    /// Bytes that belong to no layer: the header, the description, lengths,
    /// padding and single numbers.
    pub other_bytes: usize,
    /// In the order in which the network runs them.
    pub layers: Vec<Layer>,
}

/// Bytes of each buffer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Buffers {
    /// The network's.
    pub workspace: usize,
    /// x_t.
    pub x: usize,
    /// x̂_0.
    pub x0_hat: usize,
    /// The prediction without the class; only for guidance.
    pub unconditional: usize,
}

/// A layer.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Rows, columns and channels of its output.
    pub output: [usize; 3],
    /// Output channels, then kernel rows and columns of a convolution, then
    /// input channels; rows and columns of a table. Empty without weights.
    pub weights: Vec<usize>,
    /// How the weights of a convolution are stored.
    pub layout: Option<&'static str>,
    /// Bytes of its arrays.
    pub bytes: usize,
    /// Trained numbers.
    pub parameters: usize,
    /// Multiply-accumulates of one run.
    pub macs: u64,
    /// What a step of the output's integers stands for: one for all channels or
    /// one for each; none where the output is `f32`.
    pub scales: Vec<f32>,
    /// The integers that stand for 0, as many.
    pub zero_points: Vec<i16>,
}

impl Report {
    /// What is in the model whose bytes `blob` are.
    #[must_use]
    pub fn new(path: &Path, blob: &[u8], model: &Model<'_>) -> Self {
        let (info, plan) = (model.info(), model.plan());
        let mut layers = Vec::new();
        model.for_each_layer(|layer| layers.push(Layer::new(layer, model.topology())));
        let picture = 4 * model.topology().pixels();
        let buffers = Buffers {
            workspace: 4 * model.workspace_words(),
            x: picture,
            x0_hat: picture,
            unconditional: picture,
        };
        let without_guidance = buffers.workspace + buffers.x + buffers.x0_hat;
        // Without classes there is nothing to guide to.
        let guided = model.topology().classes > 0;
        let ram_bytes = match guided {
            true => without_guidance + buffers.unconditional,
            false => without_guidance,
        };
        let least_without = picture + 4 * plan.least_workspace_words();
        let least = match guided {
            true => (picture + 4 * plan.least_guided_workspace_words()).min(ram_bytes),
            false => least_without,
        };
        let recommended = info.recommended;
        let runs = if recommended.guidance == 0.0 { 1 } else { 2 };
        let in_layers: usize = layers.iter().map(|layer| layer.bytes).sum();
        let macs = u64::from(Cost::of(&info.topology).macs);
        Self {
            blob: path.to_owned(),
            name: info.name.to_owned(),
            sha256: model_file::sha256(blob),
            format_version: VERSION,
            arch_hash: format!("{:08x}", model.arch_hash()),
            packing: match info.packing {
                Packing::Transformed => "transformed",
                Packing::Int4 => "int4",
                _ => "portable",
            },
            flash_bytes: model.blob_len(),
            ram_bytes,
            ram_bytes_without_guidance: without_guidance,
            ram_bytes_least: least,
            ram_bytes_least_without_guidance: least_without,
            buffers,
            activation_bytes: plan.activation_bytes(),
            peak_layer: plan.peak_layer().to_string(),
            parameters: layers.iter().map(|layer| layer.parameters).sum(),
            macs_per_step: macs,
            macs_per_picture: macs * u64::from(recommended.steps) * runs,
            schedule: info.schedule,
            timesteps: info.timesteps,
            prediction: info.prediction,
            recommended,
            topology: info.topology.clone(),
            other_bytes: model.blob_len().saturating_sub(in_layers),
            layers,
        }
    }

    /// The report for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<13}{value}");
        };
        line("model", format!("{} ({})", self.name, self.blob.display()));
        line("SHA-256", self.sha256.clone());
        line(
            "format",
            format!(
                "version {}, architecture {}, weights {}",
                self.format_version, self.arch_hash, self.packing
            ),
        );
        for (index, value) in describe(&self.topology).into_iter().enumerate() {
            line(if index == 0 { "network" } else { "" }, value);
        }
        line(
            "diffusion",
            format!(
                "predicts {}, {} schedule, T = {}",
                predicted(self.prediction),
                schedule(self.schedule),
                self.timesteps
            ),
        );
        let Recommended {
            steps,
            guidance,
            eta,
        } = self.recommended;
        line(
            "recommended",
            format!("{steps} DDIM steps, guidance {guidance}, eta {eta}"),
        );
        line(
            "flash",
            format!(
                "{} bytes for {} parameters",
                grouped(self.flash_bytes as u64),
                grouped(self.parameters as u64)
            ),
        );
        line(
            "RAM",
            format!(
                "{}, sampling in place: the least that firmware needs",
                self.with_and_without(self.ram_bytes_least, self.ram_bytes_least_without_guidance)
            ),
        );
        line(
            "",
            format!(
                "{}, for `Sampler` at full speed:",
                self.with_and_without(self.ram_bytes, self.ram_bytes_without_guidance)
            ),
        );
        line(
            "",
            format!(
                "  workspace {}, of which activations {} (most at {})",
                grouped(self.buffers.workspace as u64),
                grouped(self.activation_bytes as u64),
                self.peak_layer
            ),
        );
        line(
            "",
            format!(
                "  x_t, x0_hat and, for guidance, a second prediction: {} each",
                grouped(self.buffers.x as u64)
            ),
        );
        line(
            "work",
            format!(
                "{} multiply-accumulates a step, twice that with guidance",
                grouped(self.macs_per_step)
            ),
        );
        line(
            "",
            format!(
                "{} a picture as recommended",
                grouped(self.macs_per_picture)
            ),
        );
        text.push('\n');
        self.table(&mut text);
        text
    }

    /// Bytes with guidance, and without where that is less.
    fn with_and_without(&self, guided: usize, unguided: usize) -> String {
        match guided == unguided {
            true => format!("{} bytes", grouped(guided as u64)),
            false => format!(
                "{} bytes ({} without guidance)",
                grouped(guided as u64),
                grouped(unguided as u64)
            ),
        }
    }

    fn table(&self, text: &mut String) {
        let mut row = |cells: [&str; 8]| {
            let [name, output, weights, layout, bytes, macs, scale, zero] = cells;
            let line = format!(
                "{name:<18} {output:>10} {weights:>13} {layout:<8} {bytes:>8} {macs:>11}  {scale:<18}  {zero}"
            );
            let _ = writeln!(text, "{}", line.trim_end());
        };
        row([
            "layer",
            "output",
            "weights",
            "layout",
            "bytes",
            "MACs",
            "scale",
            "zero point",
        ]);
        for layer in &self.layers {
            let work = if layer.macs == 0 {
                String::new()
            } else {
                grouped(layer.macs)
            };
            row([
                &layer.name,
                &shape(&layer.output),
                &shape(&layer.weights),
                layer.layout.unwrap_or_default(),
                &grouped(layer.bytes as u64),
                &work,
                &range(&layer.scales, |scale| format!("{scale:.5}")),
                &if layer.zero_points.is_empty() {
                    String::new()
                } else {
                    range(&layer.zero_points, |zero| zero.to_string())
                },
            ]);
        }
        let other = grouped(self.other_bytes as u64);
        row(["header and framing", "", "", "", &other, "", "", ""]);
        let (bytes, macs) = (self.flash_bytes as u64, self.macs_per_step);
        row(["all", "", "", "", &grouped(bytes), &grouped(macs), "", ""]);
    }
}

impl Layer {
    fn new(layer: &LayerInfo<'_>, topology: &Topology) -> Self {
        let Shape { side, channels } = layer.output;
        // The trained arrays with the bytes of a number in each, the bytes of
        // what goes with them, and what the output's integers stand for.
        let (arrays, rest, quant): (_, _, Option<Channels<'_>>) = match &layer.record {
            Record::Linear(r) => (vec![(r.weights, 2), (r.bias, 4)], r.scales.len(), None),
            Record::Table(r) => (vec![(r.values, 2)], 4, None),
            Record::Input(r) => (Vec::new(), 0, Some(r.output.into())),
            Record::Norm(r) => (vec![(r.gains, 4), (r.offsets, 4)], 0, Some(r.output.into())),
            Record::Conv(r) => {
                let arrays = vec![(r.weights, 1), (r.bias, 4)];
                let rest = r.multipliers.len() + r.shifts.len() + r.zero_points.len();
                (arrays, rest, Some(r.output()))
            }
            Record::Mix(r) => (Vec::new(), 0, Some(r.output.into())),
            Record::Output(r) => (vec![(r.weights, 1), (r.bias, 4)], r.scales.len(), None),
            _ => (Vec::new(), 0, None),
        };
        Self {
            name: layer.id.to_string(),
            output: [side, side, channels],
            weights: weights(layer, topology),
            bytes: arrays.iter().map(|(array, _)| array.len()).sum::<usize>() + rest,
            parameters: parameters(layer, &arrays),
            layout: match layer.record {
                Record::Conv(r) => Some(layout(r.layout)),
                Record::Output(_) => Some("direct"),
                _ => None,
            },
            macs: layer.macs,
            scales: quant.map_or_else(Vec::new, |quant| {
                (0..quant.shifts.len().max(1))
                    .map(|channel| quant.step(channel))
                    .collect()
            }),
            zero_points: quant.map_or_else(Vec::new, |quant| {
                (0..quant.zero_points.len().div_ceil(2).max(1))
                    .map(|channel| quant.zero_point(channel))
                    .collect()
            }),
        }
    }
}

/// Trained numbers, however their bytes are packed.
fn parameters(layer: &LayerInfo<'_>, arrays: &[(&[u8], usize)]) -> usize {
    match &layer.record {
        Record::Conv(_) | Record::Output(_) => layer.output.channels * (layer.fan_in + 1),
        _ => arrays.iter().map(|(array, size)| array.len() / size).sum(),
    }
}

fn layout(layout: WeightLayout) -> &'static str {
    match layout {
        WeightLayout::Direct => "direct",
        WeightLayout::Winograd => "winograd",
        WeightLayout::Phases => "phases",
        WeightLayout::Int4 => "int4",
        _ => "unknown",
    }
}

fn weights(layer: &LayerInfo<'_>, topology: &Topology) -> Vec<usize> {
    let outputs = layer.output.channels;
    match &layer.record {
        Record::Linear(_) => vec![outputs, layer.fan_in],
        Record::Table(table) => vec![table.values.len() / (2 * outputs).max(1), outputs],
        Record::Conv(_) | Record::Output(_) => {
            let side = match layer.id.part {
                Part::Shortcut | Part::Query | Part::Key | Part::Value | Part::Project => 1,
                _ if matches!(topology.data(), Data::Point { .. }) => 1,
                _ => 3,
            };
            vec![outputs, side, side, layer.fan_in / (side * side)]
        }
        _ => Vec::new(),
    }
}

fn describe(topology: &Topology) -> Vec<String> {
    let mut side = topology.side();
    let mut levels = Vec::new();
    for level in &topology.levels {
        let attention = if level.attention {
            " with attention"
        } else {
            ""
        };
        levels.push(format!("{side}x{side}x{}{attention}", level.channels));
        side /= 2;
    }
    let middle = if topology.mid_attention {
        format!(", middle attention of {} heads", topology.heads)
    } else {
        String::new()
    };
    let classes = match topology.classes {
        0 => "no classes".to_owned(),
        classes => format!("{classes} classes"),
    };
    vec![
        match topology.data() {
            Data::Picture { side } => format!(
                "{side}x{side} pixels, {classes}, patches of {0}x{0}",
                topology.patch
            ),
            Data::Point { values } => format!("points of {values} values, {classes}"),
        },
        format!(
            "levels {}; {} residual block{} each{middle}",
            levels.join(", "),
            topology.blocks,
            if topology.blocks == 1 { "" } else { "s" }
        ),
        format!(
            "{} time features, embedding of {}, normalisation groups of {} channels",
            topology.time_features, topology.embedding, topology.group_channels
        ),
    ]
}

fn predicted(prediction: Prediction) -> &'static str {
    match prediction {
        Prediction::Epsilon => "epsilon",
        Prediction::X0 => "x_0",
        Prediction::V => "v",
        _ => "something else",
    }
}

fn schedule(kind: ScheduleKind) -> String {
    match kind {
        ScheduleKind::Linear {
            beta_start,
            beta_end,
        } => format!("linear ({beta_start} to {beta_end})"),
        ScheduleKind::Cosine => "cosine".to_owned(),
        _ => "another".to_owned(),
    }
}

fn shape(lengths: &[usize]) -> String {
    let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
    lengths.join("x")
}

/// The smallest and the largest of some values, or `f32` for none.
fn range<T: PartialOrd + Copy>(values: &[T], show: impl Fn(T) -> String) -> String {
    let least = values
        .iter()
        .copied()
        .reduce(|a, b| if b < a { b } else { a });
    let most = values
        .iter()
        .copied()
        .reduce(|a, b| if b > a { b } else { a });
    match (least, most) {
        (Some(least), Some(most)) if least < most => format!("{} to {}", show(least), show(most)),
        (Some(all), _) => show(all),
        _ => "f32".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::output::grouped;

    #[test]
    fn thousands_apart() {
        let numbers = [0, 12, 123, 1234, 123_456, 1_234_567].map(grouped);
        let expected = ["0", "12", "123", "1,234", "123,456", "1,234,567"];
        assert_eq!(numbers, expected);
    }
}
