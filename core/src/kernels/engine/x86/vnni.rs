//! The functions of [`Vnni`](super::Vnni), where they are not AVX2's.

use super::columns::{filled, lanes};
use crate::kernels::engine::{LANES, WIDE_LANES};
use core::arch::x86_64::*;

/// Each four inputs twice, as a product of bytes takes them: unsigned.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn spread<const LANES: usize>(columns: &mut [i16], k: usize, sources: [&[i8]; LANES]) {
    let lane_len = columns.len() / LANES.max(1);
    let mut rest = columns;
    for source in &sources {
        let (lane, others) = rest.split_at_mut(lane_len.min(rest.len()));
        rest = others;
        let (from, from_rest) = source.as_chunks::<8>();
        let (to, to_rest) = match lane.get_mut(k..) {
            Some(lane) => lane.split_at_mut((8 * from.len()).min(lane.len())),
            None => return,
        };
        for (to, &from) in to.as_chunks_mut::<8>().0.iter_mut().zip(from) {
            let from = _mm_cvtsi64_si128(bytemuck::must_cast(from));
            let from = _mm_xor_si128(from, _mm_set1_epi8(-128));
            *to = bytemuck::must_cast(_mm_unpacklo_epi32(from, from));
        }
        let groups = to_rest.as_chunks_mut::<4>().0.iter_mut();
        for (to, from) in groups.zip(from_rest.as_chunks::<4>().0) {
            let group = u32::from_le_bytes(from.map(|v| v as u8 ^ 0x80));
            *to = bytemuck::must_cast([group; 2]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn tile(columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
    let (weights, rest) = weights.as_chunks::<64>();
    let columns: &[u8] = bytemuck::must_cast_slice(columns);
    let [a, b, c, d] = lanes(columns);
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<64>(), b.as_chunks::<64>());
    let ((c, c_rest), (d, d_rest)) = (c.as_chunks::<64>(), d.as_chunks::<64>());
    let mut products = Products::new();
    for ((((w, a), b), c), d) in weights.iter().zip(a).zip(b).zip(c).zip(d) {
        let x = [load_all(a), load_all(b), load_all(c), load_all(d)];
        products.add(load_all(w), x);
    }
    if !rest.is_empty() {
        let x = [
            load_some(a_rest),
            load_some(b_rest),
            load_some(c_rest),
            load_some(d_rest),
        ];
        products.add(load_some(rest), x);
    }
    products.total()
}

/// Sums of 8 groups' products, two outputs side by side.
#[derive(Clone, Copy)]
struct Products {
    lanes: [__m512i; LANES],
    /// 128 times the weights: what adding 128 to the inputs was too much.
    excess: __m512i,
}

impl Products {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new() -> Self {
        Self {
            lanes: [_mm512_setzero_si512(); LANES],
            excess: _mm512_setzero_si512(),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn add(&mut self, weights: __m512i, x: [__m512i; LANES]) {
        // Of each group first all inputs of one output, then of the other.
        let order = _mm_setr_epi8(0, 4, 2, 6, 1, 5, 3, 7, 8, 12, 10, 14, 9, 13, 11, 15);
        let weights = _mm512_shuffle_epi8(weights, _mm512_broadcast_i32x4(order));
        for (sum, x) in self.lanes.iter_mut().zip(x) {
            *sum = _mm512_dpbusd_epi32(*sum, x, weights);
        }
        self.excess = _mm512_dpbusd_epi32(self.excess, _mm512_set1_epi8(-128), weights);
    }

    /// Each output's sum at each lane.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn total(self) -> [[i32; LANES]; 2] {
        let mut sums = self.lanes;
        for sum in &mut sums {
            *sum = _mm512_sub_epi32(*sum, self.excess);
        }
        let [a, b, c, d] = sums;
        // Pairs of outputs: of lanes a and b, and of c and d, in turns.
        let pairs =
            |a, b| _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
        let (ab, cd) = (pairs(a, b), pairs(c, d));
        // Quarters: ab, ab, cd, cd.
        let sum = _mm512_add_epi32(
            _mm512_shuffle_i64x2::<0b_10_00_10_00>(ab, cd),
            _mm512_shuffle_i64x2::<0b_11_01_11_01>(ab, cd),
        );
        // ab and cd, each with its neighbour.
        let sum = _mm512_add_epi32(sum, _mm512_shuffle_i64x2::<0b_10_11_00_01>(sum, sum));
        let (ab, cd) = (
            _mm512_castsi512_si128(sum),
            _mm512_extracti32x4_epi32::<2>(sum),
        );
        let (ab, cd) = (_mm_castsi128_ps(ab), _mm_castsi128_ps(cd));
        [
            bytemuck::must_cast(_mm_shuffle_ps::<0b_10_00_10_00>(ab, cd)),
            bytemuck::must_cast(_mm_shuffle_ps::<0b_11_01_11_01>(ab, cd)),
        ]
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn wide(columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
    let blocks = sums.len().max(1);
    let column_len = (columns.len() / blocks).max(1);
    let weights_len = (weights.len() / blocks).max(1);
    let operands = columns
        .chunks_exact(column_len)
        .zip(weights.chunks_exact(weights_len));
    for (sums, (columns, weights)) in sums.iter_mut().zip(operands) {
        let (a, b) = columns.split_at(columns.len() / 2);
        let (weights, rest) = weights.as_chunks::<64>();
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
        let (mut of_a, mut of_b) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for (w, (a, b)) in weights.iter().zip(a.iter().zip(b)) {
            let w = load_all(w);
            of_a = _mm512_dpwssd_epi32(of_a, each_four_times(a), w);
            of_b = _mm512_dpwssd_epi32(of_b, each_four_times(b), w);
        }
        if !rest.is_empty() {
            let w = load_some(rest);
            of_a = _mm512_dpwssd_epi32(of_a, each_four_times(&filled(a_rest)), w);
            of_b = _mm512_dpwssd_epi32(of_b, each_four_times(&filled(b_rest)), w);
        }
        // Quarters: a, a, b, b; then a, b.
        let sum = _mm512_add_epi32(
            _mm512_shuffle_i64x2::<0b_10_00_10_00>(of_a, of_b),
            _mm512_shuffle_i64x2::<0b_11_01_11_01>(of_a, of_b),
        );
        let sum = _mm512_add_epi32(sum, _mm512_shuffle_i64x2::<0b_10_11_00_01>(sum, sum));
        let (a, b) = (
            _mm512_castsi512_si128(sum),
            _mm512_extracti32x4_epi32::<2>(sum),
        );
        let pairs = [_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b)];
        *sums = bytemuck::must_cast(pairs);
    }
}

/// Each pair of inputs for the four outputs whose weights it meets.
#[inline]
#[target_feature(enable = "avx512f")]
fn each_four_times(inputs: &[i16; 8]) -> __m512i {
    let pairs = _mm512_broadcast_i32x4(bytemuck::must_cast(*inputs));
    let order = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    let pairs = _mm512_permutevar_ps(_mm512_castsi512_ps(pairs), order);
    _mm512_castps_si512(pairs)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_all(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: 64 bytes are read, as many as there are, at any alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Up to 64 bytes; what is missing, and what is no whole eight, is 0.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_some(bytes: &[u8]) -> __m512i {
    let eights = bytes.len() / 8;
    let mask = if eights < 8 { (1 << eights) - 1 } else { 0xff };
    // SAFETY: of eight eights of bytes those are read, at any alignment, whose
    // bit is set, and these lie in the slice; what is not read cannot fault.
    unsafe { _mm512_maskz_loadu_epi64(mask, bytes.as_ptr().cast()) }
}
