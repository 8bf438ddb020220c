//! Implicit sampling: Song, Meng & Ermon 2021 (arXiv:2010.02502), eq. 12.
//!
//! Without noise it is Euler's method on the probability-flow ODE, written as
//! dx̄ = ε̂ dσ̄ for x̄ = x / sqrt(ᾱ) and σ̄ = sqrt(1 - ᾱ) / sqrt(ᾱ) (eq. 14 there).

use crate::diffusion::prediction::sqrt_f32;
use crate::diffusion::prediction::{epsilon_hat, signal_and_noise};
use crate::diffusion::schedule::Transition;

/// x_s = sqrt(ᾱ_s) x̂_0 + sqrt(1 - ᾱ_s - σ²) ε̂ + σ z, with σ = η sqrt(β̃).
#[derive(Clone, Copy, Debug)]
pub(super) struct Ddim {
    levels: (f32, f32),
    signal_prev: f32,
    direction: f32,
    /// σ.
    pub sigma: f32,
}

impl Ddim {
    pub fn new(transition: &Transition, eta: f32) -> Self {
        let variance = f64::from(eta) * f64::from(eta) * transition.posterior_variance();
        Self {
            levels: signal_and_noise(transition.alpha_bar),
            signal_prev: sqrt_f32(transition.alpha_bar_prev),
            direction: sqrt_f32(1.0 - transition.alpha_bar_prev - variance),
            sigma: sqrt_f32(variance),
        }
    }

    /// x_s without its noise.
    #[inline]
    pub fn mean(&self, x: f32, x0_hat: f32) -> f32 {
        self.signal_prev * x0_hat + self.direction * epsilon_hat(self.levels, x, x0_hat)
    }
}
