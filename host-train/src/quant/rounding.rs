//! How the weights of one output channel become integers.
//!
//! What a network does on a chip is decided here: whatever wants to know it
//! beforehand, as training for it does, must round by these functions.
//!
//! A weight counts as its *contribution*: what it adds to the channel's sum for
//! one step of its input. Inputs may have different steps, contributions can
//! be compared.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tiny_ddpm::graph::{LayerId, Part, Stage};

/// Bits of a weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum WeightBits {
    /// -7 to 7, times 16: as the upper half of a byte
    #[value(name = "4")]
    Four,
    /// -127 to 127
    #[default]
    #[value(name = "8")]
    Eight,
}

/// The bits of a convolution's weights where `asked` are asked for.
///
/// 4 bits are too few where the picture's finest detail passes, and where what
/// is rounded away is made up for by no later layer: in the first and the last
/// convolution, at the finest level, and in shortcuts, which are the residual
/// path itself. All of these have few channels or a single tap, so that they
/// take little flash in 8 bits. Of the digits after 3,600 steps: by how much the
/// prediction is off, errors of all layers included, and the Fréchet distance of
/// 2,000 pictures (20 steps, no guidance; 7.8 with the float weights):
///
/// | 8 bits for | error | Fréchet | bytes |
/// | --- | --- | --- | --- |
/// | the first and the last convolution | 30.6% | 57.5 | 210,050 |
/// | and shortcuts | 22.6% | 31.3 | 213,506 |
/// | and the finest level | 8.3% | 11.2 | 226,466 |
/// | everything | 7.2% | 7.9 | 326,978 |
///
/// Keeping the attention and the changes of resolution, too, lowers the error by
/// less than a point. (Measured with this function changed, on weights that longer
/// training has replaced: docs/quantisation.md has the rows of those that ship.)
#[must_use]
pub fn weight_bits(layer: LayerId, asked: WeightBits) -> WeightBits {
    match layer.stage {
        Stage::ConvIn
        | Stage::Output
        | Stage::Down { level: 0, .. }
        | Stage::DownAttention { level: 0, .. }
        | Stage::Up { level: 0, .. }
        | Stage::UpAttention { level: 0, .. } => WeightBits::Eight,
        _ if layer.part == Part::Shortcut => WeightBits::Eight,
        _ => asked,
    }
}

/// Shares of the largest contribution that are tried as the range of 4 bits:
/// few weights are that large, and clipping them makes the steps of all others
/// finer.
const CLIPS: std::ops::RangeInclusive<u32> = 16..=40;
/// What such a share is counted in.
const CLIP: f64 = 1.0 / 40.0;

impl TryFrom<u8> for WeightBits {
    type Error = String;

    fn try_from(bits: u8) -> Result<Self, String> {
        match bits {
            4 => Ok(Self::Four),
            8 => Ok(Self::Eight),
            other => Err(format!("weights of {other} bits: must be 8 or 4")),
        }
    }
}

impl From<WeightBits> for u8 {
    fn from(bits: WeightBits) -> Self {
        match bits {
            WeightBits::Four => 4,
            WeightBits::Eight => 8,
        }
    }
}

impl fmt::Display for WeightBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u8::from(*self).fmt(f)
    }
}

impl WeightBits {
    /// Integers between a weight and the next.
    const fn spacing(self) -> i8 {
        match self {
            Self::Four => 16,
            Self::Eight => 1,
        }
    }

    /// The largest weight, counted in these.
    const fn levels(self) -> f64 {
        match self {
            Self::Four => 7.0,
            Self::Eight => 127.0,
        }
    }

    /// The integer weight, in steps of `spacing`.
    fn level(self, contribution: f64, step: f64) -> f64 {
        (contribution / step)
            .round()
            .clamp(-self.levels(), self.levels())
    }
}

/// The integer weights of an output channel, and their unit: what 1 of them
/// adds to the sum for one step of an input, at least `least`.
///
/// With 8 bits the largest contribution becomes 127. With 4 bits the range is
/// the one that gives the smallest sum of squared errors.
#[must_use]
pub fn quantise_row(contributions: &[f64], bits: WeightBits, least: f64) -> (f64, Vec<i8>) {
    let unit = unit(contributions, bits).max(least);
    let weights = contributions.iter().map(|&c| quantise(c, bits, unit));
    (unit, weights.collect())
}

/// An integer weight, in a given unit.
#[must_use]
pub fn quantise(contribution: f64, bits: WeightBits, unit: f64) -> i8 {
    let step = unit * f64::from(bits.spacing());
    // Within ±127, by the clamp.
    bits.level(contribution, step) as i8 * bits.spacing()
}

/// The unit that suits these contributions; 0 where all are 0.
fn unit(contributions: &[f64], bits: WeightBits) -> f64 {
    let largest = contributions
        .iter()
        .fold(0.0, |max: f64, c| max.max(c.abs()));
    let full = largest / bits.levels();
    if bits == WeightBits::Eight || full == 0.0 {
        return full / f64::from(bits.spacing());
    }
    let squared_error = |step: f64| -> f64 {
        let error = |&c: &f64| (bits.level(c, step) * step - c).powi(2);
        contributions.iter().map(error).sum()
    };
    let best = CLIPS
        .map(|clip| full * f64::from(clip) * CLIP)
        .map(|step| (squared_error(step), step))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(full, |(_, step)| step);
    best / f64::from(bits.spacing())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiny_ddpm::diffusion::noise::Noise;
    use tiny_ddpm::kernels::packing::is_int4;

    fn normal(count: usize) -> Vec<f64> {
        let mut noise = Noise::new(3, 0);
        (0..count).map(|_| f64::from(noise.normal())).collect()
    }

    fn squared_error(contributions: &[f64], unit: f64, weights: &[i8]) -> f64 {
        let pairs = contributions.iter().zip(weights);
        pairs.map(|(c, &w)| (c - f64::from(w) * unit).powi(2)).sum()
    }

    #[test]
    fn with_8_bits_the_largest_is_127() {
        let (unit, weights) = quantise_row(&[0.5, -2.0, 0.0, 1.0], WeightBits::Eight, 0.0);
        assert_eq!(weights, [32, -127, 0, 64]);
        assert_eq!(unit, 2.0 / 127.0);
    }

    #[test]
    fn weights_of_4_bits_can_be_stored_so() {
        for count in [1, 2, 9, 432] {
            let row = normal(count);
            let (unit, weights) = quantise_row(&row, WeightBits::Four, 0.0);
            assert!(weights.iter().all(|&w| is_int4(w)), "{weights:?}");
            assert!(unit > 0.0 && weights.iter().any(|&w| w != 0));
        }
    }

    /// Equal weights are exact, and a row of zeros is one.
    #[test]
    fn weights_that_4_bits_hold_are_exact() {
        let row: Vec<f64> = (-7..=7).map(|level| 0.25 * f64::from(level)).collect();
        let (unit, weights) = quantise_row(&row, WeightBits::Four, 0.0);
        assert_eq!(16.0 * unit, 0.25);
        assert_eq!(squared_error(&row, unit, &weights), 0.0);
        assert_eq!(
            quantise_row(&[0.0; 3], WeightBits::Four, 1e-9),
            (1e-9, vec![0; 3])
        );
    }

    /// One outlier does not take the steps of all others.
    #[test]
    fn clipping_errs_less_than_the_full_range() {
        let mut row = normal(432);
        row[7] = 8.0;
        let (unit, weights) = quantise_row(&row, WeightBits::Four, 0.0);
        let full = 8.0 / 112.0;
        let unclipped: Vec<i8> = row
            .iter()
            .map(|&c| quantise(c, WeightBits::Four, full))
            .collect();
        let [found, full] = [
            squared_error(&row, unit, &weights),
            squared_error(&row, full, &unclipped),
        ];
        assert!(found < 0.75 * full, "{found} clipped, {full} not");
        assert_eq!(weights[7], 112);
    }

    /// A unit that something else asks for is kept, by both.
    #[test]
    fn the_unit_is_at_least_what_is_asked() {
        for bits in [WeightBits::Four, WeightBits::Eight] {
            let (unit, weights) = quantise_row(&[1.0, -3.0], bits, 1.0);
            assert_eq!(unit, 1.0);
            let expected = if bits == WeightBits::Eight { -3 } else { 0 };
            assert_eq!(weights[1], expected);
        }
    }
}
