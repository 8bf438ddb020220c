//! What a unit of work costs at most, in instructions of a processor: the
//! constants of [`Cost`]'s promise, checked with every model that runs in
//! `cargo xtask hostile` and with the worst networks in
//! `xtask/tests/hostile.rs`.

use tiny_ddpm::graph::Cost;

/// Instructions of each unit.
#[derive(Clone, Copy, Debug)]
pub struct InstructionCost {
    /// A multiply-accumulate.
    pub mac: u64,
    /// A value.
    pub value: u64,
    /// Something in floating point.
    pub float: u64,
    /// A factor of a linear schedule's product, in `f64`.
    pub factor: u64,
    /// Once in each run.
    pub run: u64,
}

/// With a floating-point unit and the DSP extension.
pub const CORTEX_M4: InstructionCost = InstructionCost {
    mac: 6,
    value: 150,
    float: 3000,
    factor: 1000,
    run: 200_000,
};
/// Without either.
pub const CORTEX_M0: InstructionCost = InstructionCost {
    mac: 12,
    value: 250,
    float: 12_000,
    factor: 2000,
    run: 400_000,
};
/// Without floating point.
pub const RV32: InstructionCost = InstructionCost {
    mac: 12,
    value: 250,
    float: 12_000,
    factor: 2000,
    run: 400_000,
};

impl InstructionCost {
    /// Instructions that a step takes at most: `runs` of the network, between
    /// two timesteps of a schedule of `timesteps`.
    #[must_use]
    pub fn step(&self, cost: Cost, runs: u32, timesteps: u16) -> u64 {
        let run = self.mac * u64::from(cost.macs)
            + self.value * u64::from(cost.values)
            + self.float * u64::from(cost.floats)
            + self.run;
        // ᾱ where the step ends, and two more to find the timestep after it by
        // its ratio.
        u64::from(runs) * run + 3 * self.factor * u64::from(timesteps)
    }
}
