//! Group normalisation against Wu & He 2018 in `f64`.

use super::{normal, uniform};
use proptest::prelude::*;
use std::hint::black_box;
use tiny_ddpm::kernels::norm::{Statistics, Sums, Target, apply};

const EPSILON: f64 = 1e-5;
/// u is cut to [-8, 8 - 1/128].
const REACH: f64 = 8.0;

/// A normalisation of one plane.
#[derive(Clone, Debug)]
struct Case {
    values: Vec<i8>,
    channels: usize,
    group: usize,
    scale: f64,
    zero_point: i8,
    gains: Vec<f64>,
    offsets: Vec<f64>,
    silu: bool,
    output_scale: f64,
    output_zero: i8,
}

impl Case {
    fn new(values: Vec<i8>, channels: usize, group: usize) -> Self {
        Self {
            values,
            channels,
            group,
            scale: 0.03,
            zero_point: 0,
            gains: vec![1.0; channels],
            offsets: vec![0.0; channels],
            silu: true,
            output_scale: 0.03,
            output_zero: 0,
        }
    }

    /// Gains of 0.5 to 1.5 and offsets of -0.5 to 0.5, and full use of the
    /// output's range.
    fn with_random_affine(mut self, seed: u64) -> Self {
        let random = uniform(seed, 2 * self.channels);
        let (gains, offsets) = random.split_at(self.channels);
        self.gains = gains.iter().map(|&g| 1.0 + f64::from(g) / 256.0).collect();
        self.offsets = offsets.iter().map(|&o| f64::from(o) / 256.0).collect();
        self
    }

    fn target(&self) -> Target {
        Target {
            multiplier: (256.0 / self.output_scale).round() as i32,
            zero_point: self.output_zero,
            silu: self.silu,
        }
    }

    /// What the kernel gives, group by group as the network calls it.
    fn run(&self) -> Vec<i8> {
        let epsilon = (EPSILON * 65536.0 / (self.scale * self.scale)) as u32;
        let (mut slopes, mut intercepts) = (Vec::new(), Vec::new());
        for channel in 0..self.channels {
            let first = channel / self.group * self.group;
            let sums = Sums::of(&self.values, self.channels, first, self.group);
            let gain = (self.gains[channel] * 32768.0).round() as i32;
            let offset = (self.offsets[channel] * 32768.0).round() as i32;
            let (slope, intercept) = Statistics::new(sums, epsilon).line(gain, offset);
            slopes.push(slope);
            intercepts.push(intercept);
        }
        let mut output = vec![0; self.values.len()];
        let channels = self.channels;
        let target = self.target();
        apply(
            &self.values,
            &slopes,
            &intercepts,
            target,
            &mut output,
            channels,
            0,
        );
        output
    }

    /// gain (x - mean) / sqrt(variance + epsilon) + offset, cut as documented.
    fn u(&self) -> Vec<f64> {
        let real = |q: i8| self.scale * (f64::from(q) - f64::from(self.zero_point));
        let mut result = vec![0.0; self.values.len()];
        for first in (0..self.channels).step_by(self.group) {
            let members: Vec<usize> = (0..self.values.len())
                .filter(|i| (first..first + self.group).contains(&(i % self.channels)))
                .collect();
            let count = members.len() as f64;
            let mean = members.iter().map(|&i| real(self.values[i])).sum::<f64>() / count;
            let variance = members
                .iter()
                .map(|&i| (real(self.values[i]) - mean).powi(2))
                .sum::<f64>()
                / count;
            for i in members {
                let normalised = (real(self.values[i]) - mean) / (variance + EPSILON).sqrt();
                let channel = i % self.channels;
                result[i] = self.gains[channel] * normalised + self.offsets[channel];
            }
        }
        result
    }

    /// Checks every value to `steps` output steps.
    #[track_caller]
    fn check(&self, steps: f64) {
        for (i, (found, u)) in self.run().into_iter().zip(self.u()).enumerate() {
            let u = u.clamp(-REACH, REACH - 1.0 / 128.0);
            let y = if self.silu { u / (1.0 + (-u).exp()) } else { u };
            let exact = y / self.output_scale + f64::from(self.output_zero);
            let error = (f64::from(found) - exact.clamp(-128.0, 127.0)).abs();
            assert!(error <= steps, "{found} at {i}, exactly {exact}");
        }
    }
}

/// Rounding once is half a step; u's own rounding and the multiplier's may
/// add up to another half.
#[test]
fn realistic_inputs_are_within_a_step() {
    for (seed, deviation) in [(1, 40.0), (2, 20.0), (3, 6.0), (4, 2.0)] {
        for silu in [true, false] {
            for output_scale in [0.01, 0.03, 0.06] {
                let mut case = Case::new(normal(seed, 49 * 16, 5.0, deviation), 16, 8);
                case = case.with_random_affine(seed);
                (case.silu, case.output_scale, case.output_zero) = (silu, output_scale, -17);
                case.check(1.0);
            }
        }
    }
}

#[test]
fn scale_and_zero_point_of_the_input_cancel() {
    for (scale, zero_point) in [(0.5, 0), (0.03, -100), (0.02, 127)] {
        let mut case = Case::new(normal(9, 196 * 8, 0.0, 30.0), 8, 4).with_random_affine(9);
        (case.scale, case.zero_point) = (scale, zero_point);
        case.check(1.0);
    }
}

/// Where the input is nearly constant, epsilon decides.
#[test]
fn epsilon_is_that_of_the_definition() {
    for scale in [0.001, 0.003, 0.01, 0.05] {
        let mut case = Case::new(normal(5, 196 * 8, 3.0, 1.0), 8, 8);
        case.scale = scale;
        case.check(1.0);
    }
}

/// No variance at all: the offset is what remains.
#[test]
fn a_constant_group_gives_its_offset() {
    for value in [-128, -1, 0, 127] {
        for scale in [1e-6, 0.03, 1.0, 1e6] {
            let mut case = Case::new(vec![value; 49 * 8], 8, 4).with_random_affine(3);
            (case.scale, case.silu) = (scale, false);
            case.check(1.0);
        }
    }
}

/// One value far from all others: u of the outlier is cut at 8.
#[test]
fn a_single_outlier_is_cut_and_the_rest_is_right() {
    for outlier in [127, -128] {
        for silu in [true, false] {
            let mut values = vec![3; 196 * 8];
            values[77] = outlier;
            let mut case = Case::new(values, 8, 8);
            (case.silu, case.output_scale) = (silu, 0.065);
            case.check(1.0);
        }
    }
}

/// A small group of a wide concatenation lands where it belongs.
#[test]
fn halves_are_written_beside_each_other() {
    let (first, second) = (uniform(1, 9 * 2), uniform(2, 9 * 3));
    let target = Target {
        multiplier: 256,
        zero_point: 0,
        silu: false,
    };
    // A slope of 2^19 and no intercept: u = 128 q in steps of 1/128, so q.
    let mut output = vec![0; 9 * 5];
    apply(&first, &[1 << 19; 2], &[0; 2], target, &mut output, 5, 0);
    apply(&second, &[1 << 19; 3], &[0; 3], target, &mut output, 5, 2);
    for (position, values) in output.chunks(5).enumerate() {
        let inputs = [&first[2 * position..][..2], &second[3 * position..][..3]].concat();
        let expected: Vec<i8> = inputs.into_iter().map(|q| q.clamp(-8, 8)).collect();
        assert_eq!(values, expected);
    }
}

#[test]
fn sums_are_of_the_group_alone() {
    let values = [1, 2, 3, 4, -5, 6, 7, -8];
    let sums = Sums::of(&values, 4, 1, 2);
    let expected = Sums {
        count: 4,
        sum: 2 + 3 + 6 + 7,
        squares: 4 + 9 + 36 + 49,
    };
    assert_eq!(sums, expected);
    assert_eq!(Sums::of(&[], 4, 0, 4), Sums::default());
}

/// The largest group there may be, all of it -128.
#[test]
fn the_largest_group_does_not_overflow() {
    let values = vec![-128; 1 << 16];
    let sums = Sums::of(&values, 16, 0, 16);
    let expected = Sums {
        count: 1 << 16,
        sum: -(1 << 23),
        squares: 1 << 30,
    };
    assert_eq!(sums, expected);
    check_extremes(sums, &values[..2]);
    // The largest variance: half -128, half 127.
    let mut halves = values;
    halves[1 << 15..].fill(127);
    check_extremes(Sums::of(&halves, 16, 0, 16), &[-128, 127]);
}

/// Every limit of a blob's numbers together.
fn check_extremes(sums: Sums, values: &[i8]) {
    for epsilon in [0, 1, 728, u32::MAX] {
        let statistics = Statistics::new(sums, epsilon);
        for gain in [-1 << 22, -1, 0, 1, 1 << 15, 1 << 22] {
            for offset in [-1 << 22, 0, 1 << 22] {
                let (slope, intercept) = statistics.line(gain, offset);
                for multiplier in [0, 1, 8533, 32_767] {
                    for zero_point in [-128, 0, 127] {
                        for silu in [true, false] {
                            let target = Target {
                                multiplier,
                                zero_point,
                                silu,
                            };
                            for &q in values.iter().chain(&[-128, 0, 127]) {
                                black_box(target.apply(q, slope, intercept));
                            }
                        }
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_planes_are_within_a_step(
        seed in 0_u64..1 << 40,
        positions in 16_usize..80,
        groups in 1_usize..4,
        group in 1_usize..5,
        mean in -60.0_f32..60.0,
        deviation in 2.0_f32..50.0,
        silu: bool,
        output_zero in -100_i8..100,
    ) {
        let channels = groups * group;
        let values = normal(seed, positions * channels, mean, deviation);
        let mut case = Case::new(values, channels, group).with_random_affine(seed);
        (case.silu, case.output_zero) = (silu, output_zero);
        case.check(1.0);
    }

    /// Any numbers that a blob may hold, and any sums that values may have.
    #[test]
    fn extremes_do_not_overflow(
        values in proptest::collection::vec(any::<i8>(), 1..200),
        repeat in 1_u32..300,
        epsilon: u32,
        gain in -(1_i32 << 22)..=1 << 22,
        offset in -(1_i32 << 22)..=1 << 22,
        multiplier in 0..=32_767,
        zero_point: i8,
        silu: bool,
    ) {
        let once = Sums::of(&values, 1, 0, 1);
        let sums = Sums {
            count: once.count * repeat,
            sum: once.sum * repeat as i32,
            squares: once.squares * repeat,
        };
        let (slope, intercept) = Statistics::new(sums, epsilon).line(gain, offset);
        let target = Target { multiplier, zero_point, silu };
        for q in i8::MIN..=i8::MAX {
            black_box(target.apply(q, slope, intercept));
        }
    }

    /// Slices that do not fit each other: no panic.
    #[test]
    fn wrong_lengths_do_not_panic(
        lengths in [0_usize..40, 0_usize..6, 0_usize..6, 0_usize..40],
        channels in 0_usize..5,
        first in 0_usize..50,
        group in 0_usize..9,
    ) {
        let values = [5_i8; 40];
        let sums = Sums::of(&values[..lengths[0]], channels, first, group);
        let (slope, intercept) = Statistics::new(sums, 0).line(1 << 15, 0);
        let target = Target { multiplier: 8533, zero_point: 0, silu: true };
        let mut output = [0; 40];
        apply(
            &values[..lengths[0]],
            &[slope; 6][..lengths[1]],
            &[intercept; 6][..lengths[2]],
            target,
            &mut output[..lengths[3]],
            channels,
            first,
        );
    }
}
