//! Random inputs of a step, and noising.

use std::ops::Range;

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tiny_ddpm::Prediction;
use tiny_ddpm::diffusion::prediction::signal_and_noise;

use crate::config::Config;
use crate::data::Examples;
use crate::train::batch::{Purpose, generator};

/// Random number generator of one update.
pub struct Seeds(ChaCha8Rng);

impl Seeds {
    /// The generator for update `update` of step `step`.
    pub fn new(seed: u64, step: u32, update: u32) -> Self {
        let number = u64::from(step) << 8 | u64::from(update);
        Self(generator(seed, Purpose::FewStep, number))
    }
}

/// Real pictures.
pub struct Real {
    /// x_0, picture after picture.
    pub x_0: Vec<f32>,
    /// Their classes; generated pictures are conditioned on the same.
    pub classes: Vec<Option<u8>>,
}

/// Timesteps and noise for a batch of pictures.
pub struct Noised {
    /// ε, picture after picture.
    pub epsilon: Vec<f32>,
    /// t of each picture.
    pub timesteps: Vec<u16>,
}

/// Noise from which the student generates a batch.
pub struct Noise {
    /// x_T, then fresh noise for each further step.
    pub steps: Vec<Vec<f32>>,
}

/// Draws random inputs for batches of one size.
pub struct Draws<'a> {
    data: &'a dyn Examples,
    batch: usize,
    pixels: usize,
    classes: u16,
    class_dropout: f64,
    prediction: Prediction,
    /// sqrt(ᾱ_t) and sqrt(1 - ᾱ_t) for t in 0..=T.
    levels: Vec<(f32, f32)>,
    /// The student's timesteps, from T on.
    pub visited: Vec<u16>,
}

impl<'a> Draws<'a> {
    pub fn new(config: &Config, data: &'a dyn Examples) -> Result<Self> {
        let schedule = config.schedule()?;
        let steps = config.training.few_step.map_or(1, |few| few.steps);
        let level = |t| signal_and_noise(schedule.alpha_bar(t));
        Ok(Self {
            data,
            batch: config.training.batch,
            pixels: config.network.pixels(),
            classes: config.network.classes(),
            class_dropout: config.training.class_dropout,
            prediction: config.diffusion.prediction,
            levels: (0..=schedule.timesteps()).map(level).collect(),
            visited: trailing(schedule.timesteps(), steps),
        })
    }

    fn timesteps(&self) -> u16 {
        (self.levels.len() - 1) as u16
    }

    /// Standard normal numbers, one for each value of the batch.
    pub fn normals(&self, seeds: &mut Seeds) -> Vec<f32> {
        let count = self.batch * self.pixels;
        (0..count)
            .map(|_| StandardNormal.sample(&mut seeds.0))
            .collect()
    }

    /// Pictures sampled uniformly from the data, with replacement.
    pub fn real(&self, seeds: &mut Seeds) -> Real {
        let mut real = Real {
            x_0: Vec::with_capacity(self.batch * self.pixels),
            classes: Vec::with_capacity(self.batch),
        };
        for _ in 0..self.batch {
            let index = seeds.0.random_range(0..self.data.count());
            self.data.each_value(index, &mut |x| real.x_0.push(x));
            let shown = self.classes > 0 && !seeds.0.random_bool(self.class_dropout);
            real.classes.push(shown.then(|| self.data.class(index)));
        }
        real
    }

    /// Noise for a batch of generated pictures. The number of steps is random
    /// and the same for the whole batch.
    pub fn noise(&self, seeds: &mut Seeds) -> Noise {
        let last = seeds.0.random_range(0..self.visited.len());
        Noise {
            steps: (0..=last).map(|_| self.normals(seeds)).collect(),
        }
    }

    /// Noise at timesteps uniform in `from * T..=to * T`.
    pub fn noised(&self, seeds: &mut Seeds, (from, to): (f64, f64)) -> Noised {
        let at = |part: f64| (part * f64::from(self.timesteps())).round() as u16;
        let (first, last) = (at(from).max(1), at(to).max(1));
        Noised {
            timesteps: (0..self.batch)
                .map(|_| seeds.0.random_range(first..=last))
                .collect(),
            epsilon: self.normals(seeds),
        }
    }

    /// Rows of a batch as a tensor `[n, pixels]`.
    pub fn tensor(&self, values: &[f32], rows: Range<usize>, device: &Device) -> Tensor<2> {
        let own = &values[rows.start * self.pixels..rows.end * self.pixels];
        let data = TensorData::new(own.to_vec(), [rows.len(), self.pixels]);
        Tensor::from_data(data, device)
    }

    /// sqrt(ᾱ_t) and sqrt(1 - ᾱ_t) of each picture, `[n, 1]`.
    fn levels(&self, timesteps: &[u16], device: &Device) -> [Tensor<2>; 2] {
        let column = |pick: fn(&(f32, f32)) -> f32| {
            let values = timesteps
                .iter()
                .map(|&t| pick(&self.levels[usize::from(t)]));
            let data = TensorData::new(values.collect::<Vec<f32>>(), [timesteps.len(), 1]);
            Tensor::from_data(data, device)
        };
        [column(|level| level.0), column(|level| level.1)]
    }

    /// x_t for the pictures `x_0` (`[n, pixels]`), rows `rows` of the batch.
    pub fn add_noise(&self, x_0: &Tensor<2>, noised: &Noised, rows: Range<usize>) -> Tensor<2> {
        let device = x_0.device();
        let [signal, noise] = self.levels(&noised.timesteps[rows.clone()], &device);
        x_0.clone() * signal + self.tensor(&noised.epsilon, rows, &device) * noise
    }

    /// x_t and the training target of a network that predicts from it.
    pub fn noise_and_target(
        &self,
        x_0: &Tensor<2>,
        noised: &Noised,
        rows: Range<usize>,
    ) -> (Tensor<2>, Tensor<2>) {
        let device = x_0.device();
        let [signal, noise] = self.levels(&noised.timesteps[rows.clone()], &device);
        let epsilon = self.tensor(&noised.epsilon, rows, &device);
        let x_t = x_0.clone() * signal.clone() + epsilon.clone() * noise.clone();
        let target = match self.prediction {
            Prediction::Epsilon => epsilon,
            Prediction::X0 => x_0.clone(),
            Prediction::V => epsilon * signal - x_0.clone() * noise,
            _ => unreachable!("core has no other prediction"),
        };
        (x_t, target)
    }

    /// x̂_0 from x_t and the network's prediction.
    pub fn x0_hat(&self, x_t: Tensor<2>, output: Tensor<2>, timesteps: &[u16]) -> Tensor<2> {
        let [signal, noise] = self.levels(timesteps, &x_t.device());
        match self.prediction {
            Prediction::Epsilon => (x_t - output * noise) / signal,
            Prediction::X0 => output,
            Prediction::V => x_t * signal - output * noise,
            _ => unreachable!("core has no other prediction"),
        }
    }

    /// Clips x̂_0 to [-1, 1] and adds fresh noise at `timestep`.
    pub fn renoise(&self, x0_hat: Tensor<2>, fresh: Tensor<2>, timestep: u16) -> Tensor<2> {
        let (signal, noise) = self.levels[usize::from(timestep)];
        x0_hat.clamp(-1.0, 1.0) * signal + fresh * noise
    }
}

/// `steps` timesteps evenly from T towards 0: `Spacing::Trailing`.
fn trailing(timesteps: u16, steps: u16) -> Vec<u16> {
    let (t, n) = (f64::from(timesteps), f64::from(steps));
    (0..steps)
        .map(|i| (t * (n - f64::from(i)) / n).round() as u16)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_student_s_timesteps_are_those_of_trailing() {
        assert_eq!(trailing(1000, 1), [1000]);
        assert_eq!(trailing(1000, 2), [1000, 500]);
        assert_eq!(trailing(1000, 4), [1000, 750, 500, 250]);
    }
}
