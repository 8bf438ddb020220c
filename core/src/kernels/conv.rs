//! Convolutions: gather what an output position sees, then one dot product
//! for each output channel.
//!
//! Zero points are folded into the bias when a model is exported, so padding
//! must hold the input's zero point, and the sum is that of the definition.
//! At most 9 * 512 products of at most 2^14 each stay below 2^27; with a bias
//! and an embedding of at most 2^29 each, below 2^31.

use super::halfwords;
use crate::unet::Geometry;

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
    /// A row for each output channel: taps from top left to bottom right, and
    /// for each tap the channels of `x`, then those of `skip`.
    pub weights: &'a [i8],
    /// What each output channel's sum starts from.
    pub initial: &'a [i32],
}

/// Runs a convolution; `write` gets position, channel and sum. `patch` is
/// scratch for one row of weights.
pub fn conv(task: &Task<'_>, patch: &mut [i8], mut write: impl FnMut(usize, usize, i32)) {
    let fan_in = task.geometry.taps() * (task.x.channels + task.skip.channels);
    let Some(patch) = patch.get_mut(..fan_in) else {
        return;
    };
    if fan_in == 0 {
        return;
    }
    let output_side = task.geometry.output_side(task.side);
    for row in 0..output_side {
        for column in 0..output_side {
            gather(task, row, column, patch);
            let position = row * output_side + column;
            let rows = task.weights.chunks_exact(fan_in).zip(task.initial);
            for (channel, (weights, &initial)) in rows.enumerate() {
                write(position, channel, initial.wrapping_add(dot(patch, weights)));
            }
        }
    }
}

/// Copies what the output position (`row`, `column`) sees, tap by tap.
fn gather(task: &Task<'_>, row: usize, column: usize, patch: &mut [i8]) {
    let Task {
        geometry,
        side,
        x,
        skip,
        ..
    } = *task;
    let mut taps = patch.chunks_exact_mut(x.channels + skip.channels);
    let mut put = |source: Option<(usize, usize)>| {
        let Some(tap) = taps.next() else { return };
        let Some((into_x, into_skip)) = tap.split_at_mut_checked(x.channels) else {
            return;
        };
        for (plane, into) in [(x, into_x), (skip, into_skip)] {
            let values = source.and_then(|(row, column)| {
                let start = (row * side + column) * plane.channels;
                plane.values.get(start..start + plane.channels)
            });
            match values {
                Some(values) => into.iter_mut().zip(values).for_each(|(to, &v)| *to = v),
                None => {
                    into.fill(plane.zero_point);
                    for (to, zero) in into.iter_mut().zip(halfwords(plane.zero_points)) {
                        *to = zero as i8;
                    }
                }
            }
        }
    };
    if geometry == Geometry::Pointwise {
        put(Some((row, column)));
        return;
    }
    for dy in 0..3 {
        for dx in 0..3 {
            let source =
                tap_source(geometry, side, row, dy).zip(tap_source(geometry, side, column, dx));
            put(source);
        }
    }
}

/// The input coordinate under tap `offset` (0 to 2) of an output coordinate;
/// `None` in the padding.
fn tap_source(geometry: Geometry, side: usize, output: usize, offset: usize) -> Option<usize> {
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

/// Σ a b.
#[inline]
pub(crate) fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter()
        .zip(b)
        .fold(0, |sum, (&a, &b)| sum + i32::from(a) * i32::from(b))
}
