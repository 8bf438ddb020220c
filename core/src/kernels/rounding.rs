//! The one way an accumulator becomes an activation.

/// round(value * multiplier / 2^32), halves upwards.
#[inline]
#[must_use]
pub fn multiply_high(value: i32, multiplier: i32) -> i32 {
    if cfg!(engine = "thumb") {
        halves::multiply_high(value, multiplier)
    } else {
        ((i64::from(value) * i64::from(multiplier) + (1 << 31)) >> 32) as i32
    }
}

/// round((a * b + c * d) / 2^32), halves upwards, where nothing overflows 64
/// bits and the result fits 32.
#[inline]
#[must_use]
pub fn multiply_high_sum([a, b]: [i32; 2], [c, d]: [i32; 2]) -> i32 {
    if cfg!(engine = "thumb") {
        halves::multiply_high_sum([a, b], [c, d])
    } else {
        let sum = i64::from(a) * i64::from(b) + i64::from(c) * i64::from(d);
        ((sum + (1 << 31)) >> 32) as i32
    }
}

/// The same from products of 32 bits, for processors that have no longer ones.
pub mod halves {
    /// See [`multiply_high`](super::multiply_high).
    #[inline]
    #[must_use]
    pub fn multiply_high(value: i32, multiplier: i32) -> i32 {
        high(value, multiplier, 1 << 15)
    }

    /// See [`multiply_high_sum`](super::multiply_high_sum).
    #[inline]
    #[must_use]
    pub fn multiply_high_sum([a, b]: [i32; 2], [c, d]: [i32; 2]) -> i32 {
        let lower = a.wrapping_mul(b) as u32;
        let (lower, carry) = lower.overflowing_add(c.wrapping_mul(d) as u32);
        let carries = (carry as i32) + (lower >> 31) as i32;
        let upper = high(a, b, 0).wrapping_add(high(c, d, 0));
        upper.wrapping_add(carries)
    }

    /// floor((value * multiplier + rounding * 2^16) / 2^32), for a rounding of
    /// at most 2^15.
    #[inline]
    fn high(value: i32, multiplier: i32, rounding: i32) -> i32 {
        let (a, b) = (value >> 16, multiplier >> 16);
        let (c, d) = (value as u32 & 0xFFFF, multiplier as u32 & 0xFFFF);
        // With a and b within ±2^15 and c and d below 2^16, this is at most
        // 32767 * 65535 + 65534 + 2^15 = 2^31 - 1; what follows is less.
        let middle = a * d as i32 + (((c * d) >> 16) as i32 + rounding);
        let other = b * c as i32 + (middle & 0xFFFF);
        a * b + (middle >> 16) + (other >> 16)
    }
}

/// The nearest `i8`.
#[inline]
#[must_use]
pub fn saturate(value: i32) -> i8 {
    value.clamp(i32::from(i8::MIN), i32::from(i8::MAX)) as i8
}
