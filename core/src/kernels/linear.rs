//! The time and class embedding: small, and the part most easily hurt by
//! coarse numbers. Weights and inputs are 16 bits wide, sums 64, and what
//! stands between two layers is `f32` computed by `libm`.

use super::engine::{Engine, Native, Portable};
use super::floats;

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
    let [sum, _] = Portable.dots([weights, &[]], x);
    finish(sum, x_scale, weight_scale, bias)
}

fn finish(sum: i64, x_scale: f32, weight_scale: f32, bias: f32) -> f32 {
    to_float(sum) * (x_scale * weight_scale) + bias
}

/// The nearest `f32`, which `as` would give, too: but on a processor of 32
/// bits it would call for help.
fn to_float(sum: i64) -> f32 {
    let high = (sum >> 32) as i32;
    if i64::from(sum as i32) == sum {
        return sum as i32 as f32;
    }
    // So many bits have to go that 32 are left, which is more than a float has;
    // of those that go it is enough to know whether any was set.
    let bits = 33 - (high ^ (high >> 31)).leading_zeros();
    let kept = (sum >> bits) as i32;
    let lost = sum & ((1 << bits) - 1) != 0;
    let scale = f32::from_bits((127 + bits) << 23);
    (kept | i32::from(lost)) as f32 * scale
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
    let row = (2 * x.len()).max(1);
    let mut pairs = weights.chunks(2 * row);
    let mut second = None;
    // Two rows at a time share what they read of x.
    let sums = core::iter::from_fn(move || {
        second.take().or_else(|| {
            let pair = pairs.next()?;
            let (a, b) = pair.split_at(row.min(pair.len()));
            let [first, other] = Native::default().dots([a, b], x);
            second = (b.len() == row).then_some(other);
            (a.len() == row).then_some(first)
        })
    });
    sums.zip(floats(scales).zip(floats(bias)))
        .map(move |(sum, (scale, bias))| finish(sum, x_scale, scale, bias))
}
