//! How deep the stack went.
//!
//! The start-up code painted all of it; what is no longer painted has been used.
//! It begins below the static variables and ends where RAM begins, see
//! `memory/` and [`fault`](crate::fault).

use cortex_m_rt::STACK_PAINT_VALUE;

unsafe extern "C" {
    pub static _stack_start: u32;
    static _stack_end: u32;
}

/// The lowest address of the stack.
pub fn end() -> usize {
    bounds().1 as usize
}

/// Bytes the stack may take, down to the beginning of RAM.
pub fn room() -> usize {
    let (top, end) = bounds();
    top as usize - end as usize
}

/// Most bytes in use at any time so far.
pub fn peak() -> usize {
    let (top, mut word) = bounds();
    // SAFETY: every word read lies between the two symbols, which the linker
    // script aligns and places in RAM; volatile, for the compiler must not
    // reason about memory that belongs to no variable.
    unsafe {
        while word < top && word.read_volatile() == STACK_PAINT_VALUE {
            word = word.add(1);
        }
        top as usize - word as usize
    }
}

fn bounds() -> (*const u32, *const u32) {
    (&raw const _stack_start, &raw const _stack_end)
}
