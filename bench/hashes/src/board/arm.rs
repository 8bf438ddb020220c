//! Cortex-M under QEMU, by semihosting.

use core::fmt::Arguments;
use cortex_m_rt::{ExceptionFrame, STACK_PAINT_VALUE, entry, exception};
use semihosting::{println, process};

#[entry]
fn start() -> ! {
    match crate::main() {
        true => process::exit(0),
        false => fail(),
    }
}

/// Prints a line.
pub fn say(line: Arguments<'_>) {
    println!("{line}");
}

/// Ends without success.
pub fn fail() -> ! {
    process::exit(1)
}

/// Whether the stack never came near its end: the start-up code painted all
/// there was.
pub fn stack_sufficed() -> bool {
    /// Words that must not have been touched.
    const RESERVE: usize = 64;
    unsafe extern "C" {
        static _stack_end: u32;
    }
    let end = &raw const _stack_end;
    // SAFETY: the linker script aligns the symbol, and puts much more stack
    // than that above it; volatile, for this memory belongs to no variable.
    (0..RESERVE).all(|word| unsafe { end.add(word).read_volatile() == STACK_PAINT_VALUE })
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    say(format_args!("hard fault at {:#010x}", frame.pc()));
    fail()
}
