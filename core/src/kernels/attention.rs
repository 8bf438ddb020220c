//! Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762) in
//! integers.
//!
//! Logits are taken to base 2 with 8 fraction bits, and the softmax's
//! numerators have 15: int8 weights would drop every key but the nearest few.

use super::engine::{Engine, Work, with_best};
use super::rounding::{multiply_high, saturate};
use super::tables::{EXP2, EXP2_STEPS};

/// Channels of the output that are computed side by side, where there are that
/// many left: as many as an x86 has in a vector, or else as many sums as a
/// microcontroller has registers for.
const SIDE_BY_SIDE: usize = if cfg!(target_arch = "x86_64") { 8 } else { 4 };

/// Fraction bits of logits to base 2.
pub const LOGIT_BITS: u32 = EXP2_STEPS.ilog2();

/// Fixed-point factors of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factors {
    /// From q.k to a base-2 logit: times 2^8 for its fraction bits, times 2^24.
    pub logit: i32,
    /// Value scale / output scale, times 2^16; at most 2^23.
    pub value: i32,
    /// Zero point of the output.
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
    fn run<E: Engine>(self, engine: E) {
        let Self {
            head,
            factors,
            weights,
            ..
        } = self;
        let channels = head.channels.max(1);
        // Not zipped: a zip divides by the length of the pieces, and compiled
        // for size it is a function of its own, where that could be 0.
        let mut outputs = self.output.chunks_exact_mut(channels);
        for query in self.queries.chunks_exact(channels) {
            let Some(output) = outputs.next() else {
                break;
            };
            let sum = softmax(engine, head, query, self.keys, factors.logit, weights);
            // At most 2^47 over at least 2^15, since the largest numerator is
            // 2^15.
            let inverse = ((i64::from(factors.value) << 24) / i64::from(sum.max(1 << 15))).max(0);
            let end = output.len().min(head.first + head.width);
            let output = output.get_mut(head.first..end).unwrap_or_default();
            let mixed = |first| Mixed {
                weights: &*weights,
                values: self.values,
                channels,
                first,
                factors,
                inverse,
            };
            let (blocks, rest) = output.as_chunks_mut::<SIDE_BY_SIDE>();
            let mut first = head.first;
            for block in blocks {
                *block = mixed(first).compute();
                first += SIDE_BY_SIDE;
            }
            let (blocks, rest) = rest.as_chunks_mut::<4>();
            for block in blocks {
                *block = mixed(first).compute();
                first += 4;
            }
            for (channel, output) in (first..).zip(rest) {
                [*output] = mixed(channel).compute();
            }
        }
    }
}

/// The mean of the values' channels from `first` on, weighted.
struct Mixed<'a> {
    weights: &'a [i32],
    values: &'a [i8],
    channels: usize,
    first: usize,
    factors: Factors,
    /// Of the weights' sum, with the value's factor.
    inverse: i64,
}

impl Mixed<'_> {
    #[inline(always)]
    fn compute<const N: usize>(self) -> [i8; N] {
        let mut mixed = [0i32; N];
        let positions = self.values.chunks_exact(self.channels);
        for (&weight, position) in self.weights.iter().zip(positions) {
            // At most 256 terms of 2^15 * 2^7.
            let position = position.get(self.first..).unwrap_or_default();
            let Some(position) = position.first_chunk::<N>() else {
                break;
            };
            for (mixed, &value) in mixed.iter_mut().zip(position) {
                *mixed += weight * i32::from(value);
            }
        }
        let mut outputs = [0; N];
        for (output, mixed) in outputs.iter_mut().zip(mixed) {
            let scaled = (i64::from(mixed) * self.inverse + (1 << 39)) >> 40;
            let scaled = scaled.clamp(-1 << 16, 1 << 16) as i32;
            *output = saturate(scaled + i32::from(self.factors.zero_point));
        }
        outputs
    }
}

/// The softmax's numerators of one query, 15 fraction bits, the largest of
/// them 1; returns their sum.
#[inline(always)]
fn softmax<E: Engine>(
    engine: E,
    head: Head,
    query: &[i8],
    keys: &[i8],
    factor: i32,
    weights: &mut [i32],
) -> i32 {
    let query = head.of(query);
    let mut largest = i32::MIN;
    for (weight, key) in weights
        .iter_mut()
        .zip(keys.chunks_exact(head.channels.max(1)))
    {
        // At most 256 products of 2^14 fill 22 bits, with the shift 30.
        *weight = multiply_high(engine.dot(query, head.of(key)) << 8, factor);
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
