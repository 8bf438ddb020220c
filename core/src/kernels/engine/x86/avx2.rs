//! The functions of [`Avx2`](super::Avx2).

use super::columns::{filled, lanes};
use crate::kernels::engine::portable::{self, transform};
use crate::kernels::engine::{LANES, WIDE_LANES};
use core::arch::x86_64::*;

/// Where input `k` of a group lies in columns of `i16`.
const PLACE: [usize; 4] = [0, 2, 1, 3];
/// Frequencies of a Winograd tile.
const FREQUENCIES: usize = 16;

/// Inputs as `i16`, each group in the order of its weights.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn spread<const LANES: usize>(columns: &mut [i16], k: usize, sources: [&[i8]; LANES]) {
    let lane_len = columns.len() / LANES.max(1);
    let mut rest = columns;
    for source in &sources {
        let (lane, others) = rest.split_at_mut(lane_len.min(rest.len()));
        rest = others;
        let Some(lane) = lane.get_mut(k..) else {
            return;
        };
        let (to, to_rest) = lane.as_chunks_mut::<16>();
        let (from, from_rest) = source.as_chunks::<16>();
        let whole = from.len();
        for (to, from) in to.iter_mut().zip(from) {
            store_halfwords(to, _mm256_cvtepi8_epi16(in_order(load_bytes(from))));
        }
        // The rest of the lane begins where the rest of the source does only
        // if both end there.
        let to = match to.get_mut(whole) {
            Some(to) => to.as_mut_slice(),
            None => to_rest,
        };
        let groups = to.as_chunks_mut::<4>().0.iter_mut();
        for (to, &[a, b, c, d]) in groups.zip(from_rest.as_chunks().0) {
            *to = [a, c, b, d].map(i16::from);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn tile(columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
    let (weights, rest) = weights.as_chunks::<32>();
    let [a, b, c, d] = lanes(columns);
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks(), b.as_chunks());
    let ((c, c_rest), (d, d_rest)) = (c.as_chunks(), d.as_chunks());
    let mut first = [_mm256_setzero_si256(); LANES];
    let mut second = first;
    for ((((w, a), b), c), d) in weights.iter().zip(a).zip(b).zip(c).zip(d) {
        let x = [
            load_halfwords(a),
            load_halfwords(b),
            load_halfwords(c),
            load_halfwords(d),
        ];
        [first, second] = multiply_pair(load_weights(w), x, first, second);
    }
    if !rest.is_empty() {
        let x = [
            filled(a_rest),
            filled(b_rest),
            filled(c_rest),
            filled(d_rest),
        ];
        let [a, b, c, d] = &x;
        let x = [
            load_halfwords(a),
            load_halfwords(b),
            load_halfwords(c),
            load_halfwords(d),
        ];
        [first, second] = multiply_pair(load_weights(&filled(rest)), x, first, second);
    }
    [total(first), total(second)]
}

/// Adds the products of 16 inputs with the weights of two outputs. Nothing is
/// a loop here: all sums are to stay in registers.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_pair(
    weights: __m256i,
    [a, b, c, d]: [__m256i; LANES],
    first: [__m256i; LANES],
    second: [__m256i; LANES],
) -> [[__m256i; LANES]; 2] {
    // The first output's weights are the even bytes.
    let even = _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8);
    let odd = _mm256_srai_epi16(weights, 8);
    let [p, q, r, s] = first;
    let [t, u, v, w] = second;
    [
        [
            _mm256_add_epi32(p, _mm256_madd_epi16(a, even)),
            _mm256_add_epi32(q, _mm256_madd_epi16(b, even)),
            _mm256_add_epi32(r, _mm256_madd_epi16(c, even)),
            _mm256_add_epi32(s, _mm256_madd_epi16(d, even)),
        ],
        [
            _mm256_add_epi32(t, _mm256_madd_epi16(a, odd)),
            _mm256_add_epi32(u, _mm256_madd_epi16(b, odd)),
            _mm256_add_epi32(v, _mm256_madd_epi16(c, odd)),
            _mm256_add_epi32(w, _mm256_madd_epi16(d, odd)),
        ],
    ]
}

/// The sum of each vector's eight.
#[inline]
#[target_feature(enable = "avx2")]
fn total([a, b, c, d]: [__m256i; LANES]) -> [i32; LANES] {
    let (ab, cd) = (_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    let all = _mm256_hadd_epi32(ab, cd);
    bytemuck::must_cast(add_halves(all))
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_halves(sums: __m256i) -> __m128i {
    let high = _mm256_extracti128_si256::<1>(sums);
    _mm_add_epi32(_mm256_castsi256_si128(sums), high)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn wide(columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
    let blocks = sums.len().max(1);
    let column_len = (columns.len() / blocks).max(1);
    let weights_len = (weights.len() / blocks).max(1);
    let operands = columns
        .chunks_exact(column_len)
        .zip(weights.chunks_exact(weights_len));
    // The first half of a group meets inputs 0 and 2, the second 1 and 3.
    let halves = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    for (sums, (columns, weights)) in sums.iter_mut().zip(operands) {
        let (a, b) = columns.split_at(columns.len() / 2);
        let (mut of_a, mut of_b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let inputs = a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0);
        for (w, (a, b)) in weights.as_chunks::<32>().0.iter().zip(inputs) {
            let w = load_weights(w);
            let a = _mm256_set1_epi64x(bytemuck::must_cast(*a));
            let a = _mm256_permutevar8x32_epi32(a, halves);
            let b = _mm256_set1_epi64x(bytemuck::must_cast(*b));
            let b = _mm256_permutevar8x32_epi32(b, halves);
            of_a = _mm256_add_epi32(of_a, _mm256_madd_epi16(a, w));
            of_b = _mm256_add_epi32(of_b, _mm256_madd_epi16(b, w));
        }
        let (a, b) = (add_halves(of_a), add_halves(of_b));
        let pairs = [_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b)];
        *sums = bytemuck::must_cast(pairs);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn winograd(columns: &mut [i16], k: usize, lane: usize, window: &[&[i8]; 16]) {
    let lane_len = (columns.len() / (FREQUENCIES * WIDE_LANES)).max(1);
    let channels = window.first().map_or(0, |values| values.len());
    let first = (lane * lane_len).min(columns.len());
    let (_, columns) = columns.split_at_mut(first);
    let stride = WIDE_LANES * lane_len;
    let mut done = 0;
    if k.is_multiple_of(4) {
        while done + 8 <= channels {
            transform_channels::<8>(columns, stride, k, done, window);
            done += 8;
        }
        if done + 4 <= channels {
            transform_channels::<4>(columns, stride, k, done, window);
            done += 4;
        }
    }
    for channel in done..channels {
        let mut d = [0; 16];
        for (d, values) in d.iter_mut().zip(window) {
            *d = values.get(channel).map_or(0, |&v| i16::from(v));
        }
        let place = k + channel;
        let place = place / 4 * 4 + PLACE.get(place % 4).copied().unwrap_or(0);
        for (to, value) in columns.chunks_mut(stride).zip(transform(d)) {
            if let Some(to) = to.get_mut(place) {
                *to = value;
            }
        }
    }
}

/// [`transform`] of `N` channels from `first` on, at most 8.
#[inline]
#[target_feature(enable = "avx2")]
fn transform_channels<const N: usize>(
    columns: &mut [i16],
    stride: usize,
    k: usize,
    first: usize,
    window: &[&[i8]; 16],
) {
    let mut d = [_mm_setzero_si128(); 16];
    for (d, values) in d.iter_mut().zip(window) {
        let values = values.get(first..).unwrap_or_default();
        let mut eight = [0; 8];
        if let (Some(values), Some(eight)) = (values.first_chunk(), eight.first_chunk_mut::<N>()) {
            *eight = *values;
        }
        *d = halfwords_in_order(eight);
    }
    for (to, value) in columns.chunks_mut(stride).zip(transform_vectors(d)) {
        let value: [i16; 8] = bytemuck::must_cast(value);
        let to = to.get_mut(k + first..);
        let to = to.and_then(|to| to.first_chunk_mut::<N>());
        if let (Some(to), Some(value)) = (to, value.first_chunk()) {
            *to = *value;
        }
    }
}

/// [`transform`] of eight channels.
#[inline]
#[target_feature(enable = "avx2")]
fn transform_vectors(d: [__m128i; 16]) -> [__m128i; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = d;
    let [a, b, c, d] = transform_line(a, b, c, d);
    let [e, f, g, h] = transform_line(e, f, g, h);
    let [i, j, k, l] = transform_line(i, j, k, l);
    let [m, n, o, p] = transform_line(m, n, o, p);
    let [a, e, i, m] = transform_line(a, e, i, m);
    let [b, f, j, n] = transform_line(b, f, j, n);
    let [c, g, k, o] = transform_line(c, g, k, o);
    let [d, h, l, p] = transform_line(d, h, l, p);
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

#[inline]
#[target_feature(enable = "avx2")]
fn transform_line(a: __m128i, b: __m128i, c: __m128i, d: __m128i) -> [__m128i; 4] {
    [
        _mm_sub_epi16(a, c),
        _mm_add_epi16(b, c),
        _mm_sub_epi16(c, b),
        _mm_sub_epi16(b, d),
    ]
}

/// Eight inputs as they lie in columns of `i16`.
#[inline]
#[target_feature(enable = "avx2")]
fn halfwords_in_order(bytes: [i8; 8]) -> __m128i {
    let bytes = _mm_cvtsi64_si128(bytemuck::must_cast(bytes));
    _mm_cvtepi8_epi16(in_order(bytes))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn dot(a: &[i8], b: &[i8]) -> i32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = _mm_setzero_si128();
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (bytemuck::must_cast(*a), bytemuck::must_cast(*b));
        sums = _mm_add_epi32(
            sums,
            multiply_bytes(_mm_cvtsi64_si128(a), _mm_cvtsi64_si128(b)),
        );
    }
    let (a, a_rest) = a_rest.as_chunks::<4>();
    let (b, b_rest) = b_rest.as_chunks::<4>();
    if let ([a], [b]) = (a, b) {
        let (a, b) = (bytemuck::must_cast(*a), bytemuck::must_cast(*b));
        sums = _mm_add_epi32(
            sums,
            multiply_bytes(_mm_cvtsi32_si128(a), _mm_cvtsi32_si128(b)),
        );
    }
    sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b_01_00_11_10>(sums));
    sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b_10_11_00_01>(sums));
    _mm_cvtsi128_si32(sums) + portable::dot(a_rest, b_rest)
}

/// Products of the lower eight bytes, added in pairs.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_bytes(a: __m128i, b: __m128i) -> __m128i {
    _mm_madd_epi16(_mm_cvtepi8_epi16(a), _mm_cvtepi8_epi16(b))
}

/// Groups of bytes in the order of their weights.
#[inline]
#[target_feature(enable = "avx2")]
fn in_order(bytes: __m128i) -> __m128i {
    let order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
    _mm_shuffle_epi8(bytes, order)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_bytes(bytes: &[i8; 16]) -> __m128i {
    bytemuck::must_cast(*bytes)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_weights(bytes: &[u8; 32]) -> __m256i {
    bytemuck::must_cast(*bytes)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_halfwords(values: &[i16; 16]) -> __m256i {
    bytemuck::must_cast(*values)
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_halfwords(to: &mut [i16; 16], values: __m256i) {
    *to = bytemuck::must_cast(values);
}
