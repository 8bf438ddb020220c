//! What becomes of a convolution's sums.

use super::{multiply_high, multiply_high_sum, saturate};
use crate::blob::records::Channels;

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
        let multiplier = self.multipliers.get(channel).copied().unwrap_or(0);
        let zero_point = i32::from(self.quant.zero_point(channel));
        let places = at.iter().map(|position| position * self.channels + channel);
        match &self.residual {
            None => {
                for (place, &sum) in places.zip(sums) {
                    if let Some(out) = self.out.get_mut(place) {
                        *out = saturate(multiply_high(sum, multiplier) + zero_point);
                    }
                }
            }
            Some(residual) => {
                // Both channels in the same steps, 8 bits finer.
                let quant = &residual.quant;
                let halvings = 8 + self.quant.shift(channel) - quant.shift(channel);
                let zero = i32::from(quant.zero_point(channel));
                for (place, &sum) in places.zip(sums) {
                    let r = residual.values.get(place).map_or(0, |&r| i32::from(r));
                    let r = (r - zero) << halvings;
                    if let Some(out) = self.out.get_mut(place) {
                        // Rounded once, together. `r` is below 2^24, so nothing
                        // overflows.
                        let scaled = multiply_high_sum([sum, multiplier], [r, residual.factor]);
                        *out = saturate(scaled + zero_point);
                    }
                }
            }
        }
    }
}
