//! Inputs and outputs of a run of the network.

use crate::blob::records::Channels;
use crate::graph::{LayerId, Shape};

/// An activation as it was computed, for whoever compares.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The layer.
    pub layer: LayerId,
    /// Its output's size.
    pub shape: Shape,
    /// Quantisation of the values.
    pub quant: Channels<'a>,
    /// The integers.
    pub values: &'a [i8],
}

impl Observation<'_> {
    /// The value at index `i` as a float; 0 beyond the last.
    #[must_use]
    pub fn value(&self, i: usize) -> f32 {
        let channel = i % self.shape.channels.max(1);
        let q = self.values.get(i).copied().unwrap_or(0);
        let steps = i32::from(q) - i32::from(self.quant.zero_point(channel));
        steps as f32 * self.quant.step(channel)
    }
}

/// Where a run reads x_t, and where its prediction goes.
pub(super) enum Io<'r> {
    /// It is written next to x_t.
    Apart { x_t: &'r [f32], out: &'r mut [f32] },
    /// Each pixel of x_t meets its own.
    InPlace {
        x: &'r mut [f32],
        each: &'r mut dyn FnMut(usize, &mut f32, f32),
    },
    /// The last activation is kept for a guided run.
    Keep { x_t: &'r [f32] },
    /// As in place, with what was kept as the conditional prediction.
    Guided {
        x: &'r mut [f32],
        guidance: f32,
        each: &'r mut dyn FnMut(usize, &mut f32, f32),
    },
}

impl Io<'_> {
    pub fn x_t(&self) -> &[f32] {
        match self {
            Self::Apart { x_t, .. } | Self::Keep { x_t } => x_t,
            Self::InPlace { x, .. } | Self::Guided { x, .. } => x,
        }
    }
}
