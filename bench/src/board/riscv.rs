//! QEMU's RISC-V board: `minstret` counts instructions by itself, with
//! `-icount shift=0`.

use riscv::register::{mcause, mepc, minstret};
use riscv_rt::{TrapFrame, entry};
use semihosting::{println, process};

#[entry]
fn start_here() -> ! {
    crate::main()
}

pub fn prepare() {}

/// Nothing: this processor reads words anywhere.
pub fn misread() -> u32 {
    0
}

pub fn start() {}

/// The counter's lower half.
#[inline(always)]
pub fn ticks() -> u32 {
    minstret::read() as u32
}

pub fn instructions(ticks: u32) -> u64 {
    ticks.into()
}

/// Two instructions a turn.
#[inline(always)]
pub fn spin(turns: u32) {
    // SAFETY: touches a register of its own, and ends, since `turns` is not 0.
    unsafe {
        core::arch::asm!(
            "2: addi {turns}, {turns}, -1",
            "bnez {turns}, 2b",
            turns = inout(reg) turns => _,
            options(nomem, nostack),
        );
    }
}

#[unsafe(export_name = "ExceptionHandler")]
fn exception(_: &TrapFrame) -> ! {
    let (cause, at) = (mcause::read().bits(), mepc::read());
    println!("exception {cause} at {at:#010x}");
    process::exit(1)
}
