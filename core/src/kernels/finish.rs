//! What becomes of a convolution's sums.

use super::{multiply_high, multiply_high_sum, saturate};
use crate::blob::records::Channels;

/// Sums that are scaled side by side: as many as come at once on an x86, and
/// one where there are no vectors to fill.
const SIDE_BY_SIDE: usize = if cfg!(target_arch = "x86_64") { 4 } else { 1 };

/// Takes the sums of a convolution, a few positions of one channel at a time.
pub trait Finish {
    /// `sums` of `channel` at the positions `at`, one for each.
    fn put(&mut self, channel: usize, at: &[usize], sums: &[i32]);
}

impl<F: FnMut(usize, usize, i32)> Finish for F {
    #[inline]
    fn put(&mut self, channel: usize, at: &[usize], sums: &[i32]) {
        for (&position, &sum) in at.iter().zip(sums) {
            self(position, channel, sum);
        }
    }
}

/// What a residual block adds to its last convolution.
#[derive(Clone, Copy, Debug)]
pub struct Residual<'a> {
    /// Values, in the shape of the output.
    pub values: &'a [i8],
    /// What they stand for.
    pub quant: Channels<'a>,
    /// Scale of the residual / that of the output, times 2^24.
    pub factor: i32,
}

/// Makes activations of sums.
#[derive(Debug)]
pub struct Requantise<'a> {
    /// For each channel: accumulator unit / the channel's scale, times 2^32.
    pub multipliers: &'a [i32],
    /// What the output's integers stand for.
    pub quant: Channels<'a>,
    /// What is added before rounding.
    pub residual: Option<Residual<'a>>,
    /// The output, `channels` values for each position.
    pub out: &'a mut [i8],
    /// Channels of the output.
    pub channels: usize,
}

impl Finish for Requantise<'_> {
    // Compiled anew for each of the processors that x86-64 engines are for.
    #[cfg_attr(target_arch = "x86_64", inline(always))]
    #[cfg_attr(not(target_arch = "x86_64"), inline)]
    fn put(&mut self, channel: usize, at: &[usize], sums: &[i32]) {
        let scale = Scale {
            multiplier: self.multipliers.get(channel).copied().unwrap_or(0),
            zero_point: self.quant.zero_point(channel).into(),
        };
        let (at, at_rest) = at.as_chunks::<SIDE_BY_SIDE>();
        let (sums, sums_rest) = sums.as_chunks::<SIDE_BY_SIDE>();
        for (at, sums) in at.iter().zip(sums) {
            self.put_all(channel, scale, at, sums);
        }
        for (&at, &sum) in at_rest.iter().zip(sums_rest) {
            self.put_all(channel, scale, &[at], &[sum]);
        }
    }
}

/// What a channel's sums become.
#[derive(Clone, Copy)]
struct Scale {
    multiplier: i32,
    zero_point: i32,
}

impl Requantise<'_> {
    #[inline(always)]
    fn put_all<const N: usize>(
        &mut self,
        channel: usize,
        scale: Scale,
        at: &[usize; N],
        sums: &[i32; N],
    ) {
        let mut scaled = [0; N];
        match &self.residual {
            None => {
                for (scaled, &sum) in scaled.iter_mut().zip(sums) {
                    *scaled = multiply_high(sum, scale.multiplier);
                }
            }
            Some(residual) => {
                // Both channels in the same steps, 8 bits finer.
                let quant = &residual.quant;
                let halvings = 8 + self.quant.shift(channel) - quant.shift(channel);
                let zero = i32::from(quant.zero_point(channel));
                let mut added = [0; N];
                for (added, position) in added.iter_mut().zip(at) {
                    let place = position * self.channels + channel;
                    *added = residual.values.get(place).map_or(0, |&r| i32::from(r));
                }
                for ((scaled, &sum), &r) in scaled.iter_mut().zip(sums).zip(&added) {
                    // Rounded once, together. `r` is below 2^24, so nothing
                    // overflows.
                    let r = (r - zero) << halvings;
                    *scaled = multiply_high_sum([sum, scale.multiplier], [r, residual.factor]);
                }
            }
        }
        let mut values = [0; N];
        for (value, scaled) in values.iter_mut().zip(&scaled) {
            *value = saturate(scaled + scale.zero_point);
        }
        for (position, &value) in at.iter().zip(&values) {
            if let Some(out) = self.out.get_mut(position * self.channels + channel) {
                *out = value;
            }
        }
    }
}
