//! A grid of samples during training: DDIM in f32, all pictures at once.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use image::GrayImage;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tiny_ddpm::prediction::signal_and_noise;

use super::UNet;
use crate::config::Config;

const STEPS: u16 = 20;
const GUIDANCE: f32 = 0.5;
/// Columns where there are no classes.
const COLUMNS: usize = 10;
const ROWS: usize = 4;

/// Writes a PNG with a column for each class. The noise is always the same, so
/// grids of one run show the same pictures getting better.
///
/// # Errors
/// Where the schedule is not valid or the file cannot be written.
pub fn write_grid(model: &UNet, config: &Config, device: &Device, path: &Path) -> Result<()> {
    let classes = usize::from(config.network.classes);
    let columns = if classes == 0 { COLUMNS } else { classes };
    let wanted: Vec<Option<u8>> = (0..ROWS * columns)
        .map(|i| (classes > 0).then_some((i % columns) as u8))
        .collect();
    let pictures = sample(model, config, &wanted, device)?;

    let size = usize::from(config.network.image_size);
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
    model: &UNet,
    config: &Config,
    classes: &[Option<u8>],
    device: &Device,
) -> Result<Vec<f32>> {
    let schedule = config.schedule()?;
    let pixels = config.network.pixels();
    let n = classes.len();
    let mut rng = ChaCha8Rng::seed_from_u64(config.training.seed);
    let mut x: Vec<f32> = (0..n * pixels)
        .map(|_| StandardNormal.sample(&mut rng))
        .collect();

    let steps = STEPS.min(schedule.timesteps());
    let timestep =
        |i: u16| (u32::from(i) * u32::from(schedule.timesteps()) / u32::from(steps)) as u16;
    for i in (1..=steps).rev() {
        let transition = schedule.transition(timestep(i), timestep(i - 1));
        let timesteps = vec![timestep(i); n];
        let predict = |classes: &[Option<u8>]| -> Vec<f32> {
            let x = Tensor::from_data(TensorData::new(x.clone(), [n, pixels]), device);
            let output = model.forward(x, &timesteps, classes);
            output.into_data().try_to_vec().expect("outputs are f32")
        };
        let mut x0_hat = predict(classes);
        if config.network.classes > 0 {
            for (conditional, unconditional) in x0_hat.iter_mut().zip(predict(&vec![None; n])) {
                *conditional += GUIDANCE * (*conditional - unconditional);
            }
        }
        let prediction = config.diffusion.prediction;
        prediction.to_x0_hat(transition.alpha_bar, &x, &mut x0_hat);
        let (signal, noise) = signal_and_noise(transition.alpha_bar);
        let (signal_prev, noise_prev) = signal_and_noise(transition.alpha_bar_prev);
        for (x, x0_hat) in x.iter_mut().zip(x0_hat) {
            let x0_hat = x0_hat.clamp(-1.0, 1.0);
            let epsilon = (*x - signal * x0_hat) / noise;
            *x = signal_prev * x0_hat + noise_prev * epsilon;
        }
    }
    Ok(x)
}
