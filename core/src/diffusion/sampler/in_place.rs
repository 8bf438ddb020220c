//! Sampling in the memory of one picture.

use super::settings::{Settings, SettingsError};
use super::trajectory::{Step, Trajectory};
use crate::diffusion::InPlace;
use crate::diffusion::schedule::Schedule;

/// A picture on its way from noise to x_0, with no other buffer than its own
/// and what its method remembers: as soon as the denoiser has read x_t, each
/// pixel of x_s takes the place of that of x_t. The picture is the
/// [`Sampler`](super::Sampler)'s, bit for bit.
///
/// ```no_run
/// use tiny_ddpm::{InPlaceSampler, Method, Model, Settings, Spacing, Unet};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let blob: &[u8] = &[];
/// let model = Model::load(blob)?;
/// let mut workspace = vec![0; model.plan().least_guided_workspace_words()];
/// let mut unet = Unet::new(&model, &mut workspace)?;
/// let mut x = vec![0.0; model.topology().pixels()];
/// let settings = Settings::new(Method::Ddim { eta: 0.0 }, 20)
///     .class(Some(7))
///     .seed(1)
///     .guidance(0.5);
/// let mut sampler = InPlaceSampler::new(model.schedule(), settings, &mut x, &mut [])?;
/// while sampler.step(&mut unet)?.is_some() {}
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct InPlaceSampler<'b> {
    trajectory: Trajectory,
    x: &'b mut [f32],
    history: &'b mut [f32],
}

impl<'b> InPlaceSampler<'b> {
    /// Fills `x` with the noise x_T. `history` has
    /// [`history_len`](super::Method::history_len) values or more.
    ///
    /// # Errors
    /// [`SettingsError`] where a setting is out of range or `history` too short.
    #[inline(never)]
    pub fn new(
        schedule: Schedule,
        settings: Settings,
        x: &'b mut [f32],
        history: &'b mut [f32],
    ) -> Result<Self, SettingsError> {
        let sampler = Self::from_noise(schedule, settings, x, history)?;
        sampler.trajectory.draw_noise(sampler.x);
        Ok(sampler)
    }

    /// The same from the noise x_T that `x` holds, such as a
    /// [`Frame`](crate::diffusion::latent_walk::Frame)'s. All further noise is the seed's and
    /// picture's.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    #[inline(never)]
    pub fn from_noise(
        schedule: Schedule,
        settings: Settings,
        x: &'b mut [f32],
        history: &'b mut [f32],
    ) -> Result<Self, SettingsError> {
        settings.validate(&schedule)?;
        settings.validate_history(x.len(), history.len())?;
        let trajectory = Trajectory::start(schedule, settings, x.len());
        Ok(Self {
            trajectory,
            x,
            history,
        })
    }

    /// Asks the denoiser once and makes of it what it can; `None` when the
    /// picture is done. See [`Sampler::step`](super::Sampler::step).
    ///
    /// # Errors
    /// The denoiser's; x_t is then as before, and the step can be made again.
    pub fn step<D: InPlace>(&mut self, denoiser: &mut D) -> Result<Option<Step>, D::Error> {
        let Some(update) = self.trajectory.next_update(denoiser.prediction()) else {
            return Ok(None);
        };
        let Settings {
            class, guidance, ..
        } = self.trajectory.settings;
        let timestep = update.timestep;
        let history = &mut *self.history;
        denoiser.update(self.x, timestep, class, guidance, &mut |at, x, output| {
            *x = update.next(*x, update.x0_hat(*x, output), history, at);
        })?;
        Ok(Some(self.trajectory.finish(&update, self.x)))
    }

    /// x_t as it stands; x_0 after the last step.
    #[must_use]
    pub fn x(&self) -> &[f32] {
        self.x
    }
}
