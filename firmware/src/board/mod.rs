//! What differs between the emulator and a board: where a request comes from,
//! what is counted, and how to end.

/// Where flash begins.
pub const FLASH: usize = if cfg!(board = "stm32f405") {
    0x0800_0000
} else {
    0
};

#[cfg_attr(feature = "semihosting", path = "emulator.rs")]
#[cfg_attr(feature = "rtt", path = "silicon.rs")]
mod hardware;

use hardware::Clock;
pub use hardware::{arguments, exit};

/// Counts what the processor does: instructions in the emulator, cycles on
/// silicon.
pub struct Counter {
    clock: Clock,
    last: u32,
    unit: &'static str,
}

impl Counter {
    /// Starts the board's clocks. To be called once.
    pub fn start() -> Self {
        let clock = Clock::start();
        let mut counter = Self {
            last: clock.ticks(),
            clock,
            unit: "ticks",
        };
        counter.unit = counter.calibrate();
        counter
    }

    /// Ticks since the last call. The hardware wraps after 2^32, some twenty
    /// times what a sampling step of the shipped model takes.
    pub fn lap(&mut self) -> u32 {
        let now = self.clock.ticks();
        hardware::scale(now.wrapping_sub(core::mem::replace(&mut self.last, now)))
    }

    /// What a tick is: "instructions", "cycles", or "ticks" where the
    /// emulator does not count.
    pub fn unit(&self) -> &'static str {
        self.unit
    }

    /// Measures two loops of known length; what reading the counter costs
    /// cancels out in their difference.
    fn calibrate(&mut self) -> &'static str {
        const TURNS: u32 = 10_000;
        let one = self.measure(TURNS);
        let two = self.measure(2 * TURNS);
        hardware::unit(two.wrapping_sub(one), TURNS)
    }

    /// Not inlined, so that both calls run the same instructions.
    #[inline(never)]
    fn measure(&mut self, turns: u32) -> u32 {
        self.lap();
        spin(turns);
        self.lap()
    }
}

/// Two instructions a turn. Aligned, so that silicon fetches it evenly.
fn spin(turns: u32) {
    // SAFETY: touches a register of its own and the flags, and ends, since
    // `turns` is not 0.
    unsafe {
        core::arch::asm!(
            ".p2align 4",
            "2: subs {turns}, {turns}, #1",
            "bne 2b",
            turns = inout(reg) turns => _,
            options(nomem, nostack),
        );
    }
}
