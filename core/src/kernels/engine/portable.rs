//! The definition of every engine, in plain Rust.
//!
//! Columns: for each lane its inputs, one after the other.

use super::layout::{LANES, Stride, WIDE_LANES, WinogradSums};
use crate::kernels::little_endian::halfwords;
use crate::kernels::quant::Scale;
use crate::kernels::rounding::{multiply_high, multiply_high_sum, saturate};

pub(super) fn spread<const LANES: usize>(columns: &mut [i16], k: usize, sources: [&[i8]; LANES]) {
    let lane_len = (columns.len() / LANES.max(1)).max(1);
    for (lane, source) in columns.chunks_exact_mut(lane_len).zip(sources) {
        let to = lane.iter_mut().skip(k);
        to.zip(source).for_each(|(to, &v)| *to = i16::from(v));
    }
}

pub(super) fn tile(columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
    let mut sums = [[0; LANES]; 2];
    let lane_len = (columns.len() / LANES).max(1);
    for (lane, column) in columns.chunks_exact(lane_len).enumerate() {
        let (mut first, mut second) = (0i32, 0i32);
        let groups = column.as_chunks::<4>().0.iter();
        for (x, w) in groups.zip(weights.as_chunks::<8>().0) {
            let [a, b, c, d] = x.map(i32::from);
            let w = w.map(|w| i32::from(w as i8));
            first += a * w[0] + c * w[2] + b * w[4] + d * w[6];
            second += a * w[1] + c * w[3] + b * w[5] + d * w[7];
        }
        for (sums, sum) in sums.iter_mut().zip([first, second]) {
            if let Some(to) = sums.get_mut(lane) {
                *to = sum;
            }
        }
    }
    sums
}

pub(super) fn wide(columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
    let blocks = sums.len().max(1);
    let column_len = (columns.len() / blocks).max(1);
    let weights_len = (weights.len() / blocks).max(1);
    // Not zipped, as in `attention`.
    let mut columns = columns.chunks_exact(column_len);
    let mut weights = weights.chunks_exact(weights_len);
    for sums in sums {
        let (Some(columns), Some(weights)) = (columns.next(), weights.next()) else {
            break;
        };
        *sums = [[0; WIDE_LANES]; 4];
        let lane_len = (columns.len() / WIDE_LANES).max(1);
        for (lane, column) in columns.chunks_exact(lane_len).enumerate() {
            let mut quad = [0i32; 4];
            // Of each four inputs 32 bytes: two halves of four pairs.
            let groups = column.as_chunks::<4>().0.iter();
            for (x, w) in groups.zip(weights.as_chunks::<32>().0) {
                let [a, b, c, d] = x.map(i32::from);
                let (even, odd) = w.split_at(16);
                for (pairs, [x, y]) in [(even, [a, c]), (odd, [b, d])] {
                    for (sum, pair) in quad.iter_mut().zip(pairs.as_chunks::<4>().0) {
                        let mut halves = halfwords(pair).map(i32::from);
                        let mut product = |x| x * halves.next().unwrap_or(0);
                        // Sums that pass 2^31 come back: see `winograd`.
                        *sum = sum.wrapping_add(product(x)).wrapping_add(product(y));
                    }
                }
            }
            for (sums, sum) in sums.iter_mut().zip(quad) {
                if let Some(to) = sums.get_mut(lane) {
                    *to = sum;
                }
            }
        }
    }
}

pub(super) fn winograd(columns: &mut [i16], k: usize, lane: usize, window: &[&[i8]; 16]) {
    let lane_len = (columns.len() / (16 * WIDE_LANES)).max(1);
    let channels = window.first().map_or(0, |values| values.len());
    for channel in 0..channels {
        let d = window.map(|values| values.get(channel).map_or(0, |&v| i16::from(v)));
        let lanes = columns.chunks_exact_mut(lane_len);
        for (to, value) in lanes.skip(lane).step_by(WIDE_LANES).zip(transform(d)) {
            if let Some(to) = to.get_mut(k.wrapping_add(channel)) {
                *to = value;
            }
        }
    }
}

pub(super) fn dots(rows: &[u8], x: &[i16]) -> [i64; 2] {
    let (first, second) = rows.split_at((2 * x.len()).min(rows.len()));
    [first, second].map(|row| {
        let products = halfwords(row)
            .zip(x)
            .map(|(w, &x)| i64::from(i32::from(w) * i32::from(x)));
        products.sum()
    })
}

#[inline(always)]
pub(super) fn requantise(
    out: &mut [i8],
    stride: Stride,
    [first, second]: &[[i32; 4]; 2],
    scales: &[[i32; 4]; 2],
) {
    let [a, b] = scales.map(Scale::from_words);
    let pairs = out
        .chunks_mut(stride.get().max(1))
        .map(<[_]>::first_chunk_mut);
    for (pair, (&first, &second)) in pairs.zip(first.iter().zip(second)) {
        if let Some([x, y]) = pair {
            *x = saturate(multiply_high(first, a.multiplier) + a.zero_point);
            *y = saturate(multiply_high(second, b.multiplier) + b.zero_point);
        }
    }
}

#[inline(always)]
pub(super) fn requantise_with(
    out: &mut [i8],
    stride: Stride,
    [first, second]: &[[i32; 4]; 2],
    scales: &[[i32; 4]; 2],
    residual: &[i8],
    factor: i32,
) {
    let [a, b] = scales.map(Scale::from_words);
    let added = residual.chunks(stride.get().max(1)).map(<[_]>::first_chunk);
    let pairs = out
        .chunks_mut(stride.get().max(1))
        .map(<[_]>::first_chunk_mut);
    for ((pair, added), (&first, &second)) in pairs.zip(added).zip(first.iter().zip(second)) {
        if let (Some([x, y]), Some(&[r, s])) = (pair, added) {
            let r = (i32::from(r) - a.residual_zero) << a.doublings;
            let s = (i32::from(s) - b.residual_zero) << b.doublings;
            let r = multiply_high_sum([first, a.multiplier], [r, factor]);
            let s = multiply_high_sum([second, b.multiplier], [s, factor]);
            *x = saturate(r + a.zero_point);
            *y = saturate(s + b.zero_point);
        }
    }
}

/// Bᵀ d B with Bᵀ = (1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1).
#[inline]
pub(super) fn transform(d: [i16; 16]) -> [i16; 16] {
    let line = |a: i16, b: i16, c: i16, d: i16| [a - c, b + c, c - b, b - d];
    let mut rows = [0; 16];
    for (row, from) in rows.chunks_exact_mut(4).zip(d.as_chunks().0) {
        let [a, b, c, d] = *from;
        row.copy_from_slice(&line(a, b, c, d));
    }
    let mut out = [0; 16];
    for column in 0..4 {
        let at = |row: usize| rows.get(row * 4 + column).copied().unwrap_or(0);
        let column_of = out.iter_mut().skip(column).step_by(4);
        for (to, value) in column_of.zip(line(at(0), at(1), at(2), at(3))) {
            *to = value;
        }
    }
    out
}

#[inline]
pub(super) fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter()
        .zip(b)
        .fold(0, |sum, (&a, &b)| sum + i32::from(a) * i32::from(b))
}

/// With Aᵀ = (1 1 1 0; 0 1 -1 -1). What is added may wrap on the way.
#[inline(always)]
pub(super) fn inverse(sums: &WinogradSums, output: usize, lane: usize, initial: i32) -> [i32; 4] {
    let m = |frequency: usize| {
        let quad = sums.get(frequency).and_then(|quad| quad.get(output));
        quad.and_then(|lanes| lanes.get(lane)).copied().unwrap_or(0)
    };
    let line = |a: i32, b: i32, c: i32, d: i32| {
        [
            a.wrapping_add(b).wrapping_add(c),
            b.wrapping_sub(c).wrapping_sub(d),
        ]
    };
    let column = |i: usize| line(m(i), m(4 + i), m(8 + i), m(12 + i));
    let [[a, e], [b, f], [c, g], [d, h]] = [column(0), column(1), column(2), column(3)];
    let ([p, q], [r, s]) = (line(a, b, c, d), line(e, f, g, h));
    [p, q, r, s].map(|y| initial.wrapping_add(y >> 2))
}
