//! Convolutions: what a few positions see is spread into columns, and each
//! pair of output channels is multiplied with all of them at once.
//!
//! Zero points are folded into the bias when a model is exported, so padding
//! must hold the input's zero point, and the sum is that of the definition.
//! At most 9 * 512 products of at most 2^14 each stay below 2^27; with a bias
//! and an embedding of at most 2^29 each, below 2^31.

use super::engine::{Engine, LANES, Work, with_best};
use super::finish::Finish;
use super::narrow::{NARROW, narrow, narrow_words};
use super::packing::{Form, GROUP, PAIR, expand};
use super::{halfwords, phases, winograd};
use crate::unet::Geometry;
use core::ops::Range;

/// Where the taps of a convolution lie: rows and columns. A table, because not
/// every processor divides.
pub(super) const TAPS: [(usize, usize); 9] = [
    (0, 0),
    (0, 1),
    (0, 2),
    (1, 0),
    (1, 1),
    (1, 2),
    (2, 0),
    (2, 1),
    (2, 2),
];

/// An activation as a convolution reads it.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// Values, channels innermost.
    pub values: &'a [i8],
    /// Channels at each position.
    pub channels: usize,
    /// What stands for 0, where channels have no zero points of their own.
    pub zero_point: i8,
    /// `i16` for each channel, little-endian, each within `i8`; or empty.
    pub zero_points: &'a [u8],
}

/// A convolution over square planes of `side` positions.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// What an output position sees.
    pub geometry: Geometry,
    /// Positions along each axis of the input.
    pub side: usize,
    /// The input.
    pub x: Plane<'a>,
    /// Further input channels, behind those of `x`.
    pub skip: Plane<'a>,
    /// How the weights are stored; must [fit](Form::fits) the geometry.
    pub form: Form,
    /// The weights, as [`Form::pack`] writes them.
    pub weights: &'a [u8],
    /// What each output channel's sum starts from.
    pub initial: &'a [i32],
}

impl<'a> Task<'a> {
    /// Positions of the output.
    pub(super) fn positions(&self) -> usize {
        let side = self.geometry.output_side(self.side);
        side * side
    }

    /// Row and column of a position of the output.
    pub(super) fn place(&self, position: usize) -> (usize, usize) {
        let side = self.geometry.output_side(self.side).max(1);
        (position / side, position % side)
    }

    /// Input channels, those of the skip included.
    pub(super) fn inputs(&self) -> usize {
        self.x.channels + self.skip.channels
    }

    /// Whether both planes' channels come in whole groups, so that columns can
    /// be filled plane by plane.
    fn whole_groups(&self) -> bool {
        whole_groups(self.x.channels, self.skip.channels)
    }

    /// The two planes, each with its part of a position of padding.
    pub(super) fn planes(&self, padding: &'a [i8]) -> [(Plane<'a>, &'a [i8]); 2] {
        let (x, skip) = padding
            .split_at_checked(self.x.channels)
            .unwrap_or_default();
        let skip = skip.get(..self.skip.channels).unwrap_or_default();
        [(self.x, x), (self.skip, skip)]
    }

    /// Fills positions of padding: what stands for 0 in each channel.
    fn pad(&self, padding: &mut [i8]) {
        for position in padding.chunks_exact_mut(self.inputs().max(1)) {
            self.pad_position(position);
        }
    }

    fn pad_position(&self, padding: &mut [i8]) {
        let Some((x, skip)) = padding.split_at_mut_checked(self.x.channels) else {
            return;
        };
        for (plane, padding) in [(self.x, x), (self.skip, skip)] {
            padding.fill(plane.zero_point);
            for (to, zero) in padding.iter_mut().zip(halfwords(plane.zero_points)) {
                *to = zero as i8;
            }
        }
    }
}

impl<'a> Plane<'a> {
    /// The values at an index of a position.
    pub(super) fn at(&self, position: usize) -> Option<&'a [i8]> {
        let start = position * self.channels;
        self.values.get(start..start + self.channels)
    }
}

fn whole_groups(x: usize, skip: usize) -> bool {
    x.is_multiple_of(GROUP) && skip.is_multiple_of(GROUP)
}

/// Positions of padding that are needed side by side.
const fn padding_positions(form: Form, geometry: Geometry) -> usize {
    match form {
        Form::Direct | Form::Nibbles if geometry.taps() == 9 => 3,
        _ => 1,
    }
}

/// Words of scratch that a convolution of `x` and `skip` input channels needs
/// at least; it may have as many as [`scratch_words`] says, and is then
/// faster.
#[must_use]
pub fn least_scratch_words(
    form: Form,
    geometry: Geometry,
    x: usize,
    skip: usize,
    outputs: usize,
) -> usize {
    let full = scratch_words(form, geometry, x, skip);
    match form {
        Form::Direct | Form::Nibbles => {
            let padding = padding_positions(form, geometry) * (x + skip);
            let expanded = expanded_words(form, NARROW);
            full.min(padding.div_ceil(4) + narrow_words(outputs) + expanded)
        }
        Form::Winograd | Form::Phases => full,
    }
}

/// Words of scratch that a convolution wants: with `x` and `skip` input
/// channels.
#[must_use]
pub fn scratch_words(form: Form, geometry: Geometry, x: usize, skip: usize) -> usize {
    let inputs = x + skip;
    let padding = padding_positions(form, geometry) * inputs;
    padding.div_ceil(4)
        + match form {
            Form::Direct | Form::Nibbles => {
                let fan_in = (geometry.taps() * inputs).next_multiple_of(GROUP);
                let gathered = if whole_groups(x, skip) { 0 } else { fan_in };
                LANES * fan_in / 2 + expanded_words(form, fan_in) + LANES * gathered / 4
            }
            Form::Winograd => winograd::scratch_words(inputs),
            Form::Phases => phases::scratch_words(x, skip),
        }
}

/// Words that the weights of a pair of outputs need, where they must be
/// expanded.
pub(super) const fn expanded_words(form: Form, fan_in: usize) -> usize {
    match form {
        Form::Nibbles => PAIR * fan_in / 4,
        _ => 0,
    }
}

/// Runs a convolution with this machine's best engine; `finish` gets every
/// sum. `scratch` has [`scratch_words`], or at least
/// [`least_scratch_words`].
pub fn conv(task: &Task<'_>, scratch: &mut [u32], finish: &mut impl Finish) {
    conv_part(task, 0..task.positions(), scratch, finish);
}

/// The same for some of the output's positions, from a multiple of [`LANES`]
/// on; in any other form than [`Form::Direct`] and [`Form::Nibbles`] for all.
pub(crate) fn conv_part(
    task: &Task<'_>,
    positions: Range<usize>,
    scratch: &mut [u32],
    finish: &mut impl Finish,
) {
    with_best(Conv {
        task,
        positions,
        scratch,
        finish,
    });
}

/// The arguments of [`conv`].
struct Conv<'t, 'a, F> {
    task: &'t Task<'a>,
    positions: Range<usize>,
    scratch: &'t mut [u32],
    finish: &'t mut F,
}

impl<F: Finish> Work for Conv<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn run<E: Engine>(self, engine: E) {
        let Self {
            task,
            positions,
            scratch,
            finish,
        } = self;
        let length = padding_positions(task.form, task.geometry) * task.inputs();
        let Some((padding, scratch)) = scratch.split_at_mut_checked(length.div_ceil(4)) else {
            return;
        };
        let padding: &mut [i8] = bytemuck::cast_slice_mut(padding);
        let Some(padding) = padding.get_mut(..length) else {
            return;
        };
        task.pad(padding);
        if task.inputs() == 0 || !task.form.fits(task.geometry) {
            return;
        }
        match task.form {
            Form::Direct => {
                direct::<E, false>(engine, task, positions, padding, scratch, finish);
            }
            Form::Nibbles => {
                direct::<E, true>(engine, task, positions, padding, scratch, finish);
            }
            Form::Winograd => winograd::conv(engine, task, padding, scratch, finish),
            Form::Phases => phases::conv(engine, task, padding, scratch, finish),
        }
    }
}

/// The same with a given engine.
#[inline]
pub fn conv_on<E: Engine>(
    engine: E,
    task: &Task<'_>,
    scratch: &mut [u32],
    finish: &mut impl Finish,
) {
    engine.run(Conv {
        task,
        positions: 0..task.positions(),
        scratch,
        finish,
    });
}

/// Of weights in the direct form, or else in 4 bits.
// Where the target needs no special compiling, a function of its own, whose
// memory is on the stack only for this form.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(not(target_arch = "x86_64"), inline(never))]
fn direct<E: Engine, const NIBBLES: bool>(
    engine: E,
    task: &Task<'_>,
    positions: Range<usize>,
    padding: &[i8],
    scratch: &mut [u32],
    finish: &mut impl Finish,
) {
    let fan_in = (task.geometry.taps() * task.inputs()).next_multiple_of(GROUP);
    let gathered = if task.whole_groups() { 0 } else { fan_in };
    let expanded = expanded_words(task.form, fan_in);
    if scratch.len() < LANES * fan_in / 2 + expanded + LANES * gathered / 4 {
        return narrow(engine, task, positions, padding, scratch, finish);
    }
    let Some((columns, scratch)) = scratch.split_at_mut_checked(LANES * fan_in / 2) else {
        return;
    };
    let Some((expanded, gathered)) = scratch.split_at_mut_checked(expanded) else {
        return;
    };
    let columns: &mut [i16] = bytemuck::cast_slice_mut(columns);
    let gathered: &mut [i8] = bytemuck::cast_slice_mut(gathered);
    let pair_bytes = task.form.bytes(Geometry::Pointwise, fan_in, PAIR);
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
                let weights = direct_weights::<NIBBLES>(weights, expanded);
                engine.accumulate(columns, weights, &mut sums);
                finish.put_run(PAIR * pair, first, &sums);
            }
        }
        // At the last positions, and of an odd last channel, not all that is
        // computed is wanted.
        let at: [usize; LANES] = core::array::from_fn(|lane| first + lane);
        let at = at.get(..count).unwrap_or_default();
        let initials = initials.iter().map(|pair| &pair[..]).chain([last]);
        for (pair, weights) in pairs {
            let mut sums = [[0; LANES]; PAIR];
            let weights = direct_weights::<NIBBLES>(weights, expanded);
            engine.accumulate(columns, weights, &mut sums);
            let initial = initials.clone().nth(pair).unwrap_or_default();
            for ((channel, sums), &initial) in (PAIR * pair..).zip(&sums).zip(initial) {
                let sums = sums.map(|sum| initial.wrapping_add(sum));
                finish.put_few(channel, at, sums.get(..count).unwrap_or_default());
            }
        }
    }
}

/// The next `count` output positions, of which `next` is the first; lanes
/// beyond the last repeat it.
#[inline(always)]
pub(super) fn next_places(
    next: &mut (usize, usize),
    output_side: usize,
    count: usize,
) -> [(usize, usize); LANES] {
    let (row, column) = next;
    let mut places = [(*row, *column); LANES];
    for place in places.iter_mut().take(count) {
        *place = (*row, *column);
        *column += 1;
        if *column == output_side {
            (*row, *column) = (*row + 1, 0);
        }
    }
    places
}

/// Weights of a pair of outputs as engines read them. Those of 4 bits are
/// expanded anew for each few positions: all of them at once would take the RAM
/// that `i8` weights take of flash.
#[inline(always)]
pub(super) fn direct_weights<'w, const NIBBLES: bool>(
    weights: &'w [u8],
    expanded: &'w mut [u32],
) -> &'w [u8] {
    if !NIBBLES {
        return weights;
    }
    expand(weights, expanded);
    bytemuck::cast_slice(expanded)
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

/// The input position under tap `tap` of an output position; `None` in the
/// padding.
#[inline(always)]
pub(super) fn tap_source(
    geometry: Geometry,
    side: usize,
    (row, column): (usize, usize),
    (down, right): (usize, usize),
) -> Option<usize> {
    if geometry == Geometry::Pointwise {
        return Some(row * side + column);
    }
    let row = tap_coordinate(geometry, side, row, down)?;
    let column = tap_coordinate(geometry, side, column, right)?;
    Some(row * side + column)
}

/// The same along one axis.
#[inline(always)]
fn tap_coordinate(geometry: Geometry, side: usize, output: usize, offset: usize) -> Option<usize> {
    let padded = match geometry {
        Geometry::Down => 2 * output + offset,
        Geometry::Pointwise | Geometry::Same | Geometry::Up => output + offset,
    };
    let coordinate = padded.checked_sub(1)?;
    if geometry == Geometry::Up {
        (coordinate < 2 * side).then_some(coordinate / 2)
    } else {
        (coordinate < side).then_some(coordinate)
    }
}
