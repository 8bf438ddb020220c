//! Largest numbers of a blob: from these each kernel derives that nothing
//! overflows.

/// Magnitude of a convolution's bias, and of what an embedding may add to it.
pub const MAX_BIAS: i32 = 1 << 29;
/// Magnitude of a normalisation's gains and offsets, with 15 fraction bits.
pub const MAX_GAIN: i32 = 1 << 22;
/// A normalisation's output steps in 1, times 2^8.
pub const MAX_NORM_MULTIPLIER: i32 = 32_767;
/// [`Factors::value`](super::attention::Factors::value).
pub const MAX_VALUE_FACTOR: i32 = 1 << 23;
