//! Checks this target's engine against the definition, sum by sum, and makes
//! hashes of everything by which another machine can check this one.

use super::layers::{Attention, Linear, Normalisation};
use super::memory::{Hash, Memory, Random, coarse};
use core::fmt;
use tiny_ddpm::blob::records::Channels;
use tiny_ddpm::graph::Geometry;
use tiny_ddpm::kernels::conv::{Plane, Task, conv, conv_on, scratch_words};
use tiny_ddpm::kernels::engine::{Engine, Native, Portable, Stride};
use tiny_ddpm::kernels::epilogue::{Epilogue, Requantise, Residual};
use tiny_ddpm::kernels::linear;
use tiny_ddpm::kernels::packing::WeightLayout;
use tiny_ddpm::kernels::quant::Scale;

/// What stands in words that a kernel must not touch.
const CANARY: u32 = 0x5a5a_a5a5;
/// How many of them are looked at.
const CANARIES: usize = 16;

/// Where a convolution's numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Anything.
    Random,
    /// One input, one weight.
    Constant(i8, i8),
    /// Only the largest magnitudes, their signs at random: the largest numbers
    /// that transformed inputs and weights can be.
    Corners,
}

/// A convolution.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Counts from 0.
    pub number: usize,
    /// What an output position sees.
    pub geometry: Geometry,
    /// How the weights are stored.
    pub layout: WeightLayout,
    /// Positions along each axis of the input.
    pub side: usize,
    /// Channels of both halves of the input.
    pub channels: [usize; 2],
    /// Output channels.
    pub outputs: usize,
    /// Its numbers.
    pub fill: Fill,
    /// What stands for 0 in the input; `None` where each channel has its own.
    pub zero_point: Option<i8>,
    /// Where the weights begin, after a multiple of 16.
    pub offset: usize,
}

/// The first value that is not what it should be.
#[derive(Clone, Copy, Debug)]
pub struct Mismatch {
    /// The convolution.
    pub case: Case,
    /// What differs.
    pub what: &'static str,
    /// Which one, counted from 0.
    pub index: usize,
    /// By the definition.
    pub expected: i64,
    /// By this target's engine.
    pub found: i64,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            case,
            what,
            index,
            expected,
            found,
        } = self;
        let (position, channel) = (index / case.outputs, index % case.outputs);
        write!(
            f,
            "{what} {index} (position {position}, channel {channel}) is {found}, \
             by the definition {expected}, in {case:?}"
        )
    }
}

/// What came of a group of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was checked.
    pub group: &'static str,
    /// How often.
    pub cases: usize,
    /// Cases with a mismatch.
    pub mismatches: usize,
    /// Of all results, by the definition.
    pub hash: u32,
}

/// Each layout of each geometry that it fits.
const KERNELS: [(Geometry, WeightLayout); 10] = [
    (Geometry::Pointwise, WeightLayout::Direct),
    (Geometry::Same, WeightLayout::Direct),
    (Geometry::Same, WeightLayout::Winograd),
    (Geometry::Down, WeightLayout::Direct),
    (Geometry::Up, WeightLayout::Direct),
    (Geometry::Up, WeightLayout::Phases),
    (Geometry::Pointwise, WeightLayout::Int4),
    (Geometry::Same, WeightLayout::Int4),
    (Geometry::Down, WeightLayout::Int4),
    (Geometry::Up, WeightLayout::Int4),
];
const WIDTHS: [usize; 9] = [1, 2, 3, 4, 5, 8, 12, 16, 17];
const FILLS: [Fill; 5] = [
    Fill::Constant(-128, 127),
    Fill::Constant(-128, -127),
    Fill::Constant(127, 127),
    Fill::Constant(127, -127),
    Fill::Corners,
];
const ZERO_POINTS: [i8; 4] = [-128, 127, 0, -5];

/// Shows every case to `check`.
fn each_case(mut check: impl FnMut(Case)) {
    let mut number = 0;
    let mut show = |case: Case| {
        check(Case { number, ..case });
        number += 1;
    };
    for (geometry, layout) in KERNELS {
        // Widths of the second half in another order, so that all combinations
        // of whole and broken groups are met.
        let skips = WIDTHS.into_iter().cycle().skip(5);
        for (i, (width, skip)) in WIDTHS.into_iter().zip(skips).enumerate() {
            for channels in [[width, 0], [width, skip]] {
                let case = |j: usize, fill| Case {
                    number: 0,
                    geometry,
                    layout,
                    side: 1 + j % 8,
                    channels,
                    outputs: 1 + (i + j) % 9,
                    fill,
                    zero_point: ZERO_POINTS.get((i + j) % 5).copied(),
                    offset: 0,
                };
                // Every side with every number of outputs.
                for j in 0..8 * 9 {
                    show(case(j, Fill::Random));
                }
                for (j, fill) in FILLS.into_iter().enumerate() {
                    show(case(2 * i + j, fill));
                }
                for offset in 1..4 {
                    let case = case(2 + (i + offset) % 5, Fill::Random);
                    show(Case { offset, ..case });
                }
            }
        }
        // The most channels that there may be.
        for fill in FILLS {
            show(Case {
                number: 0,
                geometry,
                layout,
                side: 2,
                channels: [256, 256],
                outputs: 3,
                fill,
                zero_point: Some(0),
                offset: 0,
            });
        }
    }
}

/// Runs all convolutions by both engines, for each sum and each activation.
/// `spoil` changes a weight on one side, which must be noticed.
pub fn convolutions(
    memory: &mut Memory,
    spoil: bool,
    mut report: impl FnMut(&Mismatch),
) -> Outcome {
    let mut outcome = Outcome {
        group: "convolutions",
        cases: 0,
        mismatches: 0,
        hash: 0,
    };
    let mut hash = Hash::empty();
    each_case(|case| {
        outcome.cases += 1;
        if let Some(mismatch) = compare(&case, memory, spoil && case.number == 200, &mut hash) {
            if outcome.mismatches == 0 {
                report(&mismatch);
            }
            outcome.mismatches += 1;
        }
    });
    outcome.hash = hash.0;
    outcome
}

fn fill(case: &Case, memory: &mut Memory) {
    let mut random = Random::new(case.number as u32 + 1);
    let positions = case.side * case.side;
    let fan_in = case.geometry.taps() * (case.channels[0] + case.channels[1]);
    let rows = &mut memory.rows[..fan_in * case.outputs];
    let halves = [
        &mut memory.x[..positions * case.channels[0]],
        &mut memory.skip[..positions * case.channels[1]],
    ];
    match case.fill {
        Fill::Random => {
            random.weights(rows);
            halves.into_iter().for_each(|half| random.activations(half));
        }
        Fill::Constant(x, w) => {
            rows.fill(w);
            halves.into_iter().for_each(|half| half.fill(x));
        }
        Fill::Corners => {
            let mut sign = || random.bits() & 1 == 0;
            rows.fill_with(|| if sign() { 127 } else { -127 });
            for half in halves {
                half.fill_with(|| if sign() { 127 } else { -128 });
            }
        }
    }
    if case.layout == WeightLayout::Int4 {
        coarse(rows);
    }
    let [x, skip, out] = &mut memory.zero_points;
    for zero_points in [x, skip] {
        random.halfwords(zero_points, -128, 127);
    }
    random.halfwords(out, -200, 200);
    for shift in &mut memory.shifts {
        *shift = random.below(8) as u8;
    }
    // Biases, then multipliers that keep activations from being all at limits.
    let [initial, multipliers] = &mut memory.words;
    for (initial, multiplier) in initial.iter_mut().zip(multipliers).take(case.outputs) {
        *initial = random.between(-1 << 16, 1 << 16);
        *multiplier = random.between(1 << 12, 1 << 21);
    }
}

/// Runs a convolution by both engines.
fn compare(case: &Case, memory: &mut Memory, spoil: bool, hash: &mut Hash) -> Option<Mismatch> {
    fill(case, memory);
    let Memory {
        x,
        skip,
        rows,
        packed,
        other_packed,
        scratch,
        zero_points: [x_zeros, skip_zeros, out_zeros],
        shifts,
        words: [initial, multipliers],
        scales: scales_words,
        sums: [found, expected],
        outputs: [activations, other_activations],
        ..
    } = memory;
    let &Case {
        geometry,
        side,
        channels,
        outputs,
        layout,
        ..
    } = case;
    let (initial, multipliers) = (&initial[..outputs], &multipliers[..outputs]);
    let positions = geometry.output_side(side) * geometry.output_side(side);
    let (found, expected) = (
        &mut found[..positions * outputs],
        &mut expected[..positions * outputs],
    );
    let inputs = channels[0] + channels[1];
    let rows = &mut rows[..geometry.taps() * inputs * outputs];
    let bytes = layout.bytes(geometry, inputs, outputs);
    let packed = &mut packed.0[case.offset..case.offset + bytes];
    layout.pack(geometry, inputs, rows, packed);
    // The definition's weights lie at a multiple of 16, and have 8 bits where
    // the others have 4, unless they are so many that they would not fit twice.
    let defined = match layout {
        WeightLayout::Int4 => WeightLayout::Direct,
        layout => layout,
    };
    let bytes = defined.bytes(geometry, inputs, outputs);
    let (defined, weights): (WeightLayout, &[u8]) = match other_packed.0.get_mut(..bytes) {
        Some(other) => {
            if spoil {
                rows[rows.len() / 2] ^= 1;
            }
            defined.pack(geometry, inputs, rows, other);
            (defined, other)
        }
        None => (layout, packed),
    };
    let plane = |half: usize, values, zero_points| Plane {
        values,
        channels: channels[half],
        zero_point: case.zero_point.unwrap_or(99),
        zero_points: match case.zero_point {
            Some(_) => &[],
            None => zero_points,
        },
    };
    let definition = Task {
        geometry,
        side,
        x: plane(
            0,
            &x[..side * side * channels[0]],
            &x_zeros[..2 * channels[0]],
        ),
        skip: plane(
            1,
            &skip[..side * side * channels[1]],
            &skip_zeros[..2 * channels[1]],
        ),
        layout: defined,
        weights,
        initial,
    };
    let native = Task {
        layout,
        weights: packed,
        ..definition
    };

    let differs = |what, index, expected: i64, found: i64| {
        Some(Mismatch {
            case: *case,
            what,
            index,
            expected,
            found,
        })
    };
    let words = scratch_words(layout, geometry, channels[0], channels[1]);
    let defined_words = scratch_words(defined, geometry, channels[0], channels[1]);
    let (mut expected_writes, mut found_writes) = (0, 0);
    scratch.fill(0x1234_4321);
    conv_on(
        Portable,
        &definition,
        &mut scratch[..defined_words],
        &mut store(expected, outputs, &mut expected_writes),
    );
    expected.iter().for_each(|&sum| hash.add(sum as u32));
    if expected_writes != expected.len() {
        return differs(
            "sums written by the definition",
            0,
            expected.len() as i64,
            expected_writes as i64,
        );
    }
    // Beginning at another multiple of 4, ending before words that must stay.
    let start = case.number % 4;
    scratch[..start + words + CANARIES].fill(CANARY);
    found.fill(i32::MIN);
    conv(
        &native,
        &mut scratch[start..start + words],
        &mut store(found, outputs, &mut found_writes),
    );
    let around = scratch[..start].iter();
    let around = around.chain(&scratch[start + words..start + words + CANARIES]);
    if let Some((index, &word)) = around.enumerate().find(|(_, word)| **word != CANARY) {
        return differs("word around the scratch", index, CANARY.into(), word.into());
    }
    let sums = expected.iter().zip(found.iter()).enumerate();
    for (index, (&expected, &found)) in sums {
        if expected != found {
            return differs("sum", index, expected.into(), found.into());
        }
    }
    if found_writes != found.len() {
        return differs("sums written", 0, found.len() as i64, found_writes as i64);
    }

    // The same with what becomes of the sums, every other one with a residual.
    let channels = Channels {
        scale: 0.03,
        zero_point: 0,
        shifts: &shifts[..outputs],
        zero_points: &out_zeros[..2 * outputs],
    };
    let residual = (case.number % 2 == 1).then_some(Residual {
        // Any activations will do.
        values: x,
        factor: 1 << 23,
    });
    let (activations, other) = (
        &mut activations[..positions * outputs],
        &mut other_activations[..positions * outputs],
    );
    let scales = |channel: usize| {
        let residual = residual.map(|_| &channels);
        Scale::new(multipliers[channel], &channels, residual, channel)
    };
    let all = || (0..outputs).map(scales);
    let mut finish = Requantise::new(all(), residual, scales_words, &mut *other, outputs);
    for (index, &sum) in expected.iter().enumerate() {
        finish.put_few(index % outputs, &[index / outputs], &[sum]);
    }
    hash.add_bytes(other);
    let mut finish = Requantise::new(all(), residual, scales_words, &mut *activations, outputs);
    conv(&native, &mut scratch[start..start + words], &mut finish);
    let pairs = other.iter().zip(activations.iter()).enumerate();
    for (index, (&expected, &found)) in pairs {
        if expected != found {
            return differs("activation", index, expected.into(), found.into());
        }
    }
    None
}

/// Keeps sums, and counts them.
fn store<'a>(
    sums: &'a mut [i32],
    outputs: usize,
    writes: &'a mut usize,
) -> impl FnMut(usize, usize, i32) + 'a {
    move |position, channel, sum| {
        *writes += 1;
        if let Some(to) = sums.get_mut(position * outputs + channel) {
            *to = sum;
        }
    }
}

/// Normalisations; there is one way to do them, so only their hash is told.
pub fn normalisations(memory: &mut Memory) -> Outcome {
    let mut results = Results::new("normalisations");
    for side in 1..=8 {
        for (group, groups) in [(1, 3), (4, 1), (4, 3), (8, 2), (3, 5), (24, 1)] {
            for silu in [false, true] {
                let norm = Normalisation {
                    side,
                    channels: group * groups,
                    group,
                    silu,
                };
                norm.prepare(memory, &mut results.random);
                norm.run(memory);
                results.add(&memory.outputs[0][..norm.values()]);
            }
        }
    }
    results.outcome
}

/// Attentions, likewise.
pub fn attentions(memory: &mut Memory) -> Outcome {
    let mut results = Results::new("attentions");
    for side in 1..=7 {
        for (heads, width) in [(1, 1), (1, 5), (2, 3), (2, 8), (4, 12), (3, 4)] {
            let attention = Attention {
                side,
                channels: heads * width,
                heads,
            };
            attention.prepare(memory, &mut results.random);
            attention.run(memory);
            results.add(&memory.outputs[0][..attention.values()]);
        }
    }
    results.outcome
}

/// Layers of the embedding, each after the features of a timestep.
pub fn linears(memory: &mut Memory) -> Outcome {
    let mut results = Results::new("linears");
    for (inputs, outputs) in [(2, 4), (6, 3), (10, 7), (32, 96), (64, 128), (98, 5)] {
        for timestep in [1, 77, 500, 1000] {
            let layer = Linear { inputs, outputs };
            layer.prepare(memory, &mut results.random);
            let features = &mut memory.floats[..inputs];
            linear::time_features(timestep, features);
            let scale = linear::quantise(features, &mut memory.halves);
            results.hash.add(scale.to_bits());
            layer.run(memory);
            let y = &mut memory.floats[..outputs];
            results.hash.add_floats(y);
            linear::silu(y);
            results.hash.add_floats(y);
            results.add(&[]);
        }
    }
    results.outcome
}

/// Distances and places at which nothing fits, some of which come round to
/// small numbers where they are multiplied or added up: an engine must leave
/// what lies around its slices as it was.
pub fn misfits() -> Outcome {
    const AROUND: i8 = 0x5a;
    /// What fast loops want.
    #[repr(align(4))]
    struct Halves([i16; 192]);
    let engine = Native::default();
    let mut outcome = Results::new("misfits").outcome;
    let mut count = |whole: bool| {
        outcome.cases += 1;
        outcome.mismatches += usize::from(!whole);
    };
    let (sums, scales) = ([[7; 4]; 2], [[1 << 20, 3, 0, 0]; 2]);
    // Three times the first and 2 would be 4 if nothing bounded it.
    for stride in [usize::MAX / 3 + 1, usize::MAX / 4 + 1, usize::MAX - 1] {
        let stride = Stride::new(stride);
        for residual in [false, true] {
            let mut bytes = [AROUND; 16];
            let (before, rest) = bytes.split_at_mut(4);
            let (out, after) = rest.split_at_mut(4);
            match residual {
                false => engine.requantise(out, stride, &sums, &scales),
                true => engine.requantise_with(out, stride, &sums, &scales, &[5; 4], 9),
            }
            let mut around = before.iter().chain(&*after);
            count(around.all(|&byte| byte == AROUND));
        }
    }
    let values = [1; 8];
    for k in [usize::MAX - 3, usize::MAX - 7, usize::MAX / 2 - 3] {
        for channels in [4, 8] {
            let mut halves = Halves([AROUND.into(); 192]);
            let (before, rest) = halves.0.split_at_mut(32);
            let (columns, after) = rest.split_at_mut(128);
            engine.winograd(columns, k, 0, &[&values[..channels]; 16]);
            let mut around = before.iter().chain(&*after);
            count(around.all(|&half| half == i16::from(AROUND)));
        }
    }
    outcome
}

/// Results that come one after the other.
struct Results {
    random: Random,
    hash: Hash,
    outcome: Outcome,
}

impl Results {
    fn new(group: &'static str) -> Self {
        Self {
            random: Random::new(3),
            hash: Hash::empty(),
            outcome: Outcome {
                group,
                cases: 0,
                mismatches: 0,
                hash: 0,
            },
        }
    }

    fn add(&mut self, values: &[i8]) {
        self.hash.add_bytes(values);
        self.outcome.cases += 1;
        self.outcome.hash = self.hash.0;
    }
}
