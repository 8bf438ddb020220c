//! How integers stand for the values of activations.

use serde::{Deserialize, Serialize};

/// Most halvings of a channel's scale.
pub const MAX_SHIFT: u8 = 7;
/// How integers stand for the values of an activation:
/// scale * (q - zero_point).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quant {
    /// One step; positive.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero_point: i8,
}

/// How integers stand for the values of an activation whose channels may have
/// scales and zero points of their own.
///
/// Channels of the residual path differ a lot in size, and have means far from
/// 0: one scale for all would leave most of them a few steps. The normalisation
/// that follows divides by a group's deviation, and would magnify the error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channels<'b> {
    /// One step, where a channel does not halve it.
    pub scale: f32,
    /// The integer that stands for 0, where channels have none of their own.
    pub zero_point: i8,
    /// Halvings of the scale for each channel; empty for none.
    pub shifts: &'b [u8],
    /// `i16` for each channel; empty for `zero_point`.
    pub zero_points: &'b [u8],
}

impl Channels<'_> {
    /// Halvings of a channel's scale, at most [`MAX_SHIFT`].
    #[inline]
    #[must_use]
    pub fn shift(&self, channel: usize) -> u8 {
        let shift = self.shifts.get(channel);
        shift.map_or(0, |&shift| shift.min(MAX_SHIFT))
    }

    /// The integer that stands for 0 in a channel.
    #[inline]
    #[must_use]
    pub fn zero_point(&self, channel: usize) -> i16 {
        let words = self.zero_points.as_chunks().0;
        let word = words.get(channel).map(|&bytes| i16::from_le_bytes(bytes));
        word.unwrap_or(i16::from(self.zero_point))
    }

    /// One step of a channel.
    #[must_use]
    pub fn step(&self, channel: usize) -> f32 {
        self.scale / f32::from(1u8 << self.shift(channel))
    }
}

impl From<Quant> for Channels<'_> {
    fn from(quant: Quant) -> Self {
        Self {
            scale: quant.scale,
            zero_point: quant.zero_point,
            shifts: &[],
            zero_points: &[],
        }
    }
}

/// How a channel's sums become activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Accumulator unit / the channel's scale, times 2^32.
    pub multiplier: i32,
    /// Zero point of the output.
    pub zero_point: i32,
    /// Zero point of the residual.
    pub residual_zero: i32,
    /// Doublings that bring the residual's steps to those of the output, 8
    /// bits finer: below 2^24, so that the sum of both products does not
    /// overflow before it is rounded, once.
    pub doublings: i32,
}

impl Scale {
    /// As words that a workspace can hold.
    pub(crate) fn words(self) -> [i32; 4] {
        [
            self.multiplier,
            self.zero_point,
            self.residual_zero,
            self.doublings,
        ]
    }

    #[inline(always)]
    pub(crate) fn from_words([multiplier, zero_point, residual_zero, doublings]: [i32; 4]) -> Self {
        Self {
            multiplier,
            zero_point,
            residual_zero,
            doublings,
        }
    }

    /// A channel of a convolution, which may have a residual.
    #[must_use]
    pub fn new(
        multiplier: i32,
        output: &Channels<'_>,
        residual: Option<&Channels<'_>>,
        channel: usize,
    ) -> Self {
        let doublings = residual.map_or(0, |residual| {
            8 + i32::from(output.shift(channel)) - i32::from(residual.shift(channel))
        });
        Self {
            multiplier,
            zero_point: output.zero_point(channel).into(),
            residual_zero: residual.map_or(0, |residual| residual.zero_point(channel).into()),
            doublings,
        }
    }
}
