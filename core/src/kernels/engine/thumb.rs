//! Cortex-M0 and M0+: eight registers, no long multiply, no SIMD. Columns and
//! sums are those of [`Words`](super::Words): a word for an input of two lanes,
//! and r = X w + X' w', whose halves are the products of both.
//!
//! Here the upper sum is floor(r / 2^16), and one more where the lower is
//! negative, which is what bit 15 of r says: a shift to the right by 16 leaves
//! that bit in the carry, and an add with carry has the upper sum exactly.

#![expect(unsafe_code, reason = "calls assembly")]

use super::{Engine, LANES, portable};
use core::arch::naked_asm;

/// Words of the columns for a group of inputs.
const GROUP_WORDS: usize = 8;
/// Weights of both outputs for a group of inputs.
const GROUP_WEIGHTS: usize = 8;

/// Runs on every Cortex-M.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thumb;

impl Engine for Thumb {
    #[inline(always)]
    fn spread<const N: usize>(self, columns: &mut [i16], k: usize, sources: [&[i8]; N]) {
        let Some(sources) = sources.first_chunk::<LANES>() else {
            // Columns of another layout, which are all Portable's.
            portable::spread(columns, k, sources);
            return;
        };
        let words: &mut [u32] = bytemuck::try_cast_slice_mut(columns).unwrap_or_default();
        let room = words.get_mut(k / 4 * GROUP_WORDS..).unwrap_or_default();
        let groups = sources
            .iter()
            .fold(room.len() / GROUP_WORDS, |groups, source| {
                groups.min(source.len() / 4)
            });
        if groups > 0 {
            // SAFETY: the columns have room for 8 words of each group, and
            // each source has 4 values of each.
            unsafe { spread(room.as_mut_ptr(), &sources.map(<[i8]>::as_ptr), 4 * groups) };
        }
    }

    #[inline(always)]
    fn tile(self, columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
        let mut sums = [[0; LANES]; 2];
        let words: &[u32] = bytemuck::try_cast_slice(columns).unwrap_or_default();
        let groups = (words.len() / GROUP_WORDS).min(weights.len() / GROUP_WEIGHTS);
        if groups > 0 {
            // SAFETY: the columns have 8 words of each group, the weights 8
            // bytes, and there is a group. The words are aligned, or there
            // would be none.
            unsafe { tile(words.as_ptr(), weights.as_ptr(), groups, &mut sums) };
        }
        sums
    }
}

/// Writes the columns of `inputs` values of each source.
///
/// # Safety
/// `inputs` must be a multiple of 4 and not 0, each source must have so many
/// values, and the columns room for two words of each.
#[unsafe(naked)]
unsafe extern "C" fn spread(columns: *mut u32, sources: &[*const i8; LANES], inputs: usize) {
    /// Input r5 of two lanes becomes a word.
    macro_rules! word {
        ($first:literal, $second:literal, $to:literal) => {
            concat!(
                "ldrsb r6, [",
                $first,
                ", r5]\n",
                "ldrsb r7, [",
                $second,
                ", r5]\n",
                "lsls r7, r7, #16\n",
                "adds r6, r6, r7\n",
                "str r6, [r0, #",
                $to,
                "]\n",
            )
        };
    }
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r12, r2",
        "ldmia r1!, {{r2-r5}}",
        "mov r1, r2",
        "mov r2, r3",
        "mov r3, r4",
        "mov r4, r5",
        "movs r5, #0",
        "2:",
        word!("r1", "r2", "0"),
        word!("r3", "r4", "8"),
        "adds r5, #1",
        word!("r1", "r2", "16"),
        word!("r3", "r4", "24"),
        "adds r5, #1",
        word!("r1", "r2", "4"),
        word!("r3", "r4", "12"),
        "adds r5, #1",
        word!("r1", "r2", "20"),
        word!("r3", "r4", "28"),
        "adds r5, #1",
        "adds r0, #32",
        "cmp r5, r12",
        "bne 2b",
        "pop {{r4-r7, pc}}",
    )
}

/// Sums of two outputs over `groups` groups of inputs.
///
/// # Safety
/// There must be 8 words and 8 weights of each of `groups` groups, and at
/// least one.
#[unsafe(naked)]
unsafe extern "C" fn tile(
    columns: *const u32,
    weights: *const u8,
    groups: usize,
    sums: &mut [[i32; LANES]; 2],
) {
    // r0 columns, r1 weights, r2 and r3 two weights, r4 and r5 two words,
    // r6 and r7 the upper sums of lanes 0 and 1 and of 2 and 3, r8 and r9
    // their totals, r10 where the weights end, r11 where they begin, r12
    // the sums, lr where the columns begin.
    /// Two inputs: their weights lie at these two places.
    macro_rules! inputs {
        ($first:literal, $second:literal) => {
            concat!(
                "movs r2, #",
                $first,
                "\n",
                "movs r3, #",
                $second,
                "\n",
                "ldrsb r2, [r1, r2]\n",
                "ldrsb r3, [r1, r3]\n",
                "ldmia r0!, {{r4, r5}}\n",
                "muls r4, r2, r4\n",
                "muls r5, r3, r5\n",
                "adds r4, r4, r5\n",
                "asrs r5, r4, #16\n",
                "adcs r6, r5\n",
                "add r8, r4\n",
                "ldmia r0!, {{r4, r5}}\n",
                "muls r4, r2, r4\n",
                "muls r5, r3, r5\n",
                "adds r4, r4, r5\n",
                "asrs r5, r4, #16\n",
                "adcs r7, r5\n",
                "add r9, r4\n",
            )
        };
    }
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r4-r7}}",
        "mov r12, r3",
        "adds r3, #32",
        "push {{r2, r3}}", // the groups, and where the sums end
        "mov lr, r0",
        "lsls r2, r2, #3",
        "mov r11, r1",
        "adds r2, r1, r2",
        "mov r10, r2",
        "2:", // an output
        "mov r0, lr",
        "ldr r2, [sp]",
        "movs r6, #0",
        "movs r7, #0",
        "mov r8, r6",
        "mov r9, r6",
        // Four groups at a time; the first time what is too much for that.
        "lsls r2, r2, #30",
        "beq 3f",
        "lsrs r2, r2, #30",
        "cmp r2, #2",
        "bhi 4f",
        "beq 5f",
        "subs r1, #24",
        "b 6f",
        "5:",
        "subs r1, #16",
        "b 7f",
        "4:",
        "subs r1, #8",
        "b 8f",
        "3:",
        inputs!("0", "2"),
        inputs!("4", "6"),
        "8:",
        inputs!("8", "10"),
        inputs!("12", "14"),
        "7:",
        inputs!("16", "18"),
        inputs!("20", "22"),
        "6:",
        inputs!("24", "26"),
        inputs!("28", "30"),
        "adds r1, #32",
        "cmp r1, r10",
        "beq 9f",
        "b 3b",
        "9:",
        "mov r4, r8",
        "lsls r5, r6, #16",
        "subs r4, r4, r5",
        "movs r5, r6",
        "mov r6, r9",
        "lsls r0, r7, #16",
        "subs r6, r6, r0",
        "mov r0, r12",
        "stmia r0!, {{r4-r7}}",
        "mov r12, r0",
        "movs r2, #1", // the weights of the other output
        "add r10, r2",
        "add r11, r2",
        "mov r1, r11",
        "ldr r2, [sp, #4]",
        "cmp r0, r2",
        "beq 3f",
        "b 2b",
        "3:",
        "add sp, #8",
        "pop {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4-r7, pc}}",
    )
}
