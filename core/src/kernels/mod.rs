//! The arithmetic of the network.
//!
//! The innermost loops belong to an [`engine`]: a plain one that is their
//! definition, and faster ones for the targets that have them, which give the
//! same integers. Everything around them is written once.
//!
//! Kernels work on slices and know nothing of blobs or topologies. They never
//! panic: where lengths do not fit they compute what fits. Sizes are checked
//! once, when a blob is loaded ([`crate::blob`]), and the limits of
//! [`crate::topology`] keep every `i32` below from overflowing; each kernel
//! says how.
//!
//! An activation value is `scale * (q - zero_point)` with `q` in `i8`. Scales
//! never enter here: they were folded into integer multipliers when the model
//! was exported.

pub mod attention;
pub mod conv;
pub mod engine;
pub mod finish;
pub mod linear;
pub mod norm;
pub mod packing;
mod phases;
mod tables;
mod winograd;

/// round(value * multiplier / 2^32), halves upwards: the one way an
/// accumulator becomes an activation.
#[inline]
#[must_use]
pub fn multiply_high(value: i32, multiplier: i32) -> i32 {
    ((i64::from(value) * i64::from(multiplier) + (1 << 31)) >> 32) as i32
}

/// The nearest `i8`.
#[inline]
#[must_use]
pub fn saturate(value: i32) -> i8 {
    value.clamp(i32::from(i8::MIN), i32::from(i8::MAX)) as i8
}

/// Little-endian words as they lie in a blob.
pub(crate) fn words(bytes: &[u8]) -> impl ExactSizeIterator<Item = i32> {
    bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b))
}

/// Little-endian floats as they lie in a blob.
pub(crate) fn floats(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))
}

/// Little-endian halfwords as they lie in a blob.
pub(crate) fn halfwords(bytes: &[u8]) -> impl ExactSizeIterator<Item = i16> {
    bytes.as_chunks().0.iter().map(|&b| i16::from_le_bytes(b))
}
