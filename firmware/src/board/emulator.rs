//! QEMU's `netduinoplus2` and `microbit`.
//!
//! A timer counts instructions there, because each takes the same emulated
//! time. (The cycle counter of the DWT always reads 0, and semihosting's
//! clocks tell the host's time.)
//!
//! - `netduinoplus2`, `-icount shift=0`: an instruction takes one nanosecond,
//!   and QEMU runs TIM2 at 1 GHz whatever the clock tree says.
//! - `microbit`, `-icount shift=6`: an instruction takes 64 ns, and TIMER0 runs
//!   at 16 MHz, as on silicon.

mod semihosted;

use cortex_m as _;
use defmt_semihosting as _;
pub use semihosted::{arguments, exit};

#[cfg(board = "stm32f405")]
mod timer {
    /// TIM2's control register 1 and counter.
    const TIM2_CR1: *mut u32 = 0x4000_0000 as *mut u32;
    const TIM2_CNT: *const u32 = 0x4000_0024 as *const u32;

    pub fn start() {
        // SAFETY: a register of the STM32F405 that nothing else here uses;
        // bit 0 starts the timer.
        unsafe { TIM2_CR1.write_volatile(1) };
    }

    pub fn ticks() -> u32 {
        // SAFETY: reading this register has no side effect.
        unsafe { TIM2_CNT.read_volatile() }
    }

    pub fn instructions(ticks: u32) -> u32 {
        ticks
    }
}

#[cfg(board = "microbit")]
mod timer {
    /// TIMER0's registers: to start it, to copy the counter, its width and
    /// divider, and where the copy is.
    const START: *mut u32 = 0x4000_8000 as *mut u32;
    const CAPTURE: *mut u32 = 0x4000_8040 as *mut u32;
    const BITMODE: *mut u32 = 0x4000_8508 as *mut u32;
    const PRESCALER: *mut u32 = 0x4000_8510 as *mut u32;
    const CC: *const u32 = 0x4000_8540 as *const u32;
    /// 32 bits.
    const WIDE: u32 = 3;

    pub fn start() {
        // SAFETY: registers of the nRF51822 that nothing else here uses.
        unsafe {
            BITMODE.write_volatile(WIDE);
            PRESCALER.write_volatile(0);
            START.write_volatile(1);
        }
    }

    pub fn ticks() -> u32 {
        // SAFETY: as above.
        unsafe {
            CAPTURE.write_volatile(1);
            CC.read_volatile()
        }
    }

    /// A tick takes 62.5 ns, an instruction 64 ns.
    pub fn instructions(ticks: u32) -> u32 {
        ((u64::from(ticks) * 125 + 64) >> 7) as u32
    }
}

pub struct Clock;

impl Clock {
    pub fn start() -> Self {
        timer::start();
        Self
    }

    pub fn ticks(&self) -> u32 {
        timer::ticks()
    }
}

pub fn scale(ticks: u32) -> u32 {
    timer::instructions(ticks)
}

/// Without `-icount` the timer tells the host's time instead.
pub fn unit(ticks: u32, turns: u32) -> &'static str {
    // Rounding may cost one.
    if ticks.abs_diff(2 * turns) <= 1 {
        "instructions"
    } else {
        "ticks"
    }
}
