//! Time of the kernels and of a whole step, in the shapes of a network for
//! digits of 28 by 28 pixels.
//!
//! `cargo bench -p tiny-ddpm` shows them; the fastest of many runs says more
//! than their mean on a computer that does other things too.

#[path = "../tests/common/mod.rs"]
mod common;

use divan::Bencher;
use divan::counter::ItemsCount;
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::graph::Geometry;
use tiny_ddpm::kernels::attention::{Factors, Head, head};
use tiny_ddpm::kernels::conv::{Plane, Task, conv, conv_on, scratch_words};
use tiny_ddpm::kernels::engine::Portable;
use tiny_ddpm::kernels::epilogue::Requantise;
use tiny_ddpm::kernels::norm::{Fine, Sums, Target, apply};
use tiny_ddpm::kernels::packing::WeightLayout;
use tiny_ddpm::kernels::quant::Scale;
use tiny_ddpm::{Denoiser, Level, Model, Topology, Unet};

fn main() {
    divan::main();
}

/// The network of the shipped digits.
fn digits() -> Topology {
    let level = |channels| Level {
        channels,
        attention: false,
    };
    Topology {
        image_size: 28,
        patch: 2,
        levels: [level(24), level(48)].into_iter().collect(),
        blocks: 1,
        mid_attention: true,
        heads: 4,
        group_channels: 8,
        time_features: 32,
        embedding: 96,
        classes: 10,
    }
}

/// A run of the network, its weights as they are or transformed.
#[divan::bench(args = [false, true])]
fn predict(bencher: Bencher<'_, '_>, transformed: bool) {
    let make = if transformed {
        common::transformed_blob
    } else {
        common::random_blob
    };
    let blob = make(digits(), 1);
    let model = Model::load(&blob).unwrap();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    let mut x = vec![0.0; model.topology().pixels()];
    Noise::new(1, 0).fill(&mut x);
    let mut out = x.clone();
    bencher.bench_local(|| unet.predict(&x, 500, Some(7), &mut out));
}

/// A convolution's geometry and layout, side, channels of input and output.
type Shape = (Geometry, WeightLayout, usize, usize, usize);

const SHAPES: [Shape; 8] = [
    (Geometry::Same, WeightLayout::Direct, 14, 24, 24),
    (Geometry::Same, WeightLayout::Winograd, 14, 24, 24),
    (Geometry::Same, WeightLayout::Int4, 14, 24, 24),
    (Geometry::Same, WeightLayout::Direct, 7, 48, 48),
    (Geometry::Same, WeightLayout::Winograd, 7, 48, 48),
    (Geometry::Up, WeightLayout::Direct, 7, 48, 48),
    (Geometry::Up, WeightLayout::Phases, 7, 48, 48),
    (Geometry::Pointwise, WeightLayout::Direct, 14, 72, 24),
];

/// With this machine's best engine; items are multiply-accumulates of the
/// direct layout.
#[divan::bench(args = SHAPES)]
fn convolution(bencher: Bencher<'_, '_>, shape: Shape) {
    bench_conv(bencher, shape, |task, scratch, finish| {
        conv(task, scratch, finish)
    });
}

/// With the definition's.
#[divan::bench(args = SHAPES)]
fn convolution_portable(bencher: Bencher<'_, '_>, shape: Shape) {
    bench_conv(bencher, shape, |task, scratch, finish| {
        conv_on(Portable, task, scratch, finish);
    });
}

/// With AVX2, also where there is more.
#[cfg(target_arch = "x86_64")]
#[divan::bench(args = SHAPES)]
fn convolution_avx2(bencher: Bencher<'_, '_>, shape: Shape) {
    let engine = tiny_ddpm::kernels::engine::x86::Avx2::detect();
    if let Some(engine) = engine {
        bench_conv(bencher, shape, |task, scratch, finish| {
            conv_on(engine, task, scratch, finish);
        });
    }
}

fn bench_conv(
    bencher: Bencher<'_, '_>,
    (geometry, layout, side, inputs, outputs): Shape,
    run: impl Fn(&Task<'_>, &mut [u32], &mut Requantise<'_>),
) {
    let values = bytes(side * side * inputs);
    let rows = bytes(geometry.taps() * inputs * outputs);
    let mut weights = vec![0; layout.bytes(geometry, inputs, outputs)];
    layout.pack(geometry, inputs, &rows, &mut weights);
    let initial = vec![1000; outputs];
    let plane = |values, channels| Plane {
        values,
        channels,
        zero_point: 3,
        zero_points: &[],
    };
    let task = Task {
        geometry,
        side,
        x: plane(&values, inputs),
        skip: plane(&[], 0),
        layout,
        weights: &weights,
        initial: &initial,
    };
    let mut scratch = vec![0; scratch_words(layout, geometry, inputs, 0)];
    let positions = geometry.output_side(side).pow(2);
    let scale = Scale {
        multiplier: 1 << 19,
        zero_point: -5,
        residual_zero: 0,
        doublings: 0,
    };
    let mut words = vec![0; 4 * outputs];
    let mut out = vec![0; positions * outputs];
    let macs = positions * outputs * inputs * geometry.taps();
    bencher.counter(ItemsCount::new(macs)).bench_local(|| {
        let scales = (0..outputs).map(|_| scale);
        let mut finish = Requantise::new(scales, None, &mut words, &mut out, outputs);
        run(&task, &mut scratch, &mut finish);
    });
}

/// A normalisation with SiLU, side and channels.
#[divan::bench(args = [(14, 24), (7, 48)])]
fn normalisation(bencher: Bencher<'_, '_>, (side, channels): (usize, usize)) {
    let values = bytes(side * side * channels);
    let (slopes, intercepts) = (vec![5000; channels], vec![-3000; channels]);
    let target = Target {
        multiplier: 8000,
        zero_point: -5,
        silu: true,
    };
    let mut out = vec![0; values.len()];
    bencher
        .counter(ItemsCount::new(values.len()))
        .bench_local(|| {
            let mut sums = Sums::default();
            for first in (0..channels).step_by(8) {
                let fine = |_| Fine {
                    zero_point: 3,
                    shift: 2,
                };
                sums.add_group(&values, channels, first..first + 8, fine);
            }
            apply(&values, &slopes, &intercepts, target, &mut out, channels, 0);
            sums
        });
}

/// The four heads of an attention over 7 by 7 positions.
#[divan::bench]
fn attention(bencher: Bencher<'_, '_>) {
    let channels = 48;
    let (queries, keys, values) = (bytes(49 * 48), bytes(49 * 48), bytes(49 * 48));
    let factors = Factors {
        logit: 1 << 20,
        value: 1 << 17,
        zero_point: -5,
    };
    let (mut weights, mut out) = (vec![0; 49], vec![0; 49 * 48]);
    bencher.bench_local(|| {
        for first in (0..channels).step_by(12) {
            let part = Head {
                channels,
                first,
                width: 12,
            };
            head(
                part,
                &queries,
                &keys,
                &values,
                factors,
                &mut weights,
                &mut out,
            );
        }
    });
}

/// Anything.
fn bytes(count: usize) -> Vec<i8> {
    (0..count).map(|i| (i * i % 251) as i8).collect()
}
