//! A grid of samples during training: DDIM in floats, all pictures at once.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use image::GrayImage;
use tiny_ddpm::{Buffers, Method, Sampler, Settings};

use super::denoiser::FloatDenoiser;
use super::qat::Rounded;
use super::{Network, NoTaps, Taps};
use crate::config::Config;

const STEPS: u16 = 20;
const GUIDANCE: f32 = 0.5;
/// Columns where there are no classes.
const COLUMNS: usize = 10;
const ROWS: usize = 4;

/// Writes a PNG with a column for each class. The noise is always the same, so
/// grids of one run show the same pictures getting better. With `rounded`,
/// which is of the same model, they are the rounded network's.
///
/// # Errors
/// Where the schedule is not valid or the file cannot be written.
pub fn write_grid(
    model: &Network,
    rounded: Option<&Rounded<'_>>,
    config: &Config,
    device: &Device,
    path: &Path,
) -> Result<()> {
    let classes = usize::from(config.network.classes());
    let columns = if classes == 0 { COLUMNS } else { classes };
    let wanted: Vec<Option<u8>> = (0..ROWS * columns)
        .map(|i| (classes > 0).then_some((i % columns) as u8))
        .collect();
    let pictures = match rounded {
        Some(rounded) => sample(model, config, &wanted, device, rounded.taps(device))?,
        None => sample(model, config, &wanted, device, NoTaps)?,
    };

    let size = config.network.image_size();
    let pixels = size * size;
    let grid = GrayImage::from_fn((columns * size) as u32, (ROWS * size) as u32, |x, y| {
        let (x, y) = (x as usize, y as usize);
        let picture = y / size * columns + x / size;
        let value = pictures[picture * pixels + y % size * size + x % size];
        image::Luma([((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8])
    });
    grid.save(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A picture for each of `classes`, values about -1 to 1.
fn sample(
    model: &Network,
    config: &Config,
    classes: &[Option<u8>],
    device: &Device,
    taps: impl Taps,
) -> Result<Vec<f32>> {
    let schedule = config.schedule()?;
    let values = classes.len() * config.network.pixels();
    let (mut x, mut x0_hat, mut spare) = (vec![0.0; values], vec![0.0; values], vec![0.0; values]);
    let buffers = Buffers {
        x: &mut x,
        x0_hat: &mut x0_hat,
        unconditional: &mut spare,
    };
    let conditional = config.network.classes() > 0;
    let settings = Settings {
        method: Method::Ddim { eta: 0.0 },
        steps: STEPS.min(schedule.timesteps()),
        guidance: if conditional { GUIDANCE } else { 0.0 },
        clip: true,
        seed: config.training.seed,
        picture: 0,
        class: conditional.then_some(0),
    };
    let prediction = config.diffusion.prediction;
    let mut denoiser = FloatDenoiser::new(model, prediction, classes.to_vec(), device, taps);
    let mut sampler = Sampler::new(schedule, settings, buffers)?;
    while sampler.step(&mut denoiser)?.is_some() {}
    Ok(x)
}
