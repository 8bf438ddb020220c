//! Implicit sampling: Song, Meng & Ermon 2021 (arXiv:2010.02502), eq. 12.

use super::{noise_term, sqrt_f32};
use crate::noise::Noise;
use crate::prediction::signal_and_noise;
use crate::schedule::Transition;

/// x_s = sqrt(ᾱ_s) x̂_0 + sqrt(1 - ᾱ_s - σ²) ε̂ + σ z, with σ = η sqrt(β̃).
pub(super) fn step(
    transition: &Transition,
    eta: f32,
    x: &mut [f32],
    x0_hat: &[f32],
    noise: &mut Noise,
) {
    let variance = f64::from(eta) * f64::from(eta) * transition.posterior_variance();
    let sigma = sqrt_f32(variance);
    let signal_prev = sqrt_f32(transition.alpha_bar_prev);
    let direction = sqrt_f32(1.0 - transition.alpha_bar_prev - variance);
    let (signal, noise_level) = signal_and_noise(transition.alpha_bar);
    for (x, &x0_hat) in x.iter_mut().zip(x0_hat) {
        let epsilon_hat = (*x - signal * x0_hat) / noise_level;
        *x = signal_prev * x0_hat + direction * epsilon_hat + noise_term(sigma, noise);
    }
}
