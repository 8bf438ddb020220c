//! Which interval of an activation the 256 integers should stand for.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rayon::prelude::*;
use tiny_ddpm::blob::records::Quant;

/// Values kept of each activation; beyond that they are thinned evenly.
const KEPT: usize = 1 << 17;
/// A scale is never smaller than this: a constant activation has no range.
const SMALLEST_SCALE: f32 = 1e-6;

/// How a range is chosen from the values seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
pub enum RangeRule {
    /// Everything seen fits.
    MinMax,
    /// The range whose rounding and clipping errors have the smallest sum of
    /// squares.
    #[default]
    Mse,
}

/// What was seen of every activation, by layer name.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    seen: BTreeMap<String, Samples>,
}

#[derive(Clone, Debug)]
struct Samples {
    low: f32,
    high: f32,
    kept: Vec<f32>,
    /// One in so many values is kept.
    stride: usize,
    /// Values to pass over before the next is kept.
    pass: usize,
}

impl Samples {
    fn new() -> Self {
        Self {
            low: 0.0,
            high: 0.0,
            kept: Vec::new(),
            stride: 1,
            pass: 0,
        }
    }

    fn add(&mut self, values: &[f32]) {
        for &value in values {
            self.low = self.low.min(value);
            self.high = self.high.max(value);
            if self.pass > 0 {
                self.pass -= 1;
                continue;
            }
            self.kept.push(value);
            self.pass = self.stride - 1;
            if self.kept.len() == KEPT {
                let mut index = 0;
                self.kept.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.stride *= 2;
            }
        }
    }

    fn quant(&self, rule: RangeRule, symmetric: bool) -> Quant {
        let fit = |share: f32| quant(self.low * share, self.high * share, symmetric);
        match rule {
            RangeRule::MinMax => fit(1.0),
            RangeRule::Mse => (0..=40)
                .map(|i| fit(1.0 - 0.02 * i as f32))
                .map(|quant| (self.squared_error(quant), quant))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .map_or_else(|| fit(1.0), |(_, quant)| quant),
        }
    }

    fn squared_error(&self, quant: Quant) -> f64 {
        let error = |&value: &f32| {
            let q = (value / quant.scale).round() + f32::from(quant.zero_point);
            let rounded = (q.clamp(-128.0, 127.0) - f32::from(quant.zero_point)) * quant.scale;
            f64::from(rounded - value).powi(2)
        };
        self.kept.iter().map(error).sum()
    }
}

/// The quantisation that covers `low..=high`, where `low <= 0 <= high`.
fn quant(low: f32, high: f32, symmetric: bool) -> Quant {
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

impl Calibration {
    /// Takes note of values of the activation called `name`.
    pub fn observe(&mut self, name: &str, values: &[f32]) {
        if !self.seen.contains_key(name) {
            self.seen.insert(name.to_owned(), Samples::new());
        }
        if let Some(samples) = self.seen.get_mut(name) {
            samples.add(values);
        }
    }

    /// Chooses a range for every activation seen.
    ///
    /// `symmetric` says which of them need a zero point of 0.
    #[must_use]
    pub fn ranges(&self, rule: RangeRule, symmetric: impl Fn(&str) -> bool + Sync) -> Ranges {
        let chosen = self.seen.par_iter().map(|(name, samples)| {
            let quant = samples.quant(rule, symmetric(name));
            (name.clone(), quant)
        });
        Ranges(chosen.collect())
    }
}

/// The chosen quantisation of every activation.
#[derive(Clone, Debug)]
pub struct Ranges(BTreeMap<String, Quant>);

impl Ranges {
    /// That of the activation called `name`.
    ///
    /// # Errors
    /// Where calibration never saw it.
    pub fn get(&self, name: &str) -> Result<Quant> {
        let quant = self.0.get(name).copied();
        quant.with_context(|| format!("calibration never saw the activation {name}"))
    }
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
    fn one_outlier_does_not_cost_everyone_else_their_precision() {
        let crowd = (0..10_000).map(|i| (i % 100) as f32 / 100.0);
        let samples = samples(crowd.chain([1.6]));
        let all = samples.quant(RangeRule::MinMax, false);
        let best = samples.quant(RangeRule::Mse, false);
        assert!(best.scale < all.scale);
        assert!(samples.squared_error(best) < samples.squared_error(all));
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
    }
}
