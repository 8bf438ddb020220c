//! Run folders and the checkpoints in them.
//!
//! A run folder holds `config.toml`, `data.json` (where its pictures are),
//! `metrics.csv`, sample grids and one or two
//! folders `checkpoint-STEP`, which are [`Generations`]: the newest is whole,
//! whenever the run was killed or the power was cut.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::tensor::{Bytes, Device};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::network::optimizer::Optimizer;
use crate::network::{Network, UNet};
use crate::output::Staged;
use crate::output::generations::Generations;
use crate::train::Ema;

const PREFIX: &str = "checkpoint-";
const MOMENTS: [&str; 2] = ["moment1.bpk", "moment2.bpk"];
/// The averaged weights that were best, where a run measures.
pub(super) const BEST: &str = "best.bpk";
/// Raised when an old checkpoint can no longer be read.
const FORMAT: u32 = 1;

/// What a checkpoint knows beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    format: u32,
    /// Finished steps.
    pub step: u32,
    /// [`Dataset::fingerprint`](crate::data::Dataset::fingerprint) of the data.
    pub data_sha256: String,
    /// Losses that no row of the metrics has yet.
    #[serde(default)]
    pub unlogged: Vec<f32>,
}

impl State {
    /// The state after `step` steps on the data with this fingerprint.
    #[must_use]
    pub fn new(step: u32, data_sha256: String, unlogged: Vec<f32>) -> Self {
        Self {
            format: FORMAT,
            step,
            data_sha256,
            unlogged,
        }
    }
}

/// A finished checkpoint on the disk.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    /// What it knows beside the weights.
    pub state: State,
}

impl Checkpoint {
    /// Whether a run has got as far as its first checkpoint.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn any(run: &Path) -> Result<bool> {
        Ok(Self::newest_step(run)?.is_some())
    }

    /// The step of a run's newest checkpoint, if it has one.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn newest_step(run: &Path) -> Result<Option<u32>> {
        let found = Generations::new(run, PREFIX).newest();
        found.with_context(|| format!("cannot read {}", run.display()))
    }

    /// The newest checkpoint of a run.
    ///
    /// # Errors
    /// Where the folder is no run, or has no checkpoint yet.
    pub fn newest(run: &Path) -> Result<Self> {
        ensure!(
            run.is_dir(),
            "there is no run folder {}; `tiny-ddpm train --out DIR` makes one",
            run.display()
        );
        let Some(step) = Self::newest_step(run)? else {
            bail!("{} holds no checkpoint", run.display());
        };
        let folder = Generations::new(run, PREFIX).path(step);
        let path = folder.join("state.json");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let state: State =
            serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        ensure!(
            state.format == FORMAT,
            "{}: checkpoint format {}, but this tool reads {FORMAT}",
            path.display(),
            state.format
        );
        Ok(Self { folder, state })
    }

    /// Writes a checkpoint, with `others` beside its own files, and removes
    /// those before it.
    ///
    /// # Errors
    /// Where something cannot be written; what was there before stays.
    pub fn save(
        run: &Path,
        state: State,
        model: &Network,
        ema: &Ema,
        optimizer: &Optimizer,
        others: Vec<(&str, Bytes)>,
    ) -> Result<Self> {
        let generations = Generations::new(run, PREFIX);
        let folder = generations.path(state.step);
        if folder.is_dir() {
            return Ok(Self { folder, state });
        }
        let write = || -> Result<()> {
            let draft = generations.begin(state.step)?;
            draft.add("model.bpk", &record(model.clone())?)?;
            draft.add("ema.bpk", &record(ema.model.clone())?)?;
            for (name, moment) in MOMENTS.iter().zip(optimizer.moments(model)) {
                draft.add(name, &record(moment)?)?;
            }
            for (name, bytes) in others {
                draft.add(name, &bytes)?;
            }
            draft.add("state.json", &serde_json::to_vec_pretty(&state)?)?;
            draft.publish()?;
            Ok(())
        };
        write().with_context(|| {
            let kept = match generations.newest() {
                Ok(Some(_)) => "; the one before it is kept",
                _ => "",
            };
            format!("cannot write the checkpoint {}{kept}", folder.display())
        })?;
        generations.remove_before(state.step).with_context(|| {
            format!("cannot remove the checkpoints before {}", folder.display())
        })?;
        Ok(Self { folder, state })
    }

    /// The weights being trained, put into `model`.
    ///
    /// # Errors
    /// Where the file cannot be read or is for another network.
    pub fn load_model(&self, model: Network) -> Result<Network> {
        self.load_into(model, "model.bpk")
    }

    /// The averaged weights, put into `model`.
    ///
    /// # Errors
    /// Where the file cannot be read or is for another network.
    pub fn load_ema(&self, model: Network) -> Result<Network> {
        self.load_into(model, "ema.bpk")
    }

    /// The averaged weights that are worth most, put into `model`: the best
    /// that were measured, or, where the run measures nothing, the newest.
    ///
    /// # Errors
    /// Where the file cannot be read or is for another network.
    pub fn load_best(&self, model: Network) -> Result<Network> {
        match self.path(BEST).is_file() {
            true => self.load_into(model, BEST),
            false => self.load_ema(model),
        }
    }

    /// Where a file of it lies.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The optimiser's state, put into `optimizer`. `shape` is any network of
    /// the run's shape, without gradients.
    ///
    /// # Errors
    /// Where a file cannot be read or is for another network.
    pub fn load_optimizer(&self, optimizer: Optimizer, shape: &Network) -> Result<Optimizer> {
        let [first, second] = MOMENTS.map(|name| self.load_into(shape.clone(), name));
        Ok(optimizer.with_moments(&[first?, second?], self.state.step))
    }

    fn load_into(&self, model: Network, name: &str) -> Result<Network> {
        load_network(&self.path(name), model)
    }
}

/// The configuration of a run and its averaged weights, newest checkpoint; of
/// a run that measures itself the best ones.
///
/// # Errors
/// Where the folder is no run, or something in it cannot be read.
pub fn load_any_ema(run: &Path, device: &Device) -> Result<(Config, Network)> {
    let checkpoint = Checkpoint::newest(run)?;
    let config = Config::load(&run.join("config.toml"))?;
    let model = Network::new(&config.network, config.training.seed, device);
    let model = checkpoint.load_best(model)?;
    Ok((config, model))
}

/// The same of a run of the network that chips run.
///
/// # Errors
/// Where it is a run of the reference network, and as [`load_any_ema`].
pub fn load_ema(run: &Path, device: &Device) -> Result<(Config, UNet)> {
    match load_any_ema(run, device)? {
        (config, Network::Small(model)) => Ok((config, model)),
        (_, Network::Reference(_)) => bail!(
            "{} is a run of the reference network, which no chip holds",
            run.display()
        ),
    }
}

/// Writes a network's weights, in one go.
///
/// # Errors
/// Where they cannot be written.
pub(super) fn save_network(path: &Path, model: Network) -> Result<()> {
    let mut staged = Staged::default();
    staged.add(path, &record(model)?)?;
    staged.publish()
}

/// The weights in a file, put into `model`.
///
/// # Errors
/// Where the file cannot be read or is for another network.
pub(super) fn load_network(path: &Path, model: Network) -> Result<Network> {
    model
        .with_bytes(read(path)?)
        .map_err(|error| anyhow!("{}: {error}", path.display()))
}

pub(super) fn record(model: Network) -> Result<Bytes> {
    Ok(model.into_bytes()?)
}

pub(super) fn read(path: &Path) -> Result<Bytes> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Bytes::from_bytes_vec(bytes))
}
