//! The samplers by name, and what each of them needs.

use super::ddpm::Variance;
use super::unipc::SolverOrder;

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
    /// UniPC (Zhao et al. 2023, arXiv:2302.04867): makes each step once more
    /// when the next x̂_0 is known, without asking the denoiser again.
    UniPc {
        /// How many x̂_0 the predictor knows.
        order: SolverOrder,
    },
    /// Multistep consistency sampling (Song et al. 2023, arXiv:2303.01469,
    /// algorithm 1): x̂_0, noised afresh to the next timestep. For networks that
    /// were distilled to these timesteps.
    Consistency,
}

impl Method {
    /// The names that [`from_name`](Self::from_name) knows.
    pub const NAMES: [&'static str; 9] = [
        "ddpm",
        "ddpm-beta",
        "ddim",
        "euler-maruyama",
        "heun",
        "dpm-solver",
        "unipc",
        "unipc-1",
        "consistency",
    ];

    /// The method of that name; `eta` is DDIM's. `ddpm` has the posterior
    /// variance, `ddpm-beta` the other; `unipc` is of the second order,
    /// `unipc-1` of the first.
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
            "unipc" => Self::UniPc {
                order: SolverOrder::Second,
            },
            "unipc-1" => Self::UniPc {
                order: SolverOrder::First,
            },
            "consistency" => Self::Consistency,
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
            Self::UniPc {
                order: SolverOrder::Second,
            } => "unipc",
            Self::UniPc {
                order: SolverOrder::First,
            } => "unipc-1",
            Self::Consistency => "consistency",
        }
    }

    /// The length of the [history](super::Buffers::history) that the sampler needs
    /// for a picture of `pixels`: none, one picture or two.
    #[must_use]
    pub fn history_len(&self, pixels: usize) -> usize {
        let pictures = match self {
            Self::Heun | Self::DpmSolver => 1,
            Self::UniPc { order } => order.remembered(),
            _ => 0,
        };
        pixels.saturating_mul(pictures)
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
