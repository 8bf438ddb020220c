//! Blobs as an attacker would send them: random, or made of valid ones by
//! mutations that know the format, with checksums that are right.
//!
//! Everything follows from a seed and a number, on a microcontroller as on the
//! host.

use super::memory::Random;
use tiny_ddpm::Model;
use tiny_ddpm::blob::header::{HEADER_LEN, seal};
use tiny_ddpm::blob::records::{Info, Packing, Record};
use tiny_ddpm::blob::{BlobError, Writer};
use tiny_ddpm::picture::picture_hash;
use tiny_ddpm::{Prediction, ScheduleKind};

/// Largest mutated blob.
pub const MOST_BYTES: usize = 24 << 10;

/// What is done to a valid blob, and what is then done to its checksums.
pub const KINDS: [&str; 11] = [
    "bits",
    "bytes",
    "number",
    "numbers",
    "length",
    "description",
    "cut",
    "splice",
    "shift",
    "noise",
    "header",
];
const HEADER: usize = KINDS.len() - 1;

/// Where a mutated blob is made.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Workshop {
    bytes: [u8; MOST_BYTES + 16],
    /// Where a blob may be put together from the parts of another.
    spare: [u8; MOST_BYTES],
    /// Arrays of numbers of the blob that is mutated.
    arrays: [Array; 256],
}

/// An array of numbers in a blob.
#[derive(Clone, Copy, Debug)]
struct Array {
    start: usize,
    length: usize,
    /// Bytes of a number.
    width: usize,
}

impl Array {
    const EMPTY: Self = Self {
        start: 0,
        length: 0,
        width: 1,
    };
}

/// A mutated blob.
#[derive(Clone, Copy, Debug)]
pub struct Mutant<'w> {
    /// What a loader gets.
    pub blob: &'w [u8],
    /// Index of [`KINDS`].
    pub kind: usize,
}

impl Workshop {
    /// Nothing but zeros.
    pub const fn zeros() -> Self {
        Self {
            bytes: [0; _],
            spare: [0; _],
            arrays: [Array::EMPTY; _],
        }
    }

    /// Mutates one of the valid blobs `bases`.
    pub fn mutate(&mut self, bases: &[&[u8]], random: &mut Random) -> Mutant<'_> {
        let kind = random.below(KINDS.len() as u32) as usize;
        let (base, other) = (pick(bases, random), pick(bases, random));
        let mut length = base.len().min(MOST_BYTES);
        self.bytes[..length].copy_from_slice(&base[..length]);
        let times = 1 + random.below(3);
        match kind {
            0..=4 => {
                for _ in 0..times {
                    length = self.edit(kind, base, length, random);
                }
            }
            5 => length = self.describe(base, random).unwrap_or(length),
            6 => length = self.cut(length, random),
            7 => length = self.splice(length, other, random),
            8 => length = self.shift(length, random),
            9 => length = self.noise(length, random),
            _ => {}
        }
        if kind == HEADER {
            length = self.spoil_header(length, random);
        } else if random.below(16) > 0 {
            self.seal(length);
        }
        // Weights may lie at any address.
        let offset = match random.below(4) {
            0 => random.below(16) as usize,
            _ => 0,
        };
        self.bytes.copy_within(..length, offset);
        Mutant {
            blob: &self.bytes[offset..offset + length],
            kind,
        }
    }

    /// One of the mutations that a blob may suffer more than once; returns its
    /// new length.
    fn edit(&mut self, kind: usize, base: &[u8], length: usize, random: &mut Random) -> usize {
        let body = HEADER_LEN.min(length)..length;
        if body.is_empty() {
            return length;
        }
        match kind {
            0 => {
                let at = between(body.start, body.end, random);
                self.bytes[at] ^= 1 << random.below(8);
            }
            1 => {
                let at = between(body.start, body.end, random);
                let end = (at + 1 + random.below(32) as usize).min(length);
                for byte in &mut self.bytes[at..end] {
                    *byte = random.bits() as u8;
                }
            }
            2 | 3 => self.change_numbers(base, kind == 3, random),
            _ => return self.change_length(base, length, random),
        }
        length
    }

    /// A number of a layer becomes one at a limit, or beyond; or all of an
    /// array do.
    fn change_numbers(&mut self, base: &[u8], all: bool, random: &mut Random) {
        let Some(array) = self.array(base, random) else {
            return;
        };
        let count = (array.length / array.width) as u32;
        let value = value(array.width, random);
        let (first, last) = match (all, random.below(count.max(1)) as usize) {
            (true, _) => (0, count as usize),
            (false, index) => (index, index + 1),
        };
        for index in first..last {
            let at = array.start + index * array.width;
            if let Some(number) = self.bytes.get_mut(at..at + array.width) {
                number.copy_from_slice(&value[..array.width]);
            }
        }
    }

    /// What stands before an array or behind it: lengths, factors, scales,
    /// zero points, layouts. A length may be written longer than it needs to be.
    fn change_length(&mut self, base: &[u8], length: usize, random: &mut Random) -> usize {
        let Some(array) = self.array(base, random) else {
            return length;
        };
        let at = match random.below(3) {
            0 => array.start + array.length + random.below(9) as usize,
            _ => array.start - 1,
        };
        let Some(byte) = self.bytes[..length].get_mut(at) else {
            return length;
        };
        match random.below(6) {
            0 => *byte = byte.wrapping_add(1),
            1 => *byte = byte.wrapping_sub(1),
            2 => *byte ^= 0x80,
            3 => *byte = random.bits() as u8,
            // The same length in more bytes than it needs, or far too many.
            4 => {
                *byte |= 0x80;
                return self.insert(length, at + 1, 1 + random.below(10) as usize, random);
            }
            _ => *byte = 0xff,
        }
        length
    }

    /// Inserts bytes that continue a number, and a last one that ends it.
    fn insert(&mut self, length: usize, at: usize, count: usize, random: &mut Random) -> usize {
        if length + count > MOST_BYTES || at > length {
            return length;
        }
        self.bytes.copy_within(at..length, at + count);
        self.bytes[at..at + count].fill(0x80);
        self.bytes[at + count - 1] = random.below(3) as u8;
        length + count
    }

    /// Any array of the base's layers.
    fn array(&mut self, base: &[u8], random: &mut Random) -> Option<Array> {
        let model = Model::load(base).ok()?;
        let (mut count, arrays) = (0, &mut self.arrays);
        model.for_each_layer(|layer| {
            let all: [(&[u8], usize); 5] = match layer.record {
                Record::Linear(r) => [
                    (r.padding, 1),
                    (r.weights, 2),
                    (r.scales, 4),
                    (r.bias, 4),
                    (&[], 1),
                ],
                Record::Table(r) => [(r.values, 2), (&[], 1), (&[], 1), (&[], 1), (&[], 1)],
                Record::Norm(r) => [(r.gains, 4), (r.offsets, 4), (&[], 1), (&[], 1), (&[], 1)],
                Record::Conv(r) => [
                    (r.weights, 1),
                    (r.bias, 4),
                    (r.multipliers, 4),
                    (r.shifts, 1),
                    (r.zero_points, 2),
                ],
                Record::Output(r) => [
                    (r.padding, 1),
                    (r.weights, 1),
                    (r.bias, 4),
                    (r.scales, 4),
                    (&[], 1),
                ],
                _ => [(&[], 1); 5],
            };
            for (bytes, width) in all.into_iter().filter(|(bytes, _)| !bytes.is_empty()) {
                if let Some(array) = arrays.get_mut(count) {
                    *array = Array {
                        start: bytes.as_ptr().addr() - base.as_ptr().addr(),
                        length: bytes.len(),
                        width,
                    };
                    count += 1;
                }
            }
        });
        let array = arrays.get(random.below(count as u32) as usize);
        array.copied().filter(|_| count > 0)
    }

    /// Another description before the same layers, which keep their
    /// alignment.
    fn describe(&mut self, base: &[u8], random: &mut Random) -> Option<usize> {
        let model = Model::load(base).ok()?;
        let layers = base.get(base.len() - model.records().remaining()..)?;
        let begin = base.len() - layers.len();
        let mut info = model.info().clone();
        for _ in 0..1 + random.below(2) {
            change(&mut info, random);
        }
        info.name = "";
        let unnamed = Writer::new(&mut self.bytes[..MOST_BYTES], &info).ok()?;
        let padding = begin.wrapping_sub(unnamed.finish()) % 16;
        info.name = &"sixteen letters."[..padding];
        let writer = Writer::new(&mut self.bytes[..MOST_BYTES], &info).ok()?;
        let described = writer.finish();
        let length = described + layers.len();
        self.bytes
            .get_mut(described..length)?
            .copy_from_slice(layers);
        Some(length)
    }

    /// Ends early, or goes on too long.
    fn cut(&mut self, length: usize, random: &mut Random) -> usize {
        match random.below(4) {
            0 => {
                let end = (length + 1 + random.below(64) as usize).min(MOST_BYTES);
                for byte in &mut self.bytes[length..end] {
                    *byte = random.bits() as u8;
                }
                end
            }
            _ => random.below(length as u32 + 1) as usize,
        }
    }

    /// Begins as one blob and goes on as another, from the same place or from
    /// any.
    fn splice(&mut self, length: usize, other: &[u8], random: &mut Random) -> usize {
        let at = between(HEADER_LEN, length, random);
        let from = match random.below(2) {
            0 => at.min(other.len()),
            _ => between(HEADER_LEN, other.len(), random),
        };
        let tail = &other[from..];
        let count = tail.len().min(MOST_BYTES - at);
        self.bytes[at..at + count].copy_from_slice(&tail[..count]);
        at + count
    }

    /// Takes some bytes out, or repeats them.
    fn shift(&mut self, length: usize, random: &mut Random) -> usize {
        let at = between(HEADER_LEN, length, random);
        let most = [4, 64][random.below(2) as usize];
        let count = 1 + random.below(most) as usize;
        let end = (at + count).min(length);
        if random.below(2) == 0 {
            self.bytes.copy_within(end..length, at);
            return length - (end - at);
        }
        let longer = (length + end - at).min(MOST_BYTES);
        self.spare[..length].copy_from_slice(&self.bytes[..length]);
        self.bytes[end..longer].copy_from_slice(&self.spare[at..at + longer - end]);
        longer
    }

    /// Random bytes, from the beginning of the body or from later on.
    fn noise(&mut self, length: usize, random: &mut Random) -> usize {
        let from = match random.below(2) {
            0 => HEADER_LEN,
            _ => between(HEADER_LEN, length, random),
        };
        let end = (from + random.below(2048) as usize).min(MOST_BYTES);
        // Small numbers are more often something that has a meaning.
        let mask = if random.below(2) == 0 { 0xff } else { 0x07 };
        for byte in &mut self.bytes[from..end] {
            *byte = random.bits() as u8 & mask;
        }
        end
    }

    /// What the header says is wrong; its own checksum may be right.
    fn spoil_header(&mut self, length: usize, random: &mut Random) -> usize {
        let length = match random.below(8) {
            0 => random.below(HEADER_LEN as u32) as usize,
            _ => length,
        };
        let header = HEADER_LEN.min(length);
        if header == 0 {
            return 0;
        }
        let at = random.below(header as u32) as usize;
        match random.below(3) {
            0 => self.bytes[at] ^= 1 << random.below(8),
            1 => self.bytes[at] = random.bits() as u8,
            _ => self.bytes[at..header].fill(0xff),
        }
        if header == HEADER_LEN && random.below(4) > 0 {
            let crc = picture_hash(&self.bytes[..28]);
            self.bytes[28..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
        }
        length
    }

    /// Makes all checksums right, that of the topology too where there is one.
    fn seal(&mut self, length: usize) {
        let Some((_, body)) = self.bytes[..length].split_first_chunk::<HEADER_LEN>() else {
            return;
        };
        let stored = self.bytes[12..16].first_chunk().copied();
        let header = seal(u32::from_le_bytes(stored.unwrap_or_default()), body);
        self.bytes[..HEADER_LEN].copy_from_slice(&header);
        let refused = Model::load(&self.bytes[..length]).err();
        if let Some(BlobError::ArchMismatch { computed, .. }) = refused {
            let header = seal(computed, &self.bytes[HEADER_LEN..length]);
            self.bytes[..HEADER_LEN].copy_from_slice(&header);
        }
    }
}

fn pick<'b>(bases: &[&'b [u8]], random: &mut Random) -> &'b [u8] {
    bases[random.below(bases.len() as u32) as usize]
}

/// From `start` to before `end`, or `start`.
fn between(start: usize, end: usize, random: &mut Random) -> usize {
    start + random.below(end.saturating_sub(start) as u32) as usize
}

/// A number of so many bytes at which something may happen.
fn value(width: usize, random: &mut Random) -> [u8; 4] {
    const WORDS: [u32; 20] = [
        0,
        1,
        u32::MAX,
        1 << 31,
        i32::MAX as u32,
        1 << 29,
        (1 << 29) + 1,
        (-(1_i32 << 29)) as u32,
        1 << 22,
        (1 << 22) + 1,
        1 << 23,
        32_767,
        32_768,
        // As floats: one, infinities, NaN, the largest, the smallest, none.
        0x3f80_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0x7f7f_ffff,
        0x0080_0000,
        0x007f_ffff,
    ];
    const HALVES: [u16; 10] = [0, 1, 0xffff, 0x7fff, 0x8000, 127, 128, 0xff80, 255, 256];
    const BYTES: [u8; 10] = [0, 1, 7, 8, 0x7f, 0x80, 0x81, 0xff, 0x08, 0x90];
    let any = random.bits();
    let index = random.below(24) as usize;
    match width {
        1 => [BYTES.get(index).copied().unwrap_or(any as u8); 4],
        2 => {
            let half = HALVES.get(index).copied().unwrap_or(any as u16);
            u32::from(half).to_le_bytes()
        }
        _ => WORDS.get(index).copied().unwrap_or(any).to_le_bytes(),
    }
}

/// One thing about a description.
fn change(info: &mut Info<'_>, random: &mut Random) {
    const SMALL: [u16; 12] = [0, 1, 2, 3, 4, 5, 8, 16, 255, 256, 257, 512];
    let small = SMALL[random.below(12) as usize];
    let byte = small as u8;
    let topology = &mut info.topology;
    match random.below(18) {
        0 => topology.image_size = [0, 4, 8, 16, 32, 64, 65, 255][random.below(8) as usize],
        1 => topology.patch = byte,
        2 => {
            let level = random.below(4) as usize;
            if let Some(level) = topology.levels.get_mut(level) {
                level.channels = small;
            }
        }
        3 => {
            if let Some(level) = topology.levels.first_mut() {
                level.attention ^= true;
            }
        }
        4 => {
            let copy = topology.levels.first().copied();
            // Full after four; then it stays as it is.
            let _ = copy.map(|level| topology.levels.push(level));
        }
        5 => {
            topology.levels.pop();
        }
        6 => topology.blocks = byte,
        7 => topology.mid_attention ^= true,
        8 => topology.heads = byte,
        9 => topology.group_channels = byte,
        10 => topology.time_features = small,
        11 => topology.embedding = small,
        12 => topology.classes = small,
        13 => {
            info.timesteps = [0, 1, 2, 1000, 3999, 4000, 4001, u16::MAX][random.below(8) as usize];
        }
        14 => {
            let betas = [0.0, 1e-12, 1e-4, 0.02, 0.5, 0.999_999, 1.0, -1.0, f64::NAN];
            let mut beta = || betas[random.below(9) as usize];
            info.schedule = match beta() < 0.5 {
                true => ScheduleKind::Cosine,
                false => ScheduleKind::Linear {
                    beta_start: beta(),
                    beta_end: beta(),
                },
            };
        }
        15 => {
            let all = [Prediction::Epsilon, Prediction::V, Prediction::X0];
            info.prediction = all[random.below(3) as usize];
        }
        16 => info.packing = Packing::from(byte),
        _ => {
            let floats = [0.0, 0.5, 1.0, 100.0, 100.1, -0.0, f32::NAN, f32::INFINITY];
            info.recommended.steps = small;
            info.recommended.guidance = floats[random.below(8) as usize];
            info.recommended.eta = floats[random.below(8) as usize];
        }
    }
}
