//! DPM-Solver++(2M): Lu et al. 2022 (arXiv:2211.01095), algorithm 2.
//!
//! Between two timesteps the probability-flow ODE is solved exactly but for
//! x̂_0, which changes on the way; a line through its last two values stands
//! for it. The clock is λ = ln(α/σ), half the log-SNR.

use super::sqrt_f32;
use crate::schedule::Transition;

/// x_s = σ_s/σ_t x_t - α_s (e^-h - 1) D, with h = λ_s - λ_t,
/// D = (1 + 1/2r) x̂_0(t) - 1/2r x̂_0(before), r = (λ_t - λ_before) / h.
///
/// First order, D = x̂_0(t), is all there is at the first step, where there is
/// nothing before, and at the last: λ is infinite at t = 0, so r is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct DpmSolver {
    /// σ_s/σ_t.
    weight_x_t: f32,
    /// α_s (1 - e^-h).
    weight_d: f32,
    /// 1/2r.
    lead: Option<f32>,
}

impl DpmSolver {
    /// `before` is the ᾱ that the last step started at.
    pub fn new(transition: &Transition, before: Option<f64>) -> Self {
        let (from, to) = (transition.alpha_bar, transition.alpha_bar_prev);
        let sigmas = libm::sqrt((1.0 - to) / (1.0 - from));
        let exp_minus_h = sigmas * libm::sqrt(from / to);
        let before = before.filter(|_| to < 1.0);
        let lead = |before| (lambda(to) - lambda(from)) / (lambda(from) - lambda(before)) / 2.0;
        Self {
            weight_x_t: sigmas as f32,
            weight_d: sqrt_f32(to) * (1.0 - exp_minus_h) as f32,
            lead: before.map(|before| lead(before) as f32),
        }
    }

    /// x_s; `memory` holds x̂_0 from one step to the next.
    #[inline]
    pub fn next(&self, x: f32, x0_hat: f32, memory: &mut f32) -> f32 {
        let before = core::mem::replace(memory, x0_hat);
        let d = match self.lead {
            Some(lead) => x0_hat + lead * (x0_hat - before),
            None => x0_hat,
        };
        self.weight_x_t * x + self.weight_d * d
    }
}

/// λ = ln(α/σ).
fn lambda(alpha_bar: f64) -> f64 {
    0.5 * libm::log(alpha_bar / (1.0 - alpha_bar))
}
