//! How much a run of a network computes, known before it is run.
//!
//! Time is proportional to it: whoever has a watchdog compares it with what the
//! device can do in the time that the watchdog leaves.

use super::op::{Attention, Conv, Interpreter, Linear, Norm, Shape, Table};
use super::topology::Topology;
use super::walk::walk;
use core::convert::Infallible;

/// Most multiply-accumulates of one run. A topology that asks for more is
/// [refused](crate::TopologyError::Work), and with it the blob.
///
/// A Cortex-M4 takes about one instruction for each. Less than 2^32, so that
/// no count of work overflows a chip's `usize`.
pub const MAX_MACS: u32 = 1 << 31;

/// Work of one run of a network, its weights counted as if they were
/// stored [directly](crate::kernels::packing::WeightLayout::Direct): other layouts only
/// do less.
///
/// A run takes at most `macs`, `values` and `floats`, each times a constant of
/// the processor, and nothing in it depends on the numbers computed with. Which
/// constants these are on a Cortex-M4, a Cortex-M0 and an RV32 is written in
/// `bench/src/cost.rs` and checked in an emulator, with the worst networks that
/// we could think of. A step of a sampler runs the network once, or twice with
/// guidance ([`Settings::guidance`](crate::Settings::guidance)), and a picture
/// takes [`Settings::evaluations`](crate::Settings::evaluations) runs, of which
/// there are at most four for each of at most
/// [`MAX_TIMESTEPS`](crate::diffusion::schedule::MAX_TIMESTEPS) steps.
///
/// ```
/// use tiny_ddpm::{Model, graph::Cost};
/// /// What fits between two feedings of this device's watchdog.
/// const MOST: u32 = 30_000_000;
/// fn fits(model: &Model<'_>) -> bool {
///     Cost::of(model.topology()).macs <= MOST
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Cost {
    /// Multiply-accumulates: of a valid topology at most [`MAX_MACS`].
    pub macs: u32,
    /// Integers made of them: those of all activations, and the logits of
    /// attentions.
    pub values: u32,
    /// Values computed in floating point: the embedding, its projections, and
    /// what is done for each pixel or value of x_t.
    pub floats: u32,
}

impl Cost {
    /// The work of a topology whose single fields are within their limits, as
    /// those of every loaded model are. Counts saturate.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        let mut counter = Counter {
            heads: topology.heads.into(),
            pixels: topology.pixels(),
            macs: 0,
            values: 0,
            floats: 0,
        };
        let Ok(()) = walk(&mut counter, topology);
        let whole = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            macs: whole(counter.macs),
            values: whole(counter.values),
            floats: whole(counter.floats),
        }
    }
}

/// With 64 bits: no count of some hundred layers, each of at most
/// 2 * 10^10, comes near to their limit.
struct Counter {
    heads: usize,
    pixels: usize,
    macs: u64,
    values: u64,
    floats: u64,
}

/// a * b, which 32 bits may not hold.
fn product(a: usize, b: usize) -> u64 {
    a as u64 * b as u64
}

impl Counter {
    fn activation(&mut self, shape: Shape) {
        self.values += shape.values() as u64;
    }

    fn sums<D>(&mut self, conv: &Conv<D>) {
        self.macs += conv.macs();
        self.activation(conv.output());
    }
}

impl Interpreter for Counter {
    type Data = ();
    type Error = Infallible;

    fn timestep(&mut self, features: usize) -> Result<(), Infallible> {
        self.floats += features as u64;
        Ok(())
    }

    fn linear(&mut self, linear: &Linear) -> Result<(), Infallible> {
        self.macs += linear.macs();
        self.floats += linear.outputs as u64;
        Ok(())
    }

    fn classes(&mut self, _: &Table) -> Result<(), Infallible> {
        Ok(())
    }

    fn input(&mut self, shape: Shape) -> Result<(), Infallible> {
        // Of a point, its sines too.
        self.floats += shape.values() as u64;
        self.activation(shape);
        Ok(())
    }

    fn norm(&mut self, norm: &Norm<()>) -> Result<(), Infallible> {
        self.activation(norm.output());
        Ok(())
    }

    fn conv(&mut self, conv: &Conv<()>) -> Result<(), Infallible> {
        self.sums(conv);
        Ok(())
    }

    fn attention(&mut self, attention: &Attention<()>) -> Result<(), Infallible> {
        let shape = attention.query.shape;
        let positions = shape.side * shape.side;
        self.macs += attention.macs();
        self.values += product(self.heads * positions, positions);
        self.activation(shape);
        Ok(())
    }

    fn output(&mut self, conv: &Conv<()>) -> Result<(), Infallible> {
        self.sums(conv);
        self.floats += self.pixels as u64;
        Ok(())
    }

    fn release(&mut self, (): ()) {}
}
