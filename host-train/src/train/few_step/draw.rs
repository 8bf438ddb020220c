//! Everything random in a step, and the arithmetic of noising.

use std::ops::Range;

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tiny_ddpm::Prediction;
use tiny_ddpm::prediction::signal_and_noise;

use crate::config::Config;
use crate::data::Examples;
use crate::train::batch::{Purpose, generator};

/// Where the random numbers of one update come from.
pub struct Seeds(ChaCha8Rng);

impl Seeds {
    /// Those of the update numbered `update` in a step.
    pub fn new(seed: u64, step: u32, update: u32) -> Self {
        let number = u64::from(step) << 8 | u64::from(update);
        Self(generator(seed, Purpose::FewStep, number))
    }
}

/// Real pictures.
pub struct Real {
    /// x_0, picture after picture.
    pub x_0: Vec<f32>,
    /// Their classes, which generated ones shall have too.
    pub classes: Vec<Option<u8>>,
}

/// To which timesteps pictures are noised, and with what.
pub struct Noised {
    /// ε, picture after picture.
    pub epsilon: Vec<f32>,
    /// t of each picture.
    pub timesteps: Vec<u16>,
}

/// The noise of a generated picture, up to the step whose output is wanted.
pub struct Noise {
    /// x_T, and fresh noise for each step behind the first.
    pub steps: Vec<Vec<f32>>,
}

/// Draws for batches of one size.
pub struct Draws<'a> {
    data: &'a dyn Examples,
    batch: usize,
    pixels: usize,
    classes: u16,
    class_dropout: f64,
    prediction: Prediction,
    /// sqrt(ᾱ_t) and sqrt(1 - ᾱ_t) for t in 0..=T.
    levels: Vec<(f32, f32)>,
    /// The timesteps that a student visits.
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

    /// Pictures drawn from the data, each as likely as the other.
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

    /// Noise for a batch of generated pictures; all of them are taken from the
    /// same, random step of the student.
    pub fn noise(&self, seeds: &mut Seeds) -> Noise {
        let last = seeds.0.random_range(0..self.visited.len());
        Noise {
            steps: (0..=last).map(|_| self.normals(seeds)).collect(),
        }
    }

    /// Noise at timesteps that are uniform over a part of 0..T.
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

    /// The rows of a batch's values that `rows` says, `[n, pixels]`.
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

    /// x_t of pictures `[n, pixels]`, which are the batch's `rows`.
    pub fn add_noise(&self, x_0: &Tensor<2>, noised: &Noised, rows: Range<usize>) -> Tensor<2> {
        let device = x_0.device();
        let [signal, noise] = self.levels(&noised.timesteps[rows.clone()], &device);
        x_0.clone() * signal + self.tensor(&noised.epsilon, rows, &device) * noise
    }

    /// x_t and what a network should predict from it.
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

    /// x̂_0 from x_t and what a network predicts of it.
    pub fn x0_hat(&self, x_t: Tensor<2>, output: Tensor<2>, timesteps: &[u16]) -> Tensor<2> {
        let [signal, noise] = self.levels(timesteps, &x_t.device());
        match self.prediction {
            Prediction::Epsilon => (x_t - output * noise) / signal,
            Prediction::X0 => output,
            Prediction::V => x_t * signal - output * noise,
            _ => unreachable!("core has no other prediction"),
        }
    }

    /// x̂_0, cut to what pixels can be, with fresh noise at another timestep.
    pub fn renoise(&self, x0_hat: Tensor<2>, fresh: Tensor<2>, timestep: u16) -> Tensor<2> {
        let (signal, noise) = self.levels[usize::from(timestep)];
        x0_hat.clamp(-1.0, 1.0) * signal + fresh * noise
    }
}

/// The timesteps that `steps` evaluations visit: evenly from T towards 0.
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
