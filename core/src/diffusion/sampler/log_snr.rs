//! The clock of the exponential integrators, λ = ln(sqrt(ᾱ)/σ), half the
//! log-SNR: Lu et al. 2022 (arXiv:2211.01095), section 3.
//!
//! From t to s the probability-flow ODE is solved by
//! x_s = σ_s/σ_t x_t + sqrt(ᾱ_s) ∫ e^(λ - λ_s) x̂_0 dλ, exactly but for x̂_0,
//! for which a polynomial through known values stands. The integrals of its
//! powers, with h = λ_s - λ_t, are the methods below.

/// The way from one timestep to a later one, on that clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    /// h; infinite where it ends at the picture.
    pub h: f64,
    /// σ_s/σ_t.
    pub sigmas: f64,
    /// ∫ e^(λ - λ_s) dλ = 1 - e^-h.
    pub constant: f64,
}

impl Interval {
    /// `from` is ᾱ_t and `to` is ᾱ_s.
    pub fn new(from: f64, to: f64) -> Self {
        let sigmas = libm::sqrt((1.0 - to) / (1.0 - from));
        Self {
            h: lambda(to) - lambda(from),
            sigmas,
            constant: 1.0 - sigmas * libm::sqrt(from / to),
        }
    }

    /// ∫ e^(λ - λ_s) (λ - λ_t) dλ = h - (1 - e^-h).
    pub fn linear(&self) -> f64 {
        self.h - self.constant
    }

    /// ∫ e^(λ - λ_s) (λ - λ_t)² dλ = h² - 2 (h - (1 - e^-h)).
    pub fn quadratic(&self) -> f64 {
        self.h * self.h - 2.0 * self.linear()
    }
}

/// λ.
fn lambda(alpha_bar: f64) -> f64 {
    0.5 * libm::log(alpha_bar / (1.0 - alpha_bar))
}
