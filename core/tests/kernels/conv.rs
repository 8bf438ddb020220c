//! Convolutions against the sum over a plane that is enlarged and padded
//! first.

use super::uniform;
use proptest::prelude::*;
use tiny_ddpm::graph::Geometry;
use tiny_ddpm::kernels::conv::{Plane, Task, conv, conv_on, least_scratch_words, scratch_words};
#[cfg(target_arch = "x86_64")]
use tiny_ddpm::kernels::engine::x86;
use tiny_ddpm::kernels::engine::{Portable, Words};
use tiny_ddpm::kernels::packing::{WeightLayout, is_int4};

const LAYOUTS: [WeightLayout; 4] = [
    WeightLayout::Direct,
    WeightLayout::Winograd,
    WeightLayout::Phases,
    WeightLayout::Int4,
];

/// Which engine runs a convolution.
#[derive(Clone, Copy, Debug)]
enum Runner {
    /// The definition.
    Portable,
    /// Two products in a multiplication.
    Words,
    /// The best that this machine has.
    Native,
    /// AVX2, also where there is more.
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    /// AVX-512 with VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni(x86::Vnni),
}

/// Those that this machine has.
fn runners() -> Vec<Runner> {
    let mut runners = vec![Runner::Portable, Runner::Words, Runner::Native];
    #[cfg(target_arch = "x86_64")]
    {
        runners.extend(x86::Avx2::detect().map(Runner::Avx2));
        runners.extend(x86::Vnni::detect().map(Runner::Vnni));
    }
    runners
}

const GEOMETRIES: [Geometry; 4] = [
    Geometry::Pointwise,
    Geometry::Same,
    Geometry::Down,
    Geometry::Up,
];

/// A convolution and its numbers.
#[derive(Clone, Debug)]
struct Case {
    geometry: Geometry,
    side: usize,
    /// Channels of both halves; those of the second may be 0.
    channels: [usize; 2],
    zero_points: [i8; 2],
    /// Those of the channels of each half, or empty for the one above.
    own_zero_points: [Vec<i8>; 2],
    outputs: usize,
    x: Vec<i8>,
    skip: Vec<i8>,
    weights: Vec<i8>,
    initial: Vec<i32>,
}

impl Case {
    fn random(
        geometry: Geometry,
        side: usize,
        channels: [usize; 2],
        zero_points: [i8; 2],
        outputs: usize,
        seed: u64,
    ) -> Self {
        let fan_in = geometry.taps() * (channels[0] + channels[1]);
        let weights = uniform(seed, fan_in * outputs);
        Self {
            geometry,
            side,
            channels,
            zero_points,
            own_zero_points: [Vec::new(), Vec::new()],
            outputs,
            x: uniform(seed + 1, side * side * channels[0]),
            skip: uniform(seed + 2, side * side * channels[1]),
            weights: weights.into_iter().map(|w| w.max(-127)).collect(),
            initial: (0..outputs).map(|o| 1000 * o as i32 - 500).collect(),
        }
    }

    /// Gives every channel of the chosen halves a zero point of its own.
    fn with_own_zero_points(mut self, halves: [bool; 2], seed: u64) -> Self {
        for half in (0..2).filter(|&half| halves[half]) {
            self.own_zero_points[half] = uniform(seed + half as u64, self.channels[half]);
        }
        self
    }

    fn zero_point(&self, half: usize, channel: usize) -> i64 {
        let own = self.own_zero_points[half].get(channel);
        i64::from(*own.unwrap_or(&self.zero_points[half]))
    }

    fn half(&self, half: usize) -> &[i8] {
        [&self.x, &self.skip][half]
    }

    /// The sums of the definition's engine.
    fn run(&self) -> Vec<i32> {
        self.run_on(WeightLayout::Direct, Runner::Portable)
    }

    /// The kernel's sums; each must be written once.
    fn run_on(&self, layout: WeightLayout, runner: Runner) -> Vec<i32> {
        let inputs = self.channels[0] + self.channels[1];
        let mut weights = vec![99; layout.bytes(self.geometry, inputs, self.outputs)];
        layout.pack(self.geometry, inputs, &self.weights, &mut weights);
        self.spoil_padding(layout, &mut weights);
        let own = [0, 1].map(|half| -> Vec<u8> {
            let own = self.own_zero_points[half].iter();
            own.flat_map(|&zero| i16::from(zero).to_le_bytes())
                .collect()
        });
        let plane = |half: usize| Plane {
            values: self.half(half),
            channels: self.channels[half],
            zero_point: self.zero_points[half],
            zero_points: &own[half],
        };
        let task = Task {
            geometry: self.geometry,
            side: self.side,
            x: plane(0),
            skip: plane(1),
            layout,
            weights: &weights,
            initial: &self.initial,
        };
        let [x, skip] = self.channels;
        let words = scratch_words(layout, self.geometry, x, skip);
        let sums = self.sums(&task, words, runner);
        let least = least_scratch_words(layout, self.geometry, x, skip, self.outputs);
        if least < words {
            let slow = self.sums(&task, least, runner);
            assert_eq!(
                slow, sums,
                "{least} words of scratch where {words} are wanted"
            );
        }
        sums
    }

    /// Weights of inputs and outputs that only fill up groups say nothing,
    /// whatever they are.
    fn spoil_padding(&self, layout: WeightLayout, weights: &mut [u8]) {
        let inputs = self.channels[0] + self.channels[1];
        let mut some = vec![0; weights.len()];
        layout.pack(
            self.geometry,
            inputs,
            &vec![16; self.weights.len()],
            &mut some,
        );
        let width = match layout {
            WeightLayout::Winograd | WeightLayout::Phases => 2,
            _ => 1,
        };
        for (weight, some) in weights.chunks_mut(width).zip(some.chunks(width)) {
            if some.iter().all(|&byte| byte == 0) {
                weight[0] = 0x35;
            }
        }
    }

    fn sums(&self, task: &Task<'_>, words: usize, runner: Runner) -> Vec<i32> {
        let mut scratch = vec![0x6789_9876; words];
        let mut sums = vec![None; self.geometry.output_side(self.side).pow(2) * self.outputs];
        let mut finish = |position: usize, channel: usize, sum: i32| {
            let written = sums[position * self.outputs + channel].replace(sum);
            assert_eq!(written, None, "position {position} written twice");
        };
        match runner {
            Runner::Portable => conv_on(Portable, task, &mut scratch, &mut finish),
            Runner::Words => conv_on(Words, task, &mut scratch, &mut finish),
            Runner::Native => conv(task, &mut scratch, &mut finish),
            #[cfg(target_arch = "x86_64")]
            Runner::Avx2(engine) => conv_on(engine, task, &mut scratch, &mut finish),
            #[cfg(target_arch = "x86_64")]
            Runner::Vnni(engine) => conv_on(engine, task, &mut scratch, &mut finish),
        }
        sums.into_iter().map(Option::unwrap).collect()
    }

    /// The definition on real values: initial' + Σ w (q - zero point), zero
    /// outside, where initial' has the zero points' share put back.
    fn expected(&self) -> Vec<i64> {
        let halves = [0, 1].map(|half| self.padded(half));
        let (stride, kernel) = match self.geometry {
            Geometry::Pointwise => (1, 1),
            Geometry::Same | Geometry::Up => (1, 3),
            Geometry::Down => (2, 3),
        };
        let both = self.channels[0] + self.channels[1];
        let weight = |output: usize, dy: usize, dx: usize, channel: usize| {
            i64::from(self.weights[((output * kernel + dy) * kernel + dx) * both + channel])
        };
        let padded_side = halves[0].len();
        let last = padded_side - kernel;
        let mut sums = Vec::new();
        for top in (0..=last).step_by(stride) {
            for left in (0..=last).step_by(stride) {
                for output in 0..self.outputs {
                    let mut sum = i64::from(self.initial[output]);
                    for dy in 0..kernel {
                        for dx in 0..kernel {
                            let first = &halves[0][top + dy][left + dx];
                            let second = &halves[1][top + dy][left + dx];
                            for (channel, value) in first.iter().chain(second).enumerate() {
                                let zero = match channel.checked_sub(self.channels[0]) {
                                    Some(channel) => self.zero_point(1, channel),
                                    None => self.zero_point(0, channel),
                                };
                                sum += weight(output, dy, dx, channel) * (value + zero);
                            }
                        }
                    }
                    sums.push(sum);
                }
            }
        }
        sums
    }

    /// Rows of columns of channels of q - zero point, doubled and with a border
    /// of zeros where the geometry has them.
    fn padded(&self, half: usize) -> Vec<Vec<Vec<i64>>> {
        let (values, channels, side) = (self.half(half), self.channels[half], self.side);
        let position = |row: usize, column: usize| -> Vec<i64> {
            (0..channels)
                .map(|c| {
                    let q = values[(row * side + column) * channels + c];
                    i64::from(q) - self.zero_point(half, c)
                })
                .collect()
        };
        let factor = if self.geometry == Geometry::Up { 2 } else { 1 };
        let mut rows: Vec<Vec<_>> = (0..factor * side)
            .map(|row| {
                (0..factor * side)
                    .map(|column| position(row / factor, column / factor))
                    .collect()
            })
            .collect();
        if self.geometry != Geometry::Pointwise {
            let zeros = vec![0; channels];
            for row in &mut rows {
                row.insert(0, zeros.clone());
                row.push(zeros.clone());
            }
            let border = vec![zeros; rows[0].len()];
            rows.insert(0, border.clone());
            rows.push(border);
        }
        rows
    }

    fn check(&self) {
        let [all, int4] = [self.clone(), self.coarse()];
        for layout in LAYOUTS
            .into_iter()
            .filter(|layout| layout.fits(self.geometry))
        {
            let case = if layout == WeightLayout::Int4 {
                &int4
            } else {
                &all
            };
            let expected = case.expected();
            for runner in runners() {
                let sums = case.run_on(layout, runner);
                let found: Vec<i64> = sums.into_iter().map(i64::from).collect();
                assert_eq!(found, expected, "{layout:?} by {runner:?}: {case:?}");
            }
        }
    }

    /// The same with weights that 4 bits hold.
    fn coarse(&self) -> Self {
        let weights = self.weights.iter().map(|&w| (w & -16).max(-112));
        Self {
            weights: weights.collect(),
            ..self.clone()
        }
    }
}

#[test]
fn each_geometry_is_its_definition() {
    for geometry in GEOMETRIES {
        for side in 1..=6 {
            for channels in [[1, 0], [3, 0], [4, 2], [2, 5]] {
                Case::random(geometry, side, channels, [-7, 90], 3, side as u64).check();
            }
        }
    }
}

/// Padding stands for 0 in every channel, whatever its zero point is.
/// More inputs than a part has, and no whole groups of them: behind the last
/// tap there is nothing.
#[test]
fn the_last_part_of_a_row_ends_with_its_inputs() {
    for geometry in GEOMETRIES {
        for channels in [[37, 0], [35, 6]] {
            Case::random(geometry, 3, channels, [-7, 90], 3, 5).check();
        }
    }
}

#[test]
fn padding_holds_the_zero_point_of_each_channel() {
    for geometry in GEOMETRIES {
        for side in 1..=4 {
            for halves in [[true, false], [false, true], [true, true]] {
                let case = Case::random(geometry, side, [3, 2], [-7, 90], 3, side as u64);
                case.with_own_zero_points(halves, 5).check();
            }
        }
    }
    // One position, nothing but padding around it: only its own tap counts.
    let mut case = Case::random(Geometry::Same, 1, [4, 0], [0, 0], 1, 6);
    case.own_zero_points[0] = vec![-128, 127, 0, -3];
    case.x.clone_from(&case.own_zero_points[0]);
    let zero = case.run()[0];
    case.x[1] -= 100;
    assert_eq!(
        case.run()[0] - zero,
        -100 * i32::from(case.weights[4 * 4 + 1])
    );
}

/// One tap of one: the output is the input, moved.
#[test]
fn each_tap_sees_its_own_neighbour() {
    for dy in 0..3 {
        for dx in 0..3 {
            let mut case = Case::random(Geometry::Same, 4, [1, 0], [0, 0], 1, 8);
            case.weights.fill(0);
            case.weights[3 * dy + dx] = 1;
            case.initial.fill(0);
            let sums = case.run();
            for row in 0..4_usize {
                for column in 0..4_usize {
                    let inside = (1..=4).contains(&(row + dy)) && (1..=4).contains(&(column + dx));
                    let expected = if inside {
                        i32::from(case.x[4 * (row + dy - 1) + column + dx - 1])
                    } else {
                        0
                    };
                    assert_eq!(sums[4 * row + column], expected);
                }
            }
        }
    }
}

/// The largest fan-in, inputs and weights, with a bias and an embedding of
/// 2^29 each: below 2^31.
#[test]
fn extremes_do_not_overflow() {
    for (input, weight, initial) in [
        (-128, -127, 1 << 30),
        (-128, 127, -(1 << 30)),
        (127, 127, 1 << 30),
        (127, -127, -(1 << 30)),
    ] {
        let mut case = Case::random(Geometry::Same, 3, [256, 256], [input, input], 1, 1);
        case.x.fill(input);
        case.skip.fill(input);
        case.weights.fill(weight);
        case.initial.fill(initial);
        case.check();
        let middle = i64::from(initial) + 9 * 512 * i64::from(input) * i64::from(weight);
        assert_eq!(i64::from(case.run()[4]), middle);
    }
}

/// Vectors of every width that an engine may have end within a group, at its
/// end and behind it, with the largest products in every place.
#[test]
fn ends_of_vectors_are_exact() {
    for geometry in GEOMETRIES {
        for channels in [
            [4, 0],
            [8, 0],
            [12, 0],
            [16, 0],
            [20, 0],
            [24, 8],
            [28, 4],
            [32, 0],
            [36, 28],
            [64, 4],
            [68, 0],
            // No whole groups.
            [5, 0],
            [17, 14],
            [31, 0],
            [33, 2],
        ] {
            let mut case = Case::random(geometry, 3, channels, [-128, 127], 5, 9);
            case.check();
            for (input, weight) in [(-128, -127), (-128, 127), (127, 127), (127, -127)] {
                case.x.fill(input);
                case.skip.fill(input);
                case.weights.fill(weight);
                case.check();
            }
        }
    }
}

/// Two outputs of five inputs, byte by byte: what the format says.
#[test]
fn nibbles_lie_as_described() {
    let rows = [1, 2, 3, 4, 5, -1, -2, -3, -4, -7].map(|w: i8| 16 * w);
    let bytes = WeightLayout::Int4.bytes(Geometry::Pointwise, 5, 2);
    assert_eq!(bytes, 8);
    let mut packed = vec![0xff; bytes];
    WeightLayout::Int4.pack(Geometry::Pointwise, 5, &rows, &mut packed);
    // Direct: inputs 0 and 2 of both outputs, then 1 and 3.
    let expected = [0x21, 0xef, 0x43, 0xcd, 0x05, 0x09, 0, 0];
    assert_eq!(packed, expected);
}

/// Only weights that the upper half of a byte holds, and no -8.
#[test]
fn weights_of_four_bits_are_known() {
    let found: Vec<i8> = (i8::MIN..=i8::MAX).filter(|&w| is_int4(w)).collect();
    let expected: Vec<i8> = (-7..=7).map(|w| 16 * w).collect();
    assert_eq!(found, expected);
}

/// A convolution sees the same weights, whether they are stored in 4 bits or
/// in 8.
#[test]
fn nibbles_are_the_direct_weights() {
    for geometry in GEOMETRIES {
        for (channels, outputs) in [([16, 0], 6), ([7, 3], 5)] {
            let case = Case::random(geometry, 5, channels, [-7, 90], outputs, 11).coarse();
            let direct = case.run_on(WeightLayout::Direct, Runner::Portable);
            for runner in runners() {
                assert_eq!(
                    case.run_on(WeightLayout::Int4, runner),
                    direct,
                    "{runner:?}"
                );
            }
        }
    }
}

/// Unpacking gives the rows that were packed, and sizes are exact.
#[test]
fn packing_is_reversible() {
    for geometry in GEOMETRIES {
        for layout in LAYOUTS.into_iter().filter(|layout| layout.fits(geometry)) {
            for (inputs, outputs) in [(1, 1), (3, 5), (4, 4), (6, 7), (8, 2)] {
                let fan_in = geometry.taps() * inputs;
                let rows: Vec<i8> = uniform(3, 256 + fan_in * outputs);
                let rows: Vec<i8> = match layout {
                    WeightLayout::Int4 => rows.into_iter().filter(|&w| is_int4(w)).collect(),
                    _ => rows.into_iter().map(|w| w.max(-127)).collect(),
                };
                let rows: Vec<i8> = rows.into_iter().cycle().take(fan_in * outputs).collect();
                let mut packed = vec![1; layout.bytes(geometry, inputs, outputs)];
                layout.pack(geometry, inputs, &rows, &mut packed);
                let mut unpacked = vec![99; rows.len()];
                layout.unpack(geometry, inputs, &packed, &mut unpacked);
                assert_eq!(unpacked, rows, "{layout:?} of {geometry:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_convolution_is_its_definition(
        geometry in proptest::sample::select(GEOMETRIES.to_vec()),
        side in 1_usize..=7,
        channels in [1_usize..=9, 0_usize..=9],
        zero_points: [i8; 2],
        own: [bool; 2],
        outputs in 1_usize..=6,
        seed in 0_u64..1 << 40,
    ) {
        let case = Case::random(geometry, side, channels, zero_points, outputs, seed);
        case.with_own_zero_points(own, seed + 3).check();
    }

    /// Slices that do not fit each other: whatever is written, no panic.
    #[test]
    fn wrong_lengths_do_not_panic(
        geometry in proptest::sample::select(GEOMETRIES.to_vec()),
        side in 0_usize..=5,
        channels in [0_usize..=3, 0_usize..=3],
        lengths in [0_usize..80, 0_usize..80, 0_usize..80, 0_usize..5],
        scratch in 0_usize..200,
        layout in proptest::sample::select(LAYOUTS.to_vec()),
        zero_bytes in [0_usize..9, 0_usize..9],
    ) {
        let values = [7_i8; 80];
        let [x, skip] = [0, 1].map(|half| Plane {
            values: &values[..lengths[half]],
            channels: channels[half],
            zero_point: 1,
            zero_points: &[255; 9][..zero_bytes[half]],
        });
        let task = Task {
            geometry,
            side,
            x,
            skip,
            layout,
            weights: &[7; 80][..lengths[2]],
            initial: &[0; 5][..lengths[3]],
        };
        conv(&task, &mut [0; 200][..scratch], &mut |_, _, _| ());
        conv_on(Portable, &task, &mut [0; 200][..scratch], &mut |_, _, _| ());
        #[cfg(target_arch = "x86_64")]
        if let Some(engine) = x86::Avx2::detect() {
            conv_on(engine, &task, &mut [0; 200][..scratch], &mut |_, _, _| ());
        }
        conv_on(Words, &task, &mut [0; 200][..scratch], &mut |_, _, _| ());
    }
}
