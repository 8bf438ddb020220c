//! An STM32F405 with a debug probe for the log: USART2 is the line, transmitting
//! on PA2 and receiving on PA3 at 115,200 baud.
//!
//! **Builds, and was never tried on a board.** While this chip erases or writes
//! its flash it stands still, interrupts too; what comes meanwhile is lost, and
//! sent again.

#[path = "../../board/probe.rs"]
mod probe;

use cortex_m::peripheral::NVIC;
use defmt_rtt as _;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use heapless::spsc::{Consumer, Producer, Queue};
pub use probe::{arguments, exit};
use stm32f4xx_hal::flash::{Error, FlashExt, LockedFlash, UnlockedFlash};
use stm32f4xx_hal::pac::{self, interrupt};
use stm32f4xx_hal::serial::{Event, Serial};
use stm32f4xx_hal::{prelude::*, rcc::Config};

/// Where flash begins.
pub const FLASH: usize = 0x0800_0000;

const BAUD: u32 = 115_200;

/// What came while nobody read: a tenth of a second of the line.
type Heard = Queue<u8, 1280>;

/// The chip's flash, unlocked only while it changes.
pub struct Flash(LockedFlash);

impl ErrorType for Flash {
    type Error = Error;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = LockedFlash::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        ReadNorFlash::read(&mut self.0, offset, bytes)
    }

    fn capacity(&self) -> usize {
        ReadNorFlash::capacity(&self.0)
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = UnlockedFlash::WRITE_SIZE;
    const ERASE_SIZE: usize = UnlockedFlash::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        NorFlash::erase(&mut self.0.unlocked(), from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        NorFlash::write(&mut self.0.unlocked(), offset, bytes)
    }
}

/// The line.
pub struct Line {
    heard: Consumer<'static, u8>,
    serial: Option<Serial<pac::USART2>>,
}

/// The interrupt's end of the queue.
static EAR: cortex_m::interrupt::Mutex<core::cell::RefCell<Option<Producer<'static, u8>>>> =
    cortex_m::interrupt::Mutex::new(core::cell::RefCell::new(None));

/// Starts the board. To be called once; there are no peripherals for a second.
pub fn start() -> (Line, Flash) {
    let Some(device) = pac::Peripherals::take() else {
        exit(false)
    };
    let Some(queue) = cortex_m::singleton!(: Heard = Queue::new()) else {
        exit(false)
    };
    let (producer, heard) = queue.split();
    cortex_m::interrupt::free(|cs| EAR.borrow(cs).replace(Some(producer)));
    let mut rcc = device.RCC.freeze(Config::hsi().sysclk(168.MHz()));
    let pins = device.GPIOA.split(&mut rcc);
    let pins = (pins.pa2, pins.pa3);
    let mut serial = device.USART2.serial(pins, BAUD.bps(), &mut rcc).ok();
    if let Some(serial) = &mut serial {
        serial.listen(Event::RxNotEmpty);
        // SAFETY: nothing was masked for a critical section's sake.
        unsafe { NVIC::unmask(pac::Interrupt::USART2) };
    }
    let flash = Flash(LockedFlash::new(device.FLASH));
    (Line { heard, serial }, flash)
}

#[interrupt]
fn USART2() {
    // SAFETY: reading the status and then the data register is what nobody but
    // this handler does; it also takes back an overrun.
    let usart = unsafe { pac::USART2::steal() };
    let status = usart.sr().read();
    if status.rxne().bit_is_set() || status.ore().bit_is_set() {
        let byte = usart.dr().read().dr().bits() as u8;
        cortex_m::interrupt::free(|cs| {
            if let Some(ear) = EAR.borrow(cs).borrow_mut().as_mut() {
                // What has no room is sent again.
                let _ = ear.enqueue(byte);
            }
        });
    }
}

impl Line {
    /// A byte, if one has come.
    pub fn read(&mut self) -> Option<u8> {
        self.heard.dequeue()
    }

    /// Sleeps until something has come.
    pub fn wait(&mut self) {
        // An interrupt that is held back wakes the processor, too: what comes
        // after the question is not slept through.
        cortex_m::interrupt::free(|_| {
            if !self.heard.ready() {
                cortex_m::asm::wfi();
            }
        });
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Some(serial) = &mut self.serial {
            // What does not arrive is asked for again.
            let _ = serial.bwrite_all(bytes);
        }
    }
}
