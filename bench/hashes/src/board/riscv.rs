//! RISC-V under QEMU, by semihosting.

use core::fmt::Arguments;
use riscv_rt::{TrapFrame, entry};
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

/// There is a megabyte of it at least, and nothing to tell.
pub fn stack_sufficed() -> bool {
    true
}

/// Ends without success.
pub fn fail() -> ! {
    process::exit(1)
}

#[unsafe(export_name = "ExceptionHandler")]
fn exception(_: &TrapFrame) -> ! {
    say(format_args!("exception"));
    fail()
}
