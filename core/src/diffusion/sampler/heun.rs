//! Heun's method on the probability-flow ODE: Song et al. 2021
//! (arXiv:2011.13456), eq. 13, solved as in Karras et al. 2022
//! (arXiv:2206.00364), algorithm 1.
//!
//! Its clock is the angle φ with cos φ = sqrt(ᾱ). There the ODE is dx/dφ = v̂,
//! which is bounded and smooth from noise (φ = π/2) to picture (φ = 0); in
//! σ/α the first step of a schedule that ends in pure noise is infinitely long.

use crate::diffusion::prediction::{signal_and_noise, v_hat};
use crate::diffusion::schedule::Transition;

/// With h = φ_s - φ_t:
/// x' = x_t + h v̂(x_t, t), x_s = x_t + h/2 [v̂(x_t, t) + v̂(x', s)].
///
/// The step to 0, where no network is defined, is x̂_0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heun {
    levels: (f32, f32),
    h: f32,
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// From x_t to x', which is Euler's method.
    Predict,
    /// From x' to x_s.
    Correct,
    /// From x_t to x_0.
    Last,
}

impl Heun {
    /// The half that starts at x_t, or else the one that starts at x'.
    pub fn new(transition: &Transition, from_x_t: bool) -> Self {
        let h = angle(transition.alpha_bar_prev) - angle(transition.alpha_bar);
        let (part, alpha_bar) = match from_x_t {
            _ if transition.alpha_bar_prev == 1.0 => (Part::Last, transition.alpha_bar),
            true => (Part::Predict, transition.alpha_bar),
            false => (Part::Correct, transition.alpha_bar_prev),
        };
        Self {
            levels: signal_and_noise(alpha_bar),
            h: h as f32,
            part,
        }
    }

    /// Whether it leads to x', not to x_s.
    pub fn is_half(&self) -> bool {
        self.part == Part::Predict
    }

    /// x' or x_s; `history` holds v̂(x_t, t) in between.
    #[inline]
    pub fn next(&self, x: f32, x0_hat: f32, history: &mut f32) -> f32 {
        let v = v_hat(self.levels, x, x0_hat);
        match self.part {
            Part::Predict => {
                *history = v;
                x + self.h * v
            }
            Part::Correct => x + 0.5 * self.h * (v - *history),
            Part::Last => x0_hat,
        }
    }
}

/// φ.
fn angle(alpha_bar: f64) -> f64 {
    libm::atan2(libm::sqrt(1.0 - alpha_bar), libm::sqrt(alpha_bar))
}
