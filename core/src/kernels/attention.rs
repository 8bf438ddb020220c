//! Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762) in
//! integers.
//!
//! Logits are taken to base 2 with 8 fraction bits, and the softmax's
//! numerators have 15: int8 weights would drop every key but the nearest few.

use super::conv::dot;
use super::tables::{EXP2, EXP2_STEPS};
use super::{multiply_high, saturate};

/// Fixed-point factors of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factors {
    /// From q.k to a base-2 logit: times 2^8 for its fraction bits, times 2^24.
    pub logit: i32,
    /// Value scale / output scale, times 2^16; at most 2^23.
    pub value: i32,
    /// What stands for 0 in the output.
    pub zero_point: i8,
}

/// One head's view of a plane: the channels `first..first + width` at each of
/// the positions, which are `channels` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Channels of the planes.
    pub channels: usize,
    /// First channel of the head.
    pub first: usize,
    /// Channels of the head, at most 256.
    pub width: usize,
}

impl Head {
    fn of(self, position: &[i8]) -> &[i8] {
        position
            .get(self.first..self.first + self.width)
            .unwrap_or_default()
    }
}

/// Attention of one head over planes of equal size with zero points of 0.
/// `weights` is scratch, one word for each of at most 256 positions.
pub fn head(
    head: Head,
    queries: &[i8],
    keys: &[i8],
    values: &[i8],
    factors: Factors,
    weights: &mut [i32],
    output: &mut [i8],
) {
    let channels = head.channels.max(1);
    let outputs = output.chunks_exact_mut(channels);
    for (query, output) in queries.chunks_exact(channels).zip(outputs) {
        let sum = softmax(head, query, keys, factors.logit, weights);
        // At most 2^47 over at least 2^15, since the largest numerator is 2^15.
        let inverse = ((i64::from(factors.value) << 24) / i64::from(sum.max(1 << 15))).max(0);
        let outputs = output.iter_mut().skip(head.first).take(head.width);
        for (channel, output) in (head.first..).zip(outputs) {
            // At most 256 terms of 2^15 * 2^7.
            let column = values.iter().skip(channel).step_by(channels);
            let mixed: i32 = weights
                .iter()
                .zip(column)
                .map(|(&weight, &value)| weight * i32::from(value))
                .sum();
            let scaled = (i64::from(mixed) * inverse + (1 << 39)) >> 40;
            let scaled = scaled.clamp(-1 << 16, 1 << 16) as i32;
            *output = saturate(scaled + i32::from(factors.zero_point));
        }
    }
}

/// The softmax's numerators of one query, 15 fraction bits, the largest of
/// them 1; returns their sum.
fn softmax(head: Head, query: &[i8], keys: &[i8], factor: i32, weights: &mut [i32]) -> i32 {
    let query = head.of(query);
    let mut largest = i32::MIN;
    for (weight, key) in weights
        .iter_mut()
        .zip(keys.chunks_exact(head.channels.max(1)))
    {
        // At most 256 products of 2^14 fill 22 bits, with the shift 30.
        *weight = multiply_high(dot(query, head.of(key)) << 8, factor);
        largest = largest.max(*weight);
    }
    let mut sum = 0;
    for weight in weights {
        let below = largest.saturating_sub(*weight) as u32;
        let fraction = below as usize % EXP2_STEPS;
        let halvings = below / EXP2_STEPS as u32;
        let numerator = EXP2.get(fraction).map_or(0, |&n| i32::from(n));
        *weight = numerator.checked_shr(halvings).unwrap_or(0);
        sum += *weight;
    }
    sum
}
