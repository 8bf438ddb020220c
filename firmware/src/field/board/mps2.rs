//! QEMU's `mps2-an386`: its first UART is the line.
//!
//! QEMU emulates no flash that can be written, so memory stands for it: the
//! program's own, which keeps its content when the board is reset, as flash
//! does. Bits go from 1 to 0 and pages have the size of an STM32F405's largest
//! sectors.

#[path = "../../board/semihosted.rs"]
mod semihosted;

use core::convert::Infallible;
use cortex_m as _;
use defmt_semihosting as _;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
pub use semihosted::{arguments, exit};

/// Where flash begins.
pub const FLASH: usize = 0;
/// Bytes of it, 256 KiB of which the linker script gives to the program. The
/// machine has 4 MiB there.
const CAPACITY: usize = 1 << 20;

/// Memory that stands for flash.
pub struct Flash(());

impl ErrorType for Flash {
    // `Slots` keeps within the region, on which this was checked.
    type Error = Infallible;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Infallible> {
        for (address, byte) in (FLASH + offset as usize..CAPACITY).zip(bytes) {
            // SAFETY: within the machine's memory, and any byte is a `u8`.
            *byte = unsafe { (address as *const u8).read_volatile() };
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }
}

impl Flash {
    /// Changes the words from `offset` on.
    fn change(&mut self, offset: u32, count: usize, new: impl Fn(usize, u32) -> u32) {
        let start = super::REGION.offset.max(offset) as usize;
        for (index, address) in (start..CAPACITY).step_by(4).take(count).enumerate() {
            let word = address as *mut u32;
            // SAFETY: aligned, within the machine's memory, and behind the
            // program, whose memory the linker script ends there. Slices of it
            // that are in use lie in the other slot.
            unsafe { word.write_volatile(new(index, word.read_volatile())) };
        }
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 128 << 10;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Infallible> {
        self.change(from, to.saturating_sub(from) as usize / 4, |_, _| u32::MAX);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Infallible> {
        let (words, _) = bytes.as_chunks::<4>();
        self.change(offset, words.len(), |index, old| {
            old & words
                .get(index)
                .map_or(u32::MAX, |word| u32::from_le_bytes(*word))
        });
        Ok(())
    }
}

/// The CMSDK's UART 0.
pub struct Line(());

const DATA: *mut u32 = 0x4000_4000 as *mut u32;
const STATE: *const u32 = 0x4000_4004 as *const u32;
const CTRL: *mut u32 = 0x4000_4008 as *mut u32;
const INTCLEAR: *mut u32 = 0x4000_400c as *mut u32;
const BAUDDIV: *mut u32 = 0x4000_4010 as *mut u32;
const TX_FULL: u32 = 1;
const RX_FULL: u32 = 2;
/// Transmitter, receiver and the receiver's interrupt.
const ON: u32 = 1 | 2 | 8;
const RX_INTERRUPT: u32 = 2;
/// The interrupt controller's registers; the receiver's is number 0.
const ENABLE: *mut u32 = 0xe000_e100 as *mut u32;
const UNPEND: *mut u32 = 0xe000_e280 as *mut u32;

/// Starts the board. To be called once.
pub fn start() -> (Line, Flash) {
    // The interrupt wakes the processor, and is never taken.
    cortex_m::interrupt::disable();
    // SAFETY: registers of a UART that nothing else here uses; it is off while
    // its divider is 0.
    unsafe {
        BAUDDIV.write_volatile(16);
        CTRL.write_volatile(ON);
        ENABLE.write_volatile(1);
    }
    (Line(()), Flash(()))
}

impl Line {
    /// A byte, if one has come.
    pub fn read(&mut self) -> Option<u8> {
        // SAFETY: as above; reading the data register takes the byte, which is
        // meant.
        unsafe { (STATE.read_volatile() & RX_FULL != 0).then(|| DATA.read_volatile() as u8) }
    }

    /// Sleeps until something has come. Asking again and again would keep QEMU
    /// from bringing it.
    pub fn wait(&mut self) {
        cortex_m::asm::wfi();
        // SAFETY: as above. What comes from now on wakes the processor again.
        unsafe {
            INTCLEAR.write_volatile(RX_INTERRUPT);
            UNPEND.write_volatile(1);
        }
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // SAFETY: as above.
            unsafe {
                while STATE.read_volatile() & TX_FULL != 0 {}
                DATA.write_volatile(byte.into());
            }
        }
    }
}
