//! Which interval of an activation the 256 integers should stand for.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tiny_ddpm::blob::records::{MAX_SHIFT, Quant};

use super::samples::{SMALLEST_SCALE, Samples, quant};

/// A scale is never smaller than this for what comes out of a normalisation, whose reciprocal is a
/// multiplier of 15 bits.
const SMALLEST_NORM_SCALE: f32 = 1.0 / 127.0;

/// How a range is chosen from the values seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
pub enum RangeRule {
    /// Everything seen fits.
    MinMax,
    /// All but one in a thousand of the values seen fits, half of these at
    /// either end.
    Percentile,
    /// The range whose rounding and clipping errors have the smallest sum of
    /// squares.
    #[default]
    Mse,
}

/// How many scales an activation of the residual path has.
///
/// Only the first is for models; the others tell what it is worth
/// (docs/quantisation.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
pub enum Scales {
    /// One for each channel, and a zero point.
    #[default]
    Channel,
    /// One for each activation.
    Tensor,
    /// One for each activation, and one for both halves of a skip connection.
    Shared,
}

/// What was seen of every activation, by layer name.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    /// A sample of each channel.
    seen: BTreeMap<String, Vec<Samples>>,
}

impl Calibration {
    /// Takes note of the activation called `name`: pictures of `channels`
    /// planes with `positions` values each.
    pub fn observe(&mut self, name: &str, values: &[f32], channels: usize, positions: usize) {
        if !self.seen.contains_key(name) {
            self.seen
                .insert(name.to_owned(), vec![Samples::new(); channels]);
        }
        let Some(samples) = self.seen.get_mut(name) else {
            return;
        };
        for picture in values.chunks_exact((channels * positions).max(1)) {
            for (samples, plane) in samples.iter_mut().zip(picture.chunks(positions)) {
                samples.add(plane);
            }
        }
    }

    /// Chooses a range for every activation seen. `form` says what the kernels
    /// ask of each.
    #[must_use]
    pub fn ranges(&self, rule: RangeRule, form: impl Fn(&str) -> Form + Sync) -> Ranges {
        let chosen = self.seen.par_iter().map(|(name, channels)| {
            let range = Range::new(channels, rule, form(name));
            (name.clone(), range)
        });
        Ranges(chosen.collect())
    }

    /// The same with fewer scales than the kernels allow. `halves` names the
    /// two activations that meet at the end of each skip connection.
    #[must_use]
    pub fn ranges_with(
        &self,
        rule: RangeRule,
        scales: Scales,
        form: impl Fn(&str) -> Form + Sync,
        halves: &[[String; 2]],
    ) -> Ranges {
        let plain = |name: &str| match (scales, form(name)) {
            (Scales::Tensor | Scales::Shared, Form::Channels { .. }) => Form::Plain,
            (_, form) => form,
        };
        let mut ranges = self.ranges(rule, plain);
        if scales == Scales::Shared {
            for pair in halves {
                let seen = pair.iter().filter_map(|name| self.seen.get(name));
                let both: Vec<Samples> = seen.flatten().cloned().collect();
                let shared = Range::new(&both, rule, Form::Plain);
                for name in pair {
                    if let Some(range) = ranges.0.get_mut(name) {
                        range.scale = shared.scale;
                        range.zero_points.fill(shared.plain().zero_point.into());
                    }
                }
            }
        }
        ranges
    }
}

/// What the kernels ask of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One scale and one zero point.
    Plain,
    /// The same, with a scale of at least 1/127.
    Normalised,
    /// One scale, and a zero point of 0.
    Symmetric,
    /// A scale and a zero point for each channel; the zero points within `i8`
    /// where the activation may be padded.
    Channels {
        /// Whether it may.
        padded: bool,
    },
}

/// The quantisation of one activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// One step, where a channel does not halve it.
    pub scale: f32,
    /// For each channel, how often it does.
    pub shifts: Vec<u8>,
    /// For each channel, what stands for 0.
    pub zero_points: Vec<i16>,
    /// For each channel, its mean as a float.
    pub means: Vec<f32>,
}

impl Range {
    fn new(channels: &[Samples], rule: RangeRule, form: Form) -> Self {
        let all = Samples::merged(channels);
        let means = channels.iter().map(Samples::mean).collect();
        if let Form::Channels { padded } = form {
            // The largest step any channel may have covers everything.
            let (low, high) = all.with_zero();
            let scale = quant(low, high, false).scale;
            let best = channels.iter().map(|c| c.channel(rule, scale, padded));
            let (shifts, zero_points) = best.unzip();
            return Self {
                scale,
                shifts,
                zero_points,
                means,
            };
        }
        let Quant { scale, zero_point } = all.quant(rule, form == Form::Symmetric);
        let smallest = if form == Form::Normalised {
            SMALLEST_NORM_SCALE
        } else {
            SMALLEST_SCALE
        };
        Self {
            scale: scale.max(smallest),
            shifts: vec![0; channels.len()],
            zero_points: vec![zero_point.into(); channels.len()],
            means,
        }
    }

    /// The quantisation of an activation whose channels are all alike.
    #[must_use]
    pub fn plain(&self) -> Quant {
        let zero_point = self.zero_points.first().copied().unwrap_or(0);
        Quant {
            scale: self.scale,
            zero_point: zero_point.clamp(-128, 127) as i8,
        }
    }

    /// One step of a channel.
    #[must_use]
    pub fn step(&self, channel: usize) -> f64 {
        f64::from(self.scale) / f64::from(1u8 << self.shifts[channel])
    }
}

/// The chosen quantisation of every activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranges(BTreeMap<String, Range>);

impl Ranges {
    /// That of the activation called `name`, which has `channels` channels.
    ///
    /// # Errors
    /// Where calibration never saw it, or saw another number of channels.
    pub fn get(&self, name: &str, channels: usize) -> Result<&Range> {
        let range = self.0.get(name);
        let range =
            range.with_context(|| format!("calibration never saw the activation {name}"))?;
        let lengths = [
            range.shifts.len(),
            range.zero_points.len(),
            range.means.len(),
        ];
        ensure!(
            lengths == [channels; 3],
            "the range of {name} is for {} channels where the topology asks for {channels}",
            range.shifts.len()
        );
        Ok(range)
    }

    /// The ranges in a text that [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// Where it is something else, or holds a number that no kernel could use.
    pub fn from_json(text: &str) -> Result<Self> {
        let ranges: Self = serde_json::from_str(text)?;
        for (name, range) in &ranges.0 {
            ensure!(
                range.scale.is_finite() && range.scale > 0.0,
                "{name}: scale {}: must be positive",
                range.scale
            );
            if let Some(shift) = range.shifts.iter().find(|shift| **shift > MAX_SHIFT) {
                anyhow::bail!("{name}: shift {shift}: must be 0 to {MAX_SHIFT}");
            }
            ensure!(
                range.means.iter().all(|mean| mean.is_finite()),
                "{name}: a mean is not finite"
            );
        }
        Ok(ranges)
    }

    /// As JSON, from which the same numbers can be read.
    ///
    /// # Errors
    /// Never for ranges that calibration chose.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_scales_mean_alike_channels_and_halves() {
        let mut calibration = Calibration::default();
        let ramp = |count: usize, size: f32| -> Vec<f32> {
            (0..count).map(|i| (i % 21) as f32 * size).collect()
        };
        calibration.observe("h", &[ramp(1000, 1.0), ramp(1000, 0.1)].concat(), 2, 1000);
        calibration.observe("skip", &ramp(1000, 3.0), 1, 1000);
        let halves = [["h".to_owned(), "skip".to_owned()]];
        let form = |_: &str| Form::Channels { padded: false };
        let get = |scales| calibration.ranges_with(RangeRule::Mse, scales, form, &halves);
        let step = |ranges: &Ranges, name, channels, channel| {
            ranges.get(name, channels).unwrap().step(channel)
        };
        let own = get(Scales::Channel);
        assert!(step(&own, "h", 2, 0) > step(&own, "h", 2, 1));
        let plain = get(Scales::Tensor);
        assert_eq!(step(&plain, "h", 2, 0), step(&plain, "h", 2, 1));
        assert!(step(&plain, "skip", 1, 0) > step(&plain, "h", 2, 0));
        let shared = get(Scales::Shared);
        assert_eq!(step(&shared, "skip", 1, 0), step(&shared, "h", 2, 0));
        assert_eq!(step(&shared, "skip", 1, 0), step(&plain, "skip", 1, 0));
    }

    #[test]
    fn a_quiet_channel_far_from_zero_keeps_its_precision() {
        let mut calibration = Calibration::default();
        let loud = (0..1000).map(|i| (i % 21) as f32 - 10.0);
        let quiet = (0..1000).map(|i| (i % 21) as f32 / 100.0 - 8.0);
        let values: Vec<f32> = loud.chain(quiet).collect();
        calibration.observe("y", &values, 2, 1000);
        let form = |padded| move |_: &str| Form::Channels { padded };
        let ranges = calibration.ranges(RangeRule::Mse, form(false));
        let range = ranges.get("y", 2).unwrap();
        assert_eq!(range.shifts, [0, 6]);
        let zero = range.step(1) * f64::from(range.zero_points[1]);
        assert!((zero - 7.9).abs() < 0.01, "centred at {zero}");

        // Where padding must hold a zero, zero must be within reach.
        let ranges = calibration.ranges(RangeRule::Mse, form(true));
        let range = ranges.get("y", 2).unwrap();
        assert!(range.zero_points[1].abs() <= 127);
        assert!(range.shifts[1] <= 1, "{:?}", range.shifts);
    }

    #[test]
    fn ranges_survive_writing_and_bad_ones_are_refused() {
        let mut calibration = Calibration::default();
        let mut noise = tiny_ddpm::diffusion::noise::Noise::new(2, 0);
        let values: Vec<f32> = (0..3000)
            .map(|i| noise.normal() + (i / 1000) as f32)
            .collect();
        calibration.observe("y", &values, 3, 1000);
        let ranges = calibration.ranges(RangeRule::Mse, |_| Form::Channels { padded: false });
        let text = ranges.to_json().unwrap();
        assert_eq!(Ranges::from_json(&text).unwrap(), ranges);
        assert!(ranges.get("y", 2).is_err() && ranges.get("z", 3).is_err());

        let range = |scale, shift, mean| {
            let text = format!(
                r#"{{"y":{{"scale":{scale},"shifts":[{shift}],"zero_points":[0],"means":[{mean}]}}}}"#
            );
            Ranges::from_json(&text)
        };
        assert!(range("0.5", 7, "0.0").is_ok());
        for bad in [
            range("0.0", 0, "0.0"),
            range("0.5", 8, "0.0"),
            range("0.5", 0, "1e99"),
        ] {
            assert!(bad.is_err());
        }
    }
}
