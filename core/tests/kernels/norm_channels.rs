//! Group normalisation where every channel has a scale and a zero point of its
//! own, and at the limits of both.

use super::norm::{Case, PLAIN};
use super::uniform;
use proptest::prelude::*;
use std::hint::black_box;
use tiny_ddpm::blob::records::{MAX_SHIFT, MAX_ZERO};
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::kernels::norm::{Fine, Statistics, Sums, Target};

/// Normal values: each channel has a mean and a deviation.
fn normal(seed: u64, positions: usize, channels: &[(f64, f64)]) -> Vec<f64> {
    let mut noise = Noise::new(seed, 1);
    (0..positions)
        .flat_map(|_| channels)
        .map(|(mean, deviation)| mean + deviation * f64::from(noise.normal()))
        .collect()
}

/// Quantises each channel as finely as its values and a blob's limits allow.
fn quantised(real: &[f64], channels: usize, group: usize) -> Case {
    let ranges: Vec<(f64, f64)> = (0..channels)
        .map(|channel| {
            let values = real.iter().skip(channel).step_by(channels);
            values.fold((f64::MAX, f64::MIN), |(low, high), &x| {
                (low.min(x), high.max(x))
            })
        })
        .collect();
    let step = |&(low, high): &(f64, f64)| ((high - low) / 250.0).max(1e-12);
    let middle = |&(low, high): &(f64, f64)| (low + high) / 2.0;
    let scale = ranges
        .iter()
        .map(|range| step(range).max(middle(range).abs() / 255.0))
        .fold(0.0, f64::max);
    let mut case = Case::new(Vec::new(), channels, group);
    case.scale = scale;
    for (fine, range) in case.fines.iter_mut().zip(&ranges) {
        fine.shift = (scale / step(range)).log2().clamp(0.0, 7.0) as u8;
        let step = scale / f64::from(1 << fine.shift);
        fine.zero_point = (-middle(range) / step).round() as i16;
        assert!(i32::from(fine.zero_point).abs() < i32::from(MAX_ZERO) << fine.shift);
    }
    let fines = &case.fines;
    case.values = real
        .iter()
        .enumerate()
        .map(|(i, x)| {
            let fine = fines[i % channels];
            let step = scale / f64::from(1 << fine.shift);
            (x / step + f64::from(fine.zero_point)).round() as i8
        })
        .collect();
    case
}

/// Checks both with SiLU and without, and at several output scales.
#[track_caller]
fn check(mut case: Case, steps: f64) {
    for silu in [true, false] {
        for output_scale in [0.01, 0.03, 0.06] {
            (case.silu, case.output_scale, case.output_zero) = (silu, output_scale, 11);
            case.check(steps);
        }
    }
}

/// Deviations that fall from channel to channel: all shifts in one group.
#[test]
fn channels_of_different_size_share_a_group() {
    for seed in 0..4 {
        let sizes: Vec<(f64, f64)> = (0..8).map(|c| (0.0, 2.0 * 0.4_f64.powi(c))).collect();
        for group in [2, 4, 8] {
            let case = quantised(&normal(seed, 49, &sizes), 8, group);
            let shifts: Vec<u8> = case.fines.iter().map(|fine| fine.shift).collect();
            assert_eq!((shifts[0], shifts[7]), (0, 7), "{shifts:?}");
            check(case.with_random_affine(seed), 1.0);
        }
    }
}

/// Means far from 0, and from each other, for the deviation around them.
#[test]
fn channels_far_from_0_share_a_group() {
    for (seed, mean) in [(1, 1.0), (2, 4.0), (3, 20.0), (4, 100.0)] {
        for signs in [[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 0.5, -0.1]] {
            let channels: Vec<(f64, f64)> = signs
                .into_iter()
                .zip([1.0, 0.3, 0.1, 0.5])
                .map(|(sign, deviation)| (sign * mean, deviation))
                .collect();
            let case = quantised(&normal(seed, 49, &channels), 4, 4);
            check(case.with_random_affine(seed), 1.0);
        }
    }
}

/// What one scale and zero point for all could not do: the group's values lie
/// close together and far from 0, and still every one is told from the next.
#[test]
fn a_common_mean_is_not_magnified() {
    for (mean, deviation) in [(10.0, 0.2), (-10.0, 0.2), (3.0, 0.05), (0.7, 0.7)] {
        let channels = [(mean, deviation); 4];
        let real = normal(6, 196, &channels);
        let mut case = quantised(&real, 4, 4);
        (case.silu, case.output_scale) = (false, 0.03);
        // The definition on the numbers that were there before quantisation.
        let count = real.len() as f64;
        let mean = real.iter().sum::<f64>() / count;
        let variance = real.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let u: Vec<f64> = real
            .iter()
            .map(|x| (x - mean) / (variance + 1e-5).sqrt())
            .collect();
        case.check_against(&u, 2.0);
    }
}

/// Other groups of the plane do not matter, however their channels are scaled.
#[test]
fn sums_are_of_the_channel_alone() {
    let values = [1, 2, 3, 4, -5, 6, 7, -8];
    let mut sums = Sums::default();
    sums.add(&values, 4, 1, PLAIN);
    sums.add(&values, 4, 2, PLAIN);
    let mut expected = Sums::default();
    expected.add(&[2, 6, 3, 7], 1, 0, PLAIN);
    assert_eq!(sums, expected);

    let mut nothing = Sums::default();
    nothing.add(&[], 4, 0, PLAIN);
    nothing.add(&values, 8, 8, PLAIN);
    assert_eq!(nothing, Sums::default());
}

/// (q - zero point) / 2^shift is what counts, not what it is made of.
#[test]
fn equal_values_have_equal_sums() {
    let sums = |values: &[i8], zero_point, shift| {
        let mut sums = Sums::default();
        sums.add(values, 1, 0, Fine { zero_point, shift });
        sums
    };
    let expected = sums(&[1, -2, 0], 0, 0);
    assert_eq!(sums(&[2, -4, 0], 0, 1), expected);
    assert_eq!(sums(&[64, -128, 0], 0, 6), expected);
    assert_eq!(sums(&[101, 98, 100], 100, 0), expected);
    assert_eq!(sums(&[0, -96, -32], -32, 5), expected);
    assert_ne!(sums(&[1, -2, 0], 0, 1), expected);
    assert_ne!(sums(&[1, -2, 0], 1, 0), expected);
    assert_eq!(sums(&[0], 32_640, 7), sums(&[0], 255, 0));
}

/// The largest group there may be, with the largest values of either sign.
#[test]
fn the_largest_group_does_not_overflow() {
    let (low, high) = (
        Fine {
            zero_point: MAX_ZERO - 1,
            shift: 0,
        },
        Fine {
            zero_point: 1 - MAX_ZERO,
            shift: 0,
        },
    );
    let finest = Fine {
        zero_point: i16::MAX,
        shift: MAX_SHIFT,
    };
    for fines in [[low, low], [high, high], [low, high], [finest, high]] {
        for (first, second) in [(-128, 127), (-128, -128), (127, 127)] {
            let plane: Vec<i8> = (0..1 << 16)
                .map(|i| if i % 2 == 0 { first } else { second })
                .collect();
            let mut case = Case::new(plane, 16, 16);
            for (channel, fine) in case.fines.iter_mut().enumerate() {
                *fine = fines[channel % 2];
            }
            for scale in [1e-3, 1.0, 1e6] {
                case.scale = scale;
                check(case.clone(), 1.0);
            }
            let mut sums = Sums::default();
            for (channel, &fine) in case.fines.iter().enumerate() {
                sums.add(&case.values, 16, channel, fine);
            }
            check_extremes(sums, &fines);
        }
    }
}

/// Values a few of the finest steps apart, and as far from 0 as they may be:
/// the sums are exact, and do not cancel into noise.
#[test]
fn nearly_equal_values_far_from_0_keep_their_variance() {
    for sign in [-1, 1] {
        let fine = Fine {
            zero_point: -sign * i16::MAX,
            shift: MAX_SHIFT,
        };
        for spread in [2, 3, 8] {
            let plane: Vec<i8> = (0..1 << 16)
                .map(|i| if i / 16 % 2 == 0 { 100 } else { 100 - spread })
                .collect();
            let mut case = Case::new(plane, 16, 16).with_random_affine(2);
            case.fines.fill(fine);
            case.scale = 1.0;
            check(case, 1.0);
        }
    }
}

/// Every limit of a blob's numbers together.
fn check_extremes(sums: Sums, fines: &[Fine]) {
    for epsilon in [0.0, f32::MIN_POSITIVE, 1.0, 1e9, f32::MAX, f32::INFINITY] {
        let statistics = Statistics::new(sums, epsilon);
        for gain in [-1 << 22, -1, 0, 1, 1 << 15, 1 << 22] {
            for offset in [-1 << 22, 0, 1 << 22] {
                for &fine in fines {
                    let (slope, intercept) = statistics.line(gain, offset, fine);
                    for (multiplier, silu) in [(0, true), (8533, false), (32_767, true)] {
                        for zero_point in [-128, 127] {
                            let target = Target {
                                multiplier,
                                zero_point,
                                silu,
                            };
                            for q in [-128, 0, 127] {
                                black_box(target.apply(q, slope, intercept));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Any channel that a blob may have; the limits are as likely as the rest.
fn any_fine() -> impl Strategy<Value = Fine> {
    (prop_oneof![Just(0), Just(MAX_SHIFT), 0..=MAX_SHIFT]).prop_flat_map(|shift| {
        let limit = ((i32::from(MAX_ZERO) << shift) - 1) as i16;
        prop_oneof![Just(-limit), Just(0), Just(limit), -limit..=limit]
            .prop_map(move |zero_point| Fine { zero_point, shift })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Means of up to 20 deviations, deviations over four binary orders.
    #[test]
    fn random_channels_are_within_a_step(
        seed in 0_u64..1 << 40,
        positions in 16_usize..80,
        channels in proptest::collection::vec((-20.0..20.0, -4.0..0.0), 4..=4),
        group in proptest::sample::select(vec![1_usize, 2, 4]),
    ) {
        let channels: Vec<(f64, f64)> = channels
            .into_iter()
            .map(|(mean, exponent): (f64, f64)| (mean * exponent.exp2(), exponent.exp2()))
            .collect();
        let case = quantised(&normal(seed, positions, &channels), 4, group);
        check(case.with_random_affine(seed), 1.0);
    }

    /// Any numbers that a blob may hold, and any values.
    #[test]
    fn extremes_do_not_overflow(
        seed in 0_u64..1 << 40,
        positions in prop_oneof![Just(1_usize), Just(4096), 1_usize..4096],
        fines in proptest::collection::vec(any_fine(), 1..=16),
        constant: Option<i8>,
        epsilon in prop_oneof![Just(0.0), Just(f32::INFINITY), 0.0..f32::MAX, 0.0..1e6_f32],
        gain in -(1_i32 << 22)..=1 << 22,
        offset in -(1_i32 << 22)..=1 << 22,
        multiplier in 0..=32_767,
        zero_point: i8,
        silu: bool,
    ) {
        let channels = fines.len();
        let mut values = uniform(seed, positions * channels);
        if let Some(constant) = constant {
            values.fill(constant);
        }
        let mut sums = Sums::default();
        for (channel, &fine) in fines.iter().enumerate() {
            sums.add(&values, channels, channel, fine);
        }
        let statistics = Statistics::new(sums, epsilon);
        let target = Target { multiplier, zero_point, silu };
        for fine in fines {
            let (slope, intercept) = statistics.line(gain, offset, fine);
            for q in i8::MIN..=i8::MAX {
                black_box(target.apply(q, slope, intercept));
            }
        }
    }
}
