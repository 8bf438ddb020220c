//! A convolution's operands, and where its taps lie.

use crate::graph::Geometry;
use crate::kernels::engine::LANES;
use crate::kernels::little_endian::halfwords;
use crate::kernels::packing::{GROUP, PAIR, WeightLayout, expand};

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
    /// Zero point, where channels have none of their own.
    pub zero_point: i8,
    /// `i16` for each channel, little-endian, each within `i8`; or empty.
    pub zero_points: &'a [u8],
}

/// A convolution over square planes of `side` positions.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// Taps of an output position.
    pub geometry: Geometry,
    /// Positions along each axis of the input.
    pub side: usize,
    /// The input.
    pub x: Plane<'a>,
    /// Further input channels, behind those of `x`.
    pub skip: Plane<'a>,
    /// How the weights are stored; must [fit](WeightLayout::fits) the geometry.
    pub layout: WeightLayout,
    /// The weights, as [`WeightLayout::pack`] writes them.
    pub weights: &'a [u8],
    /// Initial sum of each output channel.
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
    pub(super) fn whole_groups(&self) -> bool {
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
    pub(super) fn pad(&self, padding: &mut [i8]) {
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

pub(super) fn whole_groups(x: usize, skip: usize) -> bool {
    x.is_multiple_of(GROUP) && skip.is_multiple_of(GROUP)
}

/// Words that the weights of a pair of outputs need, where they must be
/// expanded.
pub(super) const fn expanded_words(layout: WeightLayout, fan_in: usize) -> usize {
    match layout {
        WeightLayout::Int4 => PAIR * fan_in / 4,
        _ => 0,
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
pub(super) fn direct_weights<'w, const INT4: bool>(
    weights: &'w [u8],
    expanded: &'w mut [u32],
) -> &'w [u8] {
    if !INT4 {
        return weights;
    }
    expand(weights, expanded);
    bytemuck::cast_slice(expanded)
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
