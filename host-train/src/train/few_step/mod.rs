//! Few-step distillation: trains a student that generates a picture in one, two
//! or four network evaluations.
//!
//! Distribution matching distillation (DMD: Yin et al. 2024, arXiv:2311.18828;
//! DMD2, with several steps and a discriminator: arXiv:2405.14867). Three
//! networks help the student; all start from the teacher's weights:
//!
//! - the **teacher** (the papers' real score) is never updated;
//! - the **fake score** learns to denoise the student's current pictures;
//! - the **discriminator** separates the student's pictures from real ones, both
//!   noised (diffusion GAN: Xiao et al. 2022, arXiv:2112.07804).
//!
//! A generated picture is noised again, and both scores predict x̂_0 from it.
//! The difference of the two predictions points towards pictures that the
//! student generates too often; it is the student's gradient.
//!
//! One [`step`](FewStep::step) makes [`CRITIC_UPDATES`] updates of the fake score
//! and the discriminator, then computes the gradients for one update of the
//! student.

mod discriminator;
mod distance;
mod draw;
mod files;
mod losses;
mod student;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;

use self::discriminator::Discriminator;
use self::distance::Distance;
use self::draw::{Draws, Seeds};
use self::files::Best;
pub use self::files::{CRITICS, DISTANCES};
use self::losses::Losses;
use super::Network;
use super::gradients::clip;
use super::optimizer::Optimizer;
use super::qat::Rounded;
use super::teacher::Teacher;
use crate::config::{Config, TrainingConfig};
use crate::data::Examples;

/// Updates of the fake score and the discriminator per student update; they
/// must keep up with the student.
pub const CRITIC_UPDATES: u32 = 2;
/// Their learning rate, as a multiple of the student's.
const CRITIC_RATE: f64 = 2.0;
/// Steps during which the discriminator trains before its loss counts.
const DISCRIMINATOR_WARMUP: u32 = 100;
/// Adam's betas, for the student as well: its target moves with every step, so
/// momentum would average outdated gradients.
const BETAS: (f32, f32) = (0.0, 0.99);

/// The two networks that are trained alongside the student.
#[derive(Module, Debug)]
struct Critics {
    fake_score: Network,
    discriminator: Discriminator,
}

/// Losses of the critics, averaged over the updates of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CriticLosses {
    /// Mean squared error of the fake score's prediction.
    pub fake_score: f32,
    /// The discriminator's cross-entropy, summed over real and generated
    /// pictures: 2 ln 2 if it cannot tell them apart.
    pub discriminator: f32,
}

/// State of a few-step distillation besides the student.
pub struct FewStep<'a> {
    losses: Losses<'a>,
    critics: Critics,
    optimizer: Optimizer,
    /// Losses of steps since the last row of the table.
    unlogged: Vec<CriticLosses>,
    /// The averaged weights with the smallest measured distance.
    best: Option<(Best, Network)>,
    distance: Distance,
}

impl std::fmt::Debug for FewStep<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FewStep with {:?}", self.critics)
    }
}

/// The optimiser for the student and for the critics.
#[must_use]
pub fn optimizer() -> Optimizer {
    Optimizer::with_betas(0.0, BETAS.0, BETAS.1)
}

impl<'a> FewStep<'a> {
    /// A new distillation whose critics have the teacher's weights. `device`
    /// must support autodiff.
    ///
    /// # Errors
    /// If the configuration has no `[training.few_step]`, or its network is the
    /// reference network.
    pub fn new(
        config: &Config,
        data: &'a dyn Examples,
        teacher: Teacher,
        device: &Device,
    ) -> Result<Self> {
        let few_step = config.training.few_step.context("no [training.few_step]")?;
        let fake_score = teacher.network().clone().train();
        let encoder = fake_score
            .small()
            .context("only a network for chips is distilled to few steps")?
            .clone();
        Ok(Self {
            losses: Losses {
                draws: Draws::new(config, data)?,
                teacher,
                discriminator_weight: few_step.discriminator_weight,
                device: device.clone(),
            },
            critics: Critics {
                discriminator: Discriminator::new(encoder, config.training.seed, device),
                fake_score,
            },
            optimizer: optimizer(),
            unlogged: Vec::new(),
            best: None,
            distance: Distance::new(config),
        })
    }

    /// Updates the critics, then computes the student's loss and gradients.
    /// `step` counts from 0; `rate` is the student's learning rate.
    pub fn step(
        &mut self,
        model: &Network,
        rounded: Option<&Rounded<'_>>,
        step: u32,
        rate: f64,
        training: &TrainingConfig,
    ) -> (f32, GradientsParams) {
        let shards = training.shards;
        // The critics' updates need no gradients of the student.
        let student = model.valid();
        let mut mean = CriticLosses::default();
        for update in 0..CRITIC_UPDATES {
            let seeds = Seeds::new(training.seed, step, update);
            let (found, mut gradients) =
                self.losses
                    .of_critics(&self.critics, &student, rounded, seeds, shards);
            let limit = training.grad_clip;
            clip(&self.critics.fake_score, &mut gradients, limit);
            clip(&self.critics.discriminator, &mut gradients, limit);
            let critics = self.critics.clone();
            self.critics = self.optimizer.step(CRITIC_RATE * rate, critics, gradients);
            mean.fake_score += found.fake_score / CRITIC_UPDATES as f32;
            mean.discriminator += found.discriminator / CRITIC_UPDATES as f32;
        }
        self.unlogged.push(mean);
        let seeds = Seeds::new(training.seed, step, CRITIC_UPDATES);
        let adversarial = step >= DISCRIMINATOR_WARMUP;
        self.losses
            .of_student(&self.critics, model, rounded, seeds, adversarial, shards)
    }
}
