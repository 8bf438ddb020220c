//! Convolutions: what a few positions see is spread into columns, and each
//! pair of output channels is multiplied with all of them at once.
//!
//! Zero points are folded into the bias when a model is exported, so padding
//! must hold the input's zero point, and the sum is that of the definition.
//! At most 9 * 512 products of at most 2^14 each stay below 2^27; with a bias
//! and an embedding of at most 2^29 each, below 2^31.

mod direct;
mod narrow;
mod phases;
mod task;
mod winograd;

use self::direct::direct;
use self::narrow::{NARROW, narrow_words};
use self::task::{expanded_words, whole_groups};
use super::engine::{Engine, LANES, Work, with_best};
use super::epilogue::Epilogue;
use super::packing::{GROUP, WeightLayout};
use crate::graph::Geometry;
use core::ops::Range;

pub use self::task::{Plane, Task};

/// Positions of padding that are needed side by side.
const fn padding_positions(layout: WeightLayout, geometry: Geometry) -> usize {
    match layout {
        WeightLayout::Direct | WeightLayout::Int4 if geometry.taps() == 9 => 3,
        _ => 1,
    }
}

/// Words of scratch that a convolution of `x` and `skip` input channels needs
/// at least; it may have as many as [`scratch_words`] says, and is then
/// faster.
#[must_use]
pub fn least_scratch_words(
    layout: WeightLayout,
    geometry: Geometry,
    x: usize,
    skip: usize,
    outputs: usize,
) -> usize {
    let full = scratch_words(layout, geometry, x, skip);
    match layout {
        WeightLayout::Direct | WeightLayout::Int4 => {
            let padding = padding_positions(layout, geometry) * (x + skip);
            let expanded = expanded_words(layout, NARROW);
            full.min(padding.div_ceil(4) + narrow_words(outputs) + expanded)
        }
        WeightLayout::Winograd | WeightLayout::Phases => full,
    }
}

/// Words of scratch that a convolution wants: with `x` and `skip` input
/// channels.
#[must_use]
pub fn scratch_words(layout: WeightLayout, geometry: Geometry, x: usize, skip: usize) -> usize {
    let inputs = x + skip;
    let padding = padding_positions(layout, geometry) * inputs;
    padding.div_ceil(4)
        + match layout {
            WeightLayout::Direct | WeightLayout::Int4 => {
                let fan_in = (geometry.taps() * inputs).next_multiple_of(GROUP);
                let gathered = if whole_groups(x, skip) { 0 } else { fan_in };
                LANES * fan_in / 2 + expanded_words(layout, fan_in) + LANES * gathered / 4
            }
            WeightLayout::Winograd => winograd::scratch_words(inputs),
            WeightLayout::Phases => phases::scratch_words(x, skip),
        }
}

/// Runs a convolution with this machine's best engine; `epilogue` gets every
/// sum. `scratch` has [`scratch_words`], or at least
/// [`least_scratch_words`].
pub fn conv(task: &Task<'_>, scratch: &mut [u32], epilogue: &mut impl Epilogue) {
    conv_part(task, 0..task.positions(), scratch, epilogue);
}

/// The same for some of the output's positions, from a multiple of [`LANES`]
/// on; in any other layout than [`WeightLayout::Direct`] and [`WeightLayout::Int4`] for all.
pub(crate) fn conv_part(
    task: &Task<'_>,
    positions: Range<usize>,
    scratch: &mut [u32],
    epilogue: &mut impl Epilogue,
) {
    with_best(Conv {
        task,
        positions,
        scratch,
        epilogue,
    });
}

/// The arguments of [`conv`].
struct Conv<'t, 'a, F> {
    task: &'t Task<'a>,
    positions: Range<usize>,
    scratch: &'t mut [u32],
    epilogue: &'t mut F,
}

impl<F: Epilogue> Work for Conv<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn run<E: Engine>(self, engine: E) {
        let Self {
            task,
            positions,
            scratch,
            epilogue,
        } = self;
        let length = padding_positions(task.layout, task.geometry) * task.inputs();
        let Some((padding, scratch)) = scratch.split_at_mut_checked(length.div_ceil(4)) else {
            return;
        };
        let padding: &mut [i8] = bytemuck::cast_slice_mut(padding);
        let Some(padding) = padding.get_mut(..length) else {
            return;
        };
        task.pad(padding);
        if task.inputs() == 0 || !task.layout.fits(task.geometry) {
            return;
        }
        match task.layout {
            WeightLayout::Direct => {
                direct::<E, false>(engine, task, positions, padding, scratch, epilogue);
            }
            WeightLayout::Int4 => {
                direct::<E, true>(engine, task, positions, padding, scratch, epilogue);
            }
            WeightLayout::Winograd => winograd::conv(engine, task, padding, scratch, epilogue),
            WeightLayout::Phases => phases::conv(engine, task, padding, scratch, epilogue),
        }
    }
}

/// The same with a given engine.
#[inline]
pub fn conv_on<E: Engine>(
    engine: E,
    task: &Task<'_>,
    scratch: &mut [u32],
    epilogue: &mut impl Epilogue,
) {
    engine.run(Conv {
        task,
        positions: 0..task.positions(),
        scratch,
        epilogue,
    });
}
