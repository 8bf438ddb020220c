//! The samplers by name, and what each of them needs.

use super::Variance;

/// How x_s is drawn from x_t and x̂_0.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// Ancestral sampling (Ho et al. 2020, algorithm 2).
    Ddpm {
        /// The choice of σ².
        variance: Variance,
    },
    /// Implicit sampling (Song et al. 2021, arXiv:2010.02502, eq. 12); without
    /// noise it is Euler's method on the probability-flow ODE.
    Ddim {
        /// 0 for the deterministic sampler, 1 for as much noise as DDPM with
        /// the posterior variance; 0 to 1.
        eta: f32,
    },
    /// Euler and Maruyama's method on the reverse SDE (Song et al. 2021,
    /// arXiv:2011.13456, eq. 6). Wants many steps.
    EulerMaruyama,
    /// Heun's method on the probability-flow ODE (eq. 13 there), of second
    /// order: asks the denoiser twice a step.
    Heun,
    /// DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2), of
    /// second order: remembers the x̂_0 of the step before.
    DpmSolver,
}

impl Method {
    /// The names that [`from_name`](Self::from_name) knows.
    pub const NAMES: [&'static str; 6] = [
        "ddpm",
        "ddpm-beta",
        "ddim",
        "euler-maruyama",
        "heun",
        "dpm-solver",
    ];

    /// The method of that name; `eta` is DDIM's. `ddpm` has the posterior
    /// variance, `ddpm-beta` the other.
    #[must_use]
    pub fn from_name(name: &str, eta: f32) -> Option<Self> {
        Some(match name {
            "ddpm" => Self::Ddpm {
                variance: Variance::Posterior,
            },
            "ddpm-beta" => Self::Ddpm {
                variance: Variance::Beta,
            },
            "ddim" => Self::Ddim { eta },
            "euler-maruyama" => Self::EulerMaruyama,
            "heun" => Self::Heun,
            "dpm-solver" => Self::DpmSolver,
            _ => return None,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ddpm {
                variance: Variance::Posterior,
            } => "ddpm",
            Self::Ddpm {
                variance: Variance::Beta,
            } => "ddpm-beta",
            Self::Ddim { .. } => "ddim",
            Self::EulerMaruyama => "euler-maruyama",
            Self::Heun => "heun",
            Self::DpmSolver => "dpm-solver",
        }
    }

    /// Whether the sampler needs a [memory](super::Buffers::memory).
    #[must_use]
    pub fn needs_memory(&self) -> bool {
        matches!(self, Self::Heun | Self::DpmSolver)
    }

    /// How often the denoiser is asked for a picture that visits `steps`
    /// timesteps; each time twice with guidance.
    #[must_use]
    pub fn evaluations(&self, steps: u16) -> u16 {
        match self {
            // The step to 0 has one: there is nothing to ask for at 0.
            Self::Heun => steps.saturating_mul(2).saturating_sub(1),
            _ => steps,
        }
    }
}
