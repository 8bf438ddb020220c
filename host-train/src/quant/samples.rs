//! What is kept of a channel's values, and what a range makes of it.

use tiny_ddpm::blob::records::{MAX_SHIFT, MAX_ZERO, Quant};

use super::rule::RangeRule;

/// Share of the values that [`RangeRule::Percentile`] cuts off at either end.
const TAIL: f64 = 0.0005;
/// Values kept of each channel; beyond that they are thinned by halves.
const KEPT: usize = 1 << 13;
/// 2^32 over the golden ratio, as an odd number.
const GOLDEN_RATIO: u32 = 0x9e37_79b9;
/// A scale is never smaller than this: a constant activation has no range.
pub(super) const SMALLEST_SCALE: f32 = 1e-6;

#[derive(Clone, Debug)]
pub(super) struct Samples {
    low: f32,
    high: f32,
    kept: Vec<f32>,
    /// Of each value kept, its place among all.
    places: Vec<u32>,
    /// Values whose place is not above it are kept.
    limit: u32,
    /// How many values there were.
    seen: u32,
}

impl Samples {
    pub(super) fn new() -> Self {
        Self {
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
            kept: Vec::new(),
            places: Vec::new(),
            limit: u32::MAX,
            seen: 0,
        }
    }

    /// Planes come one after the other, so one value in so many would be the
    /// same few positions of each. The multiples of the golden ratio, modulo 1,
    /// have no period, and fill every interval evenly: kept is what falls into
    /// the first half, quarter, and so on.
    pub(super) fn add(&mut self, values: &[f32]) {
        for &value in values {
            self.low = self.low.min(value);
            self.high = self.high.max(value);
            let place = self.seen.wrapping_mul(GOLDEN_RATIO);
            self.seen = self.seen.wrapping_add(1);
            if place > self.limit {
                continue;
            }
            self.kept.push(value);
            self.places.push(place);
            if self.kept.len() == KEPT {
                self.limit /= 2;
                let limit = self.limit;
                let mut places = self.places.iter();
                (self.kept).retain(|_| places.next().is_some_and(|place| *place <= limit));
                self.places.retain(|place| *place <= limit);
            }
        }
    }

    /// All channels of an activation, which have seen equally many values.
    pub(super) fn merged(channels: &[Self]) -> Self {
        let mut merged = Self::new();
        for channel in channels {
            merged.low = merged.low.min(channel.low);
            merged.high = merged.high.max(channel.high);
            merged.kept.extend(&channel.kept);
        }
        merged
    }

    /// Everything seen, and 0.
    pub(super) fn with_zero(&self) -> (f32, f32) {
        (self.low.min(0.0), self.high.max(0.0))
    }

    pub(super) fn mean(&self) -> f32 {
        let sum: f64 = self.kept.iter().copied().map(f64::from).sum();
        (sum / self.kept.len().max(1) as f64) as f32
    }

    /// The values kept, but for a share of them at either end: the smallest
    /// and the largest; zeros where there is none.
    fn span(&self, tail: f64) -> (f32, f32) {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let cut = (sorted.len() as f64 * tail) as usize;
        match sorted.get(cut..sorted.len() - cut) {
            Some([only]) => (*only, *only),
            Some([low, .., high]) => (*low, *high),
            _ => (0.0, 0.0),
        }
    }

    /// The middle between the smallest and the largest value kept.
    fn middle(&self) -> f32 {
        let (low, high) = self.span(0.0);
        (low + high) / 2.0
    }

    /// The halvings of `scale` and the zero point that suit these values best.
    /// `padded` asks for a zero point within `i8`.
    pub(super) fn channel(&self, rule: RangeRule, scale: f32, padded: bool) -> (u8, i16) {
        let (low, high) = match rule {
            RangeRule::Mse => return self.nearest_channel(scale, padded),
            RangeRule::Percentile => self.span(TAIL),
            RangeRule::MinMax => (self.low, self.high),
        };
        let fits = |shift: &u8| high - low <= 254.0 * scale / f32::from(1u8 << shift);
        let shift = (0..=MAX_SHIFT).rev().find(fits).unwrap_or(0);
        let step = scale / f32::from(1u8 << shift);
        let limit = zero_limit(shift, padded);
        let zero = (-(low + high) / 2.0 / step).round().clamp(-limit, limit);
        (shift, zero as i16)
    }

    /// The same by squared error.
    fn nearest_channel(&self, scale: f32, padded: bool) -> (u8, i16) {
        let centres = [self.mean(), self.middle()];
        let candidates = (0..=MAX_SHIFT).flat_map(|shift| {
            let step = scale / f32::from(1u8 << shift);
            let limit = zero_limit(shift, padded);
            centres.map(|centre| {
                let zero = (-centre / step).round().clamp(-limit, limit);
                (self.squared_error(step, zero), shift, zero as i16)
            })
        });
        candidates
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or((0, 0), |(_, shift, zero)| (shift, zero))
    }

    pub(super) fn quant(&self, rule: RangeRule, symmetric: bool) -> Quant {
        let (low, high) = self.with_zero();
        let fit = |share: f32| quant(low * share, high * share, symmetric);
        match rule {
            RangeRule::MinMax => fit(1.0),
            RangeRule::Percentile => {
                let (low, high) = self.span(TAIL);
                quant(low.min(0.0), high.max(0.0), symmetric)
            }
            RangeRule::Mse => (0..=40)
                .map(|i| fit(1.0 - 0.02 * i as f32))
                .map(|quant| {
                    (
                        self.squared_error(quant.scale, quant.zero_point.into()),
                        quant,
                    )
                })
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .map_or_else(|| fit(1.0), |(_, quant)| quant),
        }
    }

    fn squared_error(&self, step: f32, zero: f32) -> f64 {
        let error = |&value: &f32| {
            let q = ((value / step).round() + zero).clamp(-128.0, 127.0);
            f64::from((q - zero) * step - value).powi(2)
        };
        self.kept.iter().map(error).sum()
    }
}

/// The largest magnitude of a channel's zero point.
fn zero_limit(shift: u8, padded: bool) -> f32 {
    if padded {
        127.0
    } else {
        f32::from(MAX_ZERO) * f32::from(1u8 << shift) - 1.0
    }
}

/// The quantisation that covers `low..=high`, where `low <= 0 <= high`.
pub(super) fn quant(low: f32, high: f32, symmetric: bool) -> Quant {
    if symmetric {
        let scale = (high.max(-low) / 127.0).max(SMALLEST_SCALE);
        return Quant {
            scale,
            zero_point: 0,
        };
    }
    let scale = ((high - low) / 255.0).max(SMALLEST_SCALE);
    let zero_point = (-128.0 - low / scale).round().clamp(-128.0, 127.0) as i8;
    Quant { scale, zero_point }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: impl IntoIterator<Item = f32>) -> Samples {
        let mut samples = Samples::new();
        samples.add(&values.into_iter().collect::<Vec<_>>());
        samples
    }

    #[test]
    fn min_max_covers_everything_and_zero_is_exact() {
        let samples = samples([-0.25, 0.1, 3.0]);
        let quant = samples.quant(RangeRule::MinMax, false);
        let low = (-128.0 - f32::from(quant.zero_point)) * quant.scale;
        let high = (127.0 - f32::from(quant.zero_point)) * quant.scale;
        assert!((low + 0.25).abs() < quant.scale && (high - 3.0).abs() < quant.scale);
    }

    #[test]
    fn a_percentile_leaves_outliers_out() {
        let mut values: Vec<f32> = (0..8000).map(|i| (i % 100) as f32 / 100.0).collect();
        values.push(50.0);
        values.push(-50.0);
        let samples = samples(values);
        let quant = samples.quant(RangeRule::Percentile, false);
        assert!((quant.scale - 0.99 / 255.0).abs() < 1e-6, "{quant:?}");
        assert_eq!(quant.zero_point, -128);
        assert!(samples.quant(RangeRule::MinMax, false).scale > 0.39);
    }

    #[test]
    fn every_rule_covers_a_channel_that_has_no_outliers() {
        let samples = samples((0..8000).map(|i| (i % 401) as f32 / 100.0 + 3.0));
        let scale = quant(-20.0, 20.0, false).scale;
        for rule in [RangeRule::MinMax, RangeRule::Percentile, RangeRule::Mse] {
            let (shift, zero) = samples.channel(rule, scale, false);
            assert_eq!(shift, 3, "{rule:?}");
            let step = scale / 8.0;
            let ends = [-128, 127].map(|q| (f32::from(q as i16) - f32::from(zero)) * step);
            assert!(ends[0] <= 3.0 && ends[1] >= 7.0, "{rule:?}: {ends:?}");
        }
    }

    #[test]
    fn the_smallest_squared_error_is_no_larger_than_that_of_the_full_range() {
        let mut noise = tiny_ddpm::diffusion::noise::Noise::new(1, 0);
        for scale in [0.1, 1.0, 30.0] {
            let samples = samples((0..8000).map(|_| noise.normal() * scale));
            let error = |rule| {
                let quant = samples.quant(rule, false);
                samples.squared_error(quant.scale, quant.zero_point.into())
            };
            let (best, full) = (error(RangeRule::Mse), error(RangeRule::MinMax));
            assert!(best <= full, "{best} with the rule, {full} without");
            // A step of the full range, were all errors uniform within it.
            let step = f64::from((samples.high - samples.low) / 255.0);
            assert!((full / 8000.0 / (step * step / 12.0) - 1.0).abs() < 0.1);
        }
    }

    #[test]
    fn symmetric_means_a_zero_point_of_zero() {
        let quant = samples([-1.0, 5.0]).quant(RangeRule::Mse, true);
        assert_eq!(quant.zero_point, 0);
    }

    #[test]
    fn thinning_keeps_the_extremes() {
        let mut samples = samples((0..KEPT * 3).map(|i| i as f32));
        samples.add(&[-7.0]);
        assert_eq!((samples.low, samples.high), (-7.0, (KEPT * 3 - 1) as f32));
        assert!(samples.kept.len() <= KEPT);
        // What is kept is in order, and where it says.
        for (value, place) in samples.kept.iter().zip(&samples.places) {
            assert_eq!((*value as u32).wrapping_mul(GOLDEN_RATIO), *place);
        }
    }

    /// Planes of 4x4 positions and the like: every second value, every fourth
    /// and so on would be their left border.
    #[test]
    fn thinning_looks_at_every_position_alike() {
        for positions in [16, 49, 64, 196, 256, 784] {
            for pictures in [3200, 80_000 / positions * 16] {
                let plane: Vec<f32> = (0..positions).map(|i| i as f32).collect();
                let mut samples = Samples::new();
                for _ in 0..pictures {
                    samples.add(&plane);
                }
                assert!((KEPT / 2 - 2..KEPT).contains(&samples.kept.len()));
                let mut counts = vec![0; positions];
                for value in &samples.kept {
                    counts[*value as usize] += 1;
                }
                let fair = samples.kept.len() as f64 / positions as f64;
                for (position, count) in counts.into_iter().enumerate() {
                    let off = (f64::from(count) - fair).abs();
                    assert!(
                        off <= 3.0 + fair / 4.0,
                        "{position} of {positions}: {count}"
                    );
                }
            }
        }
    }

    #[test]
    fn min_max_of_a_channel_covers_what_is_not_kept() {
        let mut values = vec![1.0; KEPT * 4];
        let index = (0..KEPT * 4)
            .rfind(|&i| (i as u32).wrapping_mul(GOLDEN_RATIO) > u32::MAX / 2)
            .unwrap();
        values[index] = 9.0;
        let samples = samples(values);
        assert!(!samples.kept.contains(&9.0));
        let scale = quant(0.0, 20.0, false).scale;
        let (shift, zero) = samples.channel(RangeRule::MinMax, scale, false);
        let step = scale / f32::from(1u8 << shift);
        assert!((127.0 - f32::from(zero)) * step >= 9.0);
    }
}
