//! Arm's MPS2 boards: timer 0 of the CMSDK counts a part of the clock.
//!
//! With `-icount shift=8` an instruction takes 256 ns, several ticks, so that
//! rounding gives the exact number.

use cortex_m_rt::{ExceptionFrame, entry, exception};
use semihosting::{println, process};

#[cfg(machine = "mps2")]
const TIMER: *mut u32 = 0x4000_0000 as *mut u32;
#[cfg(machine = "an505")]
const TIMER: *mut u32 = 0x5000_0000 as *mut u32;
/// Nanoseconds of a tick: 25 and 20 MHz.
const TICK: u64 = if cfg!(machine = "mps2") { 40 } else { 50 };
/// Nanoseconds of an instruction.
const INSTRUCTION: u64 = 256;

/// A part of the timer: its control, value and reload registers.
fn register(index: usize) -> *mut u32 {
    TIMER.wrapping_add(index)
}

#[entry]
fn start_here() -> ! {
    crate::main()
}

/// Lets an emulated Cortex-M4 stand for a Cortex-M0 where it would be too
/// patient: words at odd addresses are a fault there.
pub fn prepare() {
    if cfg!(instructions = "thumbv6m") {
        const CCR: *mut u32 = 0xe000_ed14 as *mut u32;
        const UNALIGN_TRP: u32 = 1 << 3;
        // SAFETY: the configuration and control register; code for a Cortex-M0
        // reads no unaligned words.
        unsafe { CCR.write_volatile(CCR.read_volatile() | UNALIGN_TRP) };
    }
}

/// Reads a word from an odd address, which a Cortex-M0 does not do.
pub fn misread() -> u32 {
    let words = core::hint::black_box([0x0403_0201_u32, 0x0807_0605]);
    let mut word: u32;
    // SAFETY: the four bytes lie within `words`; where they cannot be read at
    // once the fault's handler ends the program.
    unsafe {
        core::arch::asm!(
            "ldr {word}, [{at}]",
            word = out(reg) word,
            at = in(reg) words.as_ptr().cast::<u8>().wrapping_add(1),
            options(nostack, readonly),
        );
    }
    word
}

pub fn start() {
    // SAFETY: registers of a timer that nothing else here uses: it counts down
    // from the largest value, again and again.
    unsafe {
        register(2).write_volatile(u32::MAX);
        register(1).write_volatile(u32::MAX);
        register(0).write_volatile(1);
    }
}

/// Ticks since the timer was started.
#[inline(always)]
pub fn ticks() -> u32 {
    // SAFETY: reading this register has no side effect.
    !unsafe { register(1).read_volatile() }
}

pub fn instructions(ticks: u32) -> u64 {
    (u64::from(ticks) * TICK + INSTRUCTION / 2) / INSTRUCTION
}

/// Two instructions a turn.
#[inline(always)]
pub fn spin(turns: u32) {
    // SAFETY: touches a register of its own and the flags, and ends, since
    // `turns` is not 0.
    unsafe {
        core::arch::asm!(
            "2: subs {turns}, {turns}, #1",
            "bne 2b",
            turns = inout(reg) turns => _,
            options(nomem, nostack),
        );
    }
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    println!("hard fault at {:#010x}", frame.pc());
    process::exit(1)
}
