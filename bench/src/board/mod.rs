//! The emulated machines, and the instruction counter that each of them has.
//!
//! QEMU with `-icount` advances its clock by the same time for each
//! instruction, so that any timer that is fine enough counts instructions.
//! They are instructions, not cycles: what a load waits for memory, or a
//! branch for the pipeline, is not in them.

#[cfg_attr(target_arch = "arm", path = "arm.rs")]
#[cfg_attr(target_arch = "riscv32", path = "riscv.rs")]
mod hardware;

pub use hardware::{misread, prepare};

/// Turns of the loop that shows whether counts are right.
const TURNS: u32 = 10_000;

/// A moment.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(u32);

/// Counts instructions between moments.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    /// What taking a stamp costs.
    overhead: u64,
}

impl Counter {
    /// Starts the clock; `None` if it does not count instructions, which loops
    /// of known length show.
    pub fn start() -> Option<Self> {
        hardware::start();
        let mut counter = Self { overhead: 0 };
        counter.overhead = counter.of(&mut || ());
        let [none, one, two] = [1, TURNS, 2 * TURNS].map(|turns| {
            let turns = core::hint::black_box(turns);
            counter.of(&mut || hardware::spin(turns))
        });
        // Beside the loop there is what hands `turns` to it.
        let exact = one == none + 2 * u64::from(TURNS - 1) && two == one + 2 * u64::from(TURNS);
        (exact && (2..=8).contains(&none)).then_some(counter)
    }

    /// Instructions that `work` takes. Not inlined, and not knowing what it
    /// calls: so all it measures costs the same beside the work itself.
    #[inline(never)]
    pub fn of(self, work: &mut dyn FnMut()) -> u64 {
        let start = self.stamp();
        work();
        self.between(start, self.stamp())
    }

    /// The time.
    #[inline(never)]
    pub fn stamp(self) -> Stamp {
        Stamp(hardware::ticks())
    }

    /// Instructions from one moment to another, less what taking a stamp
    /// costs. The hardware wraps after more than 6 * 10^8 instructions.
    pub fn between(self, start: Stamp, end: Stamp) -> u64 {
        let ticks = end.0.wrapping_sub(start.0);
        hardware::instructions(ticks).saturating_sub(self.overhead)
    }
}
