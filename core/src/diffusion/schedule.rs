//! The noise schedule: how much of the picture is left at each timestep.
//!
//! Timesteps count as in Ho et al. 2020 (arXiv:2006.11239): `1..=T`, and 0 is
//! the clean picture, so `alpha_bar(0) == 1`. Everything is computed in `f64`
//! when asked for and nothing is stored: a chip needs a few values per sampling
//! step, and a table for a thousand timesteps would cost it kilobytes.
//!
//! Only IEEE 754 basic operations and `libm` are used, so every target gets the
//! same bits.

use serde::{Deserialize, Serialize};

/// Most timesteps a schedule may have.
pub const MAX_TIMESTEPS: u16 = 4000;

/// Largest β of the cosine schedule (Nichol & Dhariwal 2021, section 3.2).
const COSINE_MAX_BETA: f64 = 0.999;
/// Offset `s` of the cosine schedule (same section).
const COSINE_OFFSET: f64 = 0.008;
/// Smallest β: sqrt(β) is then far from `f32` rounding, and 1 - β is not 1.
const MIN_BETA: f64 = 1e-12;
/// Smallest ᾱ_T: its root divides, in `f32`.
const MIN_ALPHA_BAR: f64 = 1e-30;

/// The rule that gives β_t.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ScheduleKind {
    /// β_t rises in equal steps from `beta_start` at t = 1 to `beta_end` at
    /// t = T (Ho et al. 2020, section 4).
    Linear {
        /// β_1, 1e-12 to `beta_end`.
        beta_start: f64,
        /// β_T, below 1.
        beta_end: f64,
    },
    /// ᾱ_t follows a squared cosine (Nichol & Dhariwal 2021,
    /// arXiv:2102.09672, eq. 17).
    Cosine,
}

impl ScheduleKind {
    /// The linear schedule of Ho et al. 2020: 1e-4 to 0.02.
    pub const LINEAR: Self = Self::Linear {
        beta_start: 1e-4,
        beta_end: 0.02,
    };
}

/// A schedule that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ScheduleError {
    /// T is 0 or above [`MAX_TIMESTEPS`].
    Timesteps {
        /// The T that was asked for.
        found: u16,
    },
    /// A β of the linear schedule is below 1e-12 or not below 1, or they fall.
    Beta,
    /// The betas are so large that nothing of the picture is left at t = T:
    /// ᾱ_T is below 1e-30.
    AlphaBar,
}

impl core::fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Timesteps { found } => {
                write!(f, "{found} timesteps: must be 1 to {MAX_TIMESTEPS}")
            }
            Self::Beta => f.write_str("betas must satisfy 1e-12 <= beta_start <= beta_end < 1"),
            Self::AlphaBar => {
                f.write_str("betas too large: alpha_bar at the last timestep is below 1e-30")
            }
        }
    }
}

impl core::error::Error for ScheduleError {}

/// A noise schedule with T timesteps.
///
/// ```
/// use tiny_ddpm::{Schedule, ScheduleKind};
/// let schedule = Schedule::new(ScheduleKind::LINEAR, 1000)?;
/// assert_eq!(schedule.alpha_bar(0), 1.0);
/// assert!(schedule.alpha_bar(1000) < 1e-4);
/// # Ok::<(), tiny_ddpm::ScheduleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    kind: ScheduleKind,
    timesteps: u16,
}

impl Schedule {
    /// A schedule of `timesteps` steps, 1 to [`MAX_TIMESTEPS`].
    ///
    /// # Errors
    /// [`ScheduleError`] where T or a β is out of range.
    pub fn new(kind: ScheduleKind, timesteps: u16) -> Result<Self, ScheduleError> {
        if timesteps == 0 || timesteps > MAX_TIMESTEPS {
            return Err(ScheduleError::Timesteps { found: timesteps });
        }
        if let ScheduleKind::Linear {
            beta_start,
            beta_end,
        } = kind
        {
            // Written so that a NaN fails.
            let in_order = beta_start >= MIN_BETA && beta_start <= beta_end && beta_end < 1.0;
            if !in_order {
                return Err(ScheduleError::Beta);
            }
        }
        let schedule = Self { kind, timesteps };
        if schedule.alpha_bar(timesteps) < MIN_ALPHA_BAR {
            return Err(ScheduleError::AlphaBar);
        }
        Ok(schedule)
    }

    /// The rule that gives β_t.
    #[must_use]
    pub fn kind(&self) -> ScheduleKind {
        self.kind
    }

    /// T, the number of timesteps.
    #[must_use]
    pub fn timesteps(&self) -> u16 {
        self.timesteps
    }

    /// β_t, the variance added by step `timestep`, in (0, 1); 0 at t = 0.
    /// Timesteps above T count as T.
    #[must_use]
    pub fn beta(&self, timestep: u16) -> f64 {
        let t = timestep.min(self.timesteps);
        if t == 0 {
            return 0.0;
        }
        match self.kind {
            ScheduleKind::Linear {
                beta_start,
                beta_end,
            } => {
                if self.timesteps == 1 {
                    return beta_start;
                }
                let fraction = f64::from(t - 1) / f64::from(self.timesteps - 1);
                beta_start + (beta_end - beta_start) * fraction
            }
            ScheduleKind::Cosine => {
                let beta = 1.0 - self.cosine(t) / self.cosine(t - 1);
                beta.min(COSINE_MAX_BETA)
            }
        }
    }

    /// α_t = 1 - β_t.
    #[must_use]
    pub fn alpha(&self, timestep: u16) -> f64 {
        1.0 - self.beta(timestep)
    }

    /// ᾱ_t = Π α_i for i in 1..=t: the share of the picture's variance that is
    /// left. 1 at t = 0. Timesteps above T count as T.
    #[must_use]
    pub fn alpha_bar(&self, timestep: u16) -> f64 {
        self.alpha_bar_from(0, 1.0, timestep)
    }

    /// ᾱ at `timestep`, the same bits as [`alpha_bar`](Self::alpha_bar) gives,
    /// where ᾱ is known at `earlier`, which is not above it: a linear schedule's
    /// product goes on from there.
    pub(crate) fn alpha_bar_from(&self, earlier: u16, known: f64, timestep: u16) -> f64 {
        let t = timestep.min(self.timesteps);
        match self.kind {
            ScheduleKind::Linear { .. } => {
                (earlier.saturating_add(1)..=t).fold(known, |product, i| product * self.alpha(i))
            }
            // The product telescopes; β is cut at the last timestep alone,
            // where the cosine reaches 0.
            ScheduleKind::Cosine if t == self.timesteps => {
                self.cosine(t - 1) / self.cosine(0) * self.alpha(t)
            }
            ScheduleKind::Cosine => self.cosine(t) / self.cosine(0),
        }
    }

    /// Signal-to-noise ratio ᾱ_t / (1 - ᾱ_t); infinite at t = 0.
    #[must_use]
    pub fn snr(&self, timestep: u16) -> f64 {
        let alpha_bar = self.alpha_bar(timestep);
        alpha_bar / (1.0 - alpha_bar)
    }

    /// The step from timestep `t` back to an earlier `s`, adjacent or not.
    ///
    /// `s >= t` gives the step to 0.
    #[must_use]
    pub fn transition(&self, t: u16, s: u16) -> Transition {
        let s = if s < t { s } else { 0 };
        Transition {
            alpha_bar: self.alpha_bar(t),
            alpha_bar_prev: self.alpha_bar(s),
        }
    }

    /// f(t) of Nichol & Dhariwal, eq. 17.
    fn cosine(&self, t: u16) -> f64 {
        let fraction = f64::from(t) / f64::from(self.timesteps);
        let angle = (fraction + COSINE_OFFSET) / (1.0 + COSINE_OFFSET);
        let cos = libm::cos(angle * core::f64::consts::FRAC_PI_2);
        cos * cos
    }
}

/// The coefficients of q(x_s | x_t, x_0) for one step back, s < t.
///
/// For adjacent timesteps these are α_t, β_t, β̃_t and μ̃_t of Ho et al. 2020,
/// eq. 7; for a respaced chain they are those of the chain that visits only
/// the chosen timesteps (Nichol & Dhariwal 2021, section 4).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    /// ᾱ_t.
    pub alpha_bar: f64,
    /// ᾱ_s.
    pub alpha_bar_prev: f64,
}

impl Transition {
    /// α = ᾱ_t / ᾱ_s.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        self.alpha_bar / self.alpha_bar_prev
    }

    /// β = 1 - α, the upper choice of the reverse variance.
    #[must_use]
    pub fn beta(&self) -> f64 {
        1.0 - self.alpha()
    }

    /// β̃ = (1 - ᾱ_s) / (1 - ᾱ_t) β, the posterior's variance and the lower
    /// choice of the reverse variance. 0 for the step to the clean picture.
    #[must_use]
    pub fn posterior_variance(&self) -> f64 {
        (1.0 - self.alpha_bar_prev) / (1.0 - self.alpha_bar) * self.beta()
    }

    /// The weight of x_0 in the posterior mean μ̃: sqrt(ᾱ_s) β / (1 - ᾱ_t).
    #[must_use]
    pub fn mean_weight_x0(&self) -> f64 {
        libm::sqrt(self.alpha_bar_prev) * self.beta() / (1.0 - self.alpha_bar)
    }

    /// The weight of x_t in the posterior mean μ̃:
    /// sqrt(α) (1 - ᾱ_s) / (1 - ᾱ_t).
    #[must_use]
    pub fn mean_weight_x_t(&self) -> f64 {
        libm::sqrt(self.alpha()) * (1.0 - self.alpha_bar_prev) / (1.0 - self.alpha_bar)
    }
}
