//! Sampling with buffers next to the picture.

use super::settings::{Settings, SettingsError};
use super::trajectory::{Step, Trajectory};
use crate::diffusion::Denoiser;
use crate::diffusion::schedule::Schedule;

/// Buffers of a sampler: slices of one length, the picture's pixels, and a
/// history.
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
    /// Values that the method keeps from one run of the network to the next:
    /// [`Method::history_len`](super::Method::history_len) values or more.
    pub history: &'b mut [f32],
}

/// A picture on its way from noise to x_0.
#[derive(Debug)]
pub struct Sampler<'b> {
    trajectory: Trajectory,
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
        sampler.trajectory.draw_noise(sampler.buffers.x);
        Ok(sampler)
    }

    /// The same from the noise x_T that `buffers.x` holds, such as a
    /// [`Frame`](crate::diffusion::latent_walk::Frame)'s. All further noise is the seed's and
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
        settings.validate_history(x, buffers.history.len())?;
        let trajectory = Trajectory::start(schedule, settings, x);
        Ok(Self {
            trajectory,
            buffers,
        })
    }

    /// Asks the denoiser once (with guidance, once with the class and once
    /// without) and makes of it what it can; `None` when the picture is done.
    ///
    /// That is a step from one timestep to the next, but for [`Method::Heun`](super::Method::Heun),
    /// which takes two: x is x' in between.
    ///
    /// # Errors
    /// The denoiser's; x_t is then as before, and the step can be made again.
    pub fn step<D: Denoiser>(&mut self, denoiser: &mut D) -> Result<Option<Step>, D::Error> {
        let Some(update) = self.trajectory.next_update(denoiser.prediction()) else {
            return Ok(None);
        };
        self.predict(denoiser, update.timestep)?;
        let Buffers {
            x, x0_hat, history, ..
        } = &mut self.buffers;
        for (at, (x, x0_hat)) in x.iter_mut().zip(x0_hat.iter_mut()).enumerate() {
            *x0_hat = update.x0_hat(*x, *x0_hat);
            *x = update.next(*x, *x0_hat, history, at);
        }
        Ok(Some(self.trajectory.finish(&update, x)))
    }

    /// The timestep that the next step asks the denoiser for; 0 in the end.
    #[must_use]
    pub fn timestep(&self) -> u16 {
        self.trajectory.timestep()
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
        } = self.trajectory.settings;
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
