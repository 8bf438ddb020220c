//! An STM32F405 with a debug probe.

use cortex_m::peripheral::{DCB, DWT};
use defmt_rtt as _;
use stm32f4xx_hal::{pac, prelude::*, rcc::Config};

pub struct Clock;

impl Clock {
    /// 168 MHz from the internal oscillator: no crystal is assumed, and
    /// nothing here needs its precision.
    pub fn start() -> Self {
        if let Some(device) = pac::Peripherals::take() {
            device.RCC.freeze(Config::hsi().sysclk(168.MHz()));
        }
        if let Some(mut core) = cortex_m::Peripherals::take() {
            core.DCB.enable_trace();
            core.DWT.enable_cycle_counter();
        }
        Self
    }

    pub fn ticks(&self) -> u32 {
        DWT::cycle_count()
    }
}

pub fn scale(ticks: u32) -> u32 {
    ticks
}

pub fn unit(_ticks: u32, _turns: u32) -> &'static str {
    "cycles"
}

/// A board has no command line; `TINY_DDPM_ARGS` at build time stands for it.
pub fn arguments(_buffer: &mut [u8]) -> &str {
    option_env!("TINY_DDPM_ARGS").unwrap_or_default()
}

/// Tells `probe-rs run` how it went, or sleeps where nobody listens.
pub fn exit(success: bool) -> ! {
    if DCB::is_debugger_attached() {
        // The log is read from memory; let the probe have the rest of it.
        cortex_m::asm::delay(168_000_000 / 10);
        semihosting::process::exit(i32::from(!success))
    }
    loop {
        cortex_m::asm::wfi();
    }
}
