//! Cortex-M4, M7 and M33: two products an instruction.
//!
//! Columns: for each group of four inputs a word for each lane with inputs 0
//! and 2 as halfwords, then a word for each lane with inputs 1 and 3: what
//! `SXTB16` makes of four bytes. `SMLAD` then multiplies both halves and adds
//! them. The loops are written by hand, because eight sums, two pointers and
//! four operands are all the registers there are, and a compiler spills.
//!
//! Instructions for 16 products: 13 with `i8` weights (each word of them is
//! taken apart once for four lanes), 11 with `i16`.

mod assembly;

use super::super::packing::GROUP;
use super::{Engine, LANES, Stride, WIDE_LANES, WinogradSums};
use assembly::{
    tiny_ddpm_dsp_dots, tiny_ddpm_dsp_inverse, tiny_ddpm_dsp_requantise,
    tiny_ddpm_dsp_requantise_with, tiny_ddpm_dsp_spread2, tiny_ddpm_dsp_spread4,
    tiny_ddpm_dsp_tile, tiny_ddpm_dsp_wide,
};
use core::arch::asm;

/// The engine of Armv7E-M, and of Armv8-M with the DSP extension.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dsp;

/// Bytes of weights for a group of inputs in the direct layout: of two outputs.
const TILE_GROUP: usize = 8;
/// The same in the wide layouts: of four outputs, two bytes each.
const WIDE_GROUP: usize = 32;

impl Engine for Dsp {
    #[inline]
    fn spread<const LANES: usize>(self, columns: &mut [i16], k: usize, sources: [&[i8]; LANES]) {
        let length = sources.iter().map(|s| s.len()).min().unwrap_or(0);
        let columns = columns.get_mut(k.saturating_mul(LANES)..);
        let columns = columns.unwrap_or_default();
        let groups = (length / GROUP).min(columns.len() / (GROUP * LANES));
        if groups == 0 || !columns.as_ptr().addr().is_multiple_of(4) {
            return;
        }
        let to = columns.as_mut_ptr();
        match sources.as_slice() {
            // SAFETY: each source has `groups` groups of four bytes, the
            // columns room for as many of all lanes, aligned to words.
            [a, b, c, d] => unsafe {
                tiny_ddpm_dsp_spread4(to, a.as_ptr(), b.as_ptr(), c.as_ptr(), d.as_ptr(), groups);
            },
            // SAFETY: as above.
            [a, b] => unsafe { tiny_ddpm_dsp_spread2(to, a.as_ptr(), b.as_ptr(), groups) },
            _ => {}
        }
    }

    #[inline]
    fn tile(self, columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
        let mut sums = [[0; LANES]; 2];
        self.accumulate(columns, weights, &mut sums);
        sums
    }

    #[inline(always)]
    fn accumulate(self, columns: &[i16], weights: &[u8], sums: &mut [[i32; LANES]; 2]) {
        let groups = (columns.len() / (GROUP * LANES)).min(weights.len() / TILE_GROUP);
        if groups > 0 && aligned(columns, weights) {
            // SAFETY: columns and weights have `groups` groups each, aligned
            // to words, and `sums` is eight words.
            unsafe {
                tiny_ddpm_dsp_tile(columns.as_ptr(), weights.as_ptr(), groups, sums);
            }
        } else {
            tile_any(columns, weights, sums);
        }
    }

    #[inline]
    fn wide(self, columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
        let blocks = sums.len();
        if blocks == 0 {
            return;
        }
        let groups = columns.len() / (blocks * GROUP * WIDE_LANES);
        let fits = weights.len() >= blocks * groups * WIDE_GROUP;
        if groups > 0 && fits && aligned(columns, weights) {
            // SAFETY: columns and weights have `blocks` times `groups` groups,
            // aligned to words, and `sums` eight words for each block.
            unsafe {
                tiny_ddpm_dsp_wide(
                    columns.as_ptr(),
                    weights.as_ptr(),
                    groups,
                    sums.as_mut_ptr(),
                    blocks,
                );
            }
        } else {
            wide_any(columns, weights, sums);
        }
    }

    #[inline]
    fn winograd(self, columns: &mut [i16], k: usize, lane: usize, window: &[&[i8]; 16]) {
        let channels = window.iter().map(|values| values.len()).min().unwrap_or(0);
        if !(channels | k).is_multiple_of(GROUP) || !columns.as_ptr().addr().is_multiple_of(4) {
            return winograd_any(columns, k, lane, window);
        }
        // Words of a frequency's block.
        let block = columns.len() / (16 * 2);
        // Words that end with these channels.
        let end = k.checked_add(channels).map(|end| end / 2 * WIDE_LANES);
        let fits = end.is_some_and(|end| end <= block);
        if channels == 0 || lane >= WIDE_LANES || !fits {
            return;
        }
        let first = k / 2 * WIDE_LANES + lane;
        let to = columns.as_mut_ptr().cast::<u32>();
        let from = window.map(<[i8]>::as_ptr);
        for group in 0..channels / GROUP {
            let first = first + group * 2 * WIDE_LANES;
            // SAFETY: each of the 16 sources has `channels` bytes, of which
            // this is a whole group; the last frequency's block has `block`
            // words behind 15 others, and `first + 2` is one of them: it is
            // less than `end`, checked above. Alignment to words
            // was checked, too.
            unsafe {
                let from = from.map(|from| from.add(group * GROUP).cast::<u32>());
                let even = from.map(|from| sxtb16(from.read_unaligned()));
                transform(even, to.add(first), block);
                let odd = from.map(|from| sxtb16_ror8(from.read_unaligned()));
                transform(odd, to.add(first + WIDE_LANES), block);
            }
        }
    }

    #[inline]
    fn inverse(self, sums: &WinogradSums, output: usize, lane: usize, initial: i32) -> [i32; 4] {
        let mut y = [0; 4];
        if output < 4 && lane < WIDE_LANES {
            let first = sums.as_ptr().cast::<i32>();
            // SAFETY: of each of the 16 blocks of eight words this reads the
            // one of this output and lane, and it writes four words.
            unsafe {
                let first = first.add(output * WIDE_LANES + lane);
                tiny_ddpm_dsp_inverse(first, initial, &raw mut y);
            }
        }
        y
    }

    #[inline]
    fn dots(self, rows: &[u8], x: &[i16]) -> [i64; 2] {
        let fours = x.len() / 4;
        let whole = x.len().is_multiple_of(4) && rows.len() == 4 * x.len();
        let aligned = (rows.as_ptr().addr() | x.as_ptr().addr()).is_multiple_of(4);
        if fours == 0 || !whole || !aligned {
            return super::portable::dots(rows, x);
        }
        let mut sums = [0; 2];
        // SAFETY: `x` and both rows have `fours` times four halfwords, aligned
        // to words.
        unsafe { tiny_ddpm_dsp_dots(x.as_ptr(), rows.as_ptr(), fours, &raw mut sums) };
        sums
    }

    #[inline(always)]
    fn requantise(
        self,
        out: &mut [i8],
        stride: Stride,
        sums: &[[i32; 4]; 2],
        scales: &[[i32; 4]; 2],
    ) {
        let stride = stride.get();
        if out.len() >= 3 * stride + 2 {
            // SAFETY: two bytes are stored at each of four places, which are
            // `stride` apart; a `Stride` times 3 does not overflow.
            unsafe { tiny_ddpm_dsp_requantise(out.as_mut_ptr(), stride, sums, scales) };
        }
    }

    #[inline(always)]
    fn requantise_with(
        self,
        out: &mut [i8],
        stride: Stride,
        sums: &[[i32; 4]; 2],
        scales: &[[i32; 4]; 2],
        residual: &[i8],
        factor: i32,
    ) {
        let stride = stride.get();
        if out.len().min(residual.len()) >= 3 * stride + 2 {
            // SAFETY: two bytes are read and stored at each of four places,
            // which are `stride` apart, as above.
            unsafe {
                tiny_ddpm_dsp_requantise_with(
                    out.as_mut_ptr(),
                    stride,
                    sums,
                    scales,
                    residual.as_ptr(),
                    factor,
                );
            }
        }
    }
}

fn aligned(columns: &[i16], weights: &[u8]) -> bool {
    (columns.as_ptr().addr() | weights.as_ptr().addr()).is_multiple_of(4)
}

/// [`tile`](Engine::tile) for a blob that does not lie at a multiple of four.
#[cold]
fn tile_any(columns: &[i16], weights: &[u8], sums: &mut [[i32; LANES]; 2]) {
    let pairs = columns.chunks_exact(2 * LANES);
    for (x, w) in pairs.zip(weights.as_chunks::<4>().0) {
        for (lane, x) in x.as_chunks::<2>().0.iter().enumerate() {
            let [x, y] = x.map(i32::from);
            let [a, b, c, d] = w.map(|w| i32::from(w as i8));
            for (sums, product) in sums.iter_mut().zip([a * x + c * y, b * x + d * y]) {
                if let Some(sum) = sums.get_mut(lane) {
                    *sum = sum.wrapping_add(product);
                }
            }
        }
    }
}

/// [`wide`](Engine::wide) for a blob that does not lie at a multiple of four.
#[cold]
fn wide_any(columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
    let column = (columns.len() / sums.len().max(1)).max(1);
    let mut pairs = weights.as_chunks::<4>().0.chunks_exact(4);
    for (sums, columns) in sums.iter_mut().zip(columns.chunks_exact(column)) {
        *sums = [[0; WIDE_LANES]; 4];
        for (x, w) in columns.chunks_exact(2 * WIDE_LANES).zip(&mut pairs) {
            for (sums, &[a, b, c, d]) in sums.iter_mut().zip(w) {
                let [a, b] = [[a, b], [c, d]].map(|w| i32::from(i16::from_le_bytes(w)));
                for (sum, x) in sums.iter_mut().zip(x.as_chunks::<2>().0) {
                    let [x, y] = x.map(i32::from);
                    *sum = sum.wrapping_add(a * x).wrapping_add(b * y);
                }
            }
        }
    }
}

/// The transform where channels do not come in groups of four: into the same
/// columns, one by one.
#[cold]
fn winograd_any(columns: &mut [i16], k: usize, lane: usize, window: &[&[i8]; 16]) {
    let block = columns.len() / 16;
    let channels = window.first().map_or(0, |values| values.len());
    for channel in 0..channels {
        let d = window.map(|values| values.get(channel).map_or(0, |&v| i16::from(v)));
        let k = k.wrapping_add(channel);
        let place = (k / GROUP * 2 + k % 2).wrapping_mul(2 * WIDE_LANES);
        let place = place.wrapping_add(lane.wrapping_mul(2) + k % GROUP / 2);
        let transformed = super::portable::transform(d);
        for (block, value) in columns.chunks_exact_mut(block.max(1)).zip(transformed) {
            if let Some(to) = block.get_mut(place) {
                *to = value;
            }
        }
    }
}

/// Bᵀ d B of two channels at once, stored `block` words apart.
///
/// # Safety
/// `to` must be valid for writes of words at `0, block, ... 15 * block`.
#[inline(always)]
unsafe fn transform(d: [u32; 16], to: *mut u32, block: usize) {
    let line = |a, b, c, d| [ssub16(a, c), sadd16(b, c), ssub16(c, b), ssub16(b, d)];
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = d;
    let columns = [
        line(a, e, i, m),
        line(b, f, j, n),
        line(c, g, k, o),
        line(d, h, l, p),
    ];
    let [a, b, c, d] = columns;
    for (row, (((a, b), c), d)) in a.into_iter().zip(b).zip(c).zip(d).enumerate() {
        for (column, value) in line(a, b, c, d).into_iter().enumerate() {
            // SAFETY: one of the sixteen places that the caller vouches for.
            unsafe { to.add((4 * row + column) * block).write(value) };
        }
    }
}

/// Bytes 0 and 2 as halfwords.
#[inline(always)]
fn sxtb16(word: u32) -> u32 {
    let halves;
    // SAFETY: touches no memory and no flags.
    unsafe {
        asm!("sxtb16 {}, {}", lateout(reg) halves, in(reg) word,
            options(pure, nomem, nostack, preserves_flags));
    }
    halves
}

/// Bytes 1 and 3 as halfwords.
#[inline(always)]
fn sxtb16_ror8(word: u32) -> u32 {
    let halves;
    // SAFETY: touches no memory and no flags.
    unsafe {
        asm!("sxtb16 {}, {}, ror #8", lateout(reg) halves, in(reg) word,
            options(pure, nomem, nostack, preserves_flags));
    }
    halves
}

/// Sums of both halves.
#[inline(always)]
fn sadd16(a: u32, b: u32) -> u32 {
    let sums;
    // SAFETY: touches no memory, and only flags that nobody keeps.
    unsafe {
        asm!("sadd16 {}, {}, {}", lateout(reg) sums, in(reg) a, in(reg) b,
            options(pure, nomem, nostack));
    }
    sums
}

/// Differences of both halves.
#[inline(always)]
fn ssub16(a: u32, b: u32) -> u32 {
    let differences;
    // SAFETY: touches no memory, and only flags that nobody keeps.
    unsafe {
        asm!("ssub16 {}, {}, {}", lateout(reg) differences, in(reg) a, in(reg) b,
            options(pure, nomem, nostack));
    }
    differences
}
