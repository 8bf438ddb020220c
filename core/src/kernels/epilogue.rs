//! Epilogues of convolutions: from sums to activations.

use super::engine::{Engine, Native, Stride};
use super::quant::Scale;
use super::rounding::{multiply_high, multiply_high_sum, saturate};

/// Takes the sums of a convolution, a few positions of one channel at a time.
pub trait Epilogue {
    /// `sums` of `channel` at the positions `at`, one for each.
    fn put(&mut self, channel: usize, at: &[usize; 4], sums: &[i32; 4]);

    /// Sums of `channel` and of the one behind it at `first` and the three
    /// positions behind that.
    #[inline(always)]
    fn put_run(&mut self, channel: usize, first: usize, sums: &[[i32; 4]; 2]) {
        let at = core::array::from_fn(|lane| first + lane);
        for (channel, sums) in (channel..).zip(sums) {
            self.put(channel, &at, sums);
        }
    }

    /// The same where there are fewer positions.
    fn put_few(&mut self, channel: usize, at: &[usize], sums: &[i32]);
}

impl<F: FnMut(usize, usize, i32)> Epilogue for F {
    #[inline]
    fn put(&mut self, channel: usize, at: &[usize; 4], sums: &[i32; 4]) {
        self.put_few(channel, at, sums);
    }

    #[inline]
    fn put_few(&mut self, channel: usize, at: &[usize], sums: &[i32]) {
        for (&position, &sum) in at.iter().zip(sums) {
            self(position, channel, sum);
        }
    }
}

/// Residual that is added to the last convolution of a block.
#[derive(Clone, Copy, Debug)]
pub struct Residual<'a> {
    /// Values, in the shape of the output.
    pub values: &'a [i8],
    /// Scale of the residual / that of the output, times 2^24.
    pub factor: i32,
}

/// Makes activations of sums.
#[derive(Debug)]
pub struct Requantise<'a> {
    /// A [`Scale`] for each channel.
    scales: &'a [[i32; 4]],
    residual: Option<Residual<'a>>,
    out: &'a mut [i8],
    channels: Stride,
}

impl<'a> Requantise<'a> {
    /// For an output of `channels` values at each position. `words` is
    /// scratch, four for each channel.
    pub fn new(
        scales: impl Iterator<Item = Scale>,
        residual: Option<Residual<'a>>,
        words: &'a mut [i32],
        out: &'a mut [i8],
        channels: usize,
    ) -> Self {
        Self::put_scales(scales, words);
        Self::with_scales(words, residual, out, channels)
    }

    /// Writes the scales that [`with_scales`](Self::with_scales) reads.
    pub(crate) fn put_scales(scales: impl Iterator<Item = Scale>, words: &mut [i32]) {
        for (words, scale) in words.as_chunks_mut().0.iter_mut().zip(scales) {
            *words = scale.words();
        }
    }

    /// The same with scales that were written before.
    pub(crate) fn with_scales(
        words: &'a [i32],
        residual: Option<Residual<'a>>,
        out: &'a mut [i8],
        channels: usize,
    ) -> Self {
        Self {
            scales: words.as_chunks().0,
            residual,
            out,
            channels: Stride::new(channels),
        }
    }

    #[inline(always)]
    fn scale(&self, channel: usize) -> Scale {
        Scale::from_words(self.scales.get(channel).copied().unwrap_or_default())
    }

    #[inline(always)]
    fn residual_at(residual: &Residual<'_>, scale: Scale, place: usize) -> i32 {
        let r = residual.values.get(place).map_or(0, |&r| i32::from(r));
        (r - scale.residual_zero) << scale.doublings
    }

    /// One after the other.
    #[inline(always)]
    fn put_each(&mut self, channel: usize, at: &[usize], sums: &[i32]) {
        let scale = self.scale(channel);
        let places = at
            .iter()
            .map(|position| position * self.channels.get() + channel);
        match &self.residual {
            None => {
                for (place, &sum) in places.zip(sums) {
                    if let Some(out) = self.out.get_mut(place) {
                        *out = saturate(multiply_high(sum, scale.multiplier) + scale.zero_point);
                    }
                }
            }
            Some(residual) => {
                for (place, &sum) in places.zip(sums) {
                    let r = Self::residual_at(residual, scale, place);
                    if let Some(out) = self.out.get_mut(place) {
                        let scaled =
                            multiply_high_sum([sum, scale.multiplier], [r, residual.factor]);
                        *out = saturate(scaled + scale.zero_point);
                    }
                }
            }
        }
    }

    /// Each step for all before the next, as vectors want it.
    #[inline(always)]
    fn put_all(&mut self, channel: usize, at: &[usize; 4], sums: &[i32; 4]) {
        let scale = self.scale(channel);
        let mut scaled = [0; 4];
        match &self.residual {
            None => {
                for (scaled, &sum) in scaled.iter_mut().zip(sums) {
                    *scaled = multiply_high(sum, scale.multiplier);
                }
            }
            Some(residual) => {
                let places = at
                    .iter()
                    .map(|position| position * self.channels.get() + channel);
                for ((scaled, &sum), place) in scaled.iter_mut().zip(sums).zip(places) {
                    let r = Self::residual_at(residual, scale, place);
                    *scaled = multiply_high_sum([sum, scale.multiplier], [r, residual.factor]);
                }
            }
        }
        let values = scaled.map(|scaled| saturate(scaled + scale.zero_point));
        for (position, &value) in at.iter().zip(&values) {
            if let Some(out) = self.out.get_mut(position * self.channels.get() + channel) {
                *out = value;
            }
        }
    }

    /// Two channels at four positions at once, as chips want it.
    #[inline(always)]
    fn put_pair(&mut self, channel: usize, first: usize, sums: &[[i32; 4]; 2]) {
        let stride = self.channels;
        // Whatever wraps: there are places for these, or there are none.
        let place = first.wrapping_mul(stride.get()).wrapping_add(channel);
        let places = place..place.wrapping_add(3 * stride.get() + 2);
        let scales = self.scales.get(channel..).and_then(<[_]>::first_chunk);
        let (Some(scales), Some(out)) = (scales, self.out.get_mut(places.clone())) else {
            return;
        };
        let engine = Native::default();
        match &self.residual {
            None => engine.requantise(out, stride, sums, scales),
            Some(residual) => {
                let values = residual.values.get(places).unwrap_or_default();
                engine.requantise_with(out, stride, sums, scales, values, residual.factor);
            }
        }
    }
}

impl Epilogue for Requantise<'_> {
    // Compiled anew for each of the processors that x86-64 engines are for.
    #[cfg_attr(target_arch = "x86_64", inline(always))]
    #[cfg_attr(not(target_arch = "x86_64"), inline)]
    fn put(&mut self, channel: usize, at: &[usize; 4], sums: &[i32; 4]) {
        if cfg!(target_arch = "x86_64") {
            self.put_all(channel, at, sums);
        } else {
            self.put_each(channel, at, sums);
        }
    }

    #[cfg_attr(target_arch = "x86_64", inline(always))]
    #[cfg_attr(not(target_arch = "x86_64"), inline)]
    fn put_run(&mut self, channel: usize, first: usize, sums: &[[i32; 4]; 2]) {
        if cfg!(target_arch = "x86_64") {
            let at = core::array::from_fn(|lane| first + lane);
            for (channel, sums) in (channel..).zip(sums) {
                self.put_all(channel, &at, sums);
            }
        } else {
            self.put_pair(channel, first, sums);
        }
    }

    #[inline]
    fn put_few(&mut self, channel: usize, at: &[usize], sums: &[i32]) {
        self.put_each(channel, at, sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNELS: usize = 5;
    const POSITIONS: usize = 6;

    fn scales() -> impl Iterator<Item = Scale> {
        (0..CHANNELS as i32).map(|channel| Scale {
            multiplier: 90_000_000 + 70_001 * channel,
            zero_point: 3 * channel - 7,
            residual_zero: channel - 2,
            doublings: 6 + channel,
        })
    }

    /// The value that `put` writes for an output.
    fn made(
        residual: Option<Residual<'_>>,
        put: impl FnOnce(&mut Requantise<'_>),
    ) -> [i8; CHANNELS * POSITIONS] {
        let (mut words, mut out) = ([0; 4 * CHANNELS], [99; CHANNELS * POSITIONS]);
        let mut requantise = Requantise::new(scales(), residual, &mut words, &mut out, CHANNELS);
        put(&mut requantise);
        out
    }

    /// Vectors, chips and the definition have a way each.
    #[test]
    fn each_way_gives_the_same() {
        let sums = [[-1500, 700, 90, 3000], [2, -2, 512, -4000]];
        let values: [i8; CHANNELS * POSITIONS] =
            core::array::from_fn(|i| (37 * i % 251) as u8 as i8);
        let residual = Residual {
            values: &values,
            factor: 50_000,
        };
        for residual in [None, Some(residual)] {
            for (channel, first) in [(0, 0), (2, 1), (3, 2)] {
                let at = core::array::from_fn(|lane| first + lane);
                let expected = made(residual, |requantise| {
                    for (channel, sums) in (channel..).zip(&sums) {
                        requantise.put_each(channel, &at, sums);
                    }
                });
                let vectors = made(residual, |requantise| {
                    for (channel, sums) in (channel..).zip(&sums) {
                        requantise.put_all(channel, &at, sums);
                    }
                });
                let pair = made(residual, |requantise| {
                    requantise.put_pair(channel, first, &sums);
                });
                let run = made(residual, |requantise| {
                    requantise.put_run(channel, first, &sums);
                });
                assert_eq!([vectors, pair, run], [expected; 3]);
                let put = expected.iter().filter(|&&value| value != 99).count();
                assert_eq!(put, 8);
            }
        }
    }

    /// Three times as many and 2 are 4, where they come round.
    #[test]
    fn more_channels_than_any_slice_has_are_survived() {
        let mut bytes = [99; 6];
        let mut words = [0; 8];
        let channels = usize::MAX / 3 + 1;
        let mut requantise = Requantise::new(scales(), None, &mut words, &mut bytes[..4], channels);
        requantise.put_pair(0, 0, &[[1; 4]; 2]);
        assert_eq!(bytes[4..], [99; 2]);
    }

    #[test]
    fn what_has_no_place_is_left_out() {
        for (channel, first) in [
            (CHANNELS - 1, 2),
            (0, 3),
            (0, usize::MAX / 8),
            (1, usize::MAX),
        ] {
            let out = made(None, |requantise| {
                requantise.put_pair(channel, first, &[[1; 4]; 2]);
            });
            assert_eq!(out, [99; CHANNELS * POSITIONS]);
        }
    }
}
