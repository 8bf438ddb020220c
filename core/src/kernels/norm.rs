//! Group normalisation (Wu & He 2018, arXiv:1803.08494), with or without
//! SiLU, in integers.
//!
//! Every channel may have a scale and zero point of its own
//! ([`Channels`](crate::blob::records::Channels)): its sums are taken over raw
//! integers and joined in units that are 2^7 times finer than the largest
//! scale. What all channels' scales have in common cancels, so two halves of a
//! skip concatenation may differ in that as long as no group has values of
//! both.
//!
//! Per channel u = gain (q - mean) / deviation + offset becomes one multiply
//! and one add in fixed point. u has 7 fraction bits and is cut to [-8, 8).

use super::saturate;
use super::tables::{SILU, SILU_BITS, SILU_REACH};

/// Fraction bits of u.
pub const U_BITS: u32 = 7;
/// Fraction bits of gains and offsets beyond those of u.
pub const GAIN_BITS: u32 = 8;
/// Fraction bits of slope and intercept beyond those of u.
const SLOPE_BITS: u32 = 12;
/// Fraction bits of 1 / deviation.
const INVERSE_BITS: u32 = 38;
/// Halvings from the largest scale to a fine unit.
pub const FINE_BITS: u32 = 7;
/// Fraction bits that a slope has beyond its own where it makes an intercept:
/// a zero point may be 2^15 steps away.
const GUARD_BITS: u32 = 8;
/// Slopes are cut here, so that slope * q stays below 2^29.
const MAX_SLOPE: i64 = 1 << 22;
/// Intercepts are cut here: with slope * q below 2^31 together.
const MAX_INTERCEPT: i64 = 1 << 30;

/// Sums of a group in fine units: enough for mean and deviation.
///
/// A value is below 384 * 2^7 fine units (127 + 128 steps and a zero point of
/// at most 256), and a group has at most 2^16 values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    count: u32,
    /// Within ±2^32.
    sum: i64,
    /// Below 2^48.
    squares: u64,
}

/// How a channel's integers relate to fine units: v = (q - zero_point) 2^(7 -
/// shift).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fine {
    /// Within ±2^8 2^shift.
    pub zero_point: i16,
    /// 0 to 7.
    pub shift: u8,
}

impl Fine {
    /// Bits from a step of the channel to a fine unit.
    fn bits(self) -> u32 {
        FINE_BITS.saturating_sub(self.shift.into())
    }
}

impl Sums {
    /// Adds channel `channel` of all positions.
    pub fn add(&mut self, values: &[i8], channels: usize, channel: usize, fine: Fine) {
        let (mut count, mut sum, mut squares) = (0u32, 0i32, 0i32);
        // At most 2^12 positions.
        for &q in values.iter().skip(channel).step_by(channels.max(1)) {
            let q = i32::from(q);
            count += 1;
            sum += q;
            squares += q * q;
        }
        let (n, zero) = (i64::from(count), i64::from(fine.zero_point));
        let (sum, squares) = (i64::from(sum), i64::from(squares));
        let about_zero = squares - 2 * zero * sum + n * zero * zero;
        self.count += count;
        self.sum += (sum - n * zero) << fine.bits();
        self.squares += (about_zero.max(0) as u64) << (2 * fine.bits());
    }
}

/// A group's mean and deviation in the form the channels need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Mean in fine units, 12 fraction bits.
    mean: i64,
    /// 1 / deviation in fine units, 38 fraction bits; at most 2^38.
    inverse: i64,
}

impl Statistics {
    /// Mean and deviation, where `epsilon` is what the definition adds to the
    /// variance, in fine units squared.
    #[must_use]
    pub fn new(sums: Sums, epsilon: f32) -> Self {
        let count = u64::from(sums.count.max(1));
        let sum = sums.sum.unsigned_abs();
        // count² variance: below (384 2^7 2^16)² < 2^64.
        let variance = count
            .saturating_mul(sums.squares)
            .saturating_sub(sum.saturating_mul(sum));
        let epsilon = ((count * count) as f32 * epsilon) as u64;
        // count times the deviation.
        let deviation = variance.saturating_add(epsilon).isqrt().max(1);
        Self {
            mean: (sums.sum << SLOPE_BITS) / count as i64,
            inverse: ((count << INVERSE_BITS) / deviation).min(1 << INVERSE_BITS) as i64,
        }
    }

    /// Slope and intercept with which u = (slope q + intercept) / 2^12 in a
    /// channel.
    ///
    /// `gain` and `offset` are at most 2^22 in magnitude.
    #[must_use]
    pub fn line(self, gain: i32, offset: i32, fine: Fine) -> (i32, i32) {
        // Fraction bits: gain 7 + 8, inverse 38, less those from a step to a
        // fine unit; the slope keeps 7 + 12, and for now 8 more.
        let shift = GAIN_BITS + INVERSE_BITS - SLOPE_BITS - GUARD_BITS - fine.bits();
        let exact = (i64::from(gain) * self.inverse + (1 << (shift - 1))) >> shift;
        let exact = exact.clamp(-MAX_SLOPE << GUARD_BITS, MAX_SLOPE << GUARD_BITS);
        let slope = (exact + (1 << (GUARD_BITS - 1))) >> GUARD_BITS;
        // The mean in the channel's own steps; below 2^29.
        let mean = (i64::from(fine.zero_point) << SLOPE_BITS) + (self.mean >> fine.bits());
        let offset = i64::from(offset) << (SLOPE_BITS - GAIN_BITS);
        let intercept = offset - ((exact * mean) >> (SLOPE_BITS + GUARD_BITS));
        let intercept = intercept.clamp(-MAX_INTERCEPT, MAX_INTERCEPT);
        (slope as i32, intercept as i32)
    }
}

/// Where a normalised value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Output units in 1, divided by 2^12 and times 2^20; 0 to 32767.
    pub multiplier: i32,
    /// What stands for 0.
    pub zero_point: i8,
    /// Whether SiLU is applied.
    pub silu: bool,
}

impl Target {
    /// The output value for q.
    #[inline]
    #[must_use]
    pub fn apply(self, q: i8, slope: i32, intercept: i32) -> i8 {
        let rounding = 1 << (SLOPE_BITS - 1);
        let u = (slope * i32::from(q) + intercept + rounding) >> SLOPE_BITS;
        let u = u.clamp(-SILU_REACH, SILU_REACH - 1);
        let value = if self.silu {
            // The clamp leaves only indices of the table.
            SILU.get((u + SILU_REACH) as usize)
                .map_or(0, |&y| i32::from(y))
        } else {
            u << (SILU_BITS - U_BITS)
        };
        // Below 2^15 * 2^15.
        let scaled = (value * self.multiplier + (1 << 19)) >> 20;
        saturate(scaled + i32::from(self.zero_point))
    }
}

/// Normalises channels that lie at `first_output..` among the output's
/// `output_channels`; `slopes` and `intercepts` have one entry for each
/// channel of `values`.
pub fn apply(
    values: &[i8],
    slopes: &[i32],
    intercepts: &[i32],
    target: Target,
    output: &mut [i8],
    output_channels: usize,
    first_output: usize,
) {
    let channels = slopes.len().max(1);
    let positions = values
        .chunks_exact(channels)
        .zip(output.chunks_exact_mut(output_channels.max(1)));
    for (values, output) in positions {
        let lines = slopes.iter().zip(intercepts);
        let outputs = output.iter_mut().skip(first_output);
        for ((&q, (&slope, &intercept)), output) in values.iter().zip(lines).zip(outputs) {
            *output = target.apply(q, slope, intercept);
        }
    }
}
