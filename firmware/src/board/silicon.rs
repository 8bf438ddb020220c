//! An STM32F405 with a debug probe.

mod probe;

use cortex_m::peripheral::DWT;
use defmt_rtt as _;
pub use probe::{arguments, exit};
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
