//! Which interval of an activation the 256 integers should stand for.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tiny_ddpm::blob::records::{MAX_SHIFT, Quant};
use tiny_ddpm::graph::LayerId;

use super::rule::RangeRule;
use super::samples::{SMALLEST_SCALE, Samples, quant};
use super::scheme::Scheme;

/// A scale is never smaller than this for what comes out of a normalisation, whose reciprocal is a
/// multiplier of 15 bits.
const SMALLEST_NORM_SCALE: f32 = 1.0 / 127.0;

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

/// What was seen of every activation.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    /// A sample of each channel.
    seen: BTreeMap<LayerId, Vec<Samples>>,
}

impl Calibration {
    /// Takes note of a layer's activation: pictures of `channels` planes with
    /// `positions` values each.
    pub fn observe(&mut self, layer: LayerId, values: &[f32], channels: usize, positions: usize) {
        let new = || vec![Samples::new(); channels];
        let channel = self.seen.entry(layer).or_insert_with(new);
        for picture in values.chunks_exact((channels * positions).max(1)) {
            for (samples, plane) in channel.iter_mut().zip(picture.chunks(positions)) {
                samples.add(plane);
            }
        }
    }

    /// Chooses a range for every activation seen. `schemes` says what the
    /// kernels ask of each; of one that it does not name, one scale and a zero
    /// point are chosen.
    #[must_use]
    pub fn ranges(&self, rule: RangeRule, schemes: &BTreeMap<LayerId, Scheme>) -> Ranges {
        let chosen = self.seen.par_iter().map(|(layer, channels)| {
            let scheme = schemes.get(layer).copied().unwrap_or(Scheme::PerTensor);
            (*layer, Range::new(channels, rule, scheme))
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
        schemes: &BTreeMap<LayerId, Scheme>,
        halves: &[[LayerId; 2]],
    ) -> Ranges {
        let mut schemes = schemes.clone();
        if scales != Scales::Channel {
            for scheme in schemes.values_mut() {
                if let Scheme::PerChannel { .. } = scheme {
                    *scheme = Scheme::PerTensor;
                }
            }
        }
        let mut ranges = self.ranges(rule, &schemes);
        if scales == Scales::Shared {
            for pair in halves {
                let seen = pair.iter().filter_map(|layer| self.seen.get(layer));
                let both: Vec<Samples> = seen.flatten().cloned().collect();
                let shared = Range::new(&both, rule, Scheme::PerTensor);
                for layer in pair {
                    if let Some(range) = ranges.0.get_mut(layer) {
                        range.scale = shared.scale;
                        range.zero_points.fill(shared.plain().zero_point.into());
                    }
                }
            }
        }
        ranges
    }
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
    fn new(channels: &[Samples], rule: RangeRule, scheme: Scheme) -> Self {
        let all = Samples::merged(channels);
        let means = channels.iter().map(Samples::mean).collect();
        if let Scheme::PerChannel { padded } = scheme {
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
        let Quant { scale, zero_point } = all.quant(rule, scheme == Scheme::Symmetric);
        let smallest = if scheme == Scheme::Normalised {
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
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges(BTreeMap<LayerId, Range>);

impl Ranges {
    /// That of a layer's activation, which has `channels` channels.
    ///
    /// # Errors
    /// Where calibration never saw it, or saw another number of channels.
    pub fn get(&self, layer: LayerId, channels: usize) -> Result<&Range> {
        let range = self.0.get(&layer);
        let range =
            range.with_context(|| format!("calibration never saw the activation {layer}"))?;
        let lengths = [
            range.shifts.len(),
            range.zero_points.len(),
            range.means.len(),
        ];
        ensure!(
            lengths == [channels; 3],
            "the range of {layer} is for {} channels where the topology asks for {channels}",
            range.shifts.len()
        );
        Ok(range)
    }

    /// The ranges in a text that [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// Where it is something else, or holds a number that no kernel could use.
    pub fn from_json(text: &str) -> Result<Self> {
        let by_name: BTreeMap<String, Range> = serde_json::from_str(text)?;
        let mut ranges = BTreeMap::new();
        for (name, range) in by_name {
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
            let layer = name.parse().with_context(|| format!("{name:?}"))?;
            ranges.insert(layer, range);
        }
        Ok(Self(ranges))
    }

    /// As JSON, from which the same numbers can be read.
    ///
    /// # Errors
    /// Never for ranges that calibration chose.
    pub fn to_json(&self) -> Result<String> {
        let named = self
            .0
            .iter()
            .map(|(layer, range)| (layer.to_string(), range));
        Ok(serde_json::to_string(&named.collect::<BTreeMap<_, _>>())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiny_ddpm::graph::{Part, Stage};

    const Y: LayerId = LayerId::new(Stage::ConvIn, Part::Whole);
    const SKIP: LayerId = LayerId::new(Stage::Mid { block: 0 }, Part::Conv2);

    /// All alike.
    fn per_channel(padded: bool) -> BTreeMap<LayerId, Scheme> {
        [Y, SKIP]
            .map(|layer| (layer, Scheme::PerChannel { padded }))
            .into()
    }

    #[test]
    fn fewer_scales_mean_alike_channels_and_halves() {
        let mut calibration = Calibration::default();
        let ramp = |count: usize, size: f32| -> Vec<f32> {
            (0..count).map(|i| (i % 21) as f32 * size).collect()
        };
        calibration.observe(Y, &[ramp(1000, 1.0), ramp(1000, 0.1)].concat(), 2, 1000);
        calibration.observe(SKIP, &ramp(1000, 3.0), 1, 1000);
        let halves = [[Y, SKIP]];
        let get =
            |scales| calibration.ranges_with(RangeRule::Mse, scales, &per_channel(false), &halves);
        let step = |ranges: &Ranges, layer, channels, channel| {
            ranges.get(layer, channels).unwrap().step(channel)
        };
        let own = get(Scales::Channel);
        assert!(step(&own, Y, 2, 0) > step(&own, Y, 2, 1));
        let plain = get(Scales::Tensor);
        assert_eq!(step(&plain, Y, 2, 0), step(&plain, Y, 2, 1));
        assert!(step(&plain, SKIP, 1, 0) > step(&plain, Y, 2, 0));
        let shared = get(Scales::Shared);
        assert_eq!(step(&shared, SKIP, 1, 0), step(&shared, Y, 2, 0));
        assert_eq!(step(&shared, SKIP, 1, 0), step(&plain, SKIP, 1, 0));
    }

    #[test]
    fn a_quiet_channel_far_from_zero_keeps_its_precision() {
        let mut calibration = Calibration::default();
        let loud = (0..1000).map(|i| (i % 21) as f32 - 10.0);
        let quiet = (0..1000).map(|i| (i % 21) as f32 / 100.0 - 8.0);
        let values: Vec<f32> = loud.chain(quiet).collect();
        calibration.observe(Y, &values, 2, 1000);
        let ranges = calibration.ranges(RangeRule::Mse, &per_channel(false));
        let range = ranges.get(Y, 2).unwrap();
        assert_eq!(range.shifts, [0, 6]);
        let zero = range.step(1) * f64::from(range.zero_points[1]);
        assert!((zero - 7.9).abs() < 0.01, "centred at {zero}");

        // Where padding must hold a zero, zero must be within reach.
        let ranges = calibration.ranges(RangeRule::Mse, &per_channel(true));
        let range = ranges.get(Y, 2).unwrap();
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
        calibration.observe(Y, &values, 3, 1000);
        let ranges = calibration.ranges(RangeRule::Mse, &per_channel(false));
        let text = ranges.to_json().unwrap();
        assert_eq!(Ranges::from_json(&text).unwrap(), ranges);
        assert!(ranges.get(Y, 2).is_err() && ranges.get(SKIP, 3).is_err());

        let range = |scale, shift, mean| {
            let text = format!(
                r#"{{"conv_in":{{"scale":{scale},"shifts":[{shift}],"zero_points":[0],"means":[{mean}]}}}}"#
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
