//! Processors that multiply 32 bits and nothing smaller, such as RV32IM: two
//! products in one multiplication.
//!
//! A column's word holds an input of two lanes, X = a + b 2^16 as an integer
//! (a sum, not halves side by side: where a is negative, b's half is one
//! less). X w is then a w + b w 2^16: both lanes' products. Of two inputs they
//! are added, r = X w + X' w'; inputs are within ±128 and weights within ±127,
//! so either sum is at most 2 * 128 * 127 = 32512 and fits its half.
//!
//! The upper sum is then r / 2^16, rounded: what the lower one adds to it is
//! less than a half. The r are also added as they are, modulo 2^32; less 2^16
//! times the upper sum, that is the lower one: exact, because it fits 32 bits.
//!
//! Of each four inputs of four lanes the columns have eight words: lanes 0 and
//! 1 of inputs 0 and 2, lanes 2 and 3 of the same, then inputs 1 and 3 of
//! both: the order of the weights in
//! [`WeightLayout::Direct`](super::super::packing::WeightLayout::Direct).

use super::{Engine, LANES, portable};

/// Runs everywhere, and gains where there are registers for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words;

impl Engine for Words {
    #[inline(always)]
    fn spread<const N: usize>(self, columns: &mut [i16], k: usize, sources: [&[i8]; N]) {
        match sources.first_chunk::<LANES>() {
            Some(sources) => spread(columns, k, sources),
            // The other layouts have fewer lanes.
            None => portable::spread(columns, k, sources),
        }
    }

    #[inline(always)]
    fn tile(self, columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
        tile(columns, weights)
    }
}

fn spread(columns: &mut [i16], k: usize, sources: &[&[i8]; LANES]) {
    let columns: &mut [u32] = bytemuck::try_cast_slice_mut(columns).unwrap_or_default();
    let columns = columns.get_mut(2 * k..).unwrap_or_default();
    let [a, b, c, d] = sources.map(|source| source.as_chunks::<4>().0.iter());
    let groups = columns.as_chunks_mut::<8>().0.iter_mut();
    for ((((to, a), b), c), d) in groups.zip(a).zip(b).zip(c).zip(d) {
        let [a0, a1, a2, a3] = pair(*a, *b);
        let [c0, c1, c2, c3] = pair(*c, *d);
        *to = [a0, a2, c0, c2, a1, a3, c1, c3];
    }
}

/// Inputs of two lanes as words.
#[inline(always)]
fn pair(a: [i8; 4], b: [i8; 4]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, (a, b)) in words.iter_mut().zip(a.into_iter().zip(b)) {
        *word = (i32::from(a) + (i32::from(b) << 16)) as u32;
    }
    words
}

fn tile(columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
    let columns: &[i32] = bytemuck::try_cast_slice(columns).unwrap_or_default();
    let weights: &[i8] = bytemuck::cast_slice(weights);
    let [mut first, mut second] = [Sums::default(); 2];
    let groups = columns.as_chunks::<8>().0.iter();
    for (x, w) in groups.zip(weights.as_chunks::<8>().0) {
        let [a0, a2, c0, c2, a1, a3, c1, c3] = *x;
        let [v0, w0, v2, w2, v1, w1, v3, w3] = w;
        first.add([a0, a2, c0, c2], [v0, v2]);
        first.add([a1, a3, c1, c3], [v1, v3]);
        second.add([a0, a2, c0, c2], [w0, w2]);
        second.add([a1, a3, c1, c3], [w1, w3]);
    }
    [first.lanes(), second.lanes()]
}

/// Of lanes 0 and 1, and of lanes 2 and 3.
#[derive(Clone, Copy, Default)]
struct Sums {
    upper: [i32; 2],
    total: [i32; 2],
}

impl Sums {
    /// Adds two inputs times their weights.
    #[inline(always)]
    fn add(&mut self, [a, b, c, d]: [i32; 4], [v, w]: [&i8; 2]) {
        let (v, w) = (i32::from(*v), i32::from(*w));
        let sums = [
            a.wrapping_mul(v).wrapping_add(b.wrapping_mul(w)),
            c.wrapping_mul(v).wrapping_add(d.wrapping_mul(w)),
        ];
        let to = self.upper.iter_mut().zip(&mut self.total);
        for ((upper, total), sum) in to.zip(sums) {
            *upper = upper.wrapping_add(sum.wrapping_add(1 << 15) >> 16);
            *total = total.wrapping_add(sum);
        }
    }

    fn lanes(self) -> [i32; LANES] {
        let [b, d] = self.upper;
        let [a, c] = self.total;
        [a.wrapping_sub(b << 16), b, c.wrapping_sub(d << 16), d]
    }
}
