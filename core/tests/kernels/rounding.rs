//! The one way an accumulator becomes an activation.

use proptest::prelude::*;
use tiny_ddpm::kernels::rounding::{halves, multiply_high, multiply_high_sum, saturate};

#[test]
fn halves_round_upwards() {
    // A multiplier of 2^31 is one half.
    let half = 1 << 30;
    for (value, expected) in [
        (2, 1),
        (1, 0),
        (-1, 0),
        (-2, 0),
        (-3, -1),
        (6, 2),
        (-6, -1),
        (5, 1),
    ] {
        assert_eq!(multiply_high(value, half), expected, "{value} / 4");
    }
    // ±0.5 exactly, and a hair to either side of it.
    assert_eq!(multiply_high(1 << 16, 1 << 15), 1);
    assert_eq!(multiply_high((1 << 16) - 1, 1 << 15), 0);
    assert_eq!(multiply_high(-(1 << 16), 1 << 15), 0);
    assert_eq!(multiply_high(-(1 << 16) - 1, 1 << 15), -1);
}

#[test]
fn extremes_do_not_overflow() {
    for value in [i32::MIN, -1, 0, 1, i32::MAX] {
        for multiplier in [i32::MIN, -1, 0, 1, i32::MAX] {
            check(value, multiplier);
        }
    }
    assert_eq!(saturate(i32::MIN), -128);
    assert_eq!(saturate(i32::MAX), 127);
}

/// floor(value * multiplier / 2^32 + 1/2), in numbers of 128 bits.
fn check(value: i32, multiplier: i32) {
    let doubled = 2 * i128::from(value) * i128::from(multiplier) + (1 << 32);
    let expected = doubled.div_euclid(1 << 33);
    for found in [
        multiply_high(value, multiplier),
        halves::multiply_high(value, multiplier),
    ] {
        assert_eq!(i128::from(found), expected, "{value} * {multiplier}");
    }
}

/// floor((a * b + c * d) / 2^32 + 1/2), in numbers of 128 bits; nothing where
/// it does not fit.
fn check_sum(a: [i32; 2], b: [i32; 2]) {
    let [first, second] = [a, b].map(|[x, y]| i128::from(x) * i128::from(y));
    let expected = (2 * (first + second) + (1 << 32)).div_euclid(1 << 33);
    let Ok(expected) = i32::try_from(expected) else {
        return;
    };
    assert_eq!(multiply_high_sum(a, b), expected, "{a:?} + {b:?}");
    assert_eq!(halves::multiply_high_sum(a, b), expected, "{a:?} + {b:?}");
}

/// Where a half of a number has all its bits, or one.
#[test]
fn halves_carry_into_each_other() {
    let halves = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFE, 0xFFFF];
    let words = halves.map(|upper| halves.map(|lower: u32| (upper << 16 | lower) as i32));
    for &value in words.iter().flatten() {
        for &multiplier in words.iter().flatten() {
            check(value, multiplier);
            for other in [i32::MIN, -1, 0, 1, i32::MAX] {
                check_sum([value, multiplier], [other, value]);
                check_sum([value, multiplier], [other, 1 << 24]);
            }
        }
    }
}

proptest! {
    #[test]
    fn multiply_high_is_its_definition(value: i32, multiplier: i32) {
        check(value, multiplier);
    }

    #[test]
    fn multiply_high_sum_is_its_definition(a: [i32; 2], b: [i32; 2]) {
        check_sum(a, b);
    }

    #[test]
    fn multiply_high_is_within_half_a_unit(value: i32, multiplier: i32) {
        let exact = f64::from(value) * f64::from(multiplier) / 4_294_967_296.0;
        let error = f64::from(multiply_high(value, multiplier)) - exact;
        prop_assert!((-0.5..=0.5).contains(&error), "off by {}", error);
    }

    #[test]
    fn saturate_is_the_nearest(value: i32) {
        let nearest = (-128..=127_i32).min_by_key(|q| (i64::from(*q) - i64::from(value)).abs());
        prop_assert_eq!(Some(i32::from(saturate(value))), nearest);
    }
}
