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

use super::super::packing::GROUP;
use super::{Engine, LANES, WIDE_LANES, WinogradSums};
use core::arch::{asm, global_asm};

/// The engine of Armv7E-M, and of Armv8-M with the DSP extension.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dsp;

/// Bytes of weights for a group of inputs in the direct form: of two outputs.
const TILE_GROUP: usize = 8;
/// The same in the wide forms: of four outputs, two bytes each.
const WIDE_GROUP: usize = 32;

impl Engine for Dsp {
    #[inline]
    fn spread<const LANES: usize>(self, columns: &mut [i16], k: usize, sources: [&[i8]; LANES]) {
        let length = sources.iter().map(|s| s.len()).min().unwrap_or(0);
        let columns = columns.get_mut(k * LANES..).unwrap_or_default();
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
        let first = k / 2 * WIDE_LANES + lane;
        let words = channels / 2 * WIDE_LANES;
        if channels == 0 || lane >= WIDE_LANES || first - lane + words > block {
            return;
        }
        let to = columns.as_mut_ptr().cast::<u32>();
        let from = window.map(<[i8]>::as_ptr);
        for group in 0..channels / GROUP {
            let first = first + group * 2 * WIDE_LANES;
            // SAFETY: each of the 16 sources has `channels` bytes, of which
            // this is a whole group; the last frequency's block has `block`
            // words behind 15 others, and `first + 2` is one of them: it is at
            // most `first - lane + words`, checked above. Alignment to words
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
        stride: usize,
        sums: &[[i32; 4]; 2],
        scales: &[[i32; 4]; 2],
    ) {
        if out.len() >= 3 * stride + 2 {
            // SAFETY: two bytes are stored at each of four places, which are
            // `stride` apart.
            unsafe { tiny_ddpm_dsp_requantise(out.as_mut_ptr(), stride, sums, scales) };
        }
    }

    #[inline(always)]
    fn requantise_with(
        self,
        out: &mut [i8],
        stride: usize,
        sums: &[[i32; 4]; 2],
        scales: &[[i32; 4]; 2],
        residual: &[i8],
        factor: i32,
    ) {
        if out.len().min(residual.len()) >= 3 * stride + 2 {
            // SAFETY: two bytes are read and stored at each of four places,
            // which are `stride` apart.
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
        let k = k + channel;
        let place = (k / GROUP * 2 + k % 2) * 2 * WIDE_LANES + lane * 2 + k % GROUP / 2;
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

unsafe extern "C" {
    /// Widens `groups` groups of four bytes of each of four sources.
    fn tiny_ddpm_dsp_spread4(
        to: *mut i16,
        a: *const i8,
        b: *const i8,
        c: *const i8,
        d: *const i8,
        groups: usize,
    );
    /// The same for two sources.
    fn tiny_ddpm_dsp_spread2(to: *mut i16, a: *const i8, b: *const i8, groups: usize);
    /// Adds the products of `groups` (at least 1) groups of inputs of four
    /// lanes with the weights of two outputs.
    fn tiny_ddpm_dsp_tile(
        columns: *const i16,
        weights: *const u8,
        groups: usize,
        sums: *mut [[i32; LANES]; 2],
    );
    /// Multiplies, for each of `blocks` (at least 1) blocks, `groups` (at
    /// least 1) groups of inputs of two lanes with the weights of four outputs.
    fn tiny_ddpm_dsp_wide(
        columns: *const i16,
        weights: *const u8,
        groups: usize,
        sums: *mut [[i32; WIDE_LANES]; 4],
        blocks: usize,
    );
    /// Reads 16 words that are 32 bytes apart.
    fn tiny_ddpm_dsp_inverse(sums: *const i32, initial: i32, y: *mut [i32; 4]);
    /// Multiplies `fours` (at least 1) times four halfwords of `x` with those
    /// of two rows.
    fn tiny_ddpm_dsp_dots(x: *const i16, rows: *const u8, fours: usize, sums: *mut [i64; 2]);
    /// Stores two bytes at each of four places.
    fn tiny_ddpm_dsp_requantise(
        out: *mut i8,
        stride: usize,
        sums: *const [[i32; 4]; 2],
        scales: *const [[i32; 4]; 2],
    );
    /// Reads two bytes of the residual and stores two at each of four places.
    fn tiny_ddpm_dsp_requantise_with(
        out: *mut i8,
        stride: usize,
        sums: *const [[i32; 4]; 2],
        scales: *const [[i32; 4]; 2],
        residual: *const i8,
        factor: i32,
    );
}

global_asm!(
    env!("DSP_CPU"),
    ".syntax unified",
    ".thumb",
    // r0 to, r1 to r3 and r12 sources, lr groups left
    ".section .text.tiny_ddpm_dsp_spread4,\"ax\",%progbits",
    ".p2align 2",
    ".thumb_func",
    ".global tiny_ddpm_dsp_spread4",
    ".type tiny_ddpm_dsp_spread4, %function",
    "tiny_ddpm_dsp_spread4:",
    "push {{r4-r11, lr}}",
    "ldrd r12, lr, [sp, #36]",
    "1:",
    "ldr r4, [r1], #4",
    "ldr r5, [r2], #4",
    "ldr r6, [r3], #4",
    "ldr r7, [r12], #4",
    "sxtb16 r8, r4",
    "sxtb16 r9, r5",
    "sxtb16 r10, r6",
    "sxtb16 r11, r7",
    "stmia r0!, {{r8-r11}}",
    "sxtb16 r8, r4, ror #8",
    "sxtb16 r9, r5, ror #8",
    "sxtb16 r10, r6, ror #8",
    "sxtb16 r11, r7, ror #8",
    "stmia r0!, {{r8-r11}}",
    "subs lr, lr, #1",
    "bne 1b",
    "pop {{r4-r11, pc}}",
    ".size tiny_ddpm_dsp_spread4, . - tiny_ddpm_dsp_spread4",
    // r0 to, r1 and r2 sources, r3 groups left
    ".section .text.tiny_ddpm_dsp_spread2,\"ax\",%progbits",
    ".p2align 2",
    ".thumb_func",
    ".global tiny_ddpm_dsp_spread2",
    ".type tiny_ddpm_dsp_spread2, %function",
    "tiny_ddpm_dsp_spread2:",
    "push {{r4-r7, lr}}",
    "1:",
    "ldr r12, [r1], #4",
    "ldr lr, [r2], #4",
    "sxtb16 r4, r12",
    "sxtb16 r5, lr",
    "sxtb16 r6, r12, ror #8",
    "sxtb16 r7, lr, ror #8",
    "stmia r0!, {{r4-r7}}",
    "subs r3, r3, #1",
    "bne 1b",
    "pop {{r4-r7, pc}}",
    ".size tiny_ddpm_dsp_spread2, . - tiny_ddpm_dsp_spread2",
);

global_asm!(
    env!("DSP_CPU"),
    ".syntax unified",
    ".thumb",
    // Two inputs: r4-r7 and r8-r11 sums of four lanes and both outputs, r0
    // columns, r1 weights, r2, r3, r12, lr operands.
    ".macro tiny_ddpm_tile_pair",
    "ldr r12, [r1], #4",
    "ldrd r2, r3, [r0], #8",
    "sxtb16 lr, r12",
    "sxtb16 r12, r12, ror #8",
    "smlad r4, lr, r2, r4",
    "smlad r5, lr, r3, r5",
    "smlad r8, r12, r2, r8",
    "smlad r9, r12, r3, r9",
    "ldrd r2, r3, [r0], #8",
    "smlad r6, lr, r2, r6",
    "smlad r7, lr, r3, r7",
    "smlad r10, r12, r2, r10",
    "smlad r11, r12, r3, r11",
    ".endm",
    ".macro tiny_ddpm_tile_group",
    "tiny_ddpm_tile_pair",
    "tiny_ddpm_tile_pair",
    ".endm",
    ".section .text.tiny_ddpm_dsp_tile,\"ax\",%progbits",
    ".p2align 2",
    ".thumb_func",
    ".global tiny_ddpm_dsp_tile",
    ".type tiny_ddpm_dsp_tile, %function",
    "tiny_ddpm_dsp_tile:",
    "push {{r3-r11, lr}}",
    // The end of the weights stands on the stack: there is no register left.
    "add r12, r1, r2, lsl #3",
    "push {{r11, r12}}",
    "ldmia r3, {{r4-r11}}",
    // The first round does what is left over of eights.
    "ands r2, r2, #7",
    "beq 8f",
    "tbh [pc, r2, lsl #1]",
    "9: .hword 0, (1f - 9b) / 2, (2f - 9b) / 2, (3f - 9b) / 2",
    ".hword (4f - 9b) / 2, (5f - 9b) / 2, (6f - 9b) / 2, (7f - 9b) / 2",
    "8: tiny_ddpm_tile_group",
    "7: tiny_ddpm_tile_group",
    "6: tiny_ddpm_tile_group",
    "5: tiny_ddpm_tile_group",
    "4: tiny_ddpm_tile_group",
    "3: tiny_ddpm_tile_group",
    "2: tiny_ddpm_tile_group",
    "1: tiny_ddpm_tile_group",
    "ldr r2, [sp, #4]",
    "cmp r1, r2",
    "bne 8b",
    "ldr r3, [sp, #8]",
    "stmia r3, {{r4-r11}}",
    "add sp, sp, #12",
    "pop {{r4-r11, pc}}",
    ".size tiny_ddpm_dsp_tile, . - tiny_ddpm_dsp_tile",
);

global_asm!(
    env!("DSP_CPU"),
    ".syntax unified",
    ".thumb",
    // Two inputs: r4-r11 sums of four outputs in two lanes, r0 columns, r1
    // weights, r2, r3, r12, lr operands.
    ".macro tiny_ddpm_wide_pair",
    "ldrd r2, r3, [r0], #8",
    "ldrd r12, lr, [r1], #8",
    "smlad r4, r12, r2, r4",
    "smlad r5, r12, r3, r5",
    "smlad r6, lr, r2, r6",
    "smlad r7, lr, r3, r7",
    "ldrd r12, lr, [r1], #8",
    "smlad r8, r12, r2, r8",
    "smlad r9, r12, r3, r9",
    "smlad r10, lr, r2, r10",
    "smlad r11, lr, r3, r11",
    ".endm",
    ".macro tiny_ddpm_wide_group",
    "tiny_ddpm_wide_pair",
    "tiny_ddpm_wide_pair",
    ".endm",
    ".section .text.tiny_ddpm_dsp_wide,\"ax\",%progbits",
    ".p2align 2",
    ".thumb_func",
    ".global tiny_ddpm_dsp_wide",
    ".type tiny_ddpm_dsp_wide, %function",
    "tiny_ddpm_dsp_wide:",
    "push {{r4-r11, lr}}",
    // [sp] where a block begins its loop, [sp, #4] bytes of a block's
    // weights, [sp, #8] their end, [sp, #12] sums, [sp, #52] blocks left.
    "sub sp, sp, #16",
    "lsl r12, r2, #5",
    "str r12, [sp, #4]",
    "str r3, [sp, #12]",
    // The first group is done outside the loop; of the others those first
    // that are left over of fours. A group is 88 bytes long.
    "subs r2, r2, #1",
    "rsb r3, r2, #0",
    "and r3, r3, #3",
    "mov r12, #88",
    "adr lr, 4f",
    "mla lr, r3, r12, lr",
    "it eq",
    "adreq lr, 9f",
    "orr lr, lr, #1",
    "str lr, [sp]",
    "5:",
    "ldr r12, [sp, #4]",
    "add r12, r12, r1",
    "str r12, [sp, #8]",
    // The first pair makes the sums.
    "ldrd r2, r3, [r0], #8",
    "ldrd r12, lr, [r1], #8",
    "smuad r4, r12, r2",
    "smuad r5, r12, r3",
    "smuad r6, lr, r2",
    "smuad r7, lr, r3",
    "ldrd r12, lr, [r1], #8",
    "smuad r8, r12, r2",
    "smuad r9, r12, r3",
    "smuad r10, lr, r2",
    "smuad r11, lr, r3",
    "tiny_ddpm_wide_pair",
    "ldr pc, [sp]",
    ".p2align 2",
    "4:",
    "tiny_ddpm_wide_group",
    "tiny_ddpm_wide_group",
    "tiny_ddpm_wide_group",
    "tiny_ddpm_wide_group",
    "ldr r2, [sp, #8]",
    "cmp r1, r2",
    "bne 4b",
    ".p2align 2",
    "9:",
    "ldr r3, [sp, #12]",
    "stmia r3!, {{r4-r11}}",
    "str r3, [sp, #12]",
    "ldr r2, [sp, #52]",
    "subs r2, r2, #1",
    "str r2, [sp, #52]",
    "bne 5b",
    "add sp, sp, #16",
    "pop {{r4-r11, pc}}",
    ".size tiny_ddpm_dsp_wide, . - tiny_ddpm_dsp_wide",
);

global_asm!(
    env!("DSP_CPU"),
    ".syntax unified",
    ".thumb",
    // Eight halfwords: r0 x, r1 and r2 rows, r4:r5 and r6:r7 sums, r8 to r11,
    // r3, r12 operands.
    ".macro tiny_ddpm_dots_eight",
    "ldmia r0!, {{r8-r11}}",
    "ldrd r3, r12, [r1], #8",
    "smlald r4, r5, r8, r3",
    "smlald r4, r5, r9, r12",
    "ldrd r3, r12, [r1], #8",
    "smlald r4, r5, r10, r3",
    "smlald r4, r5, r11, r12",
    "ldrd r3, r12, [r2], #8",
    "smlald r6, r7, r8, r3",
    "smlald r6, r7, r9, r12",
    "ldrd r3, r12, [r2], #8",
    "smlald r6, r7, r10, r3",
    "smlald r6, r7, r11, r12",
    ".endm",
    ".section .text.tiny_ddpm_dsp_dots,\"ax\",%progbits",
    ".p2align 2",
    ".thumb_func",
    ".global tiny_ddpm_dsp_dots",
    ".type tiny_ddpm_dsp_dots, %function",
    "tiny_ddpm_dsp_dots:",
    "push {{r3-r11, lr}}",
    "lsl r3, r2, #3",
    "add lr, r0, r3",
    "add r2, r1, r3",
    "mov r4, #0",
    "mov r5, r4",
    "mov r6, r4",
    "mov r7, r4",
    // What is left over of eights, then of sixteens.
    "lsls r12, r3, #28",
    "bpl 1f",
    "ldrd r8, r9, [r0], #8",
    "ldrd r10, r11, [r1], #8",
    "smlald r4, r5, r8, r10",
    "smlald r4, r5, r9, r11",
    "ldrd r10, r11, [r2], #8",
    "smlald r6, r7, r8, r10",
    "smlald r6, r7, r9, r11",
    "1:",
    "lsls r12, r3, #27",
    "bmi 3f",
    "b 4f",
    "2: tiny_ddpm_dots_eight",
    "3: tiny_ddpm_dots_eight",
    "4: cmp r0, lr",
    "bne 2b",
    "ldr r3, [sp]",
    "stmia r3, {{r4-r7}}",
    "pop {{r3-r11, pc}}",
    ".size tiny_ddpm_dsp_dots, . - tiny_ddpm_dsp_dots",
);

global_asm!(
    env!("DSP_CPU"),
    ".syntax unified",
    ".thumb",
    // Each column of frequencies becomes two values, r3 to r6 and r7 to r10;
    // each row of those again.
    ".section .text.tiny_ddpm_dsp_inverse,\"ax\",%progbits",
    ".p2align 2",
    ".thumb_func",
    ".global tiny_ddpm_dsp_inverse",
    ".type tiny_ddpm_dsp_inverse, %function",
    "tiny_ddpm_dsp_inverse:",
    "push {{r4-r11, lr}}",
    "ldr r3, [r0, #0]",
    "ldr r7, [r0, #128]",
    "ldr r11, [r0, #256]",
    "ldr r12, [r0, #384]",
    "add r3, r3, r7",
    "sub r7, r7, r11",
    "add r3, r3, r11",
    "sub r7, r7, r12",
    "ldr r4, [r0, #32]",
    "ldr r8, [r0, #160]",
    "ldr r11, [r0, #288]",
    "ldr r12, [r0, #416]",
    "add r4, r4, r8",
    "sub r8, r8, r11",
    "add r4, r4, r11",
    "sub r8, r8, r12",
    "ldr r5, [r0, #64]",
    "ldr r9, [r0, #192]",
    "ldr r11, [r0, #320]",
    "ldr r12, [r0, #448]",
    "add r5, r5, r9",
    "sub r9, r9, r11",
    "add r5, r5, r11",
    "sub r9, r9, r12",
    "ldr r6, [r0, #96]",
    "ldr r10, [r0, #224]",
    "ldr r11, [r0, #352]",
    "ldr r12, [r0, #480]",
    "add r6, r6, r10",
    "sub r10, r10, r11",
    "add r6, r6, r11",
    "sub r10, r10, r12",
    "add r3, r3, r4",
    "sub r4, r4, r5",
    "add r3, r3, r5",
    "sub r4, r4, r6",
    "add r3, r1, r3, asr #2",
    "add r4, r1, r4, asr #2",
    "add r7, r7, r8",
    "sub r8, r8, r9",
    "add r7, r7, r9",
    "sub r8, r8, r10",
    "add r7, r1, r7, asr #2",
    "add r8, r1, r8, asr #2",
    "strd r3, r4, [r2]",
    "strd r7, r8, [r2, #8]",
    "pop {{r4-r11, pc}}",
    ".size tiny_ddpm_dsp_inverse, . - tiny_ddpm_dsp_inverse",
);

global_asm!(
    env!("DSP_CPU"),
    ".syntax unified",
    ".thumb",
    // r4, r5 and r6, r7 multiplier and zero point of the two channels.
    ".section .text.tiny_ddpm_dsp_requantise,\"ax\",%progbits",
    ".p2align 2",
    ".thumb_func",
    ".global tiny_ddpm_dsp_requantise",
    ".type tiny_ddpm_dsp_requantise, %function",
    "tiny_ddpm_dsp_requantise:",
    "push {{r4-r10, lr}}",
    "ldrd r4, r5, [r3]",
    "ldrd r6, r7, [r3, #16]",
    "ldr r9, [r2, #0]",
    "ldr r10, [r2, #16]",
    "smmlar r9, r9, r4, r5",
    "smmlar r10, r10, r6, r7",
    "ssat r9, #8, r9",
    "ssat r10, #8, r10",
    "bfi r9, r10, #8, #24",
    "strh r9, [r0]",
    "add r0, r0, r1",
    "ldr r9, [r2, #4]",
    "ldr r10, [r2, #20]",
    "smmlar r9, r9, r4, r5",
    "smmlar r10, r10, r6, r7",
    "ssat r9, #8, r9",
    "ssat r10, #8, r10",
    "bfi r9, r10, #8, #24",
    "strh r9, [r0]",
    "add r0, r0, r1",
    "ldr r9, [r2, #8]",
    "ldr r10, [r2, #24]",
    "smmlar r9, r9, r4, r5",
    "smmlar r10, r10, r6, r7",
    "ssat r9, #8, r9",
    "ssat r10, #8, r10",
    "bfi r9, r10, #8, #24",
    "strh r9, [r0]",
    "add r0, r0, r1",
    "ldr r9, [r2, #12]",
    "ldr r10, [r2, #28]",
    "smmlar r9, r9, r4, r5",
    "smmlar r10, r10, r6, r7",
    "ssat r9, #8, r9",
    "ssat r10, #8, r10",
    "bfi r9, r10, #8, #24",
    "strh r9, [r0]",
    "pop {{r4-r10, pc}}",
    ".size tiny_ddpm_dsp_requantise, . - tiny_ddpm_dsp_requantise",
    // One channel, then the other: r4 to r7 its scale, r8 factor, r9
    // residual. [sp] scales, [sp, #4] out, [sp, #48] residual, [sp, #52]
    // factor; lr rounds left.
    ".section .text.tiny_ddpm_dsp_requantise_with,\"ax\",%progbits",
    ".p2align 2",
    ".thumb_func",
    ".global tiny_ddpm_dsp_requantise_with",
    ".type tiny_ddpm_dsp_requantise_with, %function",
    "tiny_ddpm_dsp_requantise_with:",
    "push {{r4-r12, lr}}",
    "sub sp, sp, #8",
    "strd r3, r0, [sp]",
    "ldrd r9, r8, [sp, #48]",
    "mov lr, #2",
    "2:",
    "ldmia r3!, {{r4-r7}}",
    "str r3, [sp]",
    "ldrsb r3, [r9]",
    "ldr r10, [r2], #4",
    "sub r3, r3, r6",
    "lsl r3, r3, r7",
    "smull r11, r12, r3, r8",
    "smlal r11, r12, r10, r4",
    "adds r11, r11, #0x80000000",
    "adc r12, r12, r5",
    "ssat r12, #8, r12",
    "strb r12, [r0]",
    "add r0, r0, r1",
    "add r9, r9, r1",
    "ldrsb r3, [r9]",
    "ldr r10, [r2], #4",
    "sub r3, r3, r6",
    "lsl r3, r3, r7",
    "smull r11, r12, r3, r8",
    "smlal r11, r12, r10, r4",
    "adds r11, r11, #0x80000000",
    "adc r12, r12, r5",
    "ssat r12, #8, r12",
    "strb r12, [r0]",
    "add r0, r0, r1",
    "add r9, r9, r1",
    "ldrsb r3, [r9]",
    "ldr r10, [r2], #4",
    "sub r3, r3, r6",
    "lsl r3, r3, r7",
    "smull r11, r12, r3, r8",
    "smlal r11, r12, r10, r4",
    "adds r11, r11, #0x80000000",
    "adc r12, r12, r5",
    "ssat r12, #8, r12",
    "strb r12, [r0]",
    "add r0, r0, r1",
    "add r9, r9, r1",
    "ldrsb r3, [r9]",
    "ldr r10, [r2], #4",
    "sub r3, r3, r6",
    "lsl r3, r3, r7",
    "smull r11, r12, r3, r8",
    "smlal r11, r12, r10, r4",
    "adds r11, r11, #0x80000000",
    "adc r12, r12, r5",
    "ssat r12, #8, r12",
    "strb r12, [r0]",
    "subs lr, lr, #1",
    "beq 3f",
    "ldrd r3, r0, [sp]",
    "add r0, r0, #1",
    "ldr r9, [sp, #48]",
    "add r9, r9, #1",
    "b 2b",
    "3:",
    "add sp, sp, #8",
    "pop {{r4-r12, pc}}",
    ".size tiny_ddpm_dsp_requantise_with, . - tiny_ddpm_dsp_requantise_with",
);
