//! Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762) in
//! integers.
//!
//! Logits are taken to base 2 with 8 fraction bits, and the softmax's
//! numerators have 15: int8 weights would drop every key but the nearest few.

use super::engine::{Engine, Work, with_best};
use super::tables::{EXP2, EXP2_STEPS};
use super::{multiply_high, saturate};

/// Channels that are computed side by side.
const SIDE_BY_SIDE: usize = 4;

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
    with_best(Arguments {
        head,
        queries,
        keys,
        values,
        factors,
        weights,
        output,
    });
}

/// The arguments of [`head`].
struct Arguments<'a> {
    head: Head,
    queries: &'a [i8],
    keys: &'a [i8],
    values: &'a [i8],
    factors: Factors,
    weights: &'a mut [i32],
    output: &'a mut [i8],
}

impl Work for Arguments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<E: Engine>(self, _: E) {
        let Self {
            head,
            factors,
            weights,
            ..
        } = self;
        let channels = head.channels.max(1);
        let outputs = self.output.chunks_exact_mut(channels);
        for (query, output) in self.queries.chunks_exact(channels).zip(outputs) {
            let sum = softmax(head, query, self.keys, factors.logit, weights);
            // At most 2^47 over at least 2^15, since the largest numerator is
            // 2^15.
            let inverse = ((i64::from(factors.value) << 24) / i64::from(sum.max(1 << 15))).max(0);
            let end = output.len().min(head.first + head.width);
            let output = output.get_mut(head.first..end).unwrap_or_default();
            let (blocks, rest) = output.as_chunks_mut::<SIDE_BY_SIDE>();
            let mut first = head.first;
            for block in blocks {
                *block = mix(weights, self.values, channels, first, factors, inverse);
                first += SIDE_BY_SIDE;
            }
            for (channel, output) in (first..).zip(rest) {
                [*output] = mix(weights, self.values, channels, channel, factors, inverse);
            }
        }
    }
}

/// The mean of the values' channels from `first` on, weighted.
#[inline(always)]
fn mix<const N: usize>(
    weights: &[i32],
    values: &[i8],
    channels: usize,
    first: usize,
    factors: Factors,
    inverse: i64,
) -> [i8; N] {
    let mut mixed = [0i32; N];
    let values = values.get(first..).unwrap_or_default();
    for (&weight, position) in weights.iter().zip(values.chunks(channels)) {
        // At most 256 terms of 2^15 * 2^7.
        let position = position.first_chunk::<N>();
        for (mixed, &value) in mixed.iter_mut().zip(position.into_iter().flatten()) {
            *mixed += weight * i32::from(value);
        }
    }
    let mut outputs = [0; N];
    for (output, mixed) in outputs.iter_mut().zip(mixed) {
        let scaled = (i64::from(mixed) * inverse + (1 << 39)) >> 40;
        let scaled = scaled.clamp(-1 << 16, 1 << 16) as i32;
        *output = saturate(scaled + i32::from(factors.zero_point));
    }
    outputs
}

/// The softmax's numerators of one query, 15 fraction bits, the largest of
/// them 1; returns their sum.
#[inline(always)]
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

/// Σ a b, several products side by side.
#[inline(always)]
fn dot(a: &[i8], b: &[i8]) -> i32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<SIDE_BY_SIDE>(), b.as_chunks::<SIDE_BY_SIDE>());
    let mut sums = [0i32; SIDE_BY_SIDE];
    for (a, b) in a.iter().zip(b) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += i32::from(a) * i32::from(b);
        }
    }
    let rest = a_rest.iter().zip(b_rest);
    let rest = rest.map(|(&a, &b)| i32::from(a) * i32::from(b));
    sums.into_iter().chain(rest).sum()
}
