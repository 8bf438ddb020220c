//! What a training run is made of: a TOML file, checked before anything starts.
//!
//! Unknown keys and values out of range are errors that name the key, the value
//! and what is allowed. The file in a run's folder is the one it was made with,
//! overrides included.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tiny_ddpm::blob::records::Recommended;
use tiny_ddpm::{Method, Prediction, Schedule, ScheduleKind, Topology};

use crate::loss::{DEFAULT_GAMMA, Loss};
use crate::quant::WeightBits;
use crate::shape::{ReferenceShape, Shape};

/// The presets that are part of the tool, by name.
pub const PRESETS: [(&str, &str); 7] = [
    ("digits", include_str!("../presets/digits.toml")),
    ("fashion", include_str!("../presets/fashion.toml")),
    ("digits-small", include_str!("../presets/digits-small.toml")),
    ("nano", include_str!("../presets/nano.toml")),
    ("swiss-roll", include_str!("../presets/swiss-roll.toml")),
    ("smoke", include_str!("../presets/smoke.toml")),
    ("reference", include_str!("../presets/reference.toml")),
];

/// DDIM steps, where no configuration says: they show what a network can do.
const STEPS: u16 = 20;
/// Guidance, where no configuration says: it shows classes clearly and leaves most of their variety.
const GUIDANCE: f32 = 0.5;
/// Steps of a fine-tuning, where no configuration says.
pub const TUNING_STEPS: u32 = 500;
/// The learning rate that it starts with.
pub const TUNING_LEARNING_RATE: f64 = 5e-4;

/// The student's updates in a distillation to few steps, where no configuration
/// says.
const FEW_STEP_STEPS: u32 = 4000;
/// Pictures in each.
const FEW_STEP_BATCH: usize = 96;
/// The learning rate that it starts with.
const FEW_STEP_LEARNING_RATE: f64 = 3e-4;
/// The same for a fine-tuning of a network that draws in few steps.
const FEW_STEP_TUNING_STEPS: u32 = 500;
const FEW_STEP_TUNING_LEARNING_RATE: f64 = 1e-4;
/// How much of the averaged weights stays at each.
const FEW_STEP_EMA_DECAY: f64 = 0.995;

/// A whole training run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// The shape of the network.
    pub network: Shape,
    /// The forward process and what the network predicts.
    pub diffusion: DiffusionConfig,
    /// How the weights are found.
    pub training: TrainingConfig,
    /// How to sample with the trained network.
    #[serde(skip_serializing_if = "is_default")]
    pub sampling: SamplingConfig,
}

/// The text of a [`Config`] whose kind of network is known: messages about a
/// value then name it and its line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<N> {
    network: N,
    diffusion: DiffusionConfig,
    training: TrainingConfig,
    #[serde(default)]
    sampling: SamplingConfig,
}

/// The network without `architecture`.
#[derive(Deserialize)]
struct Small(#[serde(deserialize_with = "crate::topology::deserialize")] Topology);

impl From<Small> for Shape {
    fn from(small: Small) -> Self {
        Self::Small(small.0)
    }
}

impl<N: Into<Shape>> From<File<N>> for Config {
    fn from(file: File<N>) -> Self {
        Self {
            network: file.network.into(),
            diffusion: file.diffusion,
            training: file.training,
            sampling: file.sampling,
        }
    }
}

/// The forward process and what the network predicts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffusionConfig {
    /// T.
    pub timesteps: u16,
    /// `"cosine"`, or `{ linear = { beta_start = .., beta_end = .. } }`.
    pub schedule: ScheduleKind,
    /// `"epsilon"`, `"x0"` or `"v"`.
    pub prediction: Prediction,
}

/// How the weights are found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Optimiser steps; the learning rate reaches its end at the last one.
    pub steps: u32,
    /// Pictures in a step.
    pub batch: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises from 0.
    pub warmup_steps: u32,
    /// AdamW's decay.
    pub weight_decay: f64,
    /// Largest norm of the gradient over all parameters.
    pub grad_clip: f64,
    /// How much of the averaged weights stays at each step.
    pub ema_decay: f64,
    /// Share of pictures shown without their class, 0 to less than 1. Guidance
    /// and pictures of no class need more than 0.
    pub class_dropout: f64,
    /// Everything random follows from it.
    pub seed: u64,
    /// Pieces of a batch that are worked on in parallel: use 1 on a GPU. It is
    /// part of the configuration because it changes the order of additions,
    /// and with it the last bits of the weights.
    pub shards: usize,
    /// What errors count: `"simple"`, `"weighted"` or `"min-snr"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub loss: Loss,
    /// γ of `"min-snr"`; 5 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_snr_gamma: Option<f64>,
    /// Steps between two rows of `metrics.csv`.
    pub log_every: u32,
    /// Steps between two checkpoints.
    pub checkpoint_every: u32,
    /// Steps between two sample grids; 0 for none.
    pub sample_every: u32,
    /// Fine-tuning of another run with the chip's rounding in mind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qat: Option<QatConfig>,
    /// Fine-tuning of another run to predict at once what that predicts with
    /// guidance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distill: Option<DistillConfig>,
    /// Distillation of another run to a network that draws in a few steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub few_step: Option<FewStepConfig>,
}

/// Distribution matching distillation to a few evaluations of the network: see
/// [`few_step`](crate::train::few_step). `batch`, `learning_rate`, `ema_decay`
/// and the others are the student's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FewStepConfig {
    /// Evaluations of the network for a picture: 1, 2 or 4.
    pub steps: u16,
    /// The teacher's classifier-free guidance.
    #[serde(default, skip_serializing_if = "is_default")]
    pub guidance: f32,
    /// What the discriminator's loss counts in the student's; with 0 there is
    /// none.
    #[serde(default = "FewStepConfig::discriminator_weight")]
    pub discriminator_weight: f64,
    /// Steps between two measurements of the distance to the training pictures,
    /// the best of which says which average is kept; 0 for none.
    #[serde(default = "FewStepConfig::measure_every")]
    pub measure_every: u32,
}

impl FewStepConfig {
    /// So many steps, and for the rest what has proved itself.
    #[must_use]
    pub fn of(steps: u16) -> Self {
        Self {
            steps,
            guidance: 0.0,
            discriminator_weight: Self::discriminator_weight(),
            measure_every: Self::measure_every(),
        }
    }

    fn discriminator_weight() -> f64 {
        0.02
    }

    fn measure_every() -> u32 {
        200
    }

    fn validate(&self) -> Result<()> {
        let Self {
            steps,
            guidance,
            discriminator_weight,
            ..
        } = self;
        ensure!(
            [1, 2, 4].contains(steps),
            "[training.few_step] steps = {steps}: must be 1, 2 or 4"
        );
        ensure!(
            (0.0..=100.0).contains(guidance),
            "[training.few_step] guidance = {guidance}: must be 0 to 100"
        );
        ensure!(
            (0.0..=100.0).contains(discriminator_weight),
            "[training.few_step] discriminator_weight = {discriminator_weight}: must be 0 to 100"
        );
        Ok(())
    }
}

/// How to sample with the trained network: what `export` writes into the blob as
/// recommended, and what `sample` and `evaluate` do with a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// DDIM steps, 1 to T; 20 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u16>,
    /// DDIM's η, 0 to 1; 0 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<f32>,
    /// Classifier-free guidance, 0 to 100. Where it is not given, 0.5, or 0 of a
    /// network without classes, that has learned guidance by heart, or that was
    /// never trained without a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f32>,
}

/// Guidance learned by heart: the run that this one starts from is its teacher.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillConfig {
    /// The teacher's classifier-free guidance; with 0 its own predictions are
    /// learned, such as those of a run that has learned guidance before.
    pub guidance: f32,
    /// The noisiest timestep that is guided; all are where it is not given.
    /// Guidance in the first steps costs variety (Kynkäänniemi et al. 2024,
    /// arXiv:2404.07724).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<u16>,
}

impl DistillConfig {
    /// The teacher's guidance at a timestep.
    #[must_use]
    pub fn guidance_at(&self, timestep: u16) -> f32 {
        match self.up_to {
            Some(last) if timestep > last => 0.0,
            _ => self.guidance,
        }
    }
}

/// Quantisation-aware fine-tuning: the network is trained as it will be
/// rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QatConfig {
    /// Bits of a convolution's weights: 8 or 4.
    pub weight_bits: WeightBits,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Config {
    /// The preset called `name`.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn preset(name: &str) -> Result<Self> {
        let Some((_, text)) = PRESETS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = PRESETS.iter().map(|(known, _)| *known).collect();
            bail!(
                "there is no preset {name:?}; there are {}. For a file of your own use --config FILE",
                known.join(", ")
            );
        };
        Self::parse(text).with_context(|| format!("in the preset {name:?}"))
    }

    /// The configuration in a file.
    ///
    /// # Errors
    /// Where it cannot be read, or its content is not allowed.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// The configuration in a text.
    ///
    /// # Errors
    /// Where its content is not allowed.
    pub fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = toml::from_str(text)?;
        let architecture = table.get("network").and_then(|n| n.get("architecture"));
        let config: Self = match architecture {
            None => toml::from_str::<File<Small>>(text)?.into(),
            Some(name) => {
                ensure!(
                    name.as_str() == Some("reference"),
                    "[network] architecture = {name}: must be \"reference\", or left out for the network of chips"
                );
                toml::from_str::<File<ReferenceShape>>(text)?.into()
            }
        };
        config.validate()?;
        Ok(config)
    }

    /// The text that [`parse`](Self::parse) reads.
    ///
    /// # Errors
    /// Where TOML cannot hold a value (a seed above `i64::MAX`).
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("cannot write the configuration as TOML")
    }

    /// The noise schedule.
    ///
    /// # Errors
    /// Where its numbers are out of range.
    pub fn schedule(&self) -> Result<Schedule> {
        Schedule::new(self.diffusion.schedule, self.diffusion.timesteps)
            .map_err(|error| anyhow::anyhow!("[diffusion] {error}"))
    }

    /// Whether the network has classes and is never trained without one: it can
    /// then only draw with a class, without guidance.
    #[must_use]
    pub fn is_conditional_only(&self) -> bool {
        self.network.classes() > 0 && self.training.class_dropout == 0.0
    }

    /// Classifier-free guidance for sampling with the trained network: what the
    /// configuration says, else none where it cannot be guided or has learned
    /// guidance by heart.
    #[must_use]
    pub fn recommended_guidance(&self) -> f32 {
        let can = self.network.classes() > 0 && !self.is_conditional_only();
        match self.sampling.guidance {
            Some(guidance) => guidance,
            None if can && self.training.teacher().is_none() => GUIDANCE,
            None => 0.0,
        }
    }

    /// How to sample with the trained network.
    #[must_use]
    pub fn recommended(&self) -> Recommended {
        Recommended {
            steps: self.sampling.steps.unwrap_or(match self.training.few_step {
                Some(few_step) => few_step.steps,
                None => STEPS.min(self.diffusion.timesteps),
            }),
            guidance: self.recommended_guidance(),
            eta: self.sampling.eta.unwrap_or(0.0),
        }
    }

    /// The method to go with it. A network distilled to several steps knows
    /// pictures noised afresh at its timesteps, and no others.
    #[must_use]
    pub fn recommended_method(&self) -> Method {
        match self.training.few_step {
            Some(few_step) if few_step.steps > 1 => Method::Consistency,
            _ => Method::Ddim {
                eta: self.recommended().eta,
            },
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value that is not allowed, and what is.
    pub fn validate(&self) -> Result<()> {
        self.network
            .validate()
            .map_err(|error| anyhow::anyhow!("[network] {error}"))?;
        self.schedule()?;
        self.training.validate()?;
        let training = &self.training;
        ensure!(
            training.qat.is_none() || self.network.small().is_ok(),
            "[training.qat] trains a network for a chip, and none holds the reference network: fine-tune a run of another preset"
        );
        ensure!(
            training.distill.is_none() || self.network.classes() > 0,
            "[training.distill] learns guidance, which needs classes: [network] classes = 0"
        );
        self.validate_few_step()?;
        let timesteps = self.diffusion.timesteps;
        if let Some(up_to) = training.distill.and_then(|distill| distill.up_to) {
            ensure!(
                (1..=timesteps).contains(&up_to),
                "[training.distill] up_to = {up_to}: must be a timestep, 1 to {timesteps}"
            );
        }
        ensure!(
            training.class_dropout < 1.0 || self.network.classes() == 0,
            "[training] class_dropout = {}: with 1 no picture is shown with its class; name less than 1, or set [network] classes = 0",
            training.class_dropout
        );
        self.validate_sampling()
    }

    fn validate_few_step(&self) -> Result<()> {
        let Some(few_step) = &self.training.few_step else {
            return Ok(());
        };
        few_step.validate()?;
        ensure!(
            self.network.small().is_ok() && self.network.image_size() > 0,
            "[training.few_step] distils the network that draws pictures on chips: fine-tune a run of such a preset"
        );
        ensure!(
            few_step.steps <= self.diffusion.timesteps,
            "[training.few_step] steps = {}: more than the schedule's {}",
            few_step.steps,
            self.diffusion.timesteps
        );
        ensure!(
            few_step.guidance == 0.0 || self.network.classes() > 0,
            "[training.few_step] guidance = {}: guidance needs classes: [network] classes = 0",
            few_step.guidance
        );
        ensure!(
            self.training.distill.is_none(),
            "[training.few_step] has a teacher with guidance of its own: leave out [training.distill]"
        );
        Ok(())
    }

    fn validate_sampling(&self) -> Result<()> {
        let SamplingConfig {
            steps,
            eta,
            guidance,
        } = self.sampling;
        let timesteps = self.diffusion.timesteps;
        if let Some(steps) = steps {
            ensure!(
                (1..=timesteps).contains(&steps),
                "[sampling] steps = {steps}: must be 1 to the schedule's {timesteps}"
            );
        }
        if let Some(eta) = eta {
            ensure!(
                (0.0..=1.0).contains(&eta),
                "[sampling] eta = {eta}: must be 0 to 1"
            );
        }
        if let Some(guidance) = guidance {
            ensure!(
                (0.0..=100.0).contains(&guidance),
                "[sampling] guidance = {guidance}: must be 0 to 100"
            );
            ensure!(
                guidance == 0.0 || self.network.classes() > 0,
                "[sampling] guidance = {guidance}: guidance needs classes, and [network] classes = 0"
            );
            ensure!(
                guidance == 0.0 || !self.is_conditional_only(),
                "[sampling] guidance = {guidance}: guidance needs a network that is also trained without a class, and [training] class_dropout = 0"
            );
        }
        Ok(())
    }
}

impl TrainingConfig {
    fn validate(&self) -> Result<()> {
        fn check<T: PartialOrd + std::fmt::Display>(
            key: &str,
            value: T,
            allowed: std::ops::RangeInclusive<T>,
        ) -> Result<()> {
            ensure!(
                allowed.contains(&value),
                "[training] {key} = {value}: must be {} to {}",
                allowed.start(),
                allowed.end()
            );
            Ok(())
        }
        check("steps", self.steps, 1..=100_000_000)?;
        check("batch", self.batch, 1..=65_536)?;
        check("learning_rate", self.learning_rate, 1e-9..=1.0)?;
        check("warmup_steps", self.warmup_steps, 0..=self.steps)?;
        check("weight_decay", self.weight_decay, 0.0..=1.0)?;
        check("grad_clip", self.grad_clip, 1e-6..=1e6)?;
        check("ema_decay", self.ema_decay, 0.0..=0.999_999)?;
        check("class_dropout", self.class_dropout, 0.0..=1.0)?;
        // TOML's integers are signed.
        check("seed", self.seed, 0..=i64::MAX as u64)?;
        check("shards", self.shards, 1..=self.batch.min(64))?;
        ensure!(
            self.batch.is_multiple_of(self.shards),
            "[training] shards = {}: must divide batch = {}",
            self.shards,
            self.batch
        );
        if let Some(gamma) = self.min_snr_gamma {
            ensure!(
                self.loss == Loss::MinSnr,
                "[training] min_snr_gamma = {gamma}: only for loss = \"min-snr\""
            );
            check("min_snr_gamma", gamma, 1e-3..=1e6)?;
        }
        if let Some(DistillConfig { guidance, .. }) = self.distill {
            ensure!(
                (0.0..=100.0).contains(&guidance),
                "[training.distill] guidance = {guidance}: must be 0 to 100"
            );
        }
        check("log_every", self.log_every, 1..=u32::MAX)?;
        check("checkpoint_every", self.checkpoint_every, 1..=u32::MAX)
    }

    /// How the run's teacher predicts, where it has one.
    #[must_use]
    pub fn teacher(&self) -> Option<DistillConfig> {
        let few_step = self.few_step.map(|few_step| DistillConfig {
            guidance: few_step.guidance,
            up_to: None,
        });
        self.distill.or(few_step)
    }

    /// Makes this a distillation to so few steps, by what has proved itself.
    pub fn distil_to(&mut self, steps: u16) {
        self.few_step = Some(FewStepConfig::of(steps));
        self.distill = None;
        self.steps = FEW_STEP_STEPS;
        self.batch = FEW_STEP_BATCH;
        self.learning_rate = FEW_STEP_LEARNING_RATE;
        self.warmup_steps = 0;
        self.weight_decay = 0.0;
        self.ema_decay = FEW_STEP_EMA_DECAY;
        self.class_dropout = 0.0;
        self.loss = Loss::Simple;
        self.min_snr_gamma = None;
        self.checkpoint_every = 100;
    }

    /// γ of the min-SNR loss.
    #[must_use]
    pub fn gamma(&self) -> f64 {
        self.min_snr_gamma.unwrap_or(DEFAULT_GAMMA)
    }

    /// Makes this a fine-tuning: with the rounding of weights of so many bits,
    /// with guidance learned from the network that it starts from, or both.
    pub fn fine_tune(&mut self, weight_bits: Option<WeightBits>, distill: Option<DistillConfig>) {
        if let Some(weight_bits) = weight_bits {
            self.qat = Some(QatConfig { weight_bits });
        }
        if distill.is_some() {
            self.distill = distill;
        }
    }

    /// Takes the steps and learning rate of a fine-tuning, unless this is one
    /// already: there is little left to learn.
    pub fn shorten(&mut self) {
        if self.qat.is_some() || self.distill.is_some() {
            return;
        }
        (self.steps, self.learning_rate) = match self.few_step {
            Some(_) => (FEW_STEP_TUNING_STEPS, FEW_STEP_TUNING_LEARNING_RATE),
            None => (TUNING_STEPS, TUNING_LEARNING_RATE),
        };
        self.warmup_steps = 0;
    }

    /// The learning rate of a step (counted from 0): a linear rise, then half a
    /// cosine down to 0.
    #[must_use]
    pub fn learning_rate_at(&self, step: u32) -> f64 {
        let warmup = f64::from(self.warmup_steps);
        let step = f64::from(step);
        if step < warmup {
            return self.learning_rate * (step + 1.0) / warmup;
        }
        let length = (f64::from(self.steps) - warmup).max(1.0);
        let fraction = ((step - warmup) / length).min(1.0);
        self.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * fraction).cos())
    }
}

#[cfg(test)]
mod tests;
