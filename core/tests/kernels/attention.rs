//! Attention against softmax(q k^T / sqrt(d)) v in `f64`.

use super::{normal, uniform};
use proptest::prelude::*;
use tiny_ddpm::kernels::attention::{Factors, Head, head};

/// An attention with its scales, over planes of `channels`.
#[derive(Clone, Debug)]
struct Case {
    channels: usize,
    heads: usize,
    queries: Vec<i8>,
    keys: Vec<i8>,
    values: Vec<i8>,
    /// Of query times key.
    logit_scale: f64,
    value_scale: f64,
    output_scale: f64,
    zero_point: i8,
}

impl Case {
    /// Logits of a deviation of `spread`.
    fn random(tokens: usize, channels: usize, heads: usize, spread: f64, seed: u64) -> Self {
        let plane = |seed| normal(seed, tokens * channels, 0.0, 40.0);
        // q.k of d products, divided by sqrt(d), has the deviation of one.
        Self {
            channels,
            heads,
            queries: plane(seed),
            keys: plane(seed + 1),
            values: plane(seed + 2),
            logit_scale: spread / (40.0 * 40.0),
            value_scale: 0.02,
            output_scale: 0.02,
            zero_point: 0,
        }
    }

    fn width(&self) -> usize {
        self.channels / self.heads
    }

    fn factors(&self) -> Factors {
        let logit = self.logit_scale / (self.width() as f64).sqrt() * std::f64::consts::LOG2_E;
        Factors {
            logit: (logit * f64::from(1 << 24) * 256.0).round() as i32,
            value: (self.value_scale / self.output_scale * 65536.0).round() as i32,
            zero_point: self.zero_point,
        }
    }

    fn run(&self) -> Vec<i8> {
        let mut output = vec![0; self.queries.len()];
        let mut weights = vec![12345; self.queries.len() / self.channels];
        for index in 0..self.heads {
            let view = Head {
                channels: self.channels,
                first: index * self.width(),
                width: self.width(),
            };
            head(
                view,
                &self.queries,
                &self.keys,
                &self.values,
                self.factors(),
                &mut weights,
                &mut output,
            );
        }
        output
    }

    /// In output steps.
    fn expected(&self) -> Vec<f64> {
        let tokens = self.queries.len() / self.channels;
        let at = |plane: &[i8], token: usize, channel: usize| {
            f64::from(plane[token * self.channels + channel])
        };
        let mut output = vec![0.0; self.queries.len()];
        for first in (0..self.channels).step_by(self.width()) {
            let own = first..first + self.width();
            for query in 0..tokens {
                let logits: Vec<f64> = (0..tokens)
                    .map(|key| {
                        let dot: f64 = own
                            .clone()
                            .map(|c| at(&self.queries, query, c) * at(&self.keys, key, c))
                            .sum();
                        dot * self.logit_scale / (self.width() as f64).sqrt()
                    })
                    .collect();
                let largest = logits.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = logits.iter().map(|l| (l - largest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for channel in own.clone() {
                    let mixed: f64 = (0..tokens)
                        .map(|token| weights[token] / sum * at(&self.values, token, channel))
                        .sum();
                    output[query * self.channels + channel] =
                        mixed * self.value_scale / self.output_scale + f64::from(self.zero_point);
                }
            }
        }
        output
    }

    #[track_caller]
    fn check(&self, steps: f64) {
        for (i, (found, exact)) in self.run().into_iter().zip(self.expected()).enumerate() {
            let error = (f64::from(found) - exact.clamp(-128.0, 127.0)).abs();
            assert!(error <= steps, "{found} at {i}, exactly {exact}");
        }
    }
}

/// Half a step is the last rounding; logits of 8 fraction bits move the
/// softmax's weights by up to 0.14% each.
#[test]
fn realistic_inputs_are_within_a_step() {
    for (seed, tokens, spread) in [(10, 49, 0.3), (20, 49, 1.0), (30, 49, 4.0), (40, 16, 10.0)] {
        for (channels, heads) in [(32, 4), (24, 4), (8, 1)] {
            Case::random(tokens, channels, heads, spread, seed).check(1.0);
        }
    }
}

#[test]
fn an_output_of_finer_scale_is_within_two_steps() {
    for seed in [3, 6, 9] {
        let mut case = Case::random(49, 32, 4, 0.5, seed);
        case.output_scale = case.value_scale / 4.0;
        case.zero_point = 20;
        case.check(2.0);
    }
}

/// Keys that are all alike: the mean of the values.
#[test]
fn equal_logits_average() {
    let mut case = Case::random(49, 16, 4, 1.0, 5);
    case.keys.fill(0);
    case.check(0.51);
}

/// One key far above the others: its value alone.
#[test]
fn a_dominant_key_is_copied() {
    let (tokens, channels) = (9, 4);
    let mut case = Case::random(tokens, channels, 1, 50.0, 6);
    case.queries.fill(100);
    case.keys.fill(-100);
    case.keys[5 * channels..6 * channels].fill(100);
    let output = case.run();
    for position in output.chunks(channels) {
        assert_eq!(position, &case.values[5 * channels..6 * channels]);
    }
}

/// Heads see only their own channels.
#[test]
fn heads_are_independent() {
    let case = Case::random(16, 8, 2, 2.0, 7);
    let before = case.run();
    let mut changed = case.clone();
    for plane in [&mut changed.queries, &mut changed.keys, &mut changed.values] {
        for position in plane.chunks_mut(8) {
            position[4..].fill(11);
        }
    }
    let after = changed.run();
    for (a, b) in before.chunks(8).zip(after.chunks(8)) {
        assert_eq!(a[..4], b[..4]);
    }
    assert_ne!(before, after);
}

/// 256 positions, 256 channels and the largest factors: the bounds that the
/// kernel's comments give.
#[test]
fn extremes_do_not_overflow() {
    let planes = [
        vec![-128; 256 * 256],
        vec![127; 256 * 256],
        uniform(1, 256 * 256),
    ];
    let view = Head {
        channels: 256,
        first: 0,
        width: 256,
    };
    let mut output = vec![0; 256 * 4];
    let mut weights = vec![i32::MAX; 256];
    for queries in &planes {
        for keys in &planes {
            for values in &planes {
                for logit in [0, 1, i32::MAX] {
                    for value in [0, 1, 1 << 23] {
                        let factors = Factors {
                            logit,
                            value,
                            zero_point: -128,
                        };
                        // A few queries are enough; each meets every key.
                        head(
                            view,
                            &queries[..256 * 4],
                            keys,
                            values,
                            factors,
                            &mut weights,
                            &mut output,
                        );
                    }
                }
            }
        }
    }
}

/// 256 equal weights of the largest values: the fullest sum.
#[test]
fn the_fullest_sum_is_right() {
    let mut case = Case::random(256, 4, 1, 0.0, 8);
    for value in [-128, 127] {
        case.values.fill(value);
        assert!(case.run().iter().all(|&v| v == value));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn random_attentions_are_within_a_step(
        seed in 0_u64..1 << 40,
        tokens in 1_usize..40,
        heads in 1_usize..4,
        width in 1_usize..9,
        spread in 0.0_f64..8.0,
        zero_point in -40_i8..40,
    ) {
        let mut case = Case::random(tokens, heads * width, heads, spread, seed);
        case.zero_point = zero_point;
        case.check(1.0);
    }

    /// Slices that do not fit each other: no panic.
    #[test]
    fn wrong_lengths_do_not_panic(
        lengths in [0_usize..60, 0_usize..60, 0_usize..60, 0_usize..60],
        weights in 0_usize..20,
        channels in 0_usize..9,
        first in 0_usize..9,
        width in 0_usize..9,
    ) {
        let values = [100_i8; 60];
        let factors = Factors { logit: i32::MAX, value: 1 << 23, zero_point: 0 };
        head(
            Head { channels, first, width },
            &values[..lengths[0]],
            &values[..lengths[1]],
            &values[..lengths[2]],
            factors,
            &mut [-5; 20][..weights],
            &mut [0; 60][..lengths[3]],
        );
    }
}
