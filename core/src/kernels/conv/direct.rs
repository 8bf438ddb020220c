//! The direct layouts, and weights of 4 bits: im2col, a few positions at a time.

use super::narrow::narrow;
use super::task::{TAPS, Task, direct_weights, expanded_words, next_places, tap_source};
use crate::graph::Geometry;
use crate::kernels::engine::{Engine, LANES};
use crate::kernels::epilogue::Epilogue;
use crate::kernels::packing::{GROUP, PAIR};
use core::ops::Range;

/// Of weights in the direct layout, or else in 4 bits.
// Where the target needs no special compiling, a function of its own, whose
// memory is on the stack only for this layout.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(not(target_arch = "x86_64"), inline(never))]
pub(super) fn direct<E: Engine, const INT4: bool>(
    engine: E,
    task: &Task<'_>,
    positions: Range<usize>,
    padding: &[i8],
    scratch: &mut [u32],
    epilogue: &mut impl Epilogue,
) {
    let fan_in = (task.geometry.taps() * task.inputs()).next_multiple_of(GROUP);
    let gathered = if task.whole_groups() { 0 } else { fan_in };
    let expanded = expanded_words(task.layout, fan_in);
    if scratch.len() < LANES * fan_in / 2 + expanded + LANES * gathered / 4 {
        return narrow(engine, task, positions, padding, scratch, epilogue);
    }
    let Some((columns, scratch)) = scratch.split_at_mut_checked(LANES * fan_in / 2) else {
        return;
    };
    let Some((expanded, gathered)) = scratch.split_at_mut_checked(expanded) else {
        return;
    };
    let columns: &mut [i16] = bytemuck::cast_slice_mut(columns);
    let gathered: &mut [i8] = bytemuck::cast_slice_mut(gathered);
    let pair_bytes = task.layout.bytes(Geometry::Pointwise, fan_in, PAIR);
    // Where there are inputs there are bytes; this says so to the compiler,
    // which would have to panic where something is cut into pieces of none.
    if pair_bytes == 0 {
        return;
    }
    let output_side = task.geometry.output_side(task.side);
    let mut next = task.place(positions.start);
    for first in positions.clone().step_by(LANES) {
        let count = LANES.min(positions.end - first);
        let places = next_places(&mut next, output_side, count);
        if task.whole_groups() {
            fill(engine, task, padding, places, columns);
        } else {
            gather(engine, task, padding, places, gathered, columns, fan_in);
        }
        let mut pairs = task.weights.chunks_exact(pair_bytes).enumerate();
        let (initials, last) = task.initial.as_chunks::<PAIR>();
        if count == LANES {
            for (initial, (pair, weights)) in initials.iter().zip(&mut pairs) {
                let mut sums = initial.map(|sum| [sum; LANES]);
                let weights = direct_weights::<INT4>(weights, expanded);
                engine.accumulate(columns, weights, &mut sums);
                epilogue.put_run(PAIR * pair, first, &sums);
            }
        }
        // At the last positions, and of an odd last channel, not all that is
        // computed is wanted.
        let at: [usize; LANES] = core::array::from_fn(|lane| first + lane);
        let at = at.get(..count).unwrap_or_default();
        let initials = initials.iter().map(|pair| &pair[..]).chain([last]);
        for (pair, weights) in pairs {
            let mut sums = [[0; LANES]; PAIR];
            let weights = direct_weights::<INT4>(weights, expanded);
            engine.accumulate(columns, weights, &mut sums);
            let initial = initials.clone().nth(pair).unwrap_or_default();
            for ((channel, sums), &initial) in (PAIR * pair..).zip(&sums).zip(initial) {
                let sums = sums.map(|sum| initial.wrapping_add(sum));
                epilogue.put_few(channel, at, sums.get(..count).unwrap_or_default());
            }
        }
    }
}

/// Spreads what each of the positions sees, tap by tap and plane by plane.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(not(target_arch = "x86_64"), inline(never))]
fn fill<E: Engine>(
    engine: E,
    task: &Task<'_>,
    padding: &[i8],
    places: [(usize, usize); LANES],
    columns: &mut [i16],
) {
    if let Some(rows) = Rows::new(task, &places, padding) {
        for down in 0..3 {
            let k = down * 3 * task.inputs();
            engine.spread(columns, k, places.map(|place| rows.source(place, down)));
        }
        return;
    }
    let mut k = 0;
    for &tap in TAPS.iter().take(task.geometry.taps()) {
        let mut sources = [None; LANES];
        for (source, place) in sources.iter_mut().zip(places) {
            *source = tap_source(task.geometry, task.side, place, tap);
        }
        for (plane, padding) in task.planes(padding) {
            if plane.channels == 0 {
                continue;
            }
            let mut values = [padding; LANES];
            for (values, source) in values.iter_mut().zip(sources) {
                if let Some(found) = source.and_then(|at| plane.at(at)) {
                    *values = found;
                }
            }
            engine.spread(columns, k, values);
            k += plane.channels;
        }
    }
}

/// Three neighbours in a row lie side by side in memory: where no lane sees
/// the border to its left or right, they need not be looked for one by one.
struct Rows<'a> {
    values: &'a [i8],
    channels: usize,
    side: usize,
    stride: usize,
    padding: &'a [i8],
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn new(task: &Task<'a>, places: &[(usize, usize)], padding: &'a [i8]) -> Option<Self> {
        let stride = match task.geometry {
            Geometry::Same => 1,
            Geometry::Down => 2,
            Geometry::Pointwise | Geometry::Up => return None,
        };
        let mut inside = places.iter().map(|&(_, column)| stride * column);
        let inside = inside.all(|column| column >= 1 && column + 1 < task.side);
        (inside && task.skip.channels == 0).then_some(Self {
            values: task.x.values,
            channels: task.x.channels,
            side: task.side,
            stride,
            padding,
        })
    }

    /// The three positions that an output position sees in row `down` of its
    /// taps.
    #[inline(always)]
    fn source(&self, (row, column): (usize, usize), down: usize) -> &'a [i8] {
        let row = (self.stride * row + down).wrapping_sub(1);
        if row >= self.side {
            return self.padding;
        }
        let start = (row * self.side + self.stride * column).wrapping_sub(1) * self.channels;
        let values = self.values.get(start..start + 3 * self.channels);
        values.unwrap_or(self.padding)
    }
}

/// The same for channels that do not come in groups: first all bytes of each
/// lane side by side.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(not(target_arch = "x86_64"), inline(never))]
fn gather<E: Engine>(
    engine: E,
    task: &Task<'_>,
    padding: &[i8],
    places: [(usize, usize); LANES],
    gathered: &mut [i8],
    columns: &mut [i16],
    fan_in: usize,
) {
    let row = 3 * task.inputs();
    // As in `direct`.
    if fan_in == 0 || row == 0 {
        return;
    }
    let planes = task.planes(padding);
    let rows = Rows::new(task, &places, padding);
    for (lane, place) in gathered.chunks_exact_mut(fan_in).zip(places) {
        // Beyond the last input weights are 0, but what is not said is not the
        // same bits.
        if let Some(last) = lane.last_chunk_mut::<GROUP>() {
            last.fill(0);
        }
        if let (1, Some(&zero)) = (task.inputs(), padding.first()) {
            // A picture of one channel: nothing but single bytes.
            for (to, &tap) in lane.iter_mut().zip(TAPS.iter().take(task.geometry.taps())) {
                let source = tap_source(task.geometry, task.side, place, tap);
                let plane = if task.x.channels == 1 {
                    task.x
                } else {
                    task.skip
                };
                let value = source.and_then(|at| plane.values.get(at));
                *to = value.copied().unwrap_or(zero);
            }
            continue;
        }
        if let Some(rows) = &rows {
            for (down, to) in (0..3).zip(lane.chunks_mut(row)) {
                let values = rows.source(place, down);
                to.iter_mut()
                    .zip(values)
                    .for_each(|(to, &value)| *to = value);
            }
            continue;
        }
        let mut k = 0;
        for &tap in TAPS.iter().take(task.geometry.taps()) {
            let source = tap_source(task.geometry, task.side, place, tap);
            for (plane, padding) in &planes {
                if plane.channels == 0 {
                    continue;
                }
                let values = source.and_then(|at| plane.at(at)).unwrap_or(padding);
                let to = lane.iter_mut().skip(k);
                to.zip(values).for_each(|(to, &value)| *to = value);
                k += plane.channels;
            }
        }
    }
    let mut lanes = gathered.chunks_exact(fan_in);
    let sources = [(); LANES].map(|()| lanes.next().unwrap_or_default());
    engine.spread(columns, 0, sources);
}
