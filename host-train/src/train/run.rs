//! One training run: the loop, its files and how it stops.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;

use super::batch::Batches;
use super::calibrate::CalibrationSettings;
use super::checkpoint::{Checkpoint, State};
use super::curve::write_curve;
use super::few_step::{self, CRITICS, DISTANCES, FewStep};
use super::gradients::{clip, loss_and_gradients};
use super::preview::write_grid;
use super::progress::Progress;
use super::qat::{Qat, Rounded};
use super::teacher::Teacher;
use super::trouble::{Trouble, guarded};
use crate::config::{Config, DistillConfig};
use crate::data::Examples;
use crate::network::Network;
use crate::network::optimizer::Optimizer;
use crate::output::{Staged, in_shell, refuse_taken, remove_unfinished};
use crate::progress::Phase;
use crate::quant::Ranges;
use crate::train::Ema;

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// Ctrl-C; the last finished step is saved.
    Interrupted {
        /// Number of finished steps.
        step: u32,
    },
}

/// A run that can go on training.
pub struct Run<'a> {
    folder: PathBuf,
    config: Config,
    data: &'a dyn Examples,
    data_sha256: String,
    device: Device,
    model: Network,
    ema: Ema,
    optimizer: Optimizer,
    /// What the network is rounded to while it is trained.
    qat: Option<Qat>,
    /// Whose guided predictions are learned.
    teacher: Option<Teacher>,
    /// What distils it to a few steps.
    few_step: Option<FewStep<'a>>,
    /// Finished steps.
    step: u32,
    /// Losses since the last row of the metrics.
    unlogged: Vec<f32>,
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Run in {} after step {}",
            self.folder.display(),
            self.step
        )
    }
}

/// In a run's folder: what it is made of. A folder without it is no run.
const CONFIG: &str = "config.toml";
/// A table in a run's folder: a file and its head.
type Table = (&'static str, &'static str);
const METRICS: Table = (
    "metrics.csv",
    "step,loss,gradient_norm,learning_rate,seconds\n",
);

impl<'a> Run<'a> {
    /// Makes sure that a new run would overwrite nothing.
    ///
    /// # Errors
    /// Where the folder exists and is not empty.
    pub fn refuse_existing(folder: &Path) -> Result<()> {
        let otherwise = match folder.join(CONFIG).is_file() {
            true => format!(
                "go on with its run by --resume {}, or name another folder with --out",
                in_shell(folder)
            ),
            false => {
                "it holds no run that could go on: remove it if a start failed there, or name another folder with --out"
                    .to_owned()
            }
        };
        refuse_taken(folder, &otherwise)
    }

    /// A new run in a new folder.
    ///
    /// # Errors
    /// Where the folder is in use or cannot be written, or the configuration is
    /// one for fine-tuning.
    pub fn create(
        folder: &Path,
        config: Config,
        data: &'a dyn Examples,
        device: Device,
    ) -> Result<Self> {
        ensure!(
            config.training.qat.is_none(),
            "[training.qat] fine-tunes another run: name it with --from RUN"
        );
        ensure!(
            config.training.teacher().is_none(),
            "[training.distill] and [training.few_step] learn from another run: name it with --from RUN"
        );
        Self::begin(folder)?;
        let run = Self::fresh(folder, config, data, device);
        run.announce()?;
        Ok(run)
    }

    /// Makes an empty folder for a new run.
    fn begin(folder: &Path) -> Result<()> {
        Self::refuse_existing(folder)?;
        let make = || -> Result<()> {
            fs::create_dir_all(folder)?;
            remove_unfinished(folder)
        };
        make().with_context(|| format!("cannot start a run in {}", folder.display()))
    }

    /// Writes what makes the folder a run that can be resumed.
    fn announce(&self) -> Result<()> {
        let write = || -> Result<()> {
            let mut staged = Staged::default();
            staged.add(self.folder.join(CONFIG), self.config.to_toml()?.as_bytes())?;
            for (name, head) in self.tables() {
                staged.add(self.folder.join(name), head.as_bytes())?;
            }
            staged.publish()
        };
        write().with_context(|| format!("cannot start a run in {}", self.folder.display()))
    }

    /// The tables that this run writes.
    fn tables(&self) -> Vec<Table> {
        let mut tables = vec![METRICS];
        if self.config.training.few_step.is_some() {
            tables.extend([CRITICS, DISTANCES]);
        }
        tables
    }

    /// A new run that starts from the averaged weights of another. Where the
    /// configuration asks for rounding, they are first looked at for the
    /// ranges of the activations.
    ///
    /// # Errors
    /// Where the other cannot be read or has another network, and as
    /// [`create`](Self::create).
    pub fn create_from(
        other: &Path,
        folder: &Path,
        config: Config,
        data: &'a dyn Examples,
        device: Device,
    ) -> Result<Self> {
        let source = Config::load(&other.join(CONFIG))?;
        ensure!(
            source.network == config.network,
            "the network in {} is not the one in the configuration; \
             start with --config {}",
            other.display(),
            in_shell(&other.join(CONFIG))
        );
        let guides = |teacher: DistillConfig| teacher.guidance > 0.0;
        let guided = config.training.teacher().is_some_and(guides);
        let student = source.training.few_step;
        let from_student = student.is_some();
        ensure!(
            !from_student
                || student.map(|few| few.steps) == config.training.few_step.map(|few| few.steps),
            "{} draws in {} steps, and knows no other timesteps: go on with as many by --few-step, or name the run that it was made from",
            other.display(),
            student.map_or(0, |few| few.steps)
        );
        ensure!(
            config.training.few_step.is_none() || config.training.qat.is_none() || from_student,
            "{} does not draw in few steps yet, so that nobody knows what ranges its activations will have: distil it first, then --from that run with --qat",
            other.display()
        );
        ensure!(
            source.training.distill.is_none() || !guided,
            "{} has learned guidance by heart already, and would be guided a second time: name the run that it was made from, or leave guidance out",
            other.display()
        );
        ensure!(
            !source.is_conditional_only() || !guided || from_student,
            "{} was trained with class_dropout = 0, so never without a class, which guidance needs: it has none to learn; train a run with class_dropout = 0.1, or leave guidance out",
            other.display()
        );
        let checkpoint = Checkpoint::newest(other)?;
        let ranges = match config.training.qat {
            Some(_) => Some(choose_ranges(&checkpoint, &config, &device)?),
            None => None,
        };
        Self::begin(folder)?;
        let mut run = Self::fresh(folder, config, data, device);
        if let Some(ranges) = ranges {
            Qat::save(folder, &ranges)?;
            // Read back: a resumed run has no others.
            run.qat = Qat::load(folder, &run.config)?;
        }
        run.model = checkpoint.load_best(run.model)?;
        run.ema.model = checkpoint.load_best(run.ema.model)?;
        if let Some(distill) = run.config.training.teacher() {
            let teacher = match from_student {
                // A student's teacher stays the one it has.
                true => {
                    let inner = run.device.clone().inner();
                    Teacher::load(other, &run.config, &inner)?.context("no teacher")?
                }
                false => Teacher::new(&run.model, distill),
            };
            teacher.save(folder)?;
            run.take_teacher(teacher)?;
            if let Some(few_step) = run.few_step.as_mut().filter(|_| from_student) {
                few_step.take_critics(&checkpoint)?;
            }
        }
        run.save()?;
        // Last: a folder that can be resumed has the weights it starts from.
        run.announce()?;
        Ok(run)
    }

    /// A run as its newest checkpoint left it; from its start where it was
    /// stopped before the first.
    ///
    /// # Errors
    /// Where something cannot be read, or the data is not what the run began
    /// with.
    pub fn resume(
        folder: &Path,
        config: Config,
        data: &'a dyn Examples,
        device: Device,
    ) -> Result<Self> {
        let mut run = Self::fresh(folder, config, data, device);
        remove_unfinished(folder)?;
        let training = &run.config.training;
        let tuned = training.qat.is_some() || training.teacher().is_some();
        ensure!(
            !tuned || Checkpoint::any(folder)?,
            "{} was stopped before it had the weights it starts from; remove it and start again",
            folder.display()
        );
        run.qat = Qat::load(folder, &run.config)?;
        if let Some(teacher) = Teacher::load(folder, &run.config, &run.device.clone().inner())? {
            run.take_teacher(teacher)?;
        }
        if Checkpoint::any(folder)? {
            let checkpoint = Checkpoint::newest(folder)?;
            ensure!(
                checkpoint.state.data_sha256 == run.data_sha256,
                "{} was trained on other data; name the same folder with --data",
                folder.display()
            );
            run.model = checkpoint.load_model(run.model)?;
            run.ema.model = checkpoint.load_ema(run.ema.model)?;
            run.optimizer = checkpoint.load_optimizer(run.optimizer, &run.ema.model)?;
            if let Some(few_step) = &mut run.few_step {
                few_step.resume(&checkpoint)?;
            }
            run.step = checkpoint.state.step;
            run.unlogged = checkpoint.state.unlogged;
        }
        for table in run.tables() {
            run.forget_later_rows(table)?;
        }
        Ok(run)
    }

    /// Learns from a teacher, in the way that the configuration says.
    fn take_teacher(&mut self, teacher: Teacher) -> Result<()> {
        match self.config.training.few_step {
            Some(_) => {
                let few_step = FewStep::new(&self.config, self.data, teacher, &self.device)?;
                self.few_step = Some(few_step);
            }
            None => self.teacher = Some(teacher),
        }
        Ok(())
    }

    fn fresh(folder: &Path, config: Config, data: &'a dyn Examples, device: Device) -> Self {
        let training = &config.training;
        let device = device.autodiff();
        let model = Network::new(&config.network, training.seed, &device);
        Self {
            folder: folder.to_owned(),
            data,
            data_sha256: data.fingerprint(),
            ema: Ema::new(&model, training.ema_decay),
            optimizer: match training.few_step {
                Some(_) => few_step::optimizer(),
                None => Optimizer::new(training.weight_decay),
            },
            qat: None,
            teacher: None,
            few_step: None,
            step: 0,
            unlogged: Vec::new(),
            device,
            model,
            config,
        }
    }

    /// Number of finished steps.
    #[must_use]
    pub fn step(&self) -> u32 {
        self.step
    }

    /// What it is made of.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The weights being trained.
    #[must_use]
    pub fn model(&self) -> &Network {
        &self.model
    }

    /// Rows of steps that will be done again.
    fn forget_later_rows(&self, (name, head): Table) -> Result<()> {
        let path = self.folder.join(name);
        let rewrite = || -> Result<()> {
            // A run killed at its very start has no metrics yet.
            let text = match fs::read(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                text => text?,
            };
            let text = String::from_utf8_lossy(&text);
            let columns = head.split(',').count();
            let mut kept = String::from(head);
            for line in text.lines().skip(1) {
                // One may be cut short.
                let cells: Vec<Option<f64>> = line.split(',').map(|c| c.parse().ok()).collect();
                let whole = cells.len() == columns && cells.iter().all(Option::is_some);
                if whole && cells[0] <= Some(f64::from(self.step)) {
                    kept += line;
                    kept.push('\n');
                }
            }
            let mut staged = Staged::default();
            staged.add(&path, kept.as_bytes())?;
            staged.publish()
        };
        rewrite().with_context(|| format!("cannot rewrite {}", path.display()))
    }

    fn save(&self) -> Result<()> {
        let weights = [&self.model, &self.ema.model].into_iter();
        let weights = weights.flat_map(Network::parameters);
        for parameter in weights {
            if !parameter.values.iter().all(|value| value.is_finite()) {
                let found = format!("{} has values that are no numbers", parameter.name);
                let step = self.step;
                return Err(Trouble::NotANumber { step, found }.into());
            }
        }
        let state = State::new(self.step, self.data_sha256.clone(), self.unlogged.clone());
        let others = match &self.few_step {
            Some(few_step) => few_step.files()?,
            None => Vec::new(),
        };
        let (model, ema, optimizer) = (&self.model, &self.ema, &self.optimizer);
        Checkpoint::save(&self.folder, state, model, ema, optimizer, others)?;
        Ok(())
    }

    /// How far the averaged weights' pictures are from the training pictures;
    /// the best average is kept.
    fn measure(&mut self) -> Result<Option<f64>> {
        let small = self.qat.as_ref().zip(self.ema.model.small());
        let rounded = small.map(|(qat, model)| qat.round(model)).transpose()?;
        let (Some(few_step), Some(pictures)) = (&mut self.few_step, self.data.pictures()) else {
            return Ok(None);
        };
        let device = self.device.clone().inner();
        few_step
            .measure(
                self.step,
                pictures,
                &self.ema.model,
                rounded.as_ref(),
                &device,
            )
            .map(Some)
    }

    /// What a network of this run is rounded to, where the run is for that.
    fn rounded(&self, model: &Network) -> Result<Option<Rounded<'_>>> {
        // A configuration asks for rounding of no other network.
        let small = self.qat.as_ref().zip(model.small());
        small.map(|(qat, model)| qat.round(model)).transpose()
    }

    /// Trains until all steps are done or Ctrl-C is pressed.
    ///
    /// # Errors
    /// A [`Trouble`] where a file cannot be written, the loss or a weight is no
    /// longer a number, or the backend panics; the newest checkpoint is then the
    /// last good one.
    pub fn train(self) -> Result<Outcome> {
        let stop = stop_on_ctrl_c()?;
        let step = AtomicU32::new(self.step);
        let trained = guarded(|| self.train_on(stop, &step));
        let trouble = match trained {
            Ok(Ok(outcome)) => return Ok(outcome),
            Ok(Err(error)) => error.downcast::<Trouble>().unwrap_or_else(Trouble::Files),
            Err(message) => Trouble::Panic {
                step: step.load(Ordering::SeqCst) + 1,
                message,
            },
        };
        Err(trouble.into())
    }

    fn train_on(mut self, stop: &AtomicBool, step: &AtomicU32) -> Result<Outcome> {
        let config = self.config.clone();
        let training = &config.training;
        let mut batches = Batches::new(self.data, &config)?;
        let mut progress = Progress::new(&self.folder, self.step, training)?;
        while self.step < training.steps {
            let rate = training.learning_rate_at(self.step);
            // Borrowed from one field, so that the step may change another.
            let small = self.qat.as_ref().zip(self.model.small());
            let rounded = small.map(|(qat, model)| qat.round(model)).transpose()?;
            let (loss, mut gradients) = match &mut self.few_step {
                Some(few_step) => {
                    few_step.step(&self.model, rounded.as_ref(), self.step, rate, training)
                }
                None => loss_and_gradients(
                    &self.model,
                    rounded.as_ref(),
                    self.teacher.as_ref(),
                    &batches.batch(self.step),
                    training.shards,
                    &self.device,
                ),
            };
            let norm = clip(&self.model, &mut gradients, training.grad_clip);
            if !loss.is_finite() || !norm.is_finite() {
                progress.finish();
                return Err(Trouble::NotANumber {
                    step: self.step + 1,
                    found: format!("the loss is {loss} and the gradient's norm {norm}"),
                }
                .into());
            }
            self.model = self.optimizer.step(rate, self.model, gradients);
            self.ema = self.ema.update(&self.model, self.step);
            self.step += 1;
            step.store(self.step, Ordering::SeqCst);

            let last = self.step == training.steps;
            let stopping = stop.load(Ordering::SeqCst);
            let done = self.step;
            let at = |every: u32| every > 0 && (last || done.is_multiple_of(every));
            progress.step(self.step, loss);
            self.unlogged.push(loss);
            if at(training.log_every) {
                let losses = std::mem::take(&mut self.unlogged);
                let mean = losses.iter().sum::<f32>() / losses.len() as f32;
                let critics = self.few_step.as_mut().map(FewStep::take_losses);
                progress.log(self.step, mean, norm, rate, critics)?;
            }
            let measure_every = training
                .few_step
                .map_or(0, |few_step| few_step.measure_every);
            if at(measure_every)
                && let Some(distance) = self.measure()?
            {
                progress.measured(self.step, distance)?;
            }
            if at(training.checkpoint_every) || stopping {
                // What a checkpoint counts as done must have its row.
                progress.sync()?;
                self.save()?;
            }
            if at(training.sample_every) {
                let path = self.folder.join(format!("samples-{:08}.png", self.step));
                let rounded = self.rounded(&self.ema.model)?;
                write_grid(
                    &self.ema.model,
                    rounded.as_ref(),
                    &config,
                    &self.device.clone().inner(),
                    &path,
                )?;
            }
            if stopping && !last {
                progress.finish();
                write_curve(&self.folder)?;
                return Ok(Outcome::Interrupted { step: self.step });
            }
        }
        progress.finish();
        write_curve(&self.folder)?;
        Ok(Outcome::Finished)
    }
}

/// The ranges of a checkpoint's averaged weights.
fn choose_ranges(checkpoint: &Checkpoint, config: &Config, device: &Device) -> Result<Ranges> {
    let model = Network::new(&config.network, config.training.seed, device);
    let model = checkpoint.load_best(model)?;
    let model = model
        .small()
        .context("only a network for chips is rounded")?;
    let steps = CalibrationSettings::of(config)?.steps;
    let phase = Phase::begin("calibrating", steps.into(), true)?;
    let ranges = Qat::choose(model, config, device, |step| {
        phase.set_position(step.into());
    })?;
    phase.finish();
    Ok(ranges)
}

/// A flag that Ctrl-C sets; pressed a second time it ends the program at once.
fn stop_on_ctrl_c() -> Result<&'static AtomicBool> {
    static STOP: AtomicBool = AtomicBool::new(false);
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if !INSTALLED.swap(true, Ordering::SeqCst) {
        ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
            eprintln!("\nstopping after this step; press Ctrl-C again to stop without saving");
        })
        .context("cannot listen for Ctrl-C")?;
    }
    Ok(&STOP)
}

#[cfg(test)]
mod tests;
