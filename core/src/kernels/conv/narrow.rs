//! A convolution that makes do with little scratch, and is slower.

use super::task::{TAPS, Task, direct_weights, expanded_words, next_places, tap_source};
use crate::graph::Geometry;
use crate::kernels::engine::{Engine, LANES};
use crate::kernels::epilogue::Epilogue;
use crate::kernels::packing::{GROUP, PAIR, WeightLayout};
use core::ops::Range;

/// Inputs that a narrow convolution spreads at once: a multiple of [`GROUP`].
pub(super) const NARROW: usize = 32;

/// Words of sums, columns, and what is gathered for them.
pub(super) fn narrow_words(outputs: usize) -> usize {
    LANES * outputs.next_multiple_of(PAIR) + LANES * NARROW / 2 + LANES * NARROW / 4
}

/// The sums of the direct layout, or of 4 bits: of a few positions all outputs' sums are
/// kept, and what the positions see is spread a few inputs at a time.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(not(target_arch = "x86_64"), inline(never))]
pub(super) fn narrow<E: Engine>(
    engine: E,
    task: &Task<'_>,
    positions: Range<usize>,
    padding: &[i8],
    scratch: &mut [u32],
    epilogue: &mut impl Epilogue,
) {
    let fan_in = (task.geometry.taps() * task.inputs()).next_multiple_of(GROUP);
    let outputs = task.initial.len();
    let sums_len = LANES * outputs.next_multiple_of(PAIR);
    let Some((sums, scratch)) = scratch.split_at_mut_checked(sums_len) else {
        return;
    };
    let Some((columns, scratch)) = scratch.split_at_mut_checked(LANES * NARROW / 2) else {
        return;
    };
    let expanded = expanded_words(task.layout, NARROW);
    let Some((expanded, gathered)) = scratch.split_at_mut_checked(expanded) else {
        return;
    };
    let sums: &mut [i32] = bytemuck::cast_slice_mut(sums);
    let sums = sums.as_chunks_mut::<LANES>().0;
    let columns: &mut [i16] = bytemuck::cast_slice_mut(columns);
    let gathered: &mut [i8] = bytemuck::cast_slice_mut(gathered);
    let Some(gathered) = gathered.get_mut(..LANES * NARROW) else {
        return;
    };
    let output_side = task.geometry.output_side(task.side);
    let mut place = task.place(positions.start);
    for first in positions.clone().step_by(LANES) {
        let count = LANES.min(positions.end - first);
        let places = next_places(&mut place, output_side, count);
        let initial = task.initial.iter().copied().chain(core::iter::repeat(0));
        for (sums, initial) in sums.iter_mut().zip(initial) {
            *sums = [initial; LANES];
        }
        let mut start = (0, 0);
        for k in (0..fan_in).step_by(NARROW) {
            let width = NARROW.min(fan_in - k);
            let mut next = start;
            for (lane, place) in gathered.chunks_exact_mut(NARROW).zip(places) {
                let to = lane.get_mut(..width).unwrap_or_default();
                next = gather_part(task, padding, place, start, to);
            }
            start = next;
            let mut lanes = gathered.chunks_exact(NARROW);
            let sources = [(); LANES]
                .map(|()| lanes.next().and_then(|lane| lane.get(..width)))
                .map(Option::unwrap_or_default);
            let columns = columns.get_mut(..LANES * width).unwrap_or_default();
            engine.spread(columns, 0, sources);
            let bytes = |inputs| task.layout.bytes(Geometry::Pointwise, inputs, PAIR);
            let weights = task.weights.chunks_exact(bytes(fan_in).max(1));
            for (sums, weights) in sums.as_chunks_mut::<PAIR>().0.iter_mut().zip(weights) {
                let part = weights.get(bytes(k)..bytes(k + width)).unwrap_or_default();
                if task.layout == WeightLayout::Int4 {
                    let Some(expanded) = expanded.get_mut(..PAIR * width / 4) else {
                        return;
                    };
                    engine.accumulate(columns, direct_weights::<true>(part, expanded), sums);
                } else {
                    engine.accumulate(columns, part, sums);
                }
            }
        }
        let at: [usize; LANES] = core::array::from_fn(|lane| first + lane);
        let at = at.get(..count).unwrap_or_default();
        for (pair, sums) in sums.as_chunks::<PAIR>().0.iter().enumerate() {
            let channel = PAIR * pair;
            if count == LANES && channel + PAIR <= outputs {
                epilogue.put_run(channel, first, sums);
                continue;
            }
            for (channel, sums) in (channel..outputs).zip(sums) {
                epilogue.put_few(channel, at, sums.get(..count).unwrap_or_default());
            }
        }
    }
}

/// Copies some of what a position sees, from a tap's channel on, and says
/// where it ended. Behind the last tap is 0.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(not(target_arch = "x86_64"), inline(never))]
fn gather_part(
    task: &Task<'_>,
    padding: &[i8],
    place: (usize, usize),
    (mut tap, mut channel): (usize, usize),
    mut to: &mut [i8],
) -> (usize, usize) {
    let planes = task.planes(padding);
    let [(x, _), _] = planes;
    while let Some(&offset) = TAPS.get(tap).filter(|_| tap < task.geometry.taps())
        && !to.is_empty()
    {
        let source = tap_source(task.geometry, task.side, place, offset);
        let [first, second] = planes;
        let ((plane, padding), within) = match channel.checked_sub(x.channels) {
            None => (first, channel),
            Some(within) => (second, within),
        };
        let values = source.and_then(|at| plane.at(at)).unwrap_or(padding);
        let values = values.get(within..).unwrap_or_default();
        let count = values.len().min(to.len());
        let Some((here, rest)) = core::mem::take(&mut to).split_at_mut_checked(count) else {
            break;
        };
        here.iter_mut().zip(values).for_each(|(to, &v)| *to = v);
        to = rest;
        if count == 0 {
            break;
        }
        channel += count;
        if channel >= task.inputs() {
            (tap, channel) = (tap + 1, 0);
        }
    }
    to.fill(0);
    (tap, channel)
}
