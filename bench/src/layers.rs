//! Layers as the network runs them, with numbers from a random sequence.

use tiny_ddpm::blob::records::Channels;
use tiny_ddpm::graph::Geometry;
use tiny_ddpm::kernels::attention::{self, Factors};
use tiny_ddpm::kernels::conv::{Plane, Task, conv};
use tiny_ddpm::kernels::epilogue::Requantise;
use tiny_ddpm::kernels::linear;
use tiny_ddpm::kernels::norm::{self, Fine, Statistics, Sums, Target};
use tiny_ddpm::kernels::packing::WeightLayout;
use tiny_ddpm::kernels::quant::Scale;

use super::memory::{Memory, Random, coarse};

/// A convolution from its input to its output.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// What an output position sees.
    pub geometry: Geometry,
    /// Positions along each axis of the input.
    pub side: usize,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// How the weights are stored.
    pub layout: WeightLayout,
}

impl Convolution {
    /// Multiply-accumulates, counted directly.
    pub fn macs(&self) -> usize {
        let side = self.geometry.output_side(self.side);
        side * side * self.outputs * self.inputs * self.geometry.taps()
    }

    /// Makes input, weights and all other numbers.
    pub fn prepare(&self, memory: &mut Memory, random: &mut Random) {
        let fan_in = self.geometry.taps() * self.inputs;
        random.activations(&mut memory.x[..self.side * self.side * self.inputs]);
        let rows = &mut memory.rows[..fan_in * self.outputs];
        random.weights(rows);
        if self.layout == WeightLayout::Int4 {
            coarse(rows);
        }
        let bytes = self.layout.bytes(self.geometry, self.inputs, self.outputs);
        let packed = &mut memory.packed.0[..bytes];
        self.layout.pack(self.geometry, self.inputs, rows, packed);
        random.words(&mut memory.bias[..4 * self.outputs], -20_000, 20_000);
        random.words(
            &mut memory.multipliers[..4 * self.outputs],
            1 << 20,
            1 << 21,
        );
        random.halfwords(&mut memory.zero_points[2][..2 * self.outputs], -100, 100);
    }

    /// Runs it as the network does.
    #[inline(never)]
    pub fn run(&self, memory: &mut Memory) {
        let Memory {
            x,
            packed,
            bias,
            multipliers,
            zero_points,
            shifts,
            words: [initial, _],
            scales: scales_words,
            outputs: [out, _],
            scratch,
            ..
        } = memory;
        let initial = &mut initial[..self.outputs];
        for (initial, &bytes) in initial.iter_mut().zip(bias.as_chunks().0) {
            *initial = i32::from_le_bytes(bytes);
        }
        let side = self.geometry.output_side(self.side);
        let channels = Channels {
            scale: 0.03,
            zero_point: 0,
            shifts: &shifts[..self.outputs],
            zero_points: &zero_points[2][..2 * self.outputs],
        };
        let scales = multipliers.as_chunks().0.iter().enumerate();
        let mut finish = Requantise::new(
            scales.take(self.outputs).map(|(channel, &bytes)| {
                Scale::new(i32::from_le_bytes(bytes), &channels, None, channel)
            }),
            None,
            scales_words,
            &mut out[..side * side * self.outputs],
            self.outputs,
        );
        let none = Plane {
            values: &[],
            channels: 0,
            zero_point: 0,
            zero_points: &[],
        };
        let bytes = self.layout.bytes(self.geometry, self.inputs, self.outputs);
        let task = Task {
            geometry: self.geometry,
            side: self.side,
            x: Plane {
                values: &x[..self.side * self.side * self.inputs],
                channels: self.inputs,
                zero_point: -5,
                zero_points: &[],
            },
            skip: none,
            layout: self.layout,
            weights: &packed.0[..bytes],
            initial,
        };
        conv(&task, scratch, &mut finish);
    }
}

/// A group normalisation, perhaps with SiLU.
#[derive(Clone, Copy, Debug)]
pub struct Normalisation {
    /// Positions along each axis.
    pub side: usize,
    /// Channels.
    pub channels: usize,
    /// Channels of a group.
    pub group: usize,
    /// Whether SiLU follows.
    pub silu: bool,
}

impl Normalisation {
    /// Values in all.
    pub fn values(&self) -> usize {
        self.side * self.side * self.channels
    }

    /// Makes input, gains, offsets, and what the input's integers stand for.
    pub fn prepare(&self, memory: &mut Memory, random: &mut Random) {
        random.activations(&mut memory.x[..self.values()]);
        random.words(&mut memory.bias[..4 * self.channels], -1 << 14, 1 << 14);
        random.words(
            &mut memory.multipliers[..4 * self.channels],
            1 << 14,
            1 << 15,
        );
        random.halfwords(&mut memory.zero_points[0][..2 * self.channels], -150, 150);
        for shift in &mut memory.shifts[..self.channels] {
            *shift = random.below(3) as u8;
        }
    }

    /// Runs it as the network does.
    #[inline(never)]
    pub fn run(&self, memory: &mut Memory) {
        let Memory {
            x,
            bias,
            multipliers,
            zero_points: [zero_points, ..],
            shifts,
            words: [slopes, intercepts],
            outputs: [out, _],
            ..
        } = memory;
        let channels = self.channels;
        let values = &x[..self.values()];
        let (slopes, intercepts) = (&mut slopes[..channels], &mut intercepts[..channels]);
        let quant = Channels {
            scale: 0.03,
            zero_point: 0,
            shifts: &shifts[..channels],
            zero_points: &zero_points[..2 * channels],
        };
        let fine = |channel| Fine {
            zero_point: quant.zero_point(channel),
            shift: quant.shift(channel),
        };
        let mut affine = multipliers.as_chunks().0.iter().zip(bias.as_chunks().0);
        let groups = slopes
            .chunks_mut(self.group)
            .zip(intercepts.chunks_mut(self.group))
            .enumerate();
        for (index, (slopes, intercepts)) in groups {
            let first = index * self.group;
            let mut sums = Sums::default();
            for channel in first..first + slopes.len() {
                sums.add(values, channels, channel, fine(channel));
            }
            let statistics = Statistics::new(sums, 180.0);
            let lines = slopes.iter_mut().zip(intercepts).enumerate();
            for ((i, (slope, intercept)), (&gain, &offset)) in lines.zip(affine.by_ref()) {
                let (gain, offset) = (i32::from_le_bytes(gain), i32::from_le_bytes(offset));
                (*slope, *intercept) = statistics.line(gain, offset, fine(first + i));
            }
        }
        let target = Target {
            multiplier: 8533,
            zero_point: -5,
            silu: self.silu,
        };
        let out = &mut out[..self.values()];
        norm::apply(values, slopes, intercepts, target, out, channels, 0);
    }
}

/// All heads of an attention.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Positions along each axis.
    pub side: usize,
    /// Channels.
    pub channels: usize,
    /// Heads, which share the channels.
    pub heads: usize,
}

impl Attention {
    /// Multiply-accumulates: logits, and sums of values.
    pub fn macs(&self) -> usize {
        2 * self.values() * self.side * self.side
    }

    /// Values of the output.
    pub fn values(&self) -> usize {
        self.side * self.side * self.channels
    }

    /// Makes queries, keys and values, one after the other.
    pub fn prepare(&self, memory: &mut Memory, random: &mut Random) {
        random.activations(&mut memory.x[..3 * self.values()]);
    }

    /// Runs it as the network does.
    #[inline(never)]
    pub fn run(&self, memory: &mut Memory) {
        let Memory {
            x,
            words: [weights, _],
            outputs: [out, _],
            ..
        } = memory;
        let (queries, rest) = x[..3 * self.values()].split_at(self.values());
        let (keys, values) = rest.split_at(self.values());
        let factors = Factors {
            logit: 1 << 20,
            value: 1 << 17,
            zero_point: -5,
        };
        let width = self.channels / self.heads;
        for index in 0..self.heads {
            let head = attention::Head {
                channels: self.channels,
                first: index * width,
                width,
            };
            let weights = &mut weights[..self.side * self.side];
            let out = &mut out[..self.values()];
            attention::head(head, queries, keys, values, factors, weights, out);
        }
    }
}

/// A layer of the embedding.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// Inputs.
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
}

impl Linear {
    /// Makes input, weights, scales and bias. The scales are put where a
    /// convolution has multipliers.
    pub fn prepare(&self, memory: &mut Memory, random: &mut Random) {
        for half in &mut memory.halves[..self.inputs] {
            *half = random.bits() as i16;
        }
        let weights = &mut memory.packed.0[..2 * self.inputs * self.outputs];
        random.halfwords(weights, -32_767, 32_767);
        for (bytes, from) in [(&mut memory.bias, -100), (&mut memory.multipliers, 1)] {
            for float in bytes[..4 * self.outputs].as_chunks_mut().0 {
                *float = (random.between(from, 100) as f32 / 1e5).to_le_bytes();
            }
        }
    }

    /// Runs it as the network does.
    #[inline(never)]
    pub fn run(&self, memory: &mut Memory) {
        let y = &mut memory.floats;
        linear::layer(
            &memory.packed.0[..2 * self.inputs * self.outputs],
            &memory.multipliers[..4 * self.outputs],
            &memory.bias[..4 * self.outputs],
            &memory.halves[..self.inputs],
            1e-4,
            |output, value| {
                if let Some(to) = y.get_mut(output) {
                    *to = value;
                }
            },
        );
    }
}
