//! The time and class embedding: small, and the part most easily hurt by
//! coarse numbers. Weights and inputs are 16 bits wide, sums 64, and what
//! stands between two layers is `f32` computed by `libm`.

use super::{floats, halfwords};

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
    let sum: i64 = halfwords(weights)
        .zip(x)
        .map(|(w, &x)| i64::from(i32::from(w) * i32::from(x)))
        .sum();
    sum as f32 * (x_scale * weight_scale) + bias
}

/// A whole layer. `weights` are little-endian halfwords, a row for each
/// output; `scales` and `bias` little-endian floats, one for each output.
pub fn layer<'a>(
    weights: &'a [u8],
    scales: &'a [u8],
    bias: &'a [u8],
    x: &'a [i16],
    x_scale: f32,
) -> impl Iterator<Item = f32> + 'a {
    weights
        .chunks_exact((2 * x.len()).max(1))
        .zip(floats(scales).zip(floats(bias)))
        .map(move |(weights, (scale, bias))| row(weights, x, x_scale, scale, bias))
}
