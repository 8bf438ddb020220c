//! `tiny-ddpm train`: from the command line to a run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use burn::module::Module;
use clap::Args;
use tiny_ddpm::Data;

use super::Checkpoint;
use super::origin::Origin;
use super::run::{Outcome, Run};
use super::trouble::{Situation, Trouble};
use crate::config::{Config, DistillConfig, FewStepConfig, PRESETS, SamplingConfig};
use crate::data::swiss_roll::{self, TRAINING_POINTS};
use crate::data::{DataArgs, Examples, Layout, Split, default_cache};
use crate::duration::duration;
use crate::network::backend::Backend;
use crate::output::grouped;
use crate::output::{Staged, check_folder, in_shell};
use crate::points::Points;
use crate::quant::WeightBits;

/// What --help says of --data beside what it says elsewhere.
const DATA_HELP: &str = "\
A folder with IDX files (raw or .gz) under their usual names, or with a sub-folder of
pictures (PNG, JPEG, WebP) for each class, in train/ and test/ or not; without it MNIST
is downloaded. Pictures are turned grey and resized. Pictures without sub-folders have
no classes. A preset takes its number of classes from the data

A network for points is shown the Swiss roll, which needs no data";

/// Train a network.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("data", |data| data.long_help(DATA_HELP)))]
#[command(after_help = "\
Examples:
  tiny-ddpm train --preset digits --out runs/mine
  tiny-ddpm train --preset digits --data pets --out runs/pets
      with pets/cat/1.png, pets/dog/1.png and so on: up to 256 classes
  tiny-ddpm train --preset swiss-roll
      points instead of pictures: less than a minute, and no download
  tiny-ddpm train --from runs/mine --qat 4 --out runs/mine-4bit
  tiny-ddpm train --from runs/mine --distill 0.5 --out runs/mine-guided
  tiny-ddpm train --from runs/mine --distill 0.5 --distill-up-to 800
      the same, but without guidance while there is little but noise
  tiny-ddpm train --from runs/mine --few-step 1 --out runs/mine-fast
      one evaluation of the network for a picture instead of twenty
  tiny-ddpm train --from runs/mine-fast --few-step 1 --qat --out runs/mine-fast-qat
  tiny-ddpm export runs/mine-4bit --out mine.tddpm")]
pub struct TrainArgs {
    /// One of the configurations that are part of the tool: digits, fashion, digits-small, nano, swiss-roll, smoke, and reference, which is for a GPU and for no chip
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub preset: Option<String>,
    /// A configuration of your own (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder for the run: configuration, metrics and their curve, sample
    /// grids, checkpoints
    /// [default: runs/ and the name of the preset, configuration or fine-tuned
    /// run]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with the run in this folder, as if it had never stopped, on the data
    /// that it remembers
    #[arg(
        long,
        value_name = "RUN",
        conflicts_with_all = ["preset", "config", "out", "steps", "batch", "seed", "learning_rate", "shards", "qat", "distill", "distill_up_to", "few_step"]
    )]
    pub resume: Option<PathBuf>,
    /// Start from the averaged weights of another run of the same network
    /// instead of random ones
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    pub from: Option<PathBuf>,
    /// Fine-tune the run named by --from as the chip will round it, with
    /// weights of so many bits: 8 (the default) or 4. Without --preset or
    /// --config: that run's configuration, with few steps and a low learning
    /// rate; where that run has learned guidance by --distill, it learns what
    /// the run predicts instead of pictures, and so keeps it
    #[arg(
        long,
        value_enum,
        value_name = "BITS",
        requires = "from",
        num_args = 0..=1,
        default_missing_value = "8"
    )]
    pub qat: Option<WeightBits>,
    /// Fine-tune the run named by --from to predict at once what it predicts
    /// with classifier-free guidance W: without guidance it then draws what
    /// took two runs of the network before. Goes together with --qat, and
    /// changes what is not said like that
    #[arg(long, value_name = "W", requires = "from")]
    pub distill: Option<f32>,
    /// With --distill: guide at timesteps up to T alone. Less guidance in the
    /// noise before them leaves more variety, and fewer pictures of the class
    /// asked for
    #[arg(long, value_name = "T", requires = "distill")]
    pub distill_up_to: Option<u16>,
    /// Distil the run named by --from to a network that draws in N evaluations,
    /// 1, 2 or 4, what takes that run twenty. Changes what is not said as
    /// [training.few_step] needs it. Together with --qat it goes on with a run
    /// that draws in N evaluations already
    #[arg(long, value_name = "N", requires = "from", conflicts_with = "distill")]
    pub few_step: Option<u16>,
    /// What it is trained on.
    #[command(flatten)]
    pub data: DataArgs,
    /// Where downloads are kept
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    pub cache: Option<PathBuf>,
    /// Where to compute
    #[arg(long, value_enum, default_value = "flex")]
    pub backend: Backend,
    /// Instead of the configuration's steps
    #[arg(long)]
    pub steps: Option<u32>,
    /// Instead of the configuration's batch
    #[arg(long)]
    pub batch: Option<usize>,
    /// Instead of the configuration's seed
    #[arg(long)]
    pub seed: Option<u64>,
    /// Instead of the configuration's learning_rate
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Instead of the configuration's shards: pieces of a batch that are worked
    /// on in parallel, on a CPU about as many as it has cores, on a GPU 1
    #[arg(long)]
    pub shards: Option<usize>,
}

impl TrainArgs {
    fn config(&self) -> Result<Config> {
        let mut config = match (&self.config, &self.preset, self.fine_tuned()) {
            (Some(path), _, _) => Config::load(path)?,
            (None, Some(name), _) => Config::preset(name)?,
            (None, None, Some(other)) => Config::load(&other.join("config.toml"))?,
            (None, None, None) => bail!(self.nothing_named()),
        };
        let named = self.config.is_some() || self.preset.is_some();
        let few_step_before = config.training.few_step.map(|few_step| few_step.steps);
        if let Some(steps) = self.few_step {
            let training = &mut config.training;
            match training.few_step {
                // Another network for other steps.
                Some(few_step) if few_step.steps == steps => (),
                _ if named => training.few_step = Some(FewStepConfig::of(steps)),
                _ => training.distil_to(steps),
            }
            if !named {
                config.sampling = SamplingConfig::default();
            }
        }
        if self.distill.is_some() && !named {
            // What it learns by heart is not to be guided again.
            config.sampling.guidance = None;
        }
        let training = &mut config.training;
        if self.qat.is_some() || self.distill.is_some() {
            // A configuration that was named is taken as it is.
            let continues = self
                .few_step
                .is_none_or(|steps| few_step_before == Some(steps));
            if !named && continues {
                training.shorten();
            }
            let distill = self.distill.map(|guidance| DistillConfig {
                guidance,
                up_to: self.distill_up_to,
            });
            // What it has learned by heart is not to be guided again, and on
            // pictures alone it would forget it.
            let own = DistillConfig {
                guidance: 0.0,
                up_to: None,
            };
            let learned = !named && training.distill.is_some();
            training.fine_tune(self.qat, distill.or(learned.then_some(own)));
        }
        if let Some(steps) = self.steps {
            training.steps = steps;
            training.warmup_steps = training.warmup_steps.min(steps);
        }
        if let Some(batch) = self.batch {
            training.batch = batch;
        }
        if let Some(seed) = self.seed {
            training.seed = seed;
        }
        if let Some(learning_rate) = self.learning_rate {
            training.learning_rate = learning_rate;
        }
        if let Some(shards) = self.shards {
            training.shards = shards;
        }
        config
            .validate()
            .context("with the values from the command line")?;
        Ok(config)
    }

    /// What to say where neither a preset nor a configuration is named.
    fn nothing_named(&self) -> String {
        let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        match &self.from {
            Some(run) => format!(
                "--from {0} says which weights to start from, but not what to train: name its configuration with --config {1}, a preset with --preset NAME ({names}), or fine-tune it with --qat, --distill or --few-step",
                run.display(),
                in_shell(&run.join("config.toml"))
            ),
            None => format!(
                "name what to train: a preset with --preset NAME ({names}), or a configuration with --config FILE. \
                 `tiny-ddpm train --preset swiss-roll` takes less than a minute and downloads nothing; --resume RUN goes on with a run"
            ),
        }
    }

    /// The run that is fine-tuned, where the command line asks for it.
    fn fine_tuned(&self) -> Option<&Path> {
        let asked = self.qat.is_some() || self.distill.is_some() || self.few_step.is_some();
        self.from.as_deref().filter(|_| asked)
    }

    fn out(&self) -> PathBuf {
        if let Some(out) = &self.out {
            return out.clone();
        }
        let name = match (self.config.as_deref(), &self.preset, self.fine_tuned()) {
            (Some(path), _, _) | (None, None, Some(path)) => path.file_stem().unwrap_or_default(),
            (None, Some(name), _) => name.as_ref(),
            // `config` refuses this.
            (None, None, None) => "run".as_ref(),
        };
        let mut name = name.to_owned();
        if let Some(guidance) = self.distill {
            name.push(format!("-w{guidance}"));
        }
        if let Some(up_to) = self.distill_up_to {
            name.push(format!("-t{up_to}"));
        }
        if let Some(steps) = self.few_step {
            name.push(format!("-{steps}step"));
        }
        if let Some(bits) = self.qat {
            name.push(format!("-qat{bits}"));
        }
        Path::new("runs").join(name)
    }

    /// Takes the data of the run that goes on or is fine-tuned, where the
    /// command line names none.
    fn take_data_of_run(&mut self) -> Result<()> {
        let Some(run) = self.resume.as_deref().or(self.fine_tuned()) else {
            return Ok(());
        };
        let run = run.to_owned();
        if self.data.is_default()
            && let Some(origin) = Origin::load(&run)?
        {
            origin.fill(&run, &mut self.data, &mut self.cache)?;
        }
        Ok(())
    }

    /// The folder with the data, downloaded where none is named.
    fn data(&self) -> Result<PathBuf> {
        let cache = || self.cache.clone().map_or_else(default_cache, Ok);
        self.data.folder(cache)
    }

    /// What a network for points of so many values is trained on.
    fn points(&self, values: u8) -> Result<Points> {
        ensure!(
            self.data.is_default(),
            "--data and --dataset are for pictures: a network for points learns the Swiss roll, which is drawn"
        );
        ensure!(
            usize::from(values) == swiss_roll::VALUES,
            "[network] points = {values}: the Swiss roll, which networks for points learn, has {}",
            swiss_roll::VALUES
        );
        Ok(swiss_roll::draw(Split::Train, TRAINING_POINTS))
    }

    /// Gives a preset as many classes as the pictures have. A configuration of
    /// the user's own, or of a run, says what it means.
    fn fit(&self, config: &mut Config, pictures: &Layout) {
        let own = self.config.is_some() || self.preset.is_none() && self.fine_tuned().is_some();
        let classes = config.network.classes();
        let Some(found) = pictures.classes() else {
            return;
        };
        if self.resume.is_none() && !own && classes != 0 && classes != found {
            match found {
                0 => eprintln!("the network is without classes, as the pictures are"),
                _ => eprintln!(
                    "the network is for {found} classes instead of {classes}, as the data has"
                ),
            }
            config.network.set_classes(found);
        }
    }

    /// What a user types to go on with the run on a backend. The run remembers
    /// its data, unless `forgetful`.
    fn resume_command(&self, run: &Path, backend: Backend, forgetful: bool) -> String {
        let mut command = format!("tiny-ddpm train --resume {}", in_shell(run));
        if forgetful {
            command += &self.data_again();
        }
        if backend != Backend::Flex {
            command += &format!(" --backend {}", backend.name());
        }
        command
    }

    /// What names the same data again.
    fn data_again(&self) -> String {
        match &self.cache {
            Some(cache) => format!("{} --cache {}", self.data.again(), in_shell(cache)),
            None => self.data.again(),
        }
    }
}

/// Exit code of a run that Ctrl-C stopped: that of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// The file in a run's folder with the names of classes, if they have any.
const CLASSES: &str = "classes.txt";

/// What to do with a run that is finished.
fn next(run: &Path, config: &Config) -> String {
    let run = in_shell(run);
    match config.network.small() {
        Ok(_) => {
            format!("export it:   tiny-ddpm export {run}\ntry it:      tiny-ddpm sample {run}")
        }
        Err(_) => format!("try it:      tiny-ddpm sample {run}"),
    }
}

/// Warns of what a configuration allows and few people want.
fn warn(config: &Config) {
    if config.is_conditional_only() {
        eprintln!(
            "warning: [training] class_dropout = 0 never trains the network without a class: it will draw with a class only (no --class none) and without guidance. For both, set class_dropout = 0.1"
        );
    }
}

/// Trains, and gives the program's exit code.
///
/// # Errors
/// Where something in the configuration, the data or the run folder is not as
/// it should be, or the loss is no longer a number.
pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    let mut args = args.clone();
    // The backend first: it is the cheapest thing to be wrong.
    let device = args.backend.device()?;
    let (folder, mut config) = match &args.resume {
        Some(run) => {
            let path = run.join("config.toml");
            ensure!(
                path.is_file(),
                "{} is no run folder: it has no config.toml",
                run.display()
            );
            (run.clone(), Config::load(&path)?)
        }
        None => (args.out(), args.config()?),
    };
    if args.resume.is_none() {
        Run::refuse_existing(&folder)?;
    }
    check_folder(&folder)?;
    let mut origin = None;
    let (data, names): (Box<dyn Examples>, Vec<String>) = match config.network.data() {
        Data::Point { values } => (Box::new(args.points(values)?), Vec::new()),
        Data::Picture { .. } => {
            args.take_data_of_run()?;
            origin = Origin::of(&args.data, args.cache.as_deref())?;
            let source = args.data()?;
            let pictures = Layout::open(&source)?;
            args.fit(&mut config, &pictures);
            let network = &config.network;
            let (data, notice) =
                pictures.read(Split::Train, network.image_size(), network.classes())?;
            eprint!("{notice}");
            (Box::new(data), pictures.class_names())
        }
    };
    warn(&config);
    let forgetful = origin.is_none() && !args.data.is_default();
    let run = match (&args.resume, &args.from) {
        (Some(_), _) => Run::resume(&folder, config, &*data, device)?,
        (None, Some(from)) => Run::create_from(from, &folder, config, &*data, device)?,
        (None, None) => Run::create(&folder, config, &*data, device)?,
    };
    if let Some(origin) = origin {
        origin.save(&folder)?;
    }
    if !names.is_empty() {
        let path = folder.join(CLASSES);
        let names = names.join("\n") + "\n";
        let mut staged = Staged::default();
        staged.add(path, names.as_bytes())?;
        staged.publish()?;
    }
    eprintln!(
        "{} parameters, {} steps of {} examples; the run is in {}",
        grouped(run.model().num_params() as u64),
        run.config().training.steps,
        run.config().training.batch,
        folder.display()
    );
    let config = run.config().clone();
    let finished = run.step() >= config.training.steps;
    let resume = |backend| args.resume_command(&folder, backend, forgetful);
    let start = Instant::now();
    match run.train() {
        Ok(Outcome::Finished) => {
            let what = match finished {
                true => "all steps were done already: there is nothing to resume".to_owned(),
                false => format!("finished after {}", duration(start.elapsed())),
            };
            eprintln!("{what}\n{}", next(&folder, &config));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Outcome::Interrupted { step }) => {
            eprintln!(
                "stopped after step {step}, which is saved; go on with\n  {}",
                resume(args.backend)
            );
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => {
            let trouble = error.downcast::<Trouble>()?;
            let advice = trouble.advice(&Situation {
                run: &folder,
                saved: Checkpoint::newest_step(&folder).unwrap_or(None),
                training: &config.training,
                backend: args.backend,
                resume: resume(args.backend),
                resume_on_cpu: resume(Backend::Flex),
                data: args.data_again(),
            });
            Err(anyhow::anyhow!("{trouble}\n{advice}"))
        }
    }
}
