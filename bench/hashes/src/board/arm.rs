//! Cortex-M under QEMU, by semihosting.

use core::fmt::Arguments;
use cortex_m_rt::{ExceptionFrame, entry, exception};
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

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    say(format_args!("hard fault at {:#010x}", frame.pc()));
    fail()
}
