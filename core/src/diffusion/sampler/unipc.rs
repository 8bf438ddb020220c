//! UniPC, a predictor with a corrector: Zhao et al. 2023 (arXiv:2302.04867),
//! algorithms 5 to 8 (data prediction).
//!
//! A step into t is made before x̂_0(t) is known. As soon as it is, the step is
//! made once more with it (UniC), without asking the network again, and the
//! next step starts from there (UniP). Where the paper has a function B(h) to
//! choose, the polynomials through x̂_0 are integrated exactly here.

use super::log_snr::Interval;
use crate::diffusion::prediction::sqrt_f32;
use crate::diffusion::schedule::Transition;

/// How many x̂_0 the predictor of UniPC knows; its corrector knows one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SolverOrder {
    /// DDIM as predictor, a line for the corrector: remembers one picture.
    First,
    /// [`DpmSolver`](super::Method::DpmSolver) as predictor, a parabola for the
    /// corrector: remembers two pictures.
    Second,
}

/// With the differences Δ = x̂_0(t) - x̂_0(before) and
/// Δ' = x̂_0(before) - x̂_0(earlier), h_b = λ_t - λ_before and
/// h_e = λ_before - λ_earlier:
///
/// correct x_t by sqrt(ᾱ_t) Δ/h_b ∫ e^(λ - λ_t) (λ - λ_before) dλ (first order)
/// or sqrt(ᾱ_t) bend ∫ e^(λ - λ_t) (λ - λ_before) (λ - λ_earlier) dλ (second),
/// with bend = (Δ/h_b - Δ'/h_e) / (h_b + h_e), both from `before` to t;
///
/// predict x_s = σ_s/σ_t x_t + sqrt(ᾱ_s) ((1 - e^-h) x̂_0(t) + (h - 1 + e^-h) slope),
/// with slope = 0 (first order) or Δ/h_b (second).
///
/// All of it is linear, so a pixel takes one sum of products.
#[derive(Clone, Copy, Debug)]
pub(super) struct UniPc {
    /// σ_s/σ_t.
    weight_x_t: f32,
    /// sqrt(ᾱ_s) (1 - e^-h).
    weight_x0_hat: f32,
    /// Of Δ; none at the first step.
    weight_change: Option<f32>,
    /// Of Δ'; none in the first order, and before the third step.
    weight_earlier: Option<f32>,
    /// Values of a pixel's history.
    remembered: usize,
}

impl SolverOrder {
    /// The x̂_0 that are remembered of each pixel.
    pub(super) fn remembered(self) -> usize {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }
}

impl UniPc {
    /// `behind` are the ᾱ that the last step and the one before it started at.
    pub fn new(transition: &Transition, behind: [Option<f64>; 2], order: SolverOrder) -> Self {
        let (from, to) = (transition.alpha_bar, transition.alpha_bar_prev);
        let step = Interval::new(from, to);
        let [signal_t, signal_s] = [from, to].map(libm::sqrt);
        let [before, earlier] = behind;
        let last = before.map(|before| Interval::new(before, from));
        let last_but_one = match order {
            SolverOrder::First => None,
            SolverOrder::Second => before
                .zip(earlier)
                .map(|(before, earlier)| Interval::new(earlier, before)),
        };
        let predicted = |last: Interval| match order {
            SolverOrder::Second if to < 1.0 => signal_s * step.linear() / last.h,
            _ => 0.0,
        };
        let corrected = |last: Interval| match last_but_one {
            None => step.sigmas * signal_t * last.linear() / last.h,
            Some(earlier) => step.sigmas * bend(signal_t, last, earlier) / last.h,
        };
        let change = last.map(|last| predicted(last) + corrected(last));
        let earlier_change = last
            .zip(last_but_one)
            .map(|(last, earlier)| -step.sigmas * bend(signal_t, last, earlier) / earlier.h);
        Self {
            weight_x_t: step.sigmas as f32,
            weight_x0_hat: sqrt_f32(to) * step.constant as f32,
            weight_change: change.map(|weight| weight as f32),
            weight_earlier: earlier_change.map(|weight| weight as f32),
            remembered: order.remembered(),
        }
    }

    /// x_s of pixel `at`. Beside each other, `history` holds its last x̂_0 and, in
    /// the second order, the one before.
    #[inline]
    pub fn next(&self, x: f32, x0_hat: f32, history: &mut [f32], at: usize) -> f32 {
        let start = at * self.remembered;
        let history = history.get_mut(start..start + self.remembered);
        let mut next = self.weight_x_t * x + self.weight_x0_hat * x0_hat;
        let mut later = x0_hat;
        for (weight, earlier) in [self.weight_change, self.weight_earlier]
            .iter()
            .zip(history.unwrap_or_default())
        {
            let earlier = core::mem::replace(earlier, later);
            if let Some(weight) = weight {
                next += weight * (later - earlier);
            }
            later = earlier;
        }
        next
    }
}

/// sqrt(ᾱ_t) / (h_b + h_e) ∫ e^(λ - λ_t) (λ - λ_before) (λ - λ_earlier) dλ from
/// `before` to t.
fn bend(signal: f64, last: Interval, earlier: Interval) -> f64 {
    signal * (last.quadratic() + earlier.h * last.linear()) / (last.h + earlier.h)
}
