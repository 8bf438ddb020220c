//! Models with random weights, valid in every way but taught nothing.

#![allow(dead_code, reason = "each test file uses a part")]

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use tiny_ddpm::blob::Writer;
use tiny_ddpm::blob::records::{
    ConvRecord, Info, InputRecord, LinearRecord, MixRecord, NormRecord, OutputRecord, Packing,
    Quant, Recommended, TableRecord,
};
use tiny_ddpm::unet::{Attention, Conv, Extra, Interpreter, Norm, Part, Shape, walk};
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
    let mut buffer = vec![0; 4 << 20];
    let info = info(topology);
    let mut random = Random {
        generator: ChaCha8Rng::seed_from_u64(seed),
        writer: Writer::new(&mut buffer, &info).unwrap(),
        topology: &info.topology,
    };
    let Ok(()) = walk(&mut random, &info.topology);
    let length = random.writer.finish();
    buffer.truncate(length);
    buffer
}

struct Random<'w, 't> {
    generator: ChaCha8Rng,
    writer: Writer<'w>,
    topology: &'t Topology,
}

const OUTPUT: Quant = Quant {
    scale: 0.03,
    zero_point: -5,
};

impl Random<'_, '_> {
    fn below(&mut self, n: u32) -> i32 {
        (self.generator.next_u32() % n) as i32
    }

    fn words(&mut self, count: usize, low: i32, high: i32) -> Vec<u8> {
        (0..count)
            .flat_map(|_| (low + self.below((high - low) as u32 + 1)).to_le_bytes())
            .collect()
    }

    fn weights(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.below(255) - 127) as u8).collect()
    }

    fn linear(&mut self, inputs: usize, outputs: usize, scale: f32) {
        let weights: Vec<u8> = (0..inputs * outputs)
            .flat_map(|_| ((self.below(65_535) - 32_767) as i16).to_le_bytes())
            .collect();
        let scales: Vec<u8> = [scale / 32_767.0; 512][..outputs]
            .iter()
            .flat_map(|s| s.to_le_bytes())
            .collect();
        let bias = vec![0; 4 * outputs];
        self.writer
            .record(&LinearRecord {
                weights: &weights,
                scales: &scales,
                bias: &bias,
            })
            .unwrap();
    }
}

impl Interpreter for Random<'_, '_> {
    type Data = ();
    type Error = core::convert::Infallible;

    fn time(&mut self) -> Result<(), Self::Error> {
        let features = usize::from(self.topology.time_features);
        let embedding = usize::from(self.topology.embedding);
        self.linear(features, embedding, 1.0);
        self.linear(embedding, embedding, 1.0);
        let rows = usize::from(self.topology.classes) + 1;
        let values: Vec<u8> = (0..rows * embedding)
            .flat_map(|_| ((self.below(65_535) - 32_767) as i16).to_le_bytes())
            .collect();
        let record = TableRecord {
            values: &values,
            scale: 1.0 / 32_767.0,
        };
        self.writer.record(&record).unwrap();
        Ok(())
    }

    fn input(&mut self, _: Shape) -> Result<(), Self::Error> {
        let output = Quant {
            scale: 0.03,
            zero_point: 0,
        };
        self.writer.record(&InputRecord { output }).unwrap();
        Ok(())
    }

    fn norm(&mut self, norm: &Norm<()>) -> Result<(), Self::Error> {
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
        Ok(())
    }

    fn conv(&mut self, conv: &Conv<()>) -> Result<(), Self::Error> {
        let (outputs, fan_in) = (conv.channels, conv.fan_in());
        let weights = self.weights(fan_in * outputs);
        let bias = self.words(outputs, -5000, 5000);
        // Spreads the outputs over most of the range.
        let unit = 30.0 / ((fan_in as f64).sqrt() * 73.0 * 40.0);
        let multiplier = (unit * 4_294_967_296.0) as i32;
        let multipliers = self.words(outputs, multiplier / 2, multiplier);
        let residual = matches!(conv.extra, Extra::Residual(_));
        let symmetric = matches!(conv.site.part, Part::Query | Part::Key | Part::Value);
        self.writer
            .aligned(weights.len(), |padding| ConvRecord {
                padding,
                weights: &weights,
                bias: &bias,
                multipliers: &multipliers,
                residual: if residual { 1 << 23 } else { 0 },
                output: Quant {
                    zero_point: if symmetric { 0 } else { 3 },
                    ..OUTPUT
                },
            })
            .unwrap();
        if matches!(conv.extra, Extra::Embedding) {
            self.linear(usize::from(self.topology.embedding), outputs, 20_000.0);
        }
        Ok(())
    }

    fn attention(&mut self, _: &Attention<()>) -> Result<(), Self::Error> {
        let record = MixRecord {
            logit: 1 << 20,
            value: 1 << 17,
            output: OUTPUT,
        };
        self.writer.record(&record).unwrap();
        Ok(())
    }

    fn output(&mut self, conv: &Conv<()>) -> Result<(), Self::Error> {
        let (outputs, fan_in) = (conv.channels, conv.fan_in());
        let weights = self.weights(fan_in * outputs);
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

    fn release(&mut self, (): ()) {}
}
