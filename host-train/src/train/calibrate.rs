//! Runs the float network as it will be used, and watches.

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use tiny_ddpm::graph::LayerId;
use tiny_ddpm::{Buffers, Data, Sampler, Settings};

use crate::config::Config;
use crate::network::denoiser::FloatDenoiser;
use crate::network::taps::Observe;
use crate::network::unet::UNet;
use crate::quant::Calibration;

/// How the network is run while it is watched.
#[derive(Clone, Copy, Debug)]
pub struct CalibrationSettings {
    /// Pictures generated, classes in turn, or spread over more than these.
    pub pictures: usize,
    /// Timesteps visited, spread over all T.
    pub steps: u16,
    /// With and without class, as guidance needs it; a network that cannot be
    /// guided is not.
    pub guidance: f32,
    /// Seed of the noise.
    pub seed: u64,
}

impl CalibrationSettings {
    /// What a run's network is watched with, where nothing else is said. A
    /// point shows a single value of each channel, so it takes many; so do few
    /// steps, beside which the network knows no other timesteps.
    ///
    /// # Errors
    /// Where it is no network for chips.
    pub fn of(config: &Config) -> Result<Self> {
        let default = Self {
            steps: Self::default().steps.min(config.diffusion.timesteps),
            ..Self::default()
        };
        let seen = default.pictures * usize::from(default.steps);
        Ok(match config.network.small()?.data() {
            Data::Point { .. } => Self {
                pictures: 1000,
                ..default
            },
            Data::Picture { .. } => match config.training.few_step {
                Some(few_step) => Self {
                    pictures: seen / usize::from(few_step.steps),
                    steps: few_step.steps,
                    ..default
                },
                None => default,
            },
        })
    }
}

impl Default for CalibrationSettings {
    fn default() -> Self {
        Self {
            pictures: 40,
            steps: 40,
            guidance: 0.5,
            seed: 0,
        }
    }
}

/// What every activation looks like over whole sampling runs. `progress` gets
/// the number of steps made.
///
/// # Errors
/// Where the configuration's schedule is not valid, or the settings are not.
pub fn calibrate(
    model: &UNet,
    config: &Config,
    settings: &CalibrationSettings,
    device: &Device,
    mut progress: impl FnMut(u16),
) -> Result<Calibration> {
    let schedule = config.schedule()?;
    let classes = usize::from(config.network.classes());
    let wanted: Vec<Option<u8>> = (0..settings.pictures)
        .map(|i| match settings.pictures < classes {
            true => Some(i * classes / settings.pictures),
            false => i.checked_rem(classes),
        })
        .map(|class| class.map(|class| class as u8))
        .collect();
    let conditional = classes > 0;
    let guided = conditional && !config.is_conditional_only();

    let values = settings.pictures * config.network.pixels();
    let (mut x, mut x0_hat, mut spare) = (vec![0.0; values], vec![0.0; values], vec![0.0; values]);
    let buffers = Buffers {
        x: &mut x,
        x0_hat: &mut x0_hat,
        unconditional: &mut spare,
        history: &mut [],
    };
    let settings = Settings::new(
        config.recommended_method(),
        settings.steps.min(schedule.timesteps()),
    )
    .class(conditional.then_some(0))
    .seed(settings.seed)
    .guidance(if guided { settings.guidance } else { 0.0 });

    let mut calibration = Calibration::default();
    let taps = Observe(|layer: LayerId, x: &Tensor<4>| {
        let [_, channels, height, width] = x.dims();
        let values = x.clone().into_data().try_to_vec::<f32>();
        calibration.observe(layer, &values.unwrap_or_default(), channels, height * width);
    });
    let mut denoiser = FloatDenoiser::new(model, config.diffusion.prediction, wanted, device, taps);
    let mut sampler = Sampler::new(schedule, settings, buffers)?;
    while let Some(step) = sampler.step(&mut denoiser)? {
        progress(step.index);
    }
    drop(denoiser);
    Ok(calibration)
}
