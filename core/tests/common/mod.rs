//! Models with random weights, valid in every way but taught nothing.

#![allow(dead_code, reason = "each test file uses a part")]

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use tiny_ddpm::blob::Writer;
use tiny_ddpm::blob::records::{
    ConvRecord, Info, InputRecord, LinearRecord, MAX_SHIFT, MixRecord, NormRecord, OutputRecord,
    Packing, Quant, Recommended, TableRecord, WeightLayout,
};
use tiny_ddpm::graph::{
    Attention, Conv, Extra, Geometry, Interpreter, LayerId, Linear, Norm, Shape, Stage, Table, walk,
};
use tiny_ddpm::{Level, Prediction, ScheduleKind, Topology};

/// A U-Net that runs in milliseconds, with every kind of layer.
pub fn small_topology() -> Topology {
    let level = |channels, attention| Level {
        channels,
        attention,
    };
    Topology {
        image_size: 8,
        patch: 2,
        levels: [level(8, false), level(16, true)].into_iter().collect(),
        blocks: 1,
        mid_attention: true,
        heads: 4,
        group_channels: 4,
        time_features: 8,
        embedding: 12,
        classes: 3,
    }
}

/// A U-Net of a few kilobytes, where every bit is to be tried.
pub fn smallest_topology() -> Topology {
    Topology {
        image_size: 4,
        levels: [Level {
            channels: 4,
            attention: false,
        }]
        .into_iter()
        .collect(),
        time_features: 2,
        embedding: 4,
        ..small_topology()
    }
}

/// A perceptron for points of three values.
pub fn point_topology() -> Topology {
    Topology {
        image_size: 0,
        patch: 3,
        levels: [Level {
            channels: 16,
            attention: false,
        }]
        .into_iter()
        .collect(),
        blocks: 2,
        mid_attention: false,
        heads: 1,
        group_channels: 8,
        ..small_topology()
    }
}

pub fn info(topology: Topology) -> Info<'static> {
    Info {
        name: "random",
        topology,
        schedule: ScheduleKind::Cosine,
        timesteps: 1000,
        prediction: Prediction::V,
        packing: Packing::Portable,
        recommended: Recommended {
            steps: 5,
            guidance: 0.5,
            eta: 0.0,
        },
    }
}

/// A blob with random weights.
pub fn random_blob(topology: Topology, seed: u64) -> Vec<u8> {
    changed_blob(topology, seed, |_, _| ())
}

/// The same weights, transformed wherever that saves multiplications.
pub fn transformed_blob(topology: Topology, seed: u64) -> Vec<u8> {
    let info = Info {
        packing: Packing::Transformed,
        ..info(topology)
    };
    blob_of(info, seed, |_, _| ())
}

/// Weights of 4 bits, but for the first convolution and those after which
/// planes are doubled, which are transformed.
pub fn int4_blob(topology: Topology, seed: u64) -> Vec<u8> {
    let info = Info {
        packing: Packing::Int4,
        ..info(topology)
    };
    blob_of(info, seed, |_, _| ())
}

/// A portable one, where `change` may spoil the numbers of a convolution.
pub fn changed_blob(
    topology: Topology,
    seed: u64,
    change: impl FnMut(LayerId, &mut Numbers),
) -> Vec<u8> {
    blob_of(info(topology), seed, change)
}

fn blob_of(info: Info<'_>, seed: u64, mut change: impl FnMut(LayerId, &mut Numbers)) -> Vec<u8> {
    let mut buffer = vec![0; 8 << 20];
    let mut random = Random {
        generator: ChaCha8Rng::seed_from_u64(seed),
        writer: Writer::new(&mut buffer, &info).unwrap(),
        topology: &info.topology,
        packing: info.packing,
        centres: Vec::new(),
        change: &mut change,
    };
    let Ok(()) = walk(&mut random, &info.topology);
    let length = random.writer.finish();
    buffer.truncate(length);
    buffer
}

/// What a [`ConvRecord`] says of its output.
#[derive(Clone, Debug)]
pub struct Numbers {
    pub scale: f32,
    pub shifts: Vec<u8>,
    pub zero_points: Vec<u8>,
}

struct Random<'w, 't> {
    generator: ChaCha8Rng,
    writer: Writer<'w>,
    topology: &'t Topology,
    packing: Packing,
    /// Of each activation, what its channels are around 0 of `i8`, in steps
    /// that no channel halves.
    centres: Vec<Vec<f64>>,
    change: &'t mut dyn FnMut(LayerId, &mut Numbers),
}

const OUTPUT: Quant = Quant {
    scale: 0.03,
    zero_point: -5,
};

/// Rows of weights as a blob holds them.
pub fn packed<D>(layout: WeightLayout, conv: &Conv<D>, rows: &[i8]) -> Vec<u8> {
    let inputs = conv.input_channels();
    let mut bytes = vec![0; layout.bytes(conv.geometry, inputs, conv.channels)];
    layout.pack(conv.geometry, inputs, rows, &mut bytes);
    bytes
}

impl Random<'_, '_> {
    fn below(&mut self, n: u32) -> i32 {
        (self.generator.next_u32() % n) as i32
    }

    fn keep(&mut self, centres: Vec<f64>) -> usize {
        self.centres.push(centres);
        self.centres.len() - 1
    }

    fn words(&mut self, count: usize, low: i32, high: i32) -> Vec<u8> {
        (0..count)
            .flat_map(|_| (low + self.below((high - low) as u32 + 1)).to_le_bytes())
            .collect()
    }

    /// Rows of weights.
    fn weights(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| (self.below(255) - 127) as i8).collect()
    }

    fn layout(&self, conv: &Conv<usize>) -> WeightLayout {
        match (self.packing, conv.geometry) {
            (Packing::Transformed, geometry) => WeightLayout::fastest(geometry),
            (Packing::Int4, Geometry::Up) => WeightLayout::Phases,
            (Packing::Int4, _) if conv.id.stage != Stage::ConvIn => WeightLayout::Int4,
            _ => WeightLayout::Direct,
        }
    }

    fn fully_connected(&mut self, linear: &Linear, scale: f32) {
        let outputs = linear.outputs;
        let weights: Vec<u8> = (0..linear.inputs * outputs)
            .flat_map(|_| ((self.below(65_535) - 32_767) as i16).to_le_bytes())
            .collect();
        let scales: Vec<u8> = [scale / 32_767.0; 512][..outputs]
            .iter()
            .flat_map(|s| s.to_le_bytes())
            .collect();
        let bias = vec![0; 4 * outputs];
        self.writer
            .aligned(weights.len(), |padding| LinearRecord {
                padding,
                weights: &weights,
                scales: &scales,
                bias: &bias,
            })
            .unwrap();
    }
}

impl Interpreter for Random<'_, '_> {
    /// An index into `centres`.
    type Data = usize;
    type Error = core::convert::Infallible;

    fn timestep(&mut self, _: usize) -> Result<(), Self::Error> {
        Ok(())
    }

    fn linear(&mut self, linear: &Linear) -> Result<(), Self::Error> {
        self.fully_connected(linear, 1.0);
        Ok(())
    }

    fn classes(&mut self, table: &Table) -> Result<(), Self::Error> {
        let values: Vec<u8> = (0..table.rows * table.width)
            .flat_map(|_| ((self.below(65_535) - 32_767) as i16).to_le_bytes())
            .collect();
        let record = TableRecord {
            values: &values,
            scale: 1.0 / 32_767.0,
        };
        self.writer.record(&record).unwrap();
        Ok(())
    }

    fn projection(&mut self, linear: &Linear) -> Result<(), Self::Error> {
        // Enough to be seen, also of a few values.
        self.fully_connected(linear, 480_000.0 / linear.inputs as f32);
        Ok(())
    }

    fn input(&mut self, shape: Shape) -> Result<usize, Self::Error> {
        let output = Quant {
            scale: 0.03,
            zero_point: 0,
        };
        self.writer.record(&InputRecord { output }).unwrap();
        Ok(self.keep(vec![0.0; shape.channels]))
    }

    fn norm(&mut self, norm: &Norm<usize>) -> Result<usize, Self::Error> {
        let channels = norm.output().channels;
        let gains = self.words(channels, 1 << 14, 1 << 15);
        let offsets = self.words(channels, -1 << 14, 1 << 14);
        let record = NormRecord {
            gains: &gains,
            offsets: &offsets,
            multiplier: (256.0 / OUTPUT.scale) as i32,
            output: OUTPUT,
        };
        self.writer.record(&record).unwrap();
        Ok(self.keep(vec![0.0; channels]))
    }

    fn conv(&mut self, conv: &Conv<usize>) -> Result<usize, Self::Error> {
        let (outputs, fan_in) = (conv.channels, conv.fan_in());
        let mut weights = self.weights(fan_in * outputs);
        let layout = self.layout(conv);
        if layout == WeightLayout::Int4 {
            weights.iter_mut().for_each(|w| *w = (*w & -16).max(-112));
        }
        // Spreads the outputs over most of the range.
        let unit = 30.0 / ((fan_in as f64).sqrt() * 73.0 * 40.0);
        let residual = match conv.extra {
            Extra::Residual(residual) => Some(self.centres[residual.data].clone()),
            Extra::None | Extra::Embedding(_) => None,
        };
        let symmetric = conv.symmetric;
        let (mut bias, mut multipliers) = (Vec::new(), Vec::new());
        let (mut shifts, mut zero_points, mut centres) = (Vec::new(), Vec::new(), Vec::new());
        // What a group has in common, so that it is not only its channels'
        // means that the normalisation sees; or else nothing.
        let (mut together, mut common_shift, mut common_zero) = (false, 0, 0);
        for channel in 0..outputs {
            if channel % usize::from(self.topology.group_channels) == 0 {
                together = self.below(3) > 0;
                common_shift = self.below(8) as u8;
                common_zero = self.below(400) - 200;
            }
            let shift = match (symmetric, together) {
                (true, _) => 0,
                (_, true) => (common_shift + self.below(2) as u8).min(MAX_SHIFT),
                _ => self.below(8) as u8,
            };
            let zero = match (symmetric, conv.readers.padded, together) {
                (true, ..) => 0,
                (_, true, _) => self.below(200) - 100,
                (.., true) => (common_zero << shift) + self.below(100) - 50,
                _ => self.below(400 << shift) - (200 << shift),
            };
            let halvings = f64::from(1 << shift);
            // What the residual adds, in steps of this channel.
            let added = residual
                .as_ref()
                .map_or(0.0, |r| 0.5 * r[channel] * halvings);
            // A bias that puts the sum where the zero point expects it.
            let factor = unit * f64::from(50 + self.below(51)) / 100.0;
            let jitter = f64::from(self.below(60) - 30);
            let sum = (jitter - f64::from(zero) - added) / factor;
            bias.extend((sum as i32).to_le_bytes());
            multipliers.extend(((factor * 4_294_967_296.0) as i32).to_le_bytes());
            shifts.push(shift);
            zero_points.extend((zero as i16).to_le_bytes());
            centres.push(f64::from(-zero) / halvings);
        }
        let mut numbers = Numbers {
            scale: OUTPUT.scale,
            shifts,
            zero_points,
        };
        (self.change)(conv.id, &mut numbers);
        let weights = packed(layout, conv, &weights);
        self.writer
            .aligned(weights.len(), |padding| ConvRecord {
                padding,
                weights: &weights,
                bias: &bias,
                multipliers: &multipliers,
                residual: if residual.is_some() { 1 << 23 } else { 0 },
                scale: numbers.scale,
                shifts: &numbers.shifts,
                zero_points: &numbers.zero_points,
                layout,
            })
            .unwrap();
        Ok(self.keep(centres))
    }

    fn attention(&mut self, attention: &Attention<usize>) -> Result<usize, Self::Error> {
        let record = MixRecord {
            logit: 1 << 20,
            value: 1 << 17,
            output: OUTPUT,
        };
        self.writer.record(&record).unwrap();
        Ok(self.keep(vec![0.0; attention.query.shape.channels]))
    }

    fn output(&mut self, conv: &Conv<usize>) -> Result<(), Self::Error> {
        let (outputs, fan_in) = (conv.channels, conv.fan_in());
        let weights = packed(WeightLayout::Direct, conv, &self.weights(fan_in * outputs));
        let bias = self.words(outputs, -5000, 5000);
        let unit = 1.0 / ((fan_in as f32).sqrt() * 73.0 * 40.0);
        let scales: Vec<u8> = vec![unit; outputs]
            .iter()
            .flat_map(|s| s.to_le_bytes())
            .collect();
        self.writer
            .aligned(weights.len(), |padding| OutputRecord {
                padding,
                weights: &weights,
                bias: &bias,
                scales: &scales,
            })
            .unwrap();
        Ok(())
    }

    fn release(&mut self, _: usize) {}
}
