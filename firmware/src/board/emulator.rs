//! QEMU's `netduinoplus2`.
//!
//! With `-icount shift=0` an instruction takes one nanosecond of the emulated
//! time, and QEMU runs TIM2 at 1 GHz whatever the clock tree says, so that
//! TIM2 counts instructions. (The cycle counter of the DWT always reads 0
//! there, and semihosting's clocks tell the host's time.)

use core::mem::MaybeUninit;
use cortex_m as _;
use defmt_semihosting as _;
use semihosting::sys::arm_compat::sys_get_cmdline_uninit;

/// TIM2's control register 1 and counter.
const TIM2_CR1: *mut u32 = 0x4000_0000 as *mut u32;
const TIM2_CNT: *const u32 = 0x4000_0024 as *const u32;

pub struct Clock;

impl Clock {
    pub fn start() -> Self {
        // SAFETY: a register of the STM32F405 that nothing else here uses;
        // bit 0 starts the timer.
        unsafe { TIM2_CR1.write_volatile(1) };
        Self
    }

    pub fn ticks(&self) -> u32 {
        // SAFETY: reading this register has no side effect.
        unsafe { TIM2_CNT.read_volatile() }
    }
}

/// Without `-icount` the timer tells the host's time instead.
pub fn unit(ticks: u32, turns: u32) -> &'static str {
    if ticks == 2 * turns {
        "instructions"
    } else {
        "ticks"
    }
}

/// The words of `-semihosting-config arg=...`, parted by spaces.
pub fn arguments(buffer: &mut [u8]) -> &str {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and semihosting only
    // ever writes initialised bytes.
    let buffer = unsafe { &mut *(core::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
    match sys_get_cmdline_uninit(buffer) {
        Ok(line) => core::str::from_utf8(line).unwrap_or_default(),
        Err(_) => "",
    }
}

/// Ends the emulator with status 0 or 1.
pub fn exit(success: bool) -> ! {
    semihosting::process::exit(i32::from(!success))
}
