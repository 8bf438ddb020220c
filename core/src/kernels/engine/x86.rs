//! x86-64 with AVX2, or with AVX-512 and its products of bytes (VNNI).
//!
//! An engine of this module is a proof that the processor has what it needs:
//! only [`Avx2::detect`] and [`Vnni::detect`] make one. All `unsafe` here is
//! of two kinds: a call of a function that was compiled for more than every
//! x86-64 has, which such a proof allows; and a vector read from or written to
//! an array or slice of at least its size, which needs no alignment.
//!
//! | engine | columns for `tile` | for `wide` |
//! | --- | --- | --- |
//! | AVX2 | `i16`; of each four inputs 0, 2, 1, 3 | the same |
//! | VNNI | each four inputs twice, as `u8`, plus 128 | the same as AVX2 |

#![expect(unsafe_code, reason = "instructions that not every x86-64 has")]

use super::portable::{self, transform};
use super::{Engine, LANES, WIDE_LANES, Work};
use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU8, Ordering};

/// Where input `k` of a group lies in columns of `i16`.
const PLACE: [usize; 4] = [0, 2, 1, 3];
/// Frequencies of a Winograd tile.
const FREQUENCIES: usize = 16;

/// AVX2, which nearly every x86-64 since 2015 has.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// AVX-512 with VNNI, which has an instruction for four products of bytes and
/// their sum.
#[derive(Clone, Copy, Debug)]
pub struct Vnni(());

cpufeatures::new!(avx2, "avx2");
cpufeatures::new!(avx512, "avx2", "avx512f", "avx512bw", "avx512vl");

impl Avx2 {
    /// The engine, if this processor has it.
    #[must_use]
    pub fn detect() -> Option<Self> {
        avx2::get().then_some(Self(()))
    }
}

impl Vnni {
    /// The engine, if this processor has it.
    #[must_use]
    pub fn detect() -> Option<Self> {
        /// What was found: 0 for nothing yet, 1 for no, 2 for yes. A virtual
        /// machine takes long to answer CPUID.
        static FOUND: AtomicU8 = AtomicU8::new(0);
        let found = match FOUND.load(Ordering::Relaxed) {
            0 => {
                let found = if Self::ask() { 2 } else { 1 };
                FOUND.store(found, Ordering::Relaxed);
                found
            }
            found => found,
        };
        (found == 2).then_some(Self(()))
    }

    fn ask() -> bool {
        // Bit 11 of ECX is not known to the crate; that there is a leaf 7 to
        // ask is known from AVX-512, which is found there too.
        avx512::get() && !cfg!(miri) && __cpuid_count(7, 0).ecx & (1 << 11) != 0
    }
}

impl Engine for Avx2 {
    #[inline]
    fn run<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2")]
        fn run<W: Work>(engine: Avx2, work: W) -> W::Output {
            work.run(engine)
        }
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { run(self, work) }
    }

    #[inline(always)]
    fn spread<const LANES: usize>(self, columns: &mut [i16], k: usize, sources: [&[i8]; LANES]) {
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { spread_halfwords(columns, k, sources) }
    }

    #[inline(always)]
    fn tile(self, columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { tile_avx2(columns, weights) }
    }

    #[inline(always)]
    fn wide(self, columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { wide_avx2(columns, weights, sums) }
    }

    #[inline(always)]
    fn winograd(self, columns: &mut [i16], k: usize, lane: usize, window: &[&[i8]; 16]) {
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { winograd_avx2(columns, k, lane, window) }
    }

    #[inline(always)]
    fn dot(self, a: &[i8], b: &[i8]) -> i32 {
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { dot_avx2(a, b) }
    }
}

impl Engine for Vnni {
    #[inline]
    fn run<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
        fn run<W: Work>(engine: Vnni, work: W) -> W::Output {
            work.run(engine)
        }
        // SAFETY: a `Vnni` exists, so the processor has all of these.
        unsafe { run(self, work) }
    }

    #[inline(always)]
    fn spread<const L: usize>(self, columns: &mut [i16], k: usize, sources: [&[i8]; L]) {
        // SAFETY: a `Vnni` exists, so the processor has AVX2.
        unsafe {
            if L == LANES {
                spread_bytes(columns, k, sources);
            } else {
                spread_halfwords(columns, k, sources);
            }
        }
    }

    #[inline(always)]
    fn tile(self, columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
        // SAFETY: a `Vnni` exists, so the processor has all that this needs.
        unsafe { tile_vnni(columns, weights) }
    }

    #[inline(always)]
    fn wide(self, columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
        // SAFETY: a `Vnni` exists, so the processor has all that this needs.
        unsafe { wide_vnni(columns, weights, sums) }
    }

    #[inline(always)]
    fn winograd(self, columns: &mut [i16], k: usize, lane: usize, window: &[&[i8]; 16]) {
        // SAFETY: a `Vnni` exists, so the processor has AVX2.
        unsafe { winograd_avx2(columns, k, lane, window) }
    }

    #[inline(always)]
    fn dot(self, a: &[i8], b: &[i8]) -> i32 {
        // SAFETY: a `Vnni` exists, so the processor has AVX2.
        unsafe { dot_avx2(a, b) }
    }
}

/// Inputs as `i16`, each group in the order of its weights.
#[inline]
#[target_feature(enable = "avx2")]
fn spread_halfwords<const LANES: usize>(columns: &mut [i16], k: usize, sources: [&[i8]; LANES]) {
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

/// Each four inputs twice, as a product of bytes takes them: unsigned.
#[inline]
#[target_feature(enable = "avx2")]
fn spread_bytes<const LANES: usize>(columns: &mut [i16], k: usize, sources: [&[i8]; LANES]) {
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

/// Lanes of columns of equal length.
#[inline(always)]
fn lanes<T>(columns: &[T]) -> [&[T]; LANES] {
    let (ab, cd) = columns.split_at(columns.len() / 2);
    let ((a, b), (c, d)) = (ab.split_at(ab.len() / 2), cd.split_at(cd.len() / 2));
    [a, b, c, d]
}

#[inline]
#[target_feature(enable = "avx2")]
fn tile_avx2(columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
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
fn wide_avx2(columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
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
fn winograd_avx2(columns: &mut [i16], k: usize, lane: usize, window: &[&[i8]; 16]) {
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
fn dot_avx2(a: &[i8], b: &[i8]) -> i32 {
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn tile_vnni(columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
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
fn wide_vnni(columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
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

/// What there is, then zeros.
#[inline(always)]
fn filled<T: Copy + Default, const N: usize>(values: &[T]) -> [T; N] {
    let mut array = [T::default(); N];
    let values = array.iter_mut().zip(values);
    values.for_each(|(to, &value)| *to = value);
    array
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
