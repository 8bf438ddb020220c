//! The time and class embedding: small, and the part most easily hurt by
//! coarse numbers. Weights and inputs are 16 bits wide, sums 64, and what
//! stands between two layers is `f32` computed by `libm`.

use super::engine::{Engine, Native};
use super::little_endian::{floats, halfwords};

/// sin(t f_k), then cos(t f_k), f_k = 10000^(-k / (n/2)), for n = the length
/// of `features` (Vaswani et al. 2017, section 3.5; halves concatenated).
pub fn time_features(timestep: u16, features: &mut [f32]) {
    let half = features.len() / 2;
    let Some((sines, cosines)) = features.split_at_mut_checked(half) else {
        return;
    };
    for (k, (sine, cosine)) in sines.iter_mut().zip(cosines).enumerate() {
        let frequency = libm::powf(10_000.0, -(k as f32) / half as f32);
        let angle = f32::from(timestep) * frequency;
        *sine = libm::sinf(angle);
        *cosine = libm::cosf(angle);
    }
}

/// x / (1 + e^-x), in place.
pub fn silu(values: &mut [f32]) {
    for x in values {
        *x /= 1.0 + libm::expf(-*x);
    }
}

/// Quantises to 16 bits by the largest magnitude; returns the scale.
pub fn quantise(values: &[f32], quantised: &mut [i16]) -> f32 {
    let largest = values.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
    let inverse = if largest > 0.0 {
        32767.0 / largest
    } else {
        0.0
    };
    for (q, &value) in quantised.iter_mut().zip(values) {
        *q = libm::roundf(value * inverse) as i16;
    }
    largest / 32767.0
}

/// The output of one row of a layer: scale * Σ w x + bias.
#[must_use]
pub fn row(weights: &[u8], x: &[i16], x_scale: f32, weight_scale: f32, bias: f32) -> f32 {
    let products = halfwords(weights)
        .zip(x)
        .map(|(w, &x)| i64::from(i32::from(w) * i32::from(x)));
    epilogue(products.sum(), x_scale, weight_scale, bias)
}

fn epilogue(sum: i64, x_scale: f32, weight_scale: f32, bias: f32) -> f32 {
    to_float(sum) * (x_scale * weight_scale) + bias
}

/// The nearest `f32`, which `as` would give, too: but on a processor of 32
/// bits it would call for help.
#[inline]
fn to_float(sum: i64) -> f32 {
    let (high, low) = ((sum >> 32) as i32, sum as u32);
    if high == low as i32 >> 31 {
        return low as i32 as f32;
    }
    // So many bits have to go, 1 to 32, that 32 are left, which is more than a
    // float has; of those that go it is enough to know whether any was set.
    let bits = 33 - (high ^ (high >> 31)).leading_zeros();
    let (kept, lost) = if bits < 32 {
        (
            (high << (32 - bits)) | (low >> bits) as i32,
            low << (32 - bits),
        )
    } else {
        (
            (sum >> bits) as i32,
            low | (sum >> 32 << (64 - bits)) as u32,
        )
    };
    let scale = f32::from_bits((127 + bits) << 23);
    (kept | i32::from(lost != 0)) as f32 * scale
}

/// A whole layer; `put` gets each output and its value. `weights` are
/// little-endian halfwords, a row for each output; `scales` and `bias`
/// little-endian floats, one for each output.
pub fn layer(
    weights: &[u8],
    scales: &[u8],
    bias: &[u8],
    x: &[i16],
    x_scale: f32,
    mut put: impl FnMut(usize, f32),
) {
    let (row_len, pair_len) = ((2 * x.len()).max(1), 4 * x.len());
    // Nothing to read; and the compiler knows that rows have a length.
    if pair_len == 0 {
        return;
    }
    // Two rows at a time share what they read of x.
    let pairs = weights.chunks_exact(pair_len);
    let units = scales
        .as_chunks::<8>()
        .0
        .iter()
        .zip(bias.as_chunks::<8>().0);
    for ((index, rows), (scales, bias)) in pairs.enumerate().zip(units) {
        let [first, second] = Native::default().dots(rows, x);
        let ([p, q], [r, s]) = (two_floats(scales), two_floats(bias));
        put(2 * index, epilogue(first, x_scale, p, r));
        put(2 * index + 1, epilogue(second, x_scale, q, s));
    }
    let rows = weights.len() / row_len;
    if rows % 2 == 1
        && let Some(weights) = weights.get((rows - 1) * row_len..)
        && let (Some(scale), Some(bias)) =
            (floats(scales).nth(rows - 1), floats(bias).nth(rows - 1))
    {
        put(rows - 1, row(weights, x, x_scale, scale, bias));
    }
}

fn two_floats(bytes: &[u8; 8]) -> [f32; 2] {
    let [a, b, c, d, e, f, g, h] = *bytes;
    [[a, b, c, d], [e, f, g, h]].map(f32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::to_float;
    use std::vec;

    /// The compiler's own conversion is right, and everywhere the same.
    #[test]
    fn sums_become_the_nearest_float() {
        let mut sums = vec![0, 1, -1, i64::MAX, i64::MIN, i64::MIN + 1];
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        for bits in 0..64 {
            let power = 1_i64 << bits;
            for near in -3..=3_i64 {
                sums.push(power.wrapping_add(near));
                sums.push(power.wrapping_neg().wrapping_add(near));
            }
            for _ in 0..500 {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                sums.push(word as i64 >> bits);
                // Ties, and what is just beside them.
                let tie = (word as i64 >> bits) & !0xff | 0x80;
                sums.extend([tie, tie + 1, tie - 1]);
            }
        }
        for sum in sums {
            assert_eq!(to_float(sum).to_bits(), (sum as f32).to_bits(), "{sum}");
        }
    }
}
