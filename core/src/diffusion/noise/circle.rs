//! Sine and cosine of an angle below 2π, in integers.
//!
//! They are `libm`'s, bit for bit: the same ranges and the same polynomials (those
//! of FreeBSD's `k_sinf.c` and `k_cosf.c`). `libm` computes them in `f64`, for
//! which microcontrollers have no instructions; fractions of 2^-64 take a third
//! of the work on a Cortex-M4.

use core::f64::consts::FRAC_PI_2;

/// Angles are in units of 2^-60, so that 2π fits a `u64`.
const ANGLE_BITS: u32 = 60;

/// π/2 and its multiples as `libm` rounds them; all are whole in units of 2^-60.
const QUARTERS: [u64; 5] = [
    0,
    angle(FRAC_PI_2),
    angle(2.0 * FRAC_PI_2),
    angle(3.0 * FRAC_PI_2),
    angle(4.0 * FRAC_PI_2),
];

/// The largest angle of each quarter, as bits of an `f32`: (2n + 1) π/4.
const ENDS: [u32; 4] = [0x3f49_0fda, 0x4016_cbe3, 0x407b_53d1, 0x40af_eddf];

/// Below 2^-12, sin x = x and cos x = 1 to the last bit.
const SMALL: u32 = 0x3980_0000;

/// (y - sin y) / y³ in powers of y²; the signs alternate.
const SINE: [u64; 4] = [
    fraction(0.166_666_666_416_265_24),
    fraction(0.008_333_329_385_889_463),
    fraction(0.000_198_393_348_360_966_32),
    fraction(0.000_002_718_311_493_989_822),
];

/// (1 - cos y) / y² in powers of y²; the signs alternate.
const COSINE: [u64; 4] = [
    fraction(0.499_999_997_251_031),
    fraction(0.041_666_623_323_739_06),
    fraction(0.001_388_676_377_460_993),
    fraction(0.000_024_390_448_796_277_41),
];

const fn angle(value: f64) -> u64 {
    (value * (1u64 << ANGLE_BITS) as f64) as u64
}

/// In units of 2^-64.
const fn fraction(value: f64) -> u64 {
    (value * (1u64 << 32) as f64 * (1u64 << 32) as f64) as u64
}

/// Sine and cosine of `x`, 0 to 2π.
pub fn sin_cos(x: f32) -> (f32, f32) {
    let bits = x.to_bits();
    if bits < SMALL {
        return (x, 1.0);
    }
    let exponent = (bits >> 23).wrapping_sub(127 + 23);
    let mantissa = u64::from(bits & 0x007f_ffff | 0x0080_0000);
    let x = mantissa.wrapping_shl(ANGLE_BITS.wrapping_add(exponent));

    let quarter = ENDS.iter().filter(|&&end| bits > end).count();
    let centre = QUARTERS.get(quarter).copied().unwrap_or_default();
    // y, from the middle of the quarter: at most π/4.
    let before = x < centre;
    let y = x.abs_diff(centre) << (64 - ANGLE_BITS);

    let z = product(y, y);
    let sine = y.wrapping_sub(product(product(z, y), alternating(&SINE, z)));
    // 1 is 0 in 64 bits.
    let cosine = product(z, alternating(&COSINE, z)).wrapping_neg();
    let (sine, cosine) = (to_f32(sine), to_f32(cosine));
    let sine = if before { -sine } else { sine };
    match quarter {
        0 | 4 => (sine, cosine),
        1 => (cosine, -sine),
        2 => (-sine, -cosine),
        _ => (-cosine, sine),
    }
}

/// c_0 - c_1 z + c_2 z² - c_3 z³ by Horner's rule.
fn alternating([c_0, c_1, c_2, c_3]: &[u64; 4], z: u64) -> u64 {
    let sum = c_2.wrapping_sub(product(z, *c_3));
    let sum = c_1.wrapping_sub(product(z, sum));
    c_0.wrapping_sub(product(z, sum))
}

/// The product of two fractions, too small by at most 3 units.
fn product(a: u64, b: u64) -> u64 {
    let (a_high, a_low) = (a >> 32, a & 0xffff_ffff);
    let (b_high, b_low) = (b >> 32, b & 0xffff_ffff);
    a_high * b_high + ((a_high * b_low) >> 32) + ((a_low * b_high) >> 32)
}

/// A fraction as the nearest `f32`; 0 is 1, for no other fraction is.
fn to_f32(fraction: u64) -> f32 {
    if fraction == 0 {
        return 1.0;
    }
    // Times 2^-64: `f32` has an exponent for every fraction.
    f32::from_bits((fraction as f32).to_bits() - (64 << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every angle that noise can ask for.
    #[test]
    fn all_angles_are_libm_s() {
        for word in 0..1 << 24 {
            let angle = word as f32 * (1.0 / 16_777_216.0) * core::f32::consts::TAU;
            let (sine, cosine) = sin_cos(angle);
            let expected = (libm::sinf(angle), libm::cosf(angle));
            let found = (sine.to_bits(), cosine.to_bits());
            let expected = (expected.0.to_bits(), expected.1.to_bits());
            assert_eq!(found, expected, "{word}: {angle}");
        }
    }
}
