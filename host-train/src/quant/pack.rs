//! Quantises the weights and writes the blob.

use anyhow::{Context, Result, ensure};
use tiny_ddpm::Topology;
use tiny_ddpm::blob::records::{
    ConvRecord, Form, Info, InputRecord, LinearRecord, MixRecord, NormRecord, OutputRecord,
    TableRecord,
};
use tiny_ddpm::blob::{Model, WriteError, Writer};
use tiny_ddpm::unet::{
    Activation, Attention, Conv, Extra, Interpreter, Norm, Part, Shape, Site, Stage, walk,
};

use super::Weights;
use super::ranges::{Range, Ranges};
use super::rounding::{WeightBits, quantise_row, weight_bits};

/// Largest magnitude of a bias in accumulator units; half of what a blob may
/// hold, so that folding in zero points cannot pass it.
const MAX_BIAS: f64 = (1u32 << 28) as f64;
/// 2^32, the denominator of an accumulator's multiplier.
const TWO_32: f64 = 4_294_967_296.0;

/// The blob of a network: weights of convolutions in `bits`, but for those that
/// [`weight_bits`] keeps at 8.
///
/// All are stored [directly](Form::Direct): [`repack`](super::repack) stores
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
        bits,
        writer: Writer::new(buffer, info)?,
    };
    walk(&mut packer, &info.topology)?;
    Ok(packer.writer.finish())
}

struct Packer<'a, 'w> {
    topology: &'a Topology,
    weights: &'a Weights,
    ranges: &'a Ranges,
    bits: WeightBits,
    writer: Writer<'w>,
}

/// Integer weights of a convolution, and the unit of each output channel's
/// accumulator.
struct Quantised {
    /// Rows, as training knows them.
    weights: Vec<i8>,
    /// i32, with the inputs' zero points folded in.
    bias: Vec<u8>,
    units: Vec<f64>,
}

impl Quantised {
    /// The weights as every device reads them.
    fn packed<D>(&self, conv: &Conv<D>) -> Vec<u8> {
        let inputs = conv.input_channels();
        let mut packed = vec![0; Form::Direct.bytes(conv.geometry, inputs, conv.channels)];
        Form::Direct.pack(conv.geometry, inputs, &self.weights, &mut packed);
        packed
    }
}

impl<'a> Packer<'a, '_> {
    /// The float weights and bias of a convolution. Queries, keys and values
    /// are one layer in training and three on the chip.
    fn float_conv(&self, site: Site, fan_in: usize, channels: usize) -> Result<(&[f32], &[f32])> {
        let part = match site.part {
            Part::Query => 0,
            Part::Key => 1,
            Part::Value => 2,
            _ => {
                let weights = self
                    .weights
                    .get(&format!("{site}.weight"), fan_in * channels)?;
                return Ok((
                    weights,
                    self.weights.get(&format!("{site}.bias"), channels)?,
                ));
            }
        };
        let stage = site.stage;
        let count = fan_in * channels;
        let weights = self
            .weights
            .get(&format!("{stage}.qkv.weight"), 3 * count)?;
        let bias = self
            .weights
            .get(&format!("{stage}.qkv.bias"), 3 * channels)?;
        let (weights, bias) = (&weights[part * count..], &bias[part * channels..]);
        Ok((&weights[..count], &bias[..channels]))
    }

    /// Quantises the weights of each output channel.
    ///
    /// The halves of a skip concatenation share an accumulator, so weights are
    /// compared after multiplication with their half's scale.
    fn quantise(&self, conv: &Conv<&Range>) -> Result<Quantised> {
        let (taps, inputs) = (conv.geometry.taps(), conv.input_channels());
        let (weights, bias) = self.float_conv(conv.site, taps * inputs, conv.channels)?;
        let own = conv.x.shape.channels;
        let inputs_of: Vec<(&Range, usize)> = (0..inputs)
            .map(|input| match &conv.skip {
                Some(skip) if input >= own => (skip.data, input - own),
                _ => (conv.x.data, input),
            })
            .collect();
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
        let bits = weight_bits(conv.site, self.bits);
        let mut quantised = Quantised {
            weights: Vec::with_capacity(weights.len()),
            bias: Vec::with_capacity(4 * bias.len()),
            units: Vec::with_capacity(bias.len()),
        };
        for (channel, &bias) in weights.chunks_exact(taps * inputs).zip(bias) {
            // What a weight contributes for one step of its input, tap by tap.
            let contributions: Vec<f64> = (0..taps)
                .flat_map(|tap| (0..inputs).map(move |input| (tap, input)))
                .map(|(tap, input)| f64::from(channel[input * taps + tap]) * steps[input])
                .collect();
            // A channel that does nothing still needs a unit for its bias.
            let least = (f64::from(bias.abs()) / MAX_BIAS).max(f64::MIN_POSITIVE.sqrt());
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
            quantised.bias.extend((sum.round() as i32).to_le_bytes());
            quantised.units.push(unit);
        }
        Ok(quantised)
    }

    /// Writes a fully connected layer. `units` is what each output is counted
    /// in.
    fn linear(
        &mut self,
        site: Site,
        inputs: usize,
        outputs: usize,
        units: impl Fn(usize) -> f64,
    ) -> Result<()> {
        let weights = self
            .weights
            .get(&format!("{site}.weight"), inputs * outputs)?;
        let bias = self.weights.get(&format!("{site}.bias"), outputs)?;
        let (mut words, mut scales, mut biases) = (Vec::new(), Vec::new(), Vec::new());
        for (output, (row, &bias)) in weights.chunks_exact(inputs).zip(bias).enumerate() {
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
fn fixed(site: Site, what: &str, value: f64, limit: i32) -> Result<i32> {
    let rounded = value.round();
    ensure!(
        (0.0..=f64::from(limit)).contains(&rounded),
        "layer {site}: {what} is out of proportion ({rounded} where at most {limit} fits); \
         train longer, or with a larger weight decay"
    );
    Ok(rounded as i32)
}

/// Gains or offsets with 15 fraction bits.
fn affine(site: Site, what: &str, values: &[f32]) -> Result<Vec<u8>> {
    let mut words = Vec::with_capacity(4 * values.len());
    for &value in values {
        let magnitude = fixed(site, what, f64::from(value.abs()) * 32_768.0, 1 << 22)?;
        let word = if value < 0.0 { -magnitude } else { magnitude };
        words.extend(word.to_le_bytes());
    }
    Ok(words)
}

impl<'a> Interpreter for Packer<'a, '_> {
    type Data = &'a Range;
    type Error = anyhow::Error;

    fn time(&mut self) -> Result<()> {
        let features = usize::from(self.topology.time_features);
        let width = usize::from(self.topology.embedding);
        let site = |part| Site::new(Stage::Time, part);
        self.linear(site(Part::Linear1), features, width, |_| 1.0)?;
        self.linear(site(Part::Linear2), width, width, |_| 1.0)?;
        let rows = usize::from(self.topology.classes) + 1;
        let table = self.weights.get("time.classes.weight", rows * width)?;
        let (values, scale) = halfwords(table);
        self.writer.record(&TableRecord {
            values: &values,
            scale: scale as f32,
        })?;
        Ok(())
    }

    fn input(&mut self, _: Shape) -> Result<&'a Range> {
        let range = self.ranges.get("x")?;
        let output = range.plain();
        self.writer.record(&InputRecord { output })?;
        Ok(range)
    }

    fn norm(&mut self, norm: &Norm<&'a Range>) -> Result<&'a Range> {
        let (site, channels) = (norm.site, norm.output().channels);
        let range = self.ranges.get(&site.to_string())?;
        let output = range.plain();
        let gains = self.weights.get(&format!("{site}.gain"), channels)?;
        let offsets = self.weights.get(&format!("{site}.offset"), channels)?;
        let multiplier = 256.0 / f64::from(output.scale);
        self.writer.record(&NormRecord {
            gains: &affine(site, "a gain", gains)?,
            offsets: &affine(site, "an offset", offsets)?,
            multiplier: fixed(site, "the output scale", multiplier, 32_767)?,
            output,
        })?;
        Ok(range)
    }

    fn conv(&mut self, conv: &Conv<&'a Range>) -> Result<&'a Range> {
        let site = conv.site;
        let range = self.ranges.get(&site.to_string())?;
        let quantised = self.quantise(conv)?;
        let mut multipliers = Vec::with_capacity(4 * conv.channels);
        for (channel, unit) in quantised.units.iter().enumerate() {
            let factor = unit / range.step(channel) * TWO_32;
            let factor = fixed(site, "an accumulator's unit", factor, i32::MAX)?;
            multipliers.extend(factor.to_le_bytes());
        }
        let residual = match &conv.extra {
            Extra::Residual(Activation { data, .. }) => {
                let ratio = f64::from(data.scale) / f64::from(range.scale);
                fixed(site, "the residual's scale", ratio * 16_777_216.0, i32::MAX)?
            }
            Extra::None | Extra::Embedding => 0,
        };
        let zero_points: Vec<u8> = range
            .zero_points
            .iter()
            .flat_map(|zero| zero.to_le_bytes())
            .collect();
        let weights = quantised.packed(conv);
        self.writer.aligned(weights.len(), |padding| ConvRecord {
            padding,
            weights: &weights,
            bias: &quantised.bias,
            multipliers: &multipliers,
            residual,
            scale: range.scale,
            shifts: &range.shifts,
            zero_points: &zero_points,
            form: Form::Direct,
        })?;
        if matches!(conv.extra, Extra::Embedding) {
            let emb = Site::new(site.stage, Part::Embedding);
            let width = usize::from(self.topology.embedding);
            self.linear(emb, width, conv.channels, |channel| {
                quantised.units[channel]
            })?;
        }
        Ok(range)
    }

    fn attention(&mut self, attention: &Attention<&'a Range>) -> Result<&'a Range> {
        let site = attention.site;
        let range = self.ranges.get(&site.to_string())?;
        let output = range.plain();
        let width = attention.query.shape.channels / usize::from(self.topology.heads);
        let scale = |operand: &Activation<&'a Range>| f64::from(operand.data.scale);
        let logit = scale(&attention.query) * scale(&attention.key) / (width as f64).sqrt()
            * std::f64::consts::LOG2_E;
        let value = scale(&attention.value) / f64::from(output.scale);
        self.writer.record(&MixRecord {
            logit: fixed(site, "the logits' scale", logit * TWO_32, i32::MAX)?,
            value: fixed(site, "the values' scale", value * 65_536.0, 1 << 23)?,
            output,
        })?;
        Ok(range)
    }

    fn output(&mut self, conv: &Conv<&'a Range>) -> Result<()> {
        let quantised = self.quantise(conv)?;
        let scales: Vec<u8> = quantised
            .units
            .iter()
            .flat_map(|&unit| (unit as f32).to_le_bytes())
            .collect();
        let weights = quantised.packed(conv);
        self.writer.aligned(weights.len(), |padding| OutputRecord {
            padding,
            weights: &weights,
            bias: &quantised.bias,
            scales: &scales,
        })?;
        Ok(())
    }

    fn release(&mut self, _: &'a Range) {}
}
