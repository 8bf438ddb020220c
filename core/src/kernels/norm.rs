//! Group normalisation (Wu & He 2018, arXiv:1803.08494), with or without
//! SiLU, in integers.
//!
//! A group's mean and deviation are sums over its `i8` values, so its scale
//! and zero point cancel: two halves of a skip concatenation may have scales
//! of their own as long as no group has values of both.
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
/// Slopes are cut here, so that slope * q stays below 2^29.
const MAX_SLOPE: i64 = 1 << 22;
/// Intercepts are cut here: with slope * q below 2^31 together.
const MAX_INTERCEPT: i64 = 1 << 30;

/// Sums of a group: enough for mean and deviation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Values, at most 2^16.
    pub count: u32,
    /// Σ q, within ±2^23.
    pub sum: i32,
    /// Σ q², at most 2^30.
    pub squares: u32,
}

impl Sums {
    /// Sums over the channels `first..first + group` of all positions.
    #[must_use]
    pub fn of(values: &[i8], channels: usize, first: usize, group: usize) -> Self {
        let mut sums = Self::default();
        for position in values.chunks_exact(channels.max(1)) {
            for &q in position.iter().skip(first).take(group) {
                let q = i32::from(q);
                sums.count += 1;
                sums.sum += q;
                sums.squares += (q * q) as u32;
            }
        }
        sums
    }
}

/// A group's mean and deviation in the form the channels need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Mean of q, 12 fraction bits.
    mean: i64,
    /// 1 / deviation of q, 24 fraction bits, at most 2^31.
    inverse: i64,
}

impl Statistics {
    /// Mean and deviation, where `epsilon` is what the definition adds to the
    /// variance, in units of q² with 16 fraction bits.
    #[must_use]
    pub fn new(sums: Sums, epsilon: u32) -> Self {
        let count = u64::from(sums.count.max(1));
        let sum = i64::from(sums.sum);
        // count² variance, below 2^46; the added epsilon is below 2^48.
        let variance = (count * u64::from(sums.squares)).saturating_sub((sum * sum) as u64);
        let epsilon = (count * count).saturating_mul(u64::from(epsilon)) >> 16;
        // 2^7 count deviation: the root of at most 2^63.
        let deviation = ((variance + epsilon) << 14).isqrt().max(1);
        Self {
            mean: (sum << SLOPE_BITS) / count as i64,
            inverse: ((count << 31) / deviation).min(1 << 31) as i64,
        }
    }

    /// Slope and intercept with which u = (slope q + intercept) / 2^12.
    ///
    /// `gain` and `offset` are at most 2^22 in magnitude.
    #[must_use]
    pub fn line(self, gain: i32, offset: i32) -> (i32, i32) {
        // Fraction bits: gain 7 + 8, inverse 24; the slope keeps 7 + 12.
        let shift = GAIN_BITS + 24 - SLOPE_BITS;
        let slope = (i64::from(gain) * self.inverse + (1 << (shift - 1))) >> shift;
        let slope = slope.clamp(-MAX_SLOPE, MAX_SLOPE);
        let intercept =
            (i64::from(offset) << (SLOPE_BITS - GAIN_BITS)) - ((slope * self.mean) >> SLOPE_BITS);
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
