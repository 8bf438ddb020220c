//! Euler and Maruyama's method on the reverse SDE: Song et al. 2021
//! (arXiv:2011.13456), eq. 6 with the variance-preserving SDE of eq. 11.

use crate::diffusion::prediction::sqrt_f32;
use crate::diffusion::prediction::{epsilon_hat, signal_and_noise};
use crate::diffusion::schedule::Transition;

/// dx = -β/2 [x + 2 s(x, t)] dt + sqrt(β) dw, backwards in time, with the score
/// s = -ε̂ / sqrt(1 - ᾱ). A step takes x, s and the noise from its start:
/// x_s = x_t + B/2 [x_t + 2 s] + sqrt(B) z, where B is the integral of β.
///
/// The score is not defined at t = 0, so the last step is Tweedie's formula,
/// E\[x_0 | x_t\] = x̂_0, which has no noise.
#[derive(Clone, Copy, Debug)]
pub(super) struct EulerMaruyama {
    levels: (f32, f32),
    /// B.
    beta: f32,
    last: bool,
    /// sqrt(B).
    pub sigma: f32,
}

impl EulerMaruyama {
    pub fn new(transition: &Transition) -> Self {
        let last = transition.alpha_bar_prev == 1.0;
        // ᾱ_t = exp(-the integral from 0 to t).
        let beta = -libm::log(transition.alpha());
        Self {
            levels: signal_and_noise(transition.alpha_bar),
            beta: beta as f32,
            last,
            sigma: if last { 0.0 } else { sqrt_f32(beta) },
        }
    }

    /// x_s without its noise.
    #[inline]
    pub fn mean(&self, x: f32, x0_hat: f32) -> f32 {
        if self.last {
            return x0_hat;
        }
        let (_, noise) = self.levels;
        let score = -epsilon_hat(self.levels, x, x0_hat) / noise;
        x + 0.5 * self.beta * (x + 2.0 * score)
    }
}
