//! DPM-Solver++(2M): Lu et al. 2022 (arXiv:2211.01095), section 4.2.

use super::log_snr::Interval;
use crate::diffusion::prediction::sqrt_f32;
use crate::diffusion::schedule::Transition;

/// x_s = σ_s/σ_t x_t + sqrt(ᾱ_s) ((1 - e^-h) x̂_0(t) + (h - 1 + e^-h) slope),
/// with h = λ_s - λ_t, slope = (x̂_0(t) - x̂_0(before)) / (λ_t - λ_before).
///
/// The line is integrated exactly (their eq. 12 with k = 2). Their algorithm 2
/// takes its middle, (1 - e^-h) h/2, for h - 1 + e^-h: the same order, and less
/// exact where steps are few.
///
/// First order, without a slope, is all there is at the first step, where there
/// is nothing before, and at the last: λ is infinite at t = 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct DpmSolver {
    /// σ_s/σ_t.
    weight_x_t: f32,
    /// sqrt(ᾱ_s) (1 - e^-h).
    weight_x0_hat: f32,
    /// sqrt(ᾱ_s) (h - 1 + e^-h) / (λ_t - λ_before).
    weight_change: Option<f32>,
}

impl DpmSolver {
    /// `before` is the ᾱ that the last step started at.
    pub fn new(transition: &Transition, before: Option<f64>) -> Self {
        let (from, to) = (transition.alpha_bar, transition.alpha_bar_prev);
        let step = Interval::new(from, to);
        let signal = sqrt_f32(to);
        let change = |before| step.linear() / Interval::new(before, from).h;
        let before = before.filter(|_| to < 1.0);
        Self {
            weight_x_t: step.sigmas as f32,
            weight_x0_hat: signal * step.constant as f32,
            weight_change: before.map(|before| signal * change(before) as f32),
        }
    }

    /// x_s; `history` holds x̂_0 from one step to the next.
    #[inline]
    pub fn next(&self, x: f32, x0_hat: f32, history: &mut f32) -> f32 {
        let before = core::mem::replace(history, x0_hat);
        let straight = self.weight_x_t * x + self.weight_x0_hat * x0_hat;
        match self.weight_change {
            Some(weight) => straight + weight * (x0_hat - before),
            None => straight,
        }
    }
}
