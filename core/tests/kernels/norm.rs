//! Group normalisation against Wu & He 2018 in `f64`.

use super::{normal, uniform};
use proptest::prelude::*;
use tiny_ddpm::kernels::norm::{FINE_BITS, Fine, Statistics, Sums, Target, apply};

const EPSILON: f64 = 1e-5;
/// u is cut to [-8, 8 - 1/128].
const REACH: f64 = 8.0;

/// One scale and no zero point.
pub const PLAIN: Fine = Fine {
    zero_point: 0,
    shift: 0,
};

/// A normalisation of one plane.
#[derive(Clone, Debug)]
pub struct Case {
    pub values: Vec<i8>,
    pub channels: usize,
    pub group: usize,
    /// The largest: channels halve it.
    pub scale: f64,
    pub fines: Vec<Fine>,
    pub gains: Vec<f64>,
    pub offsets: Vec<f64>,
    pub silu: bool,
    pub output_scale: f64,
    pub output_zero: i8,
}

impl Case {
    pub fn new(values: Vec<i8>, channels: usize, group: usize) -> Self {
        Self {
            values,
            channels,
            group,
            scale: 0.03,
            fines: vec![PLAIN; channels],
            gains: vec![1.0; channels],
            offsets: vec![0.0; channels],
            silu: true,
            output_scale: 0.03,
            output_zero: 0,
        }
    }

    /// Gains of 0.5 to 1.5 and offsets of -0.5 to 0.5, and full use of the
    /// output's range.
    pub fn with_random_affine(mut self, seed: u64) -> Self {
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

    /// What the definition adds to the variance, in fine units squared.
    fn epsilon(&self) -> f32 {
        (EPSILON / (self.scale / f64::from(1 << FINE_BITS)).powi(2)) as f32
    }

    /// What the kernel gives, group by group as the network calls it.
    pub fn run(&self) -> Vec<i8> {
        let (mut slopes, mut intercepts) = (Vec::new(), Vec::new());
        for channel in 0..self.channels {
            let first = channel / self.group * self.group;
            let mut sums = Sums::default();
            for member in first..first + self.group {
                sums.add(&self.values, self.channels, member, self.fines[member]);
            }
            let gain = (self.gains[channel] * 32768.0).round() as i32;
            let offset = (self.offsets[channel] * 32768.0).round() as i32;
            let statistics = Statistics::new(sums, self.epsilon());
            let (slope, intercept) = statistics.line(gain, offset, self.fines[channel]);
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
    pub fn u(&self) -> Vec<f64> {
        let real = |i: usize| {
            let fine = self.fines[i % self.channels];
            let q = f64::from(self.values[i]) - f64::from(fine.zero_point);
            self.scale * q / f64::from(1 << fine.shift)
        };
        let mut result = vec![0.0; self.values.len()];
        for first in (0..self.channels).step_by(self.group) {
            let members: Vec<usize> = (0..self.values.len())
                .filter(|i| (first..first + self.group).contains(&(i % self.channels)))
                .collect();
            let count = members.len() as f64;
            let mean = members.iter().map(|&i| real(i)).sum::<f64>() / count;
            let variance = members
                .iter()
                .map(|&i| (real(i) - mean).powi(2))
                .sum::<f64>()
                / count;
            for i in members {
                let normalised = (real(i) - mean) / (variance + EPSILON).sqrt();
                let channel = i % self.channels;
                result[i] = self.gains[channel] * normalised + self.offsets[channel];
            }
        }
        result
    }

    /// Checks every value to `steps` output steps.
    #[track_caller]
    pub fn check(&self, steps: f64) {
        self.check_against(&self.u(), steps);
    }

    /// Checks every value against another u.
    #[track_caller]
    pub fn check_against(&self, u: &[f64], steps: f64) {
        for (i, (found, u)) in self.run().into_iter().zip(u).enumerate() {
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
        case.scale = scale;
        case.fines.fill(Fine {
            zero_point,
            shift: 0,
        });
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

    /// Slices that do not fit each other: no panic.
    #[test]
    fn wrong_lengths_do_not_panic(
        lengths in [0_usize..40, 0_usize..6, 0_usize..6, 0_usize..40],
        channels in 0_usize..5,
        first in 0_usize..50,
        zero_point: i16,
        shift: u8,
    ) {
        let values = [5_i8; 40];
        let fine = Fine { zero_point, shift };
        let mut sums = Sums::default();
        sums.add(&values[..lengths[0]], channels, first, fine);
        let (slope, intercept) = Statistics::new(sums, 0.0).line(1 << 15, 0, fine);
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
