//! What the microcontroller computes, computed here: the same source files.

#[path = "../../../bench/src/check.rs"]
pub mod check;
#[path = "../../../bench/src/cost.rs"]
pub mod cost;
#[path = "../../../bench/src/hostile.rs"]
pub mod hostile;
#[path = "../../../bench/src/layers.rs"]
pub mod layers;
#[path = "../../../bench/src/memory.rs"]
pub mod memory;
#[path = "../../../bench/src/mutate.rs"]
pub mod mutate;

use check::Outcome;
use memory::{Hash, Memory, Random};
use std::sync::{LazyLock, Mutex, PoisonError};
use tiny_ddpm::{Denoiser as _, Model, Unet, UnetError};

/// Of the noisy picture, as on the microcontroller.
const SEED: u32 = 7;
/// Of the picture's noise, likewise.
const TIMESTEP: u16 = 500;

/// All checks, on this computer.
#[must_use]
pub fn check() -> Vec<Outcome> {
    // Too large for the stack.
    static MEMORY: Mutex<Memory> = Mutex::new(Memory::zeros());
    static OUTCOMES: LazyLock<Vec<Outcome>> = LazyLock::new(|| {
        let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
        vec![
            check::convolutions(&mut memory, false, |mismatch| println!("{mismatch}")),
            check::normalisations(&mut memory),
            check::attentions(&mut memory),
            check::linears(&mut memory),
            check::misfits(),
        ]
    });
    OUTCOMES.clone()
}

/// The hash of what a model predicts in the step that is counted.
///
/// # Errors
/// If the model does not run.
pub fn step(model: &Model<'_>) -> Result<u32, UnetError> {
    let pixels = model.topology().pixels();
    let (mut x, mut out) = (vec![0.0; pixels], vec![0.0; pixels]);
    let mut workspace = vec![0; model.workspace_words()];
    Random::new(SEED).picture(&mut x);
    let class = (model.topology().classes > 0).then_some(0);
    Unet::new(model, &mut workspace)?.predict(&x, TIMESTEP, class, &mut out)?;
    let mut hash = Hash::empty();
    hash.add_floats(&out);
    Ok(hash.0)
}
