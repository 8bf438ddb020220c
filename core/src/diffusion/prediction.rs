//! The three quantities that a network may predict, and the conversion between
//! them: given x_t, ε, x_0 and v are linear in each other.

use serde::{Deserialize, Serialize};

/// The quantity that a network was trained to predict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Prediction {
    /// The noise ε (Ho et al. 2020, eq. 14).
    Epsilon,
    /// The clean picture x_0.
    X0,
    /// v = sqrt(ᾱ) ε - sqrt(1 - ᾱ) x_0 (Salimans & Ho 2022,
    /// arXiv:2202.00512, appendix D).
    V,
}

impl Prediction {
    /// x̂_0 from x_t and the network's output, value by value:
    /// `x_t` and `output` have one length, and `output` becomes x̂_0.
    pub fn to_x0_hat(self, alpha_bar: f64, x_t: &[f32], output: &mut [f32]) {
        let (signal, noise) = signal_and_noise(alpha_bar);
        for (out, &x) in output.iter_mut().zip(x_t) {
            *out = self.x0_hat((signal, noise), x, *out);
        }
    }

    /// The same for one value, with [`signal_and_noise`].
    #[inline]
    #[must_use]
    pub fn x0_hat(self, (signal, noise): (f32, f32), x_t: f32, output: f32) -> f32 {
        match self {
            Self::Epsilon => (x_t - noise * output) / signal,
            Self::X0 => output,
            Self::V => signal * x_t - noise * output,
        }
    }

    /// The training target for a clean value and its noise.
    #[must_use]
    pub fn target(self, alpha_bar: f64, x_0: f32, epsilon: f32) -> f32 {
        let (signal, noise) = signal_and_noise(alpha_bar);
        match self {
            Self::Epsilon => epsilon,
            Self::X0 => x_0,
            Self::V => signal * epsilon - noise * x_0,
        }
    }
}

/// ε̂ of one value from its x̂_0, with [`signal_and_noise`].
#[inline]
#[must_use]
pub fn epsilon_hat((signal, noise): (f32, f32), x_t: f32, x0_hat: f32) -> f32 {
    (x_t - signal * x0_hat) / noise
}

/// v̂ = sqrt(ᾱ) ε̂ - sqrt(1 - ᾱ) x̂_0 of one value from its x̂_0 alone, likewise.
#[inline]
#[must_use]
pub fn v_hat((signal, noise): (f32, f32), x_t: f32, x0_hat: f32) -> f32 {
    (signal * x_t - x0_hat) / noise
}

/// sqrt(ᾱ) and sqrt(1 - ᾱ): x_t = signal x_0 + noise ε.
#[must_use]
pub fn signal_and_noise(alpha_bar: f64) -> (f32, f32) {
    (
        libm::sqrt(alpha_bar) as f32,
        libm::sqrt(1.0 - alpha_bar) as f32,
    )
}

/// The root of a variance in `f32`; rounding below zero counts as zero.
pub(super) fn sqrt_f32(value: f64) -> f32 {
    libm::sqrt(value.max(0.0)) as f32
}
