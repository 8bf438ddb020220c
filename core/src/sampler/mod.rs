//! From noise to a picture, one step at a time.
//!
//! A [`Sampler`] owns no memory and knows nothing of networks: the caller
//! lends it its buffers and hands it a [`Denoiser`] at every step. Between
//! steps the caller may draw x_t, feed a watchdog or stop for good. An
//! [`InPlaceSampler`] makes the same pictures in one buffer, with a denoiser
//! that can do that ([`InPlace`](crate::InPlace)).
//!
//! Every method is one short file that reads like its equation.

mod consistency;
mod course;
mod ddim;
mod ddpm;
mod dpm_solver;
mod euler_maruyama;
mod heun;
mod in_place;
mod log_snr;
mod method;
mod spacing;
mod unipc;

pub use ddpm::Variance;
pub use in_place::InPlaceSampler;
pub use method::Method;
pub use spacing::{Spacing, respaced, timesteps};
pub use unipc::SolverOrder;

use crate::{Denoiser, Schedule};
use course::Course;

/// Everything that, with the schedule and the network, fixes a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// What the picture should show.
    pub class: Option<u8>,
}

/// What [`Sampler::new`] did not accept.
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
    /// The method needs a longer memory.
    Memory {
        /// Its length.
        found: usize,
        /// [`Method::memory_len`].
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
            Self::Memory { found, needed } => {
                write!(
                    f,
                    "a memory of {found} values: this sampler needs {needed}; lend it as many or choose another"
                )
            }
        }
    }
}

impl core::error::Error for SettingsError {}

/// What a sampler works in: slices of one length, the picture's pixels, and a
/// memory.
///
/// Without guidance `unconditional` may be empty.
#[derive(Debug)]
pub struct Buffers<'b> {
    /// x_t; in the end the picture.
    pub x: &'b mut [f32],
    /// The network's output and x̂_0.
    pub x0_hat: &'b mut [f32],
    /// The network's output without the class.
    pub unconditional: &'b mut [f32],
    /// What the method remembers from one run of the network to the next:
    /// [`Method::memory_len`] values or more.
    pub memory: &'b mut [f32],
}

/// A step that was made: what followed from one answer of the denoiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Step {
    /// Its number, from 1.
    pub index: u16,
    /// Steps in all: [`Method::evaluations`].
    pub of: u16,
    /// The timestep that x had before the step, and that was asked for.
    pub timestep: u16,
}

/// A picture on its way from noise to x_0.
#[derive(Debug)]
pub struct Sampler<'b> {
    course: Course,
    buffers: Buffers<'b>,
}

impl<'b> Sampler<'b> {
    /// Fills `buffers.x` with the noise x_T.
    ///
    /// # Errors
    /// [`SettingsError`] where a setting is out of range or a buffer has
    /// another length than `x`.
    pub fn new(
        schedule: Schedule,
        settings: Settings,
        buffers: Buffers<'b>,
    ) -> Result<Self, SettingsError> {
        let sampler = Self::from_noise(schedule, settings, buffers)?;
        sampler.course.draw_noise(sampler.buffers.x);
        Ok(sampler)
    }

    /// The same from the noise x_T that `buffers.x` holds, such as a
    /// [`Frame`](crate::walk::Frame)'s. All further noise is the seed's and
    /// picture's.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_noise(
        schedule: Schedule,
        settings: Settings,
        buffers: Buffers<'b>,
    ) -> Result<Self, SettingsError> {
        settings.validate(&schedule)?;
        let x = buffers.x.len();
        let unconditional = buffers.unconditional.len();
        let spare = settings.guidance == 0.0 && unconditional == 0;
        for other in [buffers.x0_hat.len(), if spare { x } else { unconditional }] {
            if other != x {
                return Err(SettingsError::Buffers { x, other });
            }
        }
        settings.validate_memory(x, buffers.memory.len())?;
        let course = Course::start(schedule, settings, x);
        Ok(Self { course, buffers })
    }

    /// Asks the denoiser once (with guidance, once with the class and once
    /// without) and makes of it what it can; `None` when the picture is done.
    ///
    /// That is a step from one timestep to the next, but for [`Method::Heun`],
    /// which takes two: x is x' in between.
    ///
    /// # Errors
    /// The denoiser's; x_t is then as before, and the step can be made again.
    pub fn step<D: Denoiser>(&mut self, denoiser: &mut D) -> Result<Option<Step>, D::Error> {
        let Some(leg) = self.course.next_leg(denoiser.prediction()) else {
            return Ok(None);
        };
        self.predict(denoiser, leg.timestep)?;
        let Buffers {
            x, x0_hat, memory, ..
        } = &mut self.buffers;
        for (at, (x, x0_hat)) in x.iter_mut().zip(x0_hat.iter_mut()).enumerate() {
            *x0_hat = leg.x0_hat(*x, *x0_hat);
            *x = leg.next(*x, *x0_hat, memory, at);
        }
        Ok(Some(self.course.finish(&leg, x)))
    }

    /// The timestep that the next step asks the denoiser for; 0 in the end.
    #[must_use]
    pub fn timestep(&self) -> u16 {
        self.course.timestep()
    }

    /// x_t as it stands; x_0 after the last step.
    #[must_use]
    pub fn x(&self) -> &[f32] {
        self.buffers.x
    }

    /// x̂_0 of the last step: what the network took the picture to be.
    #[must_use]
    pub fn x0_hat(&self) -> &[f32] {
        self.buffers.x0_hat
    }

    /// The guided prediction, into `x0_hat`.
    fn predict<D: Denoiser>(&mut self, denoiser: &mut D, t: u16) -> Result<(), D::Error> {
        let Settings {
            guidance: w, class, ..
        } = self.course.settings;
        let Buffers {
            x,
            x0_hat: out,
            unconditional,
            ..
        } = &mut self.buffers;
        denoiser.predict(x, t, class, out)?;
        if w != 0.0 {
            denoiser.predict(x, t, None, unconditional)?;
            for (conditional, &unconditional) in out.iter_mut().zip(unconditional.iter()) {
                *conditional += w * (*conditional - unconditional);
            }
        }
        Ok(())
    }
}

impl Settings {
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

    /// Checks the length of a memory for a picture of `pixels`.
    fn validate_memory(&self, pixels: usize, found: usize) -> Result<(), SettingsError> {
        let needed = self.method.memory_len(pixels);
        if found < needed {
            return Err(SettingsError::Memory { found, needed });
        }
        Ok(())
    }
}

/// The root of a variance in `f32`; rounding below zero counts as zero.
fn sqrt_f32(value: f64) -> f32 {
    libm::sqrt(value.max(0.0)) as f32
}
