//! Which of the T timesteps a short chain visits.

/// The timestep before step `index` of `steps`: evenly spaced from T down,
/// with T always among them ("trailing" in Lin et al. 2024, arXiv:2305.08891,
/// table 2), and 0 once the chain has ended.
///
/// For `steps` of 1 to T the sequence falls strictly.
#[must_use]
pub fn respaced(timesteps: u16, steps: u16, index: u16) -> u16 {
    let (timesteps, steps) = (u64::from(timesteps), u64::from(steps).max(1));
    let left = steps.saturating_sub(u64::from(index));
    // Rounded to the nearest; at most T, so it fits.
    ((2 * timesteps * left + steps) / (2 * steps)) as u16
}
