//! Random numbers and the room for them: without a heap, the same on a
//! microcontroller and on the host.

/// Bytes that can be shifted off the alignment that kernels like best.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Aligned<const N: usize>(pub [u8; N]);

/// Everything that a layer reads and writes.
#[derive(Debug)]
pub struct Memory {
    /// The input.
    pub x: [i8; 16_384],
    /// The skip's half of it.
    pub skip: [i8; 4096],
    /// Weights, an output channel's after the other's.
    pub rows: [i8; 36_864],
    /// The same as a layout packs them.
    pub packed: Aligned<{ 131_072 + 16 }>,
    /// The same again, for the other engine.
    pub other_packed: Aligned<18_432>,
    /// What a kernel needs for itself.
    pub scratch: [u32; 12_288],
    /// Bias of each output channel, as a blob has it.
    pub bias: [u8; 4 * 128],
    /// Multiplier of each output channel, as a blob has it.
    pub multipliers: [u8; 4 * 128],
    /// Zero point of each channel of both inputs and of the output.
    pub zero_points: [[u8; 2 * 256]; 3],
    /// Halvings of each channel's scale.
    pub shifts: [u8; 256],
    /// Words for each channel.
    pub words: [[i32; 256]; 2],
    /// What sums become, for each channel.
    pub scales: [i32; 4 * 256],
    /// Sums of both engines.
    pub sums: [[i32; 2304]; 2],
    /// Activations.
    pub outputs: [[i8; 16_384]; 2],
    /// For the embedding.
    pub floats: [f32; 256],
    /// For the embedding.
    pub halves: [i16; 256],
}

impl Memory {
    /// Nothing but zeros.
    pub const fn zeros() -> Self {
        Self {
            x: [0; _],
            skip: [0; _],
            rows: [0; _],
            packed: Aligned([0; _]),
            other_packed: Aligned([0; _]),
            scratch: [0; _],
            bias: [0; _],
            multipliers: [0; _],
            zero_points: [[0; _]; _],
            shifts: [0; _],
            words: [[0; _]; _],
            scales: [0; _],
            sums: [[0; _]; _],
            outputs: [[0; _]; _],
            floats: [0.0; _],
            halves: [0; _],
        }
    }
}

/// Xorshift (Marsaglia 2003): good enough for test data, and quick.
#[derive(Clone, Copy, Debug)]
pub struct Random(u32);

impl Random {
    /// A sequence of its own for each seed.
    pub const fn new(seed: u32) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9) | 1)
    }

    /// 32 bits.
    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// Within 0 to `n` - 1.
    pub fn below(&mut self, n: u32) -> u32 {
        // The upper bits, without a division.
        ((u64::from(self.bits()) * u64::from(n)) >> 32) as u32
    }

    /// Within `low` to `high`.
    pub fn between(&mut self, low: i32, high: i32) -> i32 {
        low + self.below((high - low) as u32 + 1) as i32
    }

    /// Any `i8`.
    pub fn activations(&mut self, values: &mut [i8]) {
        for value in values {
            *value = self.bits() as i8;
        }
    }

    /// Within -127 to 127.
    pub fn weights(&mut self, values: &mut [i8]) {
        for value in values {
            *value = (self.bits() as i8).max(-127);
        }
    }

    /// A noisy picture.
    pub fn picture(&mut self, x: &mut [f32]) {
        for x in x {
            *x = self.between(-2000, 2000) as f32 / 1000.0;
        }
    }

    /// Words as they lie in a blob.
    pub fn words(&mut self, bytes: &mut [u8], low: i32, high: i32) {
        for word in bytes.as_chunks_mut().0 {
            *word = self.between(low, high).to_le_bytes();
        }
    }

    /// Halfwords as they lie in a blob.
    pub fn halfwords(&mut self, bytes: &mut [u8], low: i32, high: i32) {
        for half in bytes.as_chunks_mut().0 {
            *half = (self.between(low, high) as i16).to_le_bytes();
        }
    }
}

/// Makes weights such as [`WeightLayout::Int4`](tiny_ddpm::kernels::packing::WeightLayout)
/// can hold: multiples of 16, and no -128.
pub fn coarse(weights: &mut [i8]) {
    for weight in weights {
        *weight = (*weight & -16).max(-112);
    }
}

/// What many numbers are recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(pub u32);

impl Hash {
    /// Of nothing.
    pub const fn empty() -> Self {
        Self(0x811c_9dc5)
    }

    /// FNV-1a, a word at a time, turned so that upper bits count too.
    pub fn add(&mut self, word: u32) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0193).rotate_left(11);
    }

    /// Adds floats.
    pub fn add_floats(&mut self, values: &[f32]) {
        for value in values {
            self.add(value.to_bits());
        }
    }

    /// Adds activations.
    pub fn add_bytes(&mut self, values: &[i8]) {
        for &value in values {
            self.add(value as u32);
        }
    }
}
