//! Counts what layers take.

use super::board::Counter;
use super::layers::{Attention, Convolution, Linear, Normalisation};
use super::memory::{Memory, Random};
use core::hint::black_box;
use tiny_ddpm::graph::Geometry;
use tiny_ddpm::kernels::packing::WeightLayout;

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What runs.
    pub kernel: &'static str,
    /// Of what size.
    pub shape: &'static str,
    /// How the weights are stored.
    pub layout: &'static str,
    /// Multiply-accumulates.
    pub macs: usize,
    /// What it takes.
    pub instructions: u64,
}

/// A layer's count differs from one run to the next.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "the row is printed")]
pub struct NotRepeatable(pub Row);

/// Convolutions: kernel, shape, geometry, side, inputs, outputs.
const CONVOLUTIONS: [(&str, &str, Geometry, usize, usize, usize); 7] = [
    ("conv3x3", "28x28x16->16", Geometry::Same, 28, 16, 16),
    ("conv3x3", "14x14x32->32", Geometry::Same, 14, 32, 32),
    ("conv3x3", "7x7x64->64", Geometry::Same, 7, 64, 64),
    ("conv3x3-first", "28x28x1->16", Geometry::Same, 28, 1, 16),
    (
        "conv3x3-stride2",
        "28x28x16->32",
        Geometry::Down,
        28,
        16,
        32,
    ),
    ("conv3x3-up", "7x7x48->24", Geometry::Up, 7, 48, 24),
    ("conv1x1", "14x14x64->32", Geometry::Pointwise, 14, 64, 32),
];

/// All layouts, with their names.
pub const LAYOUTS: [(WeightLayout, &str); 4] = [
    (WeightLayout::Direct, "direct"),
    (WeightLayout::Winograd, "winograd"),
    (WeightLayout::Phases, "phases"),
    (WeightLayout::Int4, "int4"),
];

/// Shapes that are also counted with weights of 4 bits.
const INT4: [&str; 2] = ["14x14x32->32", "14x14x64->32"];

/// Runs all layers.
pub fn run(
    counter: Counter,
    memory: &mut Memory,
    mut report: impl FnMut(Row),
) -> Result<(), NotRepeatable> {
    let mut random = Random::new(1);
    let mut tell = |row: Row, again: u64| {
        report(row);
        match again == row.instructions {
            true => Ok(()),
            false => Err(NotRepeatable(row)),
        }
    };
    for (kernel, shape, geometry, side, inputs, outputs) in CONVOLUTIONS {
        let layouts = LAYOUTS.into_iter().filter(|&(layout, _)| {
            layout.fits(geometry) && (layout != WeightLayout::Int4 || INT4.contains(&shape))
        });
        for (layout, name) in layouts {
            // Opaque: the compiler must not make a kernel for one size only.
            let layer = black_box(Convolution {
                geometry,
                side,
                inputs,
                outputs,
                layout,
            });
            layer.prepare(memory, &mut random);
            let row = Row {
                kernel,
                shape,
                layout: name,
                macs: layer.macs(),
                instructions: counter.of(&mut || layer.run(memory)),
            };
            tell(row, counter.of(&mut || layer.run(memory)))?;
        }
    }

    let norm = black_box(Normalisation {
        side: 14,
        channels: 32,
        group: 8,
        silu: true,
    });
    norm.prepare(memory, &mut random);
    let row = Row {
        kernel: "norm-silu",
        shape: "14x14x32",
        layout: "-",
        // One for each value.
        macs: norm.values(),
        instructions: counter.of(&mut || norm.run(memory)),
    };
    tell(row, counter.of(&mut || norm.run(memory)))?;

    let attention = black_box(Attention {
        side: 7,
        channels: 48,
        heads: 4,
    });
    attention.prepare(memory, &mut random);
    let row = Row {
        kernel: "attention",
        shape: "7x7x48/4",
        layout: "-",
        macs: attention.macs(),
        instructions: counter.of(&mut || attention.run(memory)),
    };
    tell(row, counter.of(&mut || attention.run(memory)))?;

    let linear = black_box(Linear {
        inputs: 64,
        outputs: 128,
    });
    linear.prepare(memory, &mut random);
    let row = Row {
        kernel: "fully-connected",
        shape: "64->128",
        layout: "-",
        macs: linear.inputs * linear.outputs,
        instructions: counter.of(&mut || linear.run(memory)),
    };
    tell(row, counter.of(&mut || linear.run(memory)))
}
