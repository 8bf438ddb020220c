//! Few-step distillation: a student that draws in one, two or four evaluations
//! of the network what its teacher draws in twenty.
//!
//! The student's pictures shall be distributed as the teacher's are
//! (distribution matching, DMD: Yin et al. 2024, arXiv:2311.18828; for several
//! steps and with a discriminator arXiv:2405.14867). Beside the student, three
//! networks are at work, which all start from the teacher's weights:
//!
//! - the **teacher** (the papers' real score) stays as it is;
//! - the **fake score** learns to denoise what the student draws now;
//! - the [`Discriminator`] tells the student's pictures from real ones, both
//!   noised (Sauer et al. 2021, Xiao et al. 2022, arXiv:2112.07804).
//!
//! Where a picture of the student is noised again and the two scores see
//! different x̂_0 in it, their difference is the direction in which the
//! student's distribution has too much, and so the student's gradient.
//!
//! One [`step`](FewStep::step) is [`CRITIC_UPDATES`] updates of the fake score
//! and the discriminator, and the gradients of one update of the student.

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

/// Updates of the fake score and the discriminator for each of the student:
/// they have to follow it.
pub const CRITIC_UPDATES: u32 = 2;
/// Their learning rate, of the student's.
const CRITIC_RATE: f64 = 2.0;
/// Steps in which the discriminator learns before the student heeds it.
const DISCRIMINATOR_WARMUP: u32 = 100;
/// Decays of the moments: the student's target moves, so the first forgets at
/// once.
const BETAS: (f32, f32) = (0.0, 0.99);

/// The two networks that follow the student.
#[derive(Module, Debug)]
struct Critics {
    fake_score: Network,
    discriminator: Discriminator,
}

/// Losses of the two, means over the updates of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CriticLosses {
    /// Mean squared error of the fake score's prediction.
    pub fake_score: f32,
    /// The discriminator's cross-entropy over real and generated pictures: 2 ln 2
    /// where it cannot tell them apart.
    pub discriminator: f32,
}

/// What a run that distils has beside the student.
pub struct FewStep<'a> {
    losses: Losses<'a>,
    critics: Critics,
    optimizer: Optimizer,
    /// Losses of steps that no row has yet.
    unlogged: Vec<CriticLosses>,
    /// The averaged weights that were nearest to the training pictures.
    best: Option<(Best, Network)>,
    distance: Distance,
}

impl std::fmt::Debug for FewStep<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FewStep with {:?}", self.critics)
    }
}

/// An optimiser for networks that follow each other.
#[must_use]
pub fn optimizer() -> Optimizer {
    Optimizer::with_betas(0.0, BETAS.0, BETAS.1)
}

impl<'a> FewStep<'a> {
    /// The start: critics with the teacher's weights. `device` computes
    /// gradients.
    ///
    /// # Errors
    /// Where the configuration asks for no few steps, or its network is not the
    /// one for chips.
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

    /// Updates the critics, then finds the student's loss and gradients in the
    /// step numbered `step` from 0, at the student's learning rate `rate`.
    pub fn step(
        &mut self,
        model: &Network,
        rounded: Option<&Rounded<'_>>,
        step: u32,
        rate: f64,
        training: &TrainingConfig,
    ) -> (f32, GradientsParams) {
        let shards = training.shards;
        // Nobody asks for the student's gradient while it is followed.
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
        let heeded = step >= DISCRIMINATOR_WARMUP;
        self.losses
            .of_student(&self.critics, model, rounded, seeds, heeded, shards)
    }
}
