//! A sampler that is driven step by step between feedings of a watchdog.
//!
//! The watchdog's time is what [`cost`](super::cost) says that a step of the
//! device's model takes at most. It is Arm's CMSDK watchdog: at the end of its
//! time there is an interrupt that nothing can mask, and at the end of another
//! a reset.

use super::HERE;
use super::board::Counter;
use super::memory::Hash;
use super::step::Room;
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m_rt::exception;
use semihosting::println;
use tiny_ddpm::graph::Cost;
use tiny_ddpm::{InPlaceSampler, Method, Model, Settings, Unet};

/// Nanoseconds of an instruction under `-icount shift=8`, and of a tick of the
/// watchdog's clock of 25 MHz.
const INSTRUCTION: u64 = 256;
const TICK: u64 = 40;

/// Registers of the watchdog.
const BASE: *mut u32 = 0x4000_8000 as *mut u32;
const LOAD: usize = 0;
const CONTROL: usize = 2;
const CLEAR: usize = 3;
const LOCK: usize = 0xc00 / 4;
const UNLOCK: u32 = 0x1acc_e551;
/// An interrupt, and then a reset.
const BOTH: u32 = 0b11;

/// Steps done so far, for the interrupt.
static STEPS: AtomicU32 = AtomicU32::new(0);

struct Watchdog;

impl Watchdog {
    fn start(ticks: u32) -> Self {
        // SAFETY: registers of the watchdog, which nothing else here uses.
        unsafe {
            BASE.add(LOCK).write_volatile(UNLOCK);
            BASE.add(LOAD).write_volatile(ticks);
            BASE.add(CONTROL).write_volatile(BOTH);
        }
        Self
    }

    /// Gives it all its time again.
    fn feed(&mut self) {
        // SAFETY: as above.
        unsafe { BASE.add(CLEAR).write_volatile(1) };
    }

    fn stop(self) {
        // SAFETY: as above.
        unsafe { BASE.add(CONTROL).write_volatile(0) };
    }
}

#[exception]
unsafe fn NonMaskableInt() -> ! {
    let steps = STEPS.load(Ordering::Relaxed);
    println!("the watchdog bites after {steps} steps");
    // Until it resets the board.
    loop {
        core::hint::spin_loop();
    }
}

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// The device's own model, the watchdog fed after each step.
    Fed,
    /// The same without feeding.
    Starved,
    /// A model that asks for more than the device has time for, looked at
    /// before it is run.
    Checked,
    /// The same without looking.
    Unchecked,
}

impl Trial {
    /// The trial of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "fed" => Self::Fed,
            "starved" => Self::Starved,
            "checked" => Self::Checked,
            "unchecked" => Self::Unchecked,
            _ => return None,
        })
    }
}

/// Why there is no picture.
#[derive(Debug)]
#[expect(dead_code, reason = "the reasons are printed")]
pub enum WatchdogError {
    /// A blob is no model.
    Blob(tiny_ddpm::BlobError),
    /// A step would take longer than the watchdog waits.
    TooMuchWork {
        /// Instructions.
        needed: u64,
        /// Instructions.
        limit: u64,
    },
    /// A setting is out of range.
    Settings(tiny_ddpm::SettingsError),
    /// The network does not run.
    Unet(tiny_ddpm::UnetError),
}

/// Instructions that a step of the model takes at most, guided.
fn most(model: &Model<'_>) -> u64 {
    let work = Cost::of(model.topology());
    HERE.step(work, 2, model.schedule().timesteps())
}

/// Runs a trial with the device's model and a `larger` one.
pub fn run(
    trial: Trial,
    counter: Counter,
    [own, larger]: [&[u8]; 2],
    room: &mut Room,
) -> Result<(), WatchdogError> {
    let own = Model::load(own).map_err(WatchdogError::Blob)?;
    let larger = Model::load(larger).map_err(WatchdogError::Blob)?;
    let limit = most(&own);
    let model = match trial {
        Trial::Fed | Trial::Starved => &own,
        Trial::Checked | Trial::Unchecked => &larger,
    };
    let needed = most(model);
    if needed > limit && trial != Trial::Unchecked {
        return Err(WatchdogError::TooMuchWork { needed, limit });
    }
    let settings = Settings::new(Method::Ddim { eta: 0.0 }, 40)
        .class(Some(0))
        .seed(1)
        .guidance(0.5);
    let x = &mut room.x[..model.topology().pixels()];
    let mut unet = Unet::new(model, &mut room.workspace).map_err(WatchdogError::Unet)?;
    let mut sampler = InPlaceSampler::new(model.schedule(), settings, x, &mut [])
        .map_err(WatchdogError::Settings)?;
    let mut longest = 0;
    let mut watchdog = Watchdog::start((limit * INSTRUCTION / TICK) as u32);
    loop {
        let start = counter.stamp();
        let step = sampler.step(&mut unet).map_err(WatchdogError::Unet)?;
        longest = longest.max(counter.between(start, counter.stamp()));
        if step.is_none() {
            break;
        }
        // A Cortex-M0 cannot add atomically, and only this writes.
        STEPS.store(STEPS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if trial != Trial::Starved {
            watchdog.feed();
        }
    }
    watchdog.stop();
    let mut hash = Hash::empty();
    hash.add_floats(sampler.x());
    println!(
        "@watchdog steps={} limit={limit} longest={longest} hash={:08x}",
        STEPS.load(Ordering::Relaxed),
        hash.0
    );
    Ok(())
}
