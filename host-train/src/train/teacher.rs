//! Guidance learned by heart: the network is taught to predict at once what it
//! predicts with classifier-free guidance, from two runs.
//!
//! The teacher is the network that a run starts from, and stays as it is. With
//! a class the pupil's target is the guided prediction
//! (1 + w) v(x_t, c) - w v(x_t), without one the teacher's own: this is the
//! first stage of Meng et al. 2023 (arXiv:2210.03142) for a single w, which may
//! be 0 at the noisiest timesteps. On a chip it halves the work of a picture,
//! since guidance needs no second run.

use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use super::batch::Batch;
use super::checkpoint::{load_network, save_network};
use crate::config::{Config, DistillConfig};
use crate::network::{Forward, Network};

/// In a run's folder: the teacher's weights.
const TEACHER: &str = "teacher.bpk";

/// A network that is only asked.
#[derive(Clone, Debug)]
pub struct Teacher {
    model: Network,
    distill: DistillConfig,
}

impl Teacher {
    /// One that guides as `distill` says, from a network that is trained.
    #[must_use]
    pub fn new(model: &Network, distill: DistillConfig) -> Self {
        Self {
            model: model.valid(),
            distill,
        }
    }

    /// Its weights.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.model
    }

    /// Keeps the teacher in a run's folder.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn save(&self, run: &Path) -> Result<()> {
        save_network(&run.join(TEACHER), self.model.clone())
    }

    /// The teacher of the run in a folder; `None` where its configuration asks
    /// for none.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn load(run: &Path, config: &Config, device: &Device) -> Result<Option<Self>> {
        let Some(distill) = config.training.teacher() else {
            return Ok(None);
        };
        let model = Network::new(&config.network, config.training.seed, device);
        let model = load_network(&run.join(TEACHER), model)
            .context("a run that learns from a teacher cannot be used without it")?;
        Ok(Some(Self { model, distill }))
    }

    /// What a pupil should predict for the pictures `pieces` of a batch.
    #[must_use]
    pub fn target(&self, batch: &Batch, pieces: std::ops::Range<usize>) -> Vec<f32> {
        let device = self.model.device();
        let pixels = batch.x_t.len() / batch.timesteps.len();
        let values = batch.x_t[pieces.start * pixels..pieces.end * pixels].to_vec();
        let x_t = Tensor::<2>::from_data(TensorData::new(values, [pieces.len(), pixels]), &device);
        let timesteps = &batch.timesteps[pieces.clone()];
        let classes = &batch.classes[pieces];
        let guided = self.predict(x_t, timesteps, classes).into_data();
        guided.try_to_vec().expect("predictions are f32")
    }

    /// What it predicts for `x_t` (`[n, pixels]`), with its guidance.
    #[must_use]
    pub fn predict(&self, x_t: Tensor<2>, timesteps: &[u16], classes: &[Option<u8>]) -> Tensor<2> {
        let device = self.model.device();
        if timesteps
            .iter()
            .all(|&t| self.distill.guidance_at(t) == 0.0)
        {
            return self.model.forward(x_t, timesteps, classes);
        }
        let conditional = self.model.forward(x_t.clone(), timesteps, classes);
        let nothing = vec![None; classes.len()];
        // For pictures without a class both are the same, and so is the sum.
        let unconditional = self.model.forward(x_t, timesteps, &nothing);
        let w: Vec<f32> = timesteps
            .iter()
            .map(|&timestep| self.distill.guidance_at(timestep))
            .collect();
        let w = Tensor::<2>::from_data(TensorData::new(w, [timesteps.len(), 1]), &device);
        conditional.clone() + (conditional - unconditional) * w
    }
}
