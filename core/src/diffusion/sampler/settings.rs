//! Settings of a sampler, and their limits.

use super::method::Method;
use super::spacing::Spacing;
use crate::diffusion::schedule::Schedule;

/// Everything that, with the schedule and the network, fixes a picture.
///
/// ```
/// use tiny_ddpm::{Method, Settings, Spacing};
///
/// let settings = Settings::new(Method::DpmSolver, 10)
///     .spacing(Spacing::Shifted)
///     .class(7)
///     .seed(42);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// How x_s is drawn from x_t.
    pub method: Method,
    /// Timesteps visited, 1 to T.
    pub steps: u16,
    /// Which timesteps these are.
    pub spacing: Spacing,
    /// Classifier-free guidance w (Ho & Salimans 2022, arXiv:2207.12598,
    /// eq. 6): (1 + w) times the conditional prediction less w times the
    /// unconditional. 0 is no guidance; anything else runs the network twice as
    /// often; 0 to 100.
    pub guidance: f32,
    /// Whether x̂_0 is cut to [-1, 1] at every step.
    pub clip: bool,
    /// Seed of all noise.
    pub seed: u64,
    /// Number of the picture under that seed.
    pub picture: u64,
    /// The class that the picture should show; `None` for any.
    pub class: Option<u8>,
}

/// Settings or buffers that [`Sampler::new`](super::Sampler::new) refused.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SettingsError {
    /// No steps, or more than T.
    Steps {
        /// The number asked for.
        found: u16,
        /// T.
        timesteps: u16,
    },
    /// η outside [0, 1].
    Eta(f32),
    /// Guidance outside [0, 100].
    Guidance(f32),
    /// Guidance without a class to guide to.
    GuidanceWithoutClass,
    /// The buffers' lengths differ.
    Buffers {
        /// Length of `x`.
        x: usize,
        /// The length that should have been the same.
        other: usize,
    },
    /// The method needs a longer history.
    History {
        /// Its length.
        found: usize,
        /// [`Method::history_len`].
        needed: usize,
    },
}

impl core::fmt::Display for SettingsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Steps { found, timesteps } => {
                write!(f, "{found} steps: must be 1 to the schedule's {timesteps}")
            }
            Self::Eta(eta) => write!(f, "eta {eta}: must be 0 to 1"),
            Self::Guidance(w) => write!(f, "guidance {w}: must be 0 to 100"),
            Self::GuidanceWithoutClass => f.write_str("guidance needs a class"),
            Self::Buffers { x, other } => {
                write!(
                    f,
                    "a buffer of {other} values beside x of {x}: must be equal"
                )
            }
            Self::History { found, needed } => {
                write!(
                    f,
                    "a history of {found} values: this sampler needs {needed}; lend it as many or choose another"
                )
            }
        }
    }
}

impl core::error::Error for SettingsError {}

impl Settings {
    /// `steps` timesteps of `method`, evenly spaced; no class and no guidance;
    /// x̂_0 is clipped; picture 0 of seed 0. The setters change the rest.
    #[must_use]
    pub fn new(method: Method, steps: u16) -> Self {
        Self {
            method,
            steps,
            spacing: Spacing::Trailing,
            guidance: 0.0,
            clip: true,
            seed: 0,
            picture: 0,
            class: None,
        }
    }

    /// Sets [`method`](Self::method).
    #[must_use]
    pub fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// Sets [`steps`](Self::steps).
    #[must_use]
    pub fn steps(self, steps: u16) -> Self {
        Self { steps, ..self }
    }

    /// Sets [`spacing`](Self::spacing).
    #[must_use]
    pub fn spacing(self, spacing: Spacing) -> Self {
        Self { spacing, ..self }
    }

    /// Sets [`guidance`](Self::guidance).
    #[must_use]
    pub fn guidance(self, guidance: f32) -> Self {
        Self { guidance, ..self }
    }

    /// Sets [`clip`](Self::clip).
    #[must_use]
    pub fn clip(self, clip: bool) -> Self {
        Self { clip, ..self }
    }

    /// Sets [`seed`](Self::seed).
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets [`picture`](Self::picture).
    #[must_use]
    pub fn picture(self, picture: u64) -> Self {
        Self { picture, ..self }
    }

    /// Sets [`class`](Self::class): a number, or `None` for any.
    #[must_use]
    pub fn class(self, class: impl Into<Option<u8>>) -> Self {
        Self {
            class: class.into(),
            ..self
        }
    }

    /// Checks all that does not depend on buffers.
    ///
    /// # Errors
    /// The first [`SettingsError`] found.
    pub fn validate(&self, schedule: &Schedule) -> Result<(), SettingsError> {
        let timesteps = schedule.timesteps();
        if self.steps == 0 || self.steps > timesteps {
            return Err(SettingsError::Steps {
                found: self.steps,
                timesteps,
            });
        }
        if let Method::Ddim { eta } = self.method
            && !(0.0..=1.0).contains(&eta)
        {
            return Err(SettingsError::Eta(eta));
        }
        if !(0.0..=100.0).contains(&self.guidance) {
            return Err(SettingsError::Guidance(self.guidance));
        }
        if self.guidance != 0.0 && self.class.is_none() {
            return Err(SettingsError::GuidanceWithoutClass);
        }
        Ok(())
    }

    /// Runs of the network that a picture takes.
    #[must_use]
    pub fn evaluations(&self) -> u32 {
        let guided = self.guidance != 0.0;
        u32::from(self.method.evaluations(self.steps)) * if guided { 2 } else { 1 }
    }

    /// Checks the length of a history for a picture of `pixels`.
    pub(super) fn validate_history(
        &self,
        pixels: usize,
        found: usize,
    ) -> Result<(), SettingsError> {
        let needed = self.method.history_len(pixels);
        if found < needed {
            return Err(SettingsError::History { found, needed });
        }
        Ok(())
    }
}
