//! Models whose every number stands at a limit of what a blob may hold: none
//! may overflow, whatever it is asked.

use super::common::info;
use super::topologies;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use std::convert::Infallible;
use tiny_ddpm::blob::Writer;
use tiny_ddpm::blob::records::{
    ConvRecord, Info, InputRecord, LinearRecord, MixRecord, NormRecord, OutputRecord, Packing,
    Quant, TableRecord, WeightLayout,
};
use tiny_ddpm::graph::{Attention, Conv, Extra, Interpreter, Linear, Norm, Shape, Table, walk};
use tiny_ddpm::kernels::packing::{MAX_PHASE, MAX_WINOGRAD};
use tiny_ddpm::{
    Buffers, Denoiser, Method, Model, Sampler, Settings, SolverOrder, Spacing, Topology, Unet,
    Variance,
};

struct Extreme<'w> {
    generator: ChaCha8Rng,
    writer: Writer<'w>,
    packing: Packing,
}

impl Extreme<'_> {
    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.generator.next_u32() as usize % choices.len()]
    }

    /// An array all of one choice, or of any.
    fn array<T: Copy, const N: usize>(
        &mut self,
        count: usize,
        choices: &[T],
        bytes: impl Fn(T) -> [u8; N],
    ) -> Vec<u8> {
        let one = self.pick(choices);
        let mixed = self.pick(&[true, false]);
        (0..count)
            .flat_map(|_| bytes(if mixed { self.pick(choices) } else { one }))
            .collect()
    }

    fn words(&mut self, count: usize, choices: &[i32]) -> Vec<u8> {
        self.array(count, choices, i32::to_le_bytes)
    }

    fn floats(&mut self, count: usize, choices: &[f32]) -> Vec<u8> {
        self.array(count, choices, f32::to_le_bytes)
    }

    fn halfwords(&mut self, count: usize) -> Vec<u8> {
        self.array(count, &[i16::MIN, -1, 0, i16::MAX], i16::to_le_bytes)
    }

    /// Also such transformed weights as no weights give.
    fn packed(&mut self, conv: &Conv<()>, layout: WeightLayout) -> Vec<u8> {
        let bytes = layout.bytes(conv.geometry, conv.input_channels(), conv.channels);
        let limit = match layout {
            WeightLayout::Winograd => MAX_WINOGRAD,
            WeightLayout::Phases => MAX_PHASE,
            // -7 and 7 in either half.
            WeightLayout::Int4 => {
                return self.array(bytes, &[0x99, 0x00, 0x77, 0x97, 0x79], u8::to_le_bytes);
            }
            _ => return self.array(bytes, &[-127, 0, 127], i8::to_le_bytes),
        };
        self.array(bytes / 2, &[-limit, 0, limit], i16::to_le_bytes)
    }

    fn bias(&mut self, count: usize) -> Vec<u8> {
        self.words(count, &[-1 << 29, 0, 1 << 29])
    }

    fn scale(&mut self) -> f32 {
        self.pick(&[f32::MIN_POSITIVE, 1e-10, 0.03, 1e10, f32::MAX])
    }

    fn quant(&mut self) -> Quant {
        Quant {
            scale: self.scale(),
            zero_point: self.pick(&[-128, -1, 0, 127]),
        }
    }
}

impl Interpreter for Extreme<'_> {
    type Data = ();
    type Error = Infallible;

    fn timestep(&mut self, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn linear(&mut self, linear: &Linear) -> Result<(), Infallible> {
        let any_float = [f32::MIN, -1.0, 0.0, 1e-40, 1e-4, f32::MAX];
        let weights = self.halfwords(linear.inputs * linear.outputs);
        let scales = self.floats(linear.outputs, &any_float);
        let bias = self.floats(linear.outputs, &any_float);
        self.writer
            .aligned(weights.len(), |padding| LinearRecord {
                padding,
                weights: &weights,
                scales: &scales,
                bias: &bias,
            })
            .unwrap();
        Ok(())
    }

    fn classes(&mut self, table: &Table) -> Result<(), Infallible> {
        let record = TableRecord {
            values: &self.halfwords(table.rows * table.width),
            scale: self.scale(),
        };
        self.writer.record(&record).unwrap();
        Ok(())
    }

    fn input(&mut self, _: Shape) -> Result<(), Infallible> {
        let output = self.quant();
        self.writer.record(&InputRecord { output }).unwrap();
        Ok(())
    }

    fn norm(&mut self, norm: &Norm<()>) -> Result<(), Infallible> {
        let channels = norm.output().channels;
        let limits = [-1 << 22, 0, 1, 1 << 15, 1 << 22];
        let record = NormRecord {
            gains: &self.words(channels, &limits),
            offsets: &self.words(channels, &limits),
            multiplier: self.pick(&[0, 1, 8533, 32_767]),
            output: self.quant(),
        };
        self.writer.record(&record).unwrap();
        Ok(())
    }

    fn conv(&mut self, conv: &Conv<()>) -> Result<(), Infallible> {
        let layout = match self.packing {
            Packing::Transformed => WeightLayout::fastest(conv.geometry),
            Packing::Int4 => WeightLayout::Int4,
            _ => WeightLayout::Direct,
        };
        let weights = self.packed(conv, layout);
        let bias = self.bias(conv.channels);
        let multipliers = self.words(conv.channels, &[0, 1, 1 << 24, i32::MAX]);
        let residual = match conv.extra {
            Extra::Residual(_) => self.pick(&[0, 1 << 24, i32::MAX]),
            _ => 0,
        };
        let scale = self.scale();
        let (mut shifts, mut zero_points) = (vec![0; conv.channels], Vec::new());
        for shift in &mut shifts {
            let limit = if conv.readers.padded {
                *shift = self.pick(&[0, 7]);
                [-128, -1, 0, 127]
            } else if conv.symmetric {
                [0; 4]
            } else {
                *shift = self.pick(&[0, 7]);
                let limit = (256 << *shift) - 1;
                [-limit, -1, 0, limit]
            };
            zero_points.extend((self.pick(&limit) as i16).to_le_bytes());
        }
        self.writer
            .aligned(weights.len(), |padding| ConvRecord {
                padding,
                weights: &weights,
                bias: &bias,
                multipliers: &multipliers,
                residual,
                scale,
                shifts: &shifts,
                zero_points: &zero_points,
                layout,
            })
            .unwrap();
        Ok(())
    }

    fn attention(&mut self, _: &Attention<()>) -> Result<(), Infallible> {
        let record = MixRecord {
            logit: self.pick(&[0, 1, 1 << 20, i32::MAX]),
            value: self.pick(&[0, 1, 1 << 16, 1 << 23]),
            output: self.quant(),
        };
        self.writer.record(&record).unwrap();
        Ok(())
    }

    fn output(&mut self, conv: &Conv<()>) -> Result<(), Infallible> {
        let weights = self.packed(conv, WeightLayout::Direct);
        let bias = self.bias(conv.channels);
        let scales = self.floats(conv.channels, &[f32::MIN_POSITIVE, 0.03, f32::MAX]);
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

fn extreme_blob(topology: &Topology, packing: Packing, seed: u64) -> Vec<u8> {
    let mut buffer = vec![0; 4 << 20];
    let info = Info {
        packing,
        ..info(topology.clone())
    };
    let mut extreme = Extreme {
        generator: ChaCha8Rng::seed_from_u64(seed),
        writer: Writer::new(&mut buffer, &info).unwrap(),
        packing,
    };
    let Ok(()) = walk(&mut extreme, topology);
    let length = extreme.writer.finish();
    buffer.truncate(length);
    buffer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn nothing_overflows(
        topology in proptest::sample::select(topologies()),
        seed: u64,
        x in proptest::sample::select(vec![
            f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-40, 0.5,
        ]),
        timestep in proptest::sample::select(vec![1_u16, 500, 1000]),
    ) {
        let packings = [Packing::Portable, Packing::Transformed, Packing::Int4];
        let packing = packings[(seed % 3) as usize];
        let blob = extreme_blob(&topology, packing, seed);
        let model = Model::load(&blob).expect("limits are allowed");
        let mut workspace = vec![0; model.workspace_words()];
        let mut unet = Unet::new(&model, &mut workspace).unwrap();
        let pixels = topology.pixels();
        let mut x_t = vec![x; pixels];
        x_t[pixels / 2..].fill(0.1);
        let mut out = vec![0.0; pixels];
        // Zeros are among the extremes: a last row of them excludes no class.
        let needs_class = model.is_conditional_only();
        unet.predict(&x_t, timestep, needs_class.then_some(0), &mut out).unwrap();

        // And what comes out goes in again.
        let mut buffers = [1, 1, 2].map(|pictures| vec![0.0; pictures * pixels]);
        let [x0_hat, spare, memory] = &mut buffers;
        let class = (topology.classes > 0).then_some(0);
        for (method, spacing) in [
            (Method::Ddim { eta: 0.5 }, Spacing::Trailing),
            (Method::Ddpm { variance: Variance::Beta }, Spacing::Uniform),
            (Method::EulerMaruyama, Spacing::Trailing),
            (Method::Heun, Spacing::Quadratic),
            (Method::DpmSolver, Spacing::LogSnr),
            (Method::UniPc { order: SolverOrder::Second }, Spacing::Shifted),
            (Method::Consistency, Spacing::Trailing),
        ] {
            let settings = Settings::new(method, 3).class(class).seed(seed).picture(u64::MAX).guidance(if class.is_some() && !needs_class { 100.0 } else { 0.0 }).spacing(spacing).clip(seed % 4 < 2);
            let buffers = Buffers {
                x: &mut x_t,
                x0_hat: &mut *x0_hat,
                unconditional: &mut *spare,
                history: &mut *memory,
            };
            let mut sampler = Sampler::new(model.schedule(), settings, buffers).unwrap();
            while sampler.step(&mut unet).unwrap().is_some() {}
            tiny_ddpm::picture::to_pixels(sampler.x(), &mut vec![0; pixels]);
        }
    }
}
