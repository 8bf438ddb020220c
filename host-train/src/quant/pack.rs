//! Quantises the weights and writes the blob.

use anyhow::{Context, Result, ensure};
use tiny_ddpm::Model;
use tiny_ddpm::Topology;
use tiny_ddpm::blob::records::{
    ConvRecord, Info, InputRecord, LinearRecord, MixRecord, NormRecord, OutputRecord, TableRecord,
    WeightLayout,
};
use tiny_ddpm::blob::{WriteError, Writer};
use tiny_ddpm::graph::{
    Activation, Attention, Conv, Extra, Interpreter, LayerId, Linear, Norm, Part, Shape, Stage,
    Table, walk,
};

use tiny_ddpm::kernels::limits;

use super::ranges::{Range, Ranges};
use super::rounding::{WeightBits, quantise_row, weight_bits};
use super::weights::{Kind, Weights};

/// Largest magnitude of a float bias in accumulator units; half of what a blob
/// may hold, so that folding in zero points cannot pass it.
const MAX_FLOAT_BIAS: f64 = (limits::MAX_BIAS / 2) as f64;
/// 2^32, the denominator of an accumulator's multiplier.
const TWO_32: f64 = 4_294_967_296.0;

/// The blob of a network: weights of convolutions in `bits`, but for those that
/// [`weight_bits`] keeps at 8.
///
/// All are stored [directly](WeightLayout::Direct): [`repack`](super::repack) stores
/// those of 4 bits as such.
///
/// # Errors
/// Where a parameter or range is missing, or so far out of proportion that
/// fixed point cannot hold it.
pub fn pack(
    info: &Info<'_>,
    weights: &Weights,
    ranges: &Ranges,
    bits: WeightBits,
) -> Result<Vec<u8>> {
    info.topology.validate().context("topology")?;
    let mut size = 1 << 16;
    loop {
        let mut buffer = vec![0; size];
        match pack_into(&mut buffer, info, weights, ranges, bits) {
            Ok(length) => {
                buffer.truncate(length);
                Model::load(&buffer).context("the packed model does not load")?;
                return Ok(buffer);
            }
            Err(error) if error.is::<WriteError>() => size *= 2,
            Err(error) => return Err(error),
        }
    }
}

fn pack_into(
    buffer: &mut [u8],
    info: &Info<'_>,
    weights: &Weights,
    ranges: &Ranges,
    bits: WeightBits,
) -> Result<usize> {
    let mut packer = Packer {
        topology: &info.topology,
        weights,
        ranges,
        rounder: Rounder { weights, bits },
        writer: Writer::new(buffer, info)?,
        units: Vec::new(),
    };
    walk(&mut packer, &info.topology)?;
    Ok(packer.writer.finish())
}

struct Packer<'a, 'w> {
    topology: &'a Topology,
    weights: &'a Weights,
    ranges: &'a Ranges,
    rounder: Rounder<'a>,
    writer: Writer<'w>,
    /// Of the last convolution's accumulators.
    units: Vec<f64>,
}

/// Integer weights of a convolution, and the unit of each output channel's
/// accumulator.
pub(super) struct Quantised {
    /// Rows, as training knows them.
    pub weights: Vec<i8>,
    /// With the inputs' zero points folded in.
    pub bias: Vec<i32>,
    pub units: Vec<f64>,
}

impl Quantised {
    /// The weights as every device reads them.
    fn packed<D>(&self, conv: &Conv<D>) -> Vec<u8> {
        let inputs = conv.input_channels();
        let mut packed = vec![0; WeightLayout::Direct.bytes(conv.geometry, inputs, conv.channels)];
        WeightLayout::Direct.pack(conv.geometry, inputs, &self.weights, &mut packed);
        packed
    }

    fn bias_words(&self) -> Vec<u8> {
        self.bias.iter().flat_map(|sum| sum.to_le_bytes()).collect()
    }
}

/// Rounds the weights of convolutions: for the blob, and for training that
/// knows of it.
#[derive(Clone, Copy)]
pub(super) struct Rounder<'a> {
    pub weights: &'a Weights,
    /// Of a weight.
    pub bits: WeightBits,
}

/// What a convolution reads: for each input channel the activation's range and
/// the channel within it.
pub(super) fn inputs_of<'r>(conv: &Conv<&'r Range>) -> Vec<(&'r Range, usize)> {
    let own = conv.x.shape.channels;
    (0..conv.input_channels())
        .map(|input| match &conv.skip {
            Some(skip) if input >= own => (skip.data, input - own),
            _ => (conv.x.data, input),
        })
        .collect()
}

impl<'a> Rounder<'a> {
    /// Quantises the weights of each output channel.
    ///
    /// The halves of a skip concatenation share an accumulator, so weights are
    /// compared after multiplication with their half's scale.
    pub fn quantise(&self, conv: &Conv<&Range>) -> Result<Quantised> {
        let (taps, inputs) = (conv.geometry.taps(), conv.input_channels());
        let count = taps * inputs * conv.channels;
        let weights = self.weights.get(conv.id, Kind::Weight, count)?;
        let bias = self.weights.get(conv.id, Kind::Bias, conv.channels)?;
        let inputs_of = inputs_of(conv);
        let steps: Vec<f64> = inputs_of.iter().map(|(r, c)| r.step(*c)).collect();
        let zero_points: Vec<f64> = inputs_of
            .iter()
            .map(|(range, channel)| f64::from(range.zero_points[*channel]))
            .collect();
        // Mean of q - zero_point.
        let means: Vec<f64> = inputs_of
            .iter()
            .zip(&steps)
            .map(|((range, channel), step)| f64::from(range.means[*channel]) / step)
            .collect();
        let bits = weight_bits(conv.id, self.bits);
        let mut quantised = Quantised {
            weights: Vec::with_capacity(weights.len()),
            bias: Vec::with_capacity(bias.len()),
            units: Vec::with_capacity(bias.len()),
        };
        for (channel, &bias) in weights.chunks_exact(taps * inputs).zip(bias) {
            // What a weight contributes for one step of its input, tap by tap.
            let contributions: Vec<f64> = (0..taps)
                .flat_map(|tap| (0..inputs).map(move |input| (tap, input)))
                .map(|(tap, input)| f64::from(channel[input * taps + tap]) * steps[input])
                .collect();
            // A channel that does nothing still needs a unit for its bias.
            let least = (f64::from(bias.abs()) / MAX_FLOAT_BIAS).max(f64::MIN_POSITIVE.sqrt());
            let (unit, row) = quantise_row(&contributions, bits, least);
            let mut sum = f64::from(bias) / unit;
            for (i, (contribution, &weight)) in contributions.iter().zip(&row).enumerate() {
                let (exact, weight) = (contribution / unit, f64::from(weight));
                let input = i % inputs;
                sum -= weight * zero_points[input];
                // What rounding the weight adds on average is no noise: the
                // bias takes it back.
                sum += (exact - weight) * means[input];
            }
            quantised.weights.extend(row);
            quantised.bias.push(sum.round() as i32);
            quantised.units.push(unit);
        }
        Ok(quantised)
    }
}

impl<'a> Packer<'a, '_> {
    /// Writes a fully connected layer. `units` is what each output is counted
    /// in.
    fn fully_connected(&mut self, linear: &Linear, units: impl Fn(usize) -> f64) -> Result<()> {
        let count = linear.inputs * linear.outputs;
        let weights = self.weights.get(linear.id, Kind::Weight, count)?;
        let bias = self.weights.get(linear.id, Kind::Bias, linear.outputs)?;
        let (mut words, mut scales, mut biases) = (Vec::new(), Vec::new(), Vec::new());
        for (output, (row, &bias)) in weights.chunks_exact(linear.inputs).zip(bias).enumerate() {
            let (row, scale) = halfwords(row);
            words.extend(row);
            scales.extend(((scale / units(output)) as f32).to_le_bytes());
            biases.extend(((f64::from(bias) / units(output)) as f32).to_le_bytes());
        }
        self.writer.aligned(words.len(), |padding| LinearRecord {
            padding,
            weights: &words,
            scales: &scales,
            bias: &biases,
        })?;
        Ok(())
    }
}

/// Values as little-endian halfwords, and what 1 stands for.
fn halfwords(values: &[f32]) -> (Vec<u8>, f64) {
    let largest = values.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
    let scale = f64::from(largest.max(f32::MIN_POSITIVE)) / 32_767.0;
    let words = values
        .iter()
        .flat_map(|&v| ((f64::from(v) / scale).round() as i16).to_le_bytes());
    (words.collect(), scale)
}

/// A factor as a non-negative fixed-point number.
fn fixed(layer: LayerId, what: &str, value: f64, limit: i32) -> Result<i32> {
    let rounded = value.round();
    ensure!(
        (0.0..=f64::from(limit)).contains(&rounded),
        "layer {layer}: {what} is out of proportion ({rounded} where at most {limit} fits); \
         train longer, or with a larger weight decay"
    );
    Ok(rounded as i32)
}

/// Output steps in 1 that a normalisation multiplies with, times 2^8: before
/// rounding.
fn norm_multiplier(output: &Range) -> f64 {
    256.0 / f64::from(output.scale)
}

/// Steps in 1 of what a normalisation gives, as the kernel knows them.
pub(super) fn norm_steps(output: &Range) -> f64 {
    norm_multiplier(output).round() / 256.0
}

/// Gains or offsets with 15 fraction bits.
fn affine(layer: LayerId, what: &str, values: &[f32]) -> Result<Vec<u8>> {
    let mut words = Vec::with_capacity(4 * values.len());
    for &value in values {
        let magnitude = fixed(
            layer,
            what,
            f64::from(value.abs()) * 32_768.0,
            limits::MAX_GAIN,
        )?;
        let word = if value < 0.0 { -magnitude } else { magnitude };
        words.extend(word.to_le_bytes());
    }
    Ok(words)
}

impl<'a> Interpreter for Packer<'a, '_> {
    type Data = &'a Range;
    type Error = anyhow::Error;

    fn timestep(&mut self, _: usize) -> Result<()> {
        Ok(())
    }

    fn linear(&mut self, linear: &Linear) -> Result<()> {
        self.fully_connected(linear, |_| 1.0)
    }

    fn classes(&mut self, table: &Table) -> Result<()> {
        let count = table.rows * table.width;
        let (values, scale) = halfwords(self.weights.get(table.id, Kind::Weight, count)?);
        self.writer.record(&TableRecord {
            values: &values,
            scale: scale as f32,
        })?;
        Ok(())
    }

    /// In units of the accumulators that it is added to.
    fn projection(&mut self, linear: &Linear) -> Result<()> {
        let units = std::mem::take(&mut self.units);
        self.fully_connected(linear, |channel| units[channel])
    }

    fn input(&mut self, shape: Shape) -> Result<&'a Range> {
        let range = self
            .ranges
            .get(LayerId::new(Stage::Input, Part::Whole), shape.channels)?;
        let output = range.plain();
        self.writer.record(&InputRecord { output })?;
        Ok(range)
    }

    fn norm(&mut self, norm: &Norm<&'a Range>) -> Result<&'a Range> {
        let (layer, channels) = (norm.id, norm.output().channels);
        let range = self.ranges.get(layer, channels)?;
        let output = range.plain();
        let gains = self.weights.get(layer, Kind::Gain, channels)?;
        let offsets = self.weights.get(layer, Kind::Offset, channels)?;
        self.writer.record(&NormRecord {
            gains: &affine(layer, "a gain", gains)?,
            offsets: &affine(layer, "an offset", offsets)?,
            multiplier: fixed(
                layer,
                "the output scale",
                norm_multiplier(range),
                limits::MAX_NORM_MULTIPLIER,
            )?,
            output,
        })?;
        Ok(range)
    }

    fn conv(&mut self, conv: &Conv<&'a Range>) -> Result<&'a Range> {
        let layer = conv.id;
        let range = self.ranges.get(layer, conv.channels)?;
        let quantised = self.rounder.quantise(conv)?;
        let mut multipliers = Vec::with_capacity(4 * conv.channels);
        for (channel, unit) in quantised.units.iter().enumerate() {
            let factor = unit / range.step(channel) * TWO_32;
            let factor = fixed(layer, "an accumulator's unit", factor, i32::MAX)?;
            multipliers.extend(factor.to_le_bytes());
        }
        let residual = match &conv.extra {
            Extra::Residual(Activation { data, .. }) => {
                let ratio = f64::from(data.scale) / f64::from(range.scale);
                fixed(
                    layer,
                    "the residual's scale",
                    ratio * 16_777_216.0,
                    i32::MAX,
                )?
            }
            Extra::None | Extra::Embedding(_) => 0,
        };
        let zero_points: Vec<u8> = range
            .zero_points
            .iter()
            .flat_map(|zero| zero.to_le_bytes())
            .collect();
        let weights = quantised.packed(conv);
        let bias = quantised.bias_words();
        self.writer.aligned(weights.len(), |padding| ConvRecord {
            padding,
            weights: &weights,
            bias: &bias,
            multipliers: &multipliers,
            residual,
            scale: range.scale,
            shifts: &range.shifts,
            zero_points: &zero_points,
            layout: WeightLayout::Direct,
        })?;
        self.units = quantised.units;
        Ok(range)
    }

    fn attention(&mut self, attention: &Attention<&'a Range>) -> Result<&'a Range> {
        let layer = attention.id;
        let channels = attention.query.shape.channels;
        let range = self.ranges.get(layer, channels)?;
        let output = range.plain();
        let width = channels / usize::from(self.topology.heads);
        let scale = |operand: &Activation<&'a Range>| f64::from(operand.data.scale);
        let logit = scale(&attention.query) * scale(&attention.key) / (width as f64).sqrt()
            * std::f64::consts::LOG2_E;
        let value = scale(&attention.value) / f64::from(output.scale);
        self.writer.record(&MixRecord {
            logit: fixed(layer, "the logits' scale", logit * TWO_32, i32::MAX)?,
            value: fixed(
                layer,
                "the values' scale",
                value * 65_536.0,
                limits::MAX_VALUE_FACTOR,
            )?,
            output,
        })?;
        Ok(range)
    }

    fn output(&mut self, conv: &Conv<&'a Range>) -> Result<()> {
        let quantised = self.rounder.quantise(conv)?;
        let scales: Vec<u8> = quantised
            .units
            .iter()
            .flat_map(|&unit| (unit as f32).to_le_bytes())
            .collect();
        let weights = quantised.packed(conv);
        let bias = quantised.bias_words();
        self.writer.aligned(weights.len(), |padding| OutputRecord {
            padding,
            weights: &weights,
            bias: &bias,
            scales: &scales,
        })?;
        Ok(())
    }

    fn release(&mut self, _: &'a Range) {}
}
