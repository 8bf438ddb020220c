//! Multistep consistency sampling: Song et al. 2023 (arXiv:2303.01469),
//! algorithm 1. For networks that were distilled to few steps.

use crate::diffusion::prediction::sqrt_f32;
use crate::diffusion::schedule::Transition;

/// x_s = sqrt(ᾱ_s) x̂_0 + sqrt(1 - ᾱ_s) z: all noise is replaced, none of x_t's
/// is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Consistency {
    signal_prev: f32,
    /// sqrt(1 - ᾱ_s).
    pub sigma: f32,
}

impl Consistency {
    pub fn new(transition: &Transition) -> Self {
        Self {
            signal_prev: sqrt_f32(transition.alpha_bar_prev),
            sigma: sqrt_f32(1.0 - transition.alpha_bar_prev),
        }
    }

    /// x_s without its noise.
    #[inline]
    pub fn mean(&self, x0_hat: f32) -> f32 {
        self.signal_prev * x0_hat
    }
}
