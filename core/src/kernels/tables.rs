//! Tables of the two functions that integers alone do not give, computed by
//! the compiler so that no target's `exp` has a say.

/// Steps of [`SILU`] in a unit of its argument.
pub const SILU_STEPS: i32 = 128;
/// The arguments of [`SILU`] are `-SILU_REACH..SILU_REACH`, in steps.
pub const SILU_REACH: i32 = 1024;
/// Fraction bits of a value of [`SILU`].
pub const SILU_BITS: u32 = 12;

/// silu(u) = u / (1 + e^-u) for u in [-8, 8) in steps of 1/128, with 12
/// fraction bits.
pub static SILU: [i16; 2 * SILU_REACH as usize] = silu_table();

/// Entries of [`EXP2`].
pub const EXP2_STEPS: usize = 256;

/// 2^(-i/256) with 15 fraction bits.
pub static EXP2: [u16; EXP2_STEPS] = exp2_table();

const fn silu_table() -> [i16; 2 * SILU_REACH as usize] {
    let mut table = [0; 2 * SILU_REACH as usize];
    let mut i = 0;
    while i < table.len() {
        let u = (i as i32 - SILU_REACH) as f64 / SILU_STEPS as f64;
        let value = u / (1.0 + exp(-u)) * (1 << SILU_BITS) as f64;
        table[i] = round(value) as i16;
        i += 1;
    }
    table
}

const fn exp2_table() -> [u16; EXP2_STEPS] {
    let mut table = [0; EXP2_STEPS];
    let mut i = 0;
    while i < table.len() {
        let exponent = -(i as f64) / EXP2_STEPS as f64;
        table[i] = round(exp(exponent * core::f64::consts::LN_2) * 32768.0) as u16;
        i += 1;
    }
    table
}

/// e^x for |x| <= 8: a Taylor series near 0, then squared eight times.
const fn exp(x: f64) -> f64 {
    let small = x / 256.0;
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1);
    while n <= 10 {
        term *= small / n as f64;
        sum += term;
        n += 1;
    }
    let mut squared = 0;
    while squared < 8 {
        sum *= sum;
        squared += 1;
    }
    sum
}

const fn round(value: f64) -> i32 {
    if value < 0.0 {
        (value - 0.5) as i32
    } else {
        (value + 0.5) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silu_is_within_half_a_unit_of_libm() {
        for (i, &entry) in SILU.iter().enumerate() {
            let u = f64::from(i as i32 - SILU_REACH) / f64::from(SILU_STEPS);
            let exact = u / (1.0 + libm::exp(-u)) * 4096.0;
            assert!((f64::from(entry) - exact).abs() <= 0.5 + 1e-6, "u = {u}");
        }
    }

    #[test]
    fn exp2_is_within_half_a_unit_of_libm() {
        for (i, &entry) in EXP2.iter().enumerate() {
            let exact = libm::exp2(-(i as f64) / 256.0) * 32768.0;
            assert!((f64::from(entry) - exact).abs() <= 0.5 + 1e-6, "i = {i}");
        }
    }
}
