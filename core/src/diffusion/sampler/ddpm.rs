//! Ancestral sampling: Ho et al. 2020, algorithm 2, written with x̂_0.

use crate::diffusion::prediction::sqrt_f32;
use crate::diffusion::schedule::Transition;

/// The reverse variance σ_t², between whose two extremes the choice is free
/// (Ho et al. 2020, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Variance {
    /// σ² = β_t: right where x_0 ~ N(0, I).
    Beta,
    /// σ² = β̃_t: right where x_0 is one point.
    Posterior,
}

/// x_s = μ̃(x_t, x̂_0) + σ z, with z = 0 at the last step.
///
/// With x̂_0 written through ε̂ this is
/// 1/sqrt(α) (x_t - β/sqrt(1-ᾱ) ε̂) + σ z; this form lets x̂_0 be clipped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ddpm {
    weight_x0: f32,
    weight_x_t: f32,
    /// σ.
    pub sigma: f32,
}

impl Ddpm {
    pub fn new(transition: &Transition, variance: Variance) -> Self {
        let last = transition.alpha_bar_prev == 1.0;
        Self {
            weight_x0: transition.mean_weight_x0() as f32,
            weight_x_t: transition.mean_weight_x_t() as f32,
            sigma: match variance {
                _ if last => 0.0,
                Variance::Beta => sqrt_f32(transition.beta()),
                Variance::Posterior => sqrt_f32(transition.posterior_variance()),
            },
        }
    }

    /// x_s without its noise.
    #[inline]
    pub fn mean(&self, x: f32, x0_hat: f32) -> f32 {
        self.weight_x0 * x0_hat + self.weight_x_t * x
    }
}
