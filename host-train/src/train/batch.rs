//! What the network is shown at each step.
//!
//! A batch follows from the seed and the number of its step alone, so a run
//! that was stopped and resumed sees exactly what it would have seen.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tiny_ddpm::diffusion::prediction::signal_and_noise;

use crate::config::Config;
use crate::data::Examples;
use crate::loss::Loss;

/// The inputs and targets of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// x_t, picture after picture.
    pub x_t: Vec<f32>,
    /// What the network should predict, in the same order.
    pub target: Vec<f32>,
    /// t of each picture.
    pub timesteps: Vec<u16>,
    /// The class of each picture, where it is shown.
    pub classes: Vec<Option<u8>>,
    /// What the error of each picture counts; empty where all count alike.
    pub weights: Vec<f32>,
}

/// Draws batches from a data set.
#[derive(Debug)]
pub struct Batches<'a> {
    data: &'a dyn Examples,
    config: &'a Config,
    /// ᾱ_t for t in 0..=T.
    alpha_bar: Vec<f64>,
    /// What an error counts at each t, from 1 on; empty where all count alike.
    weights: Vec<f32>,
    /// The order of the pictures in the epoch numbered first.
    order: (u64, Vec<u32>),
}

/// Keeps the generators for different purposes apart.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Order = 1,
    Step = 2,
    FewStep = 3,
}

pub(super) fn generator(seed: u64, purpose: Purpose, number: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..24].copy_from_slice(&number.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

impl<'a> Batches<'a> {
    /// Batches of `data`, which must hold a picture.
    ///
    /// # Errors
    /// Where the configuration's schedule is not valid.
    pub fn new(data: &'a dyn Examples, config: &'a Config) -> anyhow::Result<Self> {
        let schedule = config.schedule()?;
        let training = &config.training;
        let seed = training.seed;
        let weight = |t| {
            let prediction = config.diffusion.prediction;
            training
                .loss
                .weight(training.gamma(), prediction, &schedule, t) as f32
        };
        Ok(Self {
            data,
            config,
            alpha_bar: (0..=schedule.timesteps())
                .map(|t| schedule.alpha_bar(t))
                .collect(),
            weights: match training.loss {
                Loss::Simple => Vec::new(),
                _ => (1..=schedule.timesteps()).map(weight).collect(),
            },
            order: (0, shuffled(seed, 0, data.count())),
        })
    }

    /// The batch of a step, counted from 0.
    pub fn batch(&mut self, step: u32) -> Batch {
        let training = &self.config.training;
        let prediction = self.config.diffusion.prediction;
        let n = training.batch;
        let mut rng = generator(training.seed, Purpose::Step, step.into());
        let values = n * self.config.network.pixels();
        let mut batch = Batch {
            x_t: Vec::with_capacity(values),
            target: Vec::with_capacity(values),
            timesteps: stratified(&mut rng, n, self.config.diffusion.timesteps),
            classes: Vec::with_capacity(n),
            weights: Vec::new(),
        };
        if !self.weights.is_empty() {
            let weights = batch
                .timesteps
                .iter()
                .map(|&t| self.weights[usize::from(t) - 1]);
            batch.weights = weights.collect();
        }
        for i in 0..n {
            let index = self.picture_index(u64::from(step) * n as u64 + i as u64);
            let alpha_bar = self.alpha_bar[usize::from(batch.timesteps[i])];
            let (signal, noise) = signal_and_noise(alpha_bar);
            self.data.each_value(index, &mut |x_0| {
                let epsilon: f32 = StandardNormal.sample(&mut rng);
                batch.x_t.push(signal * x_0 + noise * epsilon);
                batch
                    .target
                    .push(prediction.target(alpha_bar, x_0, epsilon));
            });
            let shown =
                self.config.network.classes() > 0 && !rng.random_bool(training.class_dropout);
            batch.classes.push(shown.then(|| self.data.class(index)));
        }
        batch
    }

    /// The picture at a place in the endless sequence of epochs.
    fn picture_index(&mut self, place: u64) -> usize {
        let count = self.data.count() as u64;
        let epoch = place / count;
        if self.order.0 != epoch {
            let seed = self.config.training.seed;
            self.order = (epoch, shuffled(seed, epoch, self.data.count()));
        }
        self.order.1[(place % count) as usize] as usize
    }
}

fn shuffled(seed: u64, epoch: u64, count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.shuffle(&mut generator(seed, Purpose::Order, epoch));
    order
}

/// `n` timesteps, each uniform in 1..=T but one in each n-th of the range,
/// which makes the loss of a batch less noisy (Kingma et al. 2021,
/// arXiv:2107.00630, appendix I.1).
fn stratified(rng: &mut ChaCha8Rng, n: usize, timesteps: u16) -> Vec<u16> {
    let offset: f64 = rng.random();
    let mut drawn: Vec<u16> = (0..n)
        .map(|i| {
            let fraction = (i as f64 + offset) / n as f64;
            ((fraction * f64::from(timesteps)) as u16 + 1).min(timesteps)
        })
        .collect();
    // A shard of the batch must not see one end of the range only.
    drawn.shuffle(rng);
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;

    fn data(count: usize) -> Dataset {
        Dataset {
            size: 28,
            pixels: (0..count * 784).map(|i| (i / 784) as u8).collect(),
            labels: (0..count).map(|i| (i % 10) as u8).collect(),
        }
    }

    #[test]
    fn an_epoch_shows_every_picture_once() {
        let (data, config) = (data(100), Config::preset("smoke").unwrap());
        let mut batches = Batches::new(&data, &config).unwrap();
        for epoch in 0..3 {
            let mut seen: Vec<usize> = (0..100)
                .map(|place| batches.picture_index(epoch * 100 + place))
                .collect();
            assert!(!seen.is_sorted());
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..100));
        }
    }

    #[test]
    fn a_batch_depends_on_seed_and_step_alone() {
        let (data, config) = (data(50), Config::preset("smoke").unwrap());
        let mut batches = Batches::new(&data, &config).unwrap();
        let first: Vec<Batch> = (0..5).map(|step| batches.batch(step)).collect();
        let mut fresh = Batches::new(&data, &config).unwrap();
        assert_eq!(fresh.batch(3), first[3]);
        assert_ne!(first[3], first[4]);
    }

    #[test]
    fn a_loss_changes_what_errors_count_and_nothing_else() {
        let (data, mut config) = (data(50), Config::preset("smoke").unwrap());
        let plain = Batches::new(&data, &config).unwrap().batch(2);
        assert!(plain.weights.is_empty());
        config.training.loss = Loss::MinSnr;
        let schedule = config.schedule().unwrap();
        let mut batch = Batches::new(&data, &config).unwrap().batch(2);
        for (&weight, &t) in batch.weights.iter().zip(&batch.timesteps) {
            // Of v, which the preset predicts.
            let snr = schedule.snr(t);
            let expected = snr.min(5.0) / (snr + 1.0);
            assert!((f64::from(weight) - expected).abs() < 1e-6 * expected.max(1e-9));
        }
        assert_eq!(batch.weights.len(), plain.timesteps.len());
        batch.weights.clear();
        assert_eq!(batch, plain);
    }

    #[test]
    fn timesteps_cover_the_range() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut drawn = stratified(&mut rng, 1000, 1000);
        drawn.sort_unstable();
        assert!(drawn.into_iter().eq(1..=1000));
        assert_eq!(stratified(&mut rng, 3, 1), [1, 1, 1]);
    }
}
