//! `libm`'s functions on every kind of float: a hostile model can make a state
//! of any size, and the network asks for sines of it.
//!
//! In a debug build `libm` checks the indices and shifts that it does without
//! in a release build, so whatever would be out of bounds panics here.

/// Floats of every exponent, of both signs.
fn floats() -> impl Iterator<Item = f32> {
    let mut random = 0x9e37_79b9_u32;
    (0..=255_u32).flat_map(move |exponent| {
        let mantissas: Vec<u32> = (0..400)
            .map(|i| match i {
                0..24 => 1 << i >> 1,
                24..48 => 0x7f_ffff >> (i - 24),
                _ => {
                    random ^= random << 13;
                    random ^= random >> 17;
                    random ^= random << 5;
                    random >> 9
                }
            })
            .collect();
        let bits = mantissas.into_iter().map(move |m| exponent << 23 | m);
        bits.flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
    })
}

#[test]
fn sine_and_cosine_take_any_float() {
    for x in floats() {
        let (sine, cosine) = (libm::sinf(x), libm::cosf(x));
        if x.is_finite() {
            let one = f64::from(sine).powi(2) + f64::from(cosine).powi(2);
            assert!((one - 1.0).abs() < 1e-6, "{x:e}: {sine} {cosine}");
        } else {
            assert!(sine.is_nan() && cosine.is_nan(), "{x}");
        }
    }
}

#[test]
fn what_else_meets_a_state_takes_any_float() {
    for x in floats() {
        assert!(x.is_nan() || libm::expf(x) >= 0.0, "{x:e}");
        let rounded = libm::roundf(x);
        assert!(!x.is_finite() || (rounded - x).abs() <= 0.5, "{x:e}");
    }
}
