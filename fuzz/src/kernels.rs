//! Each engine against the definition: the same convolution, sum by sum, and
//! the products of the embedding and of attention.

use arbitrary::Unstructured;
use tiny_ddpm::graph::Geometry;
use tiny_ddpm::kernels::conv::{Plane, Task, conv_on, least_scratch_words, scratch_words};
use tiny_ddpm::kernels::engine::{Engine, Portable, Words};
use tiny_ddpm::kernels::packing::{MAX_PHASE, MAX_WINOGRAD, WeightLayout};

/// What a fuzzer's bytes are repeated for.
struct Tape<'u> {
    bytes: &'u [u8],
    at: usize,
}

impl Tape<'_> {
    fn next(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0x81);
        self.at = (self.at + 1) % self.bytes.len().max(1);
        byte
    }

    fn values(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.next() as i8).collect()
    }

    fn words(&mut self, count: usize) -> Vec<i32> {
        (0..count)
            .map(|_| i32::from_le_bytes([(); 4].map(|()| self.next())))
            .collect()
    }

    fn halves(&mut self, count: usize) -> Vec<i16> {
        (0..count)
            .map(|_| i16::from_le_bytes([(); 2].map(|()| self.next())))
            .collect()
    }
}

/// Weights in a layout, each within its limit; `offset` bytes stand before them.
fn weights(layout: WeightLayout, count: usize, offset: usize, tape: &mut Tape<'_>) -> Vec<u8> {
    let mut bytes = vec![0; offset];
    match layout {
        WeightLayout::Winograd | WeightLayout::Phases => {
            let limit = match layout {
                WeightLayout::Winograd => MAX_WINOGRAD,
                _ => MAX_PHASE,
            };
            for half in tape.halves(count / 2) {
                bytes.extend(half.clamp(-limit, limit).to_le_bytes());
            }
        }
        WeightLayout::Int4 => bytes.extend((0..count).map(|_| {
            let [low, high] = [(); 2].map(|()| tape.next() & 15);
            let legal = |half: u8| if half == 8 { 9 } else { half };
            legal(high) << 4 | legal(low)
        })),
        _ => bytes.extend(tape.values(count).iter().map(|&w| w.max(-127) as u8)),
    }
    bytes
}

/// Compares all engines of this machine on what the bytes say.
///
/// # Errors
/// Where there are too few bytes.
///
/// # Panics
/// Where engines differ.
pub fn compare(mut bytes: Unstructured<'_>) -> arbitrary::Result<()> {
    use Geometry::{Down, Pointwise, Same, Up};
    let kernels = [
        (Pointwise, WeightLayout::Direct),
        (Same, WeightLayout::Direct),
        (Same, WeightLayout::Winograd),
        (Down, WeightLayout::Direct),
        (Up, WeightLayout::Direct),
        (Up, WeightLayout::Phases),
        (Pointwise, WeightLayout::Int4),
        (Same, WeightLayout::Int4),
        (Down, WeightLayout::Int4),
        (Up, WeightLayout::Int4),
    ];
    let (geometry, layout) = *bytes.choose(&kernels)?;
    let side = match geometry {
        Down => 2 * bytes.int_in_range(1..=2)?,
        _ => bytes.int_in_range(1..=4)?,
    };
    let channels = [bytes.int_in_range(1..=18)?, bytes.int_in_range(0..=9)?];
    let outputs = bytes.int_in_range(1..=5)?;
    let offset = bytes.int_in_range(0..=3)?;
    let zero_point = bytes.arbitrary::<Option<i8>>()?;
    let length: u8 = bytes.arbitrary()?;
    let mut tape = Tape {
        bytes: bytes.take_rest(),
        at: 0,
    };

    let inputs = channels.iter().sum();
    let mut plane = |channels: usize| {
        let zeros = tape.values(channels);
        let zeros: Vec<u8> = zeros
            .iter()
            .flat_map(|&zero| i16::from(zero).to_le_bytes())
            .collect();
        (tape.values(side * side * channels), zeros)
    };
    let halves = channels.map(&mut plane);
    let size = layout.bytes(geometry, inputs, outputs);
    let weights = weights(layout, size, offset, &mut tape);
    // A bias and what an embedding adds.
    let initial: Vec<i32> = tape.words(outputs).iter().map(|word| word >> 1).collect();
    let half = |i: usize| Plane {
        values: &halves[i].0,
        channels: channels[i],
        zero_point: zero_point.unwrap_or(99),
        zero_points: match zero_point {
            Some(_) => &[],
            None => &halves[i].1,
        },
    };
    let task = Task {
        geometry,
        side,
        x: half(0),
        skip: half(1),
        layout,
        weights: &weights[offset..],
        initial: &initial,
    };
    let full = scratch_words(layout, geometry, channels[0], channels[1]);
    let least = least_scratch_words(layout, geometry, channels[0], channels[1], outputs);
    assert!(least <= full);
    let defined = sums(Portable, &task, full);
    assert_eq!(defined, sums(Portable, &task, least), "little memory");

    let x = tape.halves(length.into());
    let rows = tape.halves(2 * x.len());
    let rows: Vec<u8> = rows.iter().flat_map(|half| half.to_le_bytes()).collect();
    let [a, b] = [(); 2].map(|()| tape.values(length.into()));
    let case = Case {
        task: &task,
        memories: [full, least],
        sums: &defined,
        rows: &rows,
        x: &x,
        a: &a,
        b: &b,
    };
    case.agrees(Words);
    #[cfg(target_arch = "x86_64")]
    {
        use tiny_ddpm::kernels::engine::x86::{Avx2, Vnni};
        if let Some(engine) = Avx2::detect() {
            case.agrees(engine);
        }
        if let Some(engine) = Vnni::detect() {
            case.agrees(engine);
        }
    }
    Ok(())
}

/// What engines are asked, and what the definition says.
struct Case<'c> {
    task: &'c Task<'c>,
    /// Words of scratch: for full speed, and the least.
    memories: [usize; 2],
    sums: &'c [i32],
    rows: &'c [u8],
    x: &'c [i16],
    a: &'c [i8],
    b: &'c [i8],
}

impl Case<'_> {
    fn agrees<E: Engine + std::fmt::Debug>(&self, engine: E) {
        for words in self.memories {
            let found = sums(engine, self.task, words);
            assert_eq!(found, self.sums, "{engine:?}, {words} words");
        }
        let (rows, x) = (self.rows, self.x);
        assert_eq!(engine.dots(rows, x), Portable.dots(rows, x), "{engine:?}");
        let (a, b) = (self.a, self.b);
        assert_eq!(engine.dot(a, b), Portable.dot(a, b), "{engine:?}");
    }
}

/// Every sum of a convolution; one that was not given is seen.
fn sums<E: Engine>(engine: E, task: &Task<'_>, words: usize) -> Vec<i32> {
    let side = task.geometry.output_side(task.side);
    let outputs = task.initial.len();
    let mut sums = vec![0; side * side * outputs];
    let mut given = 0;
    let mut scratch = vec![0x5a5a_a5a5; words];
    conv_on(
        engine,
        task,
        &mut scratch,
        &mut |position: usize, channel: usize, sum| {
            sums[position * outputs + channel] = sum;
            given += 1;
        },
    );
    assert_eq!(given, sums.len(), "sums that were not given");
    sums
}
