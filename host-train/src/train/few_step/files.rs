//! Files of a few-step distillation in its run folder and checkpoints.

use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device};
use serde::{Deserialize, Serialize};

use super::best::Best;
use super::critics::CriticLosses;
use super::distillation::{CRITIC_UPDATES, FewStep, optimizer};
use crate::data::Dataset;
use crate::network::Network;
use crate::train::checkpoint::{BEST, Checkpoint, load_network, read, record};
use crate::train::qat::Rounded;

/// Table of the critics' losses: file name and header.
pub const CRITICS: (&str, &str) = ("critics.csv", "step,fake_score_loss,discriminator_loss\n");
/// Table of measured distances: file name and header.
pub const DISTANCES: (&str, &str) = ("distances.csv", "step,frechet_distance\n");

const STATE: &str = "few-step.json";
const NETWORKS: &str = "critics.bpk";
const MOMENTS: [&str; 2] = ["critics-moment1.bpk", "critics-moment2.bpk"];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    best: Option<Best>,
    /// Losses since the last row: fake score and discriminator.
    unlogged: Vec<[f32; 2]>,
}

impl FewStep<'_> {
    /// The files for a checkpoint, by name.
    ///
    /// # Errors
    /// Where a network cannot be written as bytes.
    pub fn files(&self) -> Result<Vec<(&'static str, Bytes)>> {
        let state = State {
            best: self.best.as_ref().map(|(best, _)| *best),
            unlogged: self
                .unlogged
                .iter()
                .map(|losses| [losses.fake_score, losses.discriminator])
                .collect(),
        };
        let state = serde_json::to_vec_pretty(&state)?;
        let mut files = vec![
            (STATE, Bytes::from_bytes_vec(state)),
            (NETWORKS, self.critics.clone().into_record().into_bytes()?),
        ];
        for (name, moment) in MOMENTS.iter().zip(self.optimizer.moments(&self.critics)) {
            files.push((name, moment.into_record().into_bytes()?));
        }
        if let Some((_, network)) = &self.best {
            files.push((BEST, record(network.clone())?));
        }
        Ok(files)
    }

    /// Restores the state from a checkpoint of the same run.
    ///
    /// # Errors
    /// Where a file cannot be read or is for another network.
    pub fn resume(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let path = checkpoint.path(STATE);
        let text = read(&path)?;
        let state: State =
            serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))?;
        self.unlogged = state
            .unlogged
            .iter()
            .map(|&[fake_score, discriminator]| CriticLosses {
                fake_score,
                discriminator,
            })
            .collect();
        self.take_critics(checkpoint)?;
        let shape = self.critics.valid();
        let [first, second] = MOMENTS.map(|name| load(&checkpoint.path(name), shape.clone()));
        let updates = checkpoint.state.step * CRITIC_UPDATES;
        self.optimizer = optimizer().with_moments(&[first?, second?], updates);
        self.best = match state.best {
            Some(best) => {
                let network = self.critics.fake_score.valid();
                Some((best, load_network(&checkpoint.path(BEST), network)?))
            }
            None => None,
        };
        Ok(())
    }

    /// Loads the critics from a checkpoint of another run.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    pub fn take_critics(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.critics = load(&checkpoint.path(NETWORKS), self.critics.clone())?;
        Ok(())
    }

    /// Measures the averaged weights `network` after `step` steps and keeps them
    /// if they are the best so far.
    ///
    /// # Errors
    /// If the classifier cannot be trained or cached.
    pub fn measure(
        &mut self,
        step: u32,
        pictures: &Dataset,
        network: &Network,
        rounded: Option<&Rounded<'_>>,
        device: &Device,
    ) -> Result<f64> {
        let distance = self.distance.measure(pictures, network, rounded, device)?;
        let known = self.best.as_ref().map(|(best, _)| best.distance);
        if known.is_none_or(|known| distance < known) {
            self.best = Some((Best { step, distance }, network.clone()));
        }
        Ok(distance)
    }

    /// Mean losses since the last call.
    pub fn take_losses(&mut self) -> CriticLosses {
        let losses = std::mem::take(&mut self.unlogged);
        let mean = |pick: fn(&CriticLosses) -> f32| {
            losses.iter().map(pick).sum::<f32>() / losses.len().max(1) as f32
        };
        CriticLosses {
            fake_score: mean(|losses| losses.fake_score),
            discriminator: mean(|losses| losses.discriminator),
        }
    }
}

/// The parameters in a file, put into `module`.
fn load<M: Module>(path: &Path, module: M) -> Result<M> {
    let loaded =
        ModuleRecord::from_bytes(read(path)?).and_then(|record| module.try_load_record(record));
    loaded.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}
