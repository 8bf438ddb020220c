//! From x_0 to something that can be looked at and compared.

use crate::blob::checksum::{CRC, crc32};

/// Grey values 0 to 255 from x_0 in [-1, 1]; what lies outside is cut.
///
/// As many values are written as the shorter slice has.
pub fn to_pixels(x_0: &[f32], pixels: &mut [u8]) {
    for (pixel, &x) in pixels.iter_mut().zip(x_0) {
        *pixel = libm::roundf((x + 1.0) * 127.5) as u8;
    }
}

/// The hash that host and chip print of a picture: the CRC-32 of its pixels.
#[must_use]
pub fn picture_hash(pixels: &[u8]) -> u32 {
    crc32(pixels)
}

/// The CRC-32 of the values' bits in little-endian order: sees differences
/// that rounding to pixels hides.
///
/// Every NaN counts as [`f32::NAN`]: which one an operation gives is the
/// processor's choice.
#[must_use]
pub fn state_hash(x: &[f32]) -> u32 {
    let mut digest = CRC.digest();
    for value in x {
        let value = if value.is_nan() { f32::NAN } else { *value };
        digest.update(&value.to_bits().to_le_bytes());
    }
    digest.finalize()
}
