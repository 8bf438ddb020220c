//! Group normalisation (Wu & He 2018, arXiv:1803.08494), with or without
//! SiLU, in integers.
//!
//! Every channel may have a scale and zero point of its own
//! ([`Channels`](crate::kernels::quant::Channels)): its sums are taken over raw
//! integers and joined in units that are 2^7 times finer than the largest
//! scale. What all channels' scales have in common cancels, so two halves of a
//! skip concatenation may differ in that as long as no group has values of
//! both.
//!
//! Per channel u = gain (q - mean) / deviation + offset becomes one multiply
//! and one add in fixed point. u has 7 fraction bits and is cut to [-8, 8).

use super::engine::{Engine, Work, with_best};
use super::rounding::saturate;
use super::tables::{SILU, SILU_BITS, SILU_REACH};
use core::ops::Range;

/// Fraction bits of u.
pub const U_BITS: u32 = 7;
/// u is clipped to [-8, 8).
pub const U_REACH: i32 = SILU_REACH >> U_BITS;
/// Fraction bits of u or SiLU(u) before it is scaled.
pub const OUTPUT_BITS: u32 = SILU_BITS;
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

/// Channels that are computed side by side: as many as an x86 has in a vector,
/// and one where there are no vectors to fill.
const SIDE_BY_SIDE: usize = if cfg!(target_arch = "x86_64") { 8 } else { 1 };

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
        self.add_channels::<1>(values, channels, channel, |_| fine);
    }

    /// Adds the channels `group` of all positions.
    pub fn add_group(
        &mut self,
        values: &[i8],
        channels: usize,
        group: Range<usize>,
        fine: impl Fn(usize) -> Fine,
    ) {
        with_best(AddGroup {
            sums: self,
            values,
            channels,
            group,
            fine,
        });
    }

    /// Adds `N` channels from `first` on.
    #[inline(always)]
    fn add_channels<const N: usize>(
        &mut self,
        values: &[i8],
        channels: usize,
        first: usize,
        fine: impl Fn(usize) -> Fine,
    ) {
        let (mut count, mut sum, mut squares) = (0u32, [0i32; N], [0i32; N]);
        // At most 2^12 positions.
        let values = values.get(first..).unwrap_or_default();
        for position in values.chunks(channels.max(1)) {
            let Some(position) = position.first_chunk::<N>() else {
                break;
            };
            count += 1;
            for ((&q, sum), squares) in position.iter().zip(&mut sum).zip(&mut squares) {
                let q = i32::from(q);
                *sum += q;
                *squares += q * q;
            }
        }
        for (channel, (sum, squares)) in (first..).zip(sum.into_iter().zip(squares)) {
            self.join(count, sum, squares, fine(channel));
        }
    }

    /// Adds a channel's `count` values.
    #[inline]
    fn join(&mut self, count: u32, sum: i32, squares: i32, fine: Fine) {
        let (n, zero) = (i64::from(count), i64::from(fine.zero_point));
        let (sum, squares) = (i64::from(sum), i64::from(squares));
        let about_zero = squares - 2 * zero * sum + n * zero * zero;
        self.count += count;
        self.sum += (sum - n * zero) << fine.bits();
        self.squares += (about_zero.max(0) as u64) << (2 * fine.bits());
    }
}

/// The arguments of [`Sums::add_group`].
struct AddGroup<'s, 'v, F> {
    sums: &'s mut Sums,
    values: &'v [i8],
    channels: usize,
    group: Range<usize>,
    fine: F,
}

impl<F: Fn(usize) -> Fine> Work for AddGroup<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn run<E: Engine>(self, _: E) {
        let Self {
            sums,
            values,
            channels,
            group,
            fine,
        } = self;
        let mut first = group.start;
        while group.end.saturating_sub(first) >= SIDE_BY_SIDE {
            sums.add_channels::<SIDE_BY_SIDE>(values, channels, first, &fine);
            first += SIDE_BY_SIDE;
        }
        for channel in first..group.end {
            sums.add_channels::<1>(values, channels, channel, &fine);
        }
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
    /// Zero point.
    pub zero_point: i8,
    /// Whether SiLU is applied.
    pub silu: bool,
}

impl Target {
    /// The output value for q.
    #[inline(always)]
    #[must_use]
    pub fn apply(self, q: i8, slope: i32, intercept: i32) -> i8 {
        let mut output = [0];
        self.apply_all(&[q], &[slope], &[intercept], &mut output);
        let [output] = output;
        output
    }

    /// The same for channels side by side.
    #[inline(always)]
    fn apply_all<const N: usize>(
        self,
        q: &[i8; N],
        slope: &[i32; N],
        intercept: &[i32; N],
        outputs: &mut [i8; N],
    ) {
        let rounding = 1 << (SLOPE_BITS - 1);
        let mut values = [0; N];
        let lines = slope.iter().zip(intercept);
        for (value, (&q, (&slope, &intercept))) in values.iter_mut().zip(q.iter().zip(lines)) {
            let u = (slope * i32::from(q) + intercept + rounding) >> SLOPE_BITS;
            *value = u.clamp(-SILU_REACH, SILU_REACH - 1);
        }
        for value in &mut values {
            *value = if self.silu {
                // The clamp leaves only indices of the table.
                let y = SILU.get((*value + SILU_REACH) as usize);
                y.map_or(0, |&y| i32::from(y))
            } else {
                *value << (SILU_BITS - U_BITS)
            };
        }
        // Half a step for rounding, and the zero point: below 2^28, beside
        // products below 2^15 * 2^15.
        let offset = (1 << 19) + (i32::from(self.zero_point) << 20);
        for (output, value) in outputs.iter_mut().zip(&values) {
            *output = saturate((value * self.multiplier + offset) >> 20);
        }
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
    with_best(Apply {
        values,
        slopes,
        intercepts,
        target,
        output,
        output_channels,
        first_output,
    });
}

/// The arguments of [`apply`].
struct Apply<'a> {
    values: &'a [i8],
    slopes: &'a [i32],
    intercepts: &'a [i32],
    target: Target,
    output: &'a mut [i8],
    output_channels: usize,
    first_output: usize,
}

impl Work for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<E: Engine>(self, _: E) {
        let channels = self.slopes.len().max(1);
        let (slopes, slopes_rest) = self.slopes.as_chunks::<SIDE_BY_SIDE>();
        let (intercepts, intercepts_rest) = self.intercepts.as_chunks::<SIDE_BY_SIDE>();
        let positions = self
            .values
            .chunks_exact(channels)
            .zip(self.output.chunks_exact_mut(self.output_channels.max(1)));
        for (values, output) in positions {
            let end = output.len().min(self.first_output + channels);
            let output = output.get_mut(self.first_output..end).unwrap_or_default();
            let (values, values_rest) = values.as_chunks();
            let (output, output_rest) = output.as_chunks_mut();
            let lines = slopes.iter().zip(intercepts);
            let values = values.iter().zip(lines);
            for (output, (q, (slope, intercept))) in output.iter_mut().zip(values) {
                self.target.apply_all(q, slope, intercept, output);
            }
            let lines = slopes_rest.iter().zip(intercepts_rest);
            let values = values_rest.iter().zip(lines);
            for (output, (&q, (&slope, &intercept))) in output_rest.iter_mut().zip(values) {
                *output = self.target.apply(q, slope, intercept);
            }
        }
    }
}
