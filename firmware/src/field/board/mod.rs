//! What differs between the emulator and a board: the line, the flash, and
//! where a request comes from.

#[cfg_attr(feature = "semihosting", path = "mps2.rs")]
#[cfg_attr(feature = "rtt", path = "stm32f405.rs")]
mod hardware;

pub use hardware::{FLASH, Flash, Line, arguments, exit, start};
use tiny_ddpm_slots::{Place, Region};

/// As an STM32F405's sectors are: 256 KiB for the program, then twice three
/// sectors of 128 KiB.
pub const REGION: Region = Region {
    offset: 256 << 10,
    slot_len: 384 << 10,
};

/// The blob at a place that [`Slots`](tiny_ddpm_slots::Slots) named.
pub fn blob(place: Place) -> &'static [u8] {
    crate::mapped(FLASH, place)
}
