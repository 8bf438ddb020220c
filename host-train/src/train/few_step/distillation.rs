//! The state of a distillation, and one step of it.

use anyhow::{Context, Result};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;

use super::best::Best;
use super::critics::{CriticLosses, Critics};
use super::discriminator::Discriminator;
use super::distance::Distance;
use super::draw::{Draws, Seeds};
use super::losses::Losses;
use crate::config::{Config, TrainingConfig};
use crate::data::Examples;
use crate::network::Network;
use crate::network::optimizer::Optimizer;
use crate::train::gradients::clip;
use crate::train::qat::Rounded;
use crate::train::teacher::Teacher;

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

/// State of a few-step distillation besides the student.
pub struct FewStep<'a> {
    pub(super) losses: Losses<'a>,
    pub(super) critics: Critics,
    pub(super) optimizer: Optimizer,
    /// Losses of steps since the last row of the table.
    pub(super) unlogged: Vec<CriticLosses>,
    /// The averaged weights with the smallest measured distance.
    pub(super) best: Option<(Best, Network)>,
    pub(super) distance: Distance,
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
