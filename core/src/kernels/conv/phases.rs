//! A 3x3 convolution of a plane whose positions are doubled in both axes, as
//! four 2x2 convolutions of the plane itself: 4 products do the work of 9.
//!
//! An output at the top left of a doubled position sees that position and its
//! neighbours above and to the left; at the bottom right, those below and to
//! the right. Two taps that meet the same position were added when the model
//! was exported.

use super::task::Task;
use crate::kernels::engine::{Engine, WIDE_LANES};
use crate::kernels::epilogue::Epilogue;
use crate::kernels::packing::{GROUP, QUAD};

/// Taps of a phase.
const TAPS: usize = 4;

/// Words of the columns, and of what is gathered where channels do not come
/// in groups.
pub(super) fn scratch_words(x: usize, skip: usize) -> usize {
    let fan_in = (TAPS * (x + skip)).next_multiple_of(GROUP);
    WIDE_LANES * fan_in / 2 + WIDE_LANES * fan_in / 4
}

// Of the stack's memory, see `direct`.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(not(target_arch = "x86_64"), inline(never))]
pub(super) fn conv<E: Engine>(
    engine: E,
    task: &Task<'_>,
    padding: &[i8],
    scratch: &mut [u32],
    epilogue: &mut impl Epilogue,
) {
    let inputs = task.inputs();
    let fan_in = (TAPS * inputs).next_multiple_of(GROUP);
    let Some((columns, gathered)) = scratch.split_at_mut_checked(WIDE_LANES * fan_in / 2) else {
        return;
    };
    let columns: &mut [i16] = bytemuck::cast_slice_mut(columns);
    let gathered: &mut [i8] = bytemuck::cast_slice_mut(gathered);
    let positions = task.side * task.side;
    let quad_bytes = 2 * QUAD * fan_in;
    let phase_bytes = quad_bytes * task.initial.len().div_ceil(QUAD);
    // Not 0 where there is a position and a channel, as `max` tells the compiler.
    let (side, lane_len) = (task.side.max(1), fan_in.max(1));
    let (quad_bytes, phase_bytes) = (quad_bytes.max(1), phase_bytes.max(1));
    for first in (0..positions).step_by(WIDE_LANES) {
        let count = WIDE_LANES.min(positions - first);
        let places = [first, first + count - 1].map(|place| (place / side, place % side));
        for (phase, weights) in task.weights.chunks_exact(phase_bytes).enumerate() {
            let (down, right) = (phase / 2, phase % 2);
            for (lane, place) in gathered.chunks_exact_mut(lane_len).zip(places) {
                gather(task, padding, place, (down, right), lane);
            }
            let mut lanes = gathered.chunks_exact(lane_len);
            let sources = [(); WIDE_LANES].map(|()| lanes.next().unwrap_or_default());
            engine.spread(columns, 0, sources);
            let at = places.map(|(row, column)| (2 * row + down) * (2 * side) + 2 * column + right);
            let at = at.get(..count).unwrap_or_default();

            // Not zipped, as in `attention`.
            let mut quads = weights.chunks_exact(quad_bytes);
            for (quad, initial) in task.initial.chunks(QUAD).enumerate() {
                let Some(weights) = quads.next() else {
                    break;
                };
                let mut sums = [[[0; WIDE_LANES]; QUAD]];
                engine.wide(columns, weights, &mut sums);
                let outputs = sums.iter().flatten().zip(initial);
                for (output, (sums, &initial)) in outputs.enumerate() {
                    let sums = sums.map(|sum| initial.wrapping_add(sum));
                    epilogue.put_few(quad * QUAD + output, at, &sums);
                }
            }
        }
    }
}

/// Copies the 2x2 positions that a phase of a position sees.
#[inline(always)]
fn gather(
    task: &Task<'_>,
    padding: &[i8],
    (row, column): (usize, usize),
    (down, right): (usize, usize),
    gathered: &mut [i8],
) {
    let side = task.side;
    let mut to = gathered.chunks_exact_mut(task.inputs().max(1));
    for (tap, to) in (0..TAPS).zip(&mut to) {
        let place = (row + down + tap / 2)
            .checked_sub(1)
            .zip((column + right + tap % 2).checked_sub(1));
        let source = place.filter(|&(row, column)| row < side && column < side);
        let source = source.map(|(row, column)| row * side + column);
        let Some((x, skip)) = to.split_at_mut_checked(task.x.channels) else {
            return;
        };
        for ((plane, padding), to) in task.planes(padding).into_iter().zip([x, skip]) {
            let values = source.and_then(|at| plane.at(at)).unwrap_or(padding);
            to.iter_mut().zip(values).for_each(|(to, &v)| *to = v);
        }
    }
}
