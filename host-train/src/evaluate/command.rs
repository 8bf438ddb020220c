//! `tiny-ddpm evaluate`: from the command line to a report.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tiny_ddpm::Method;
use tiny_ddpm::blob::records::Recommended;

use super::measure::{Network, Plan, Subject, measure};
use super::pictures::{IMAGES, read_pictures};
use super::points;
use super::report::{conclusion, heading, html};
use super::results::{ModelFacts, Settings};
use crate::data::{DataArgs, Layout, Split, default_cache};
use crate::generate::{Pictures, SamplingArgs, eta_of};
use crate::metrics::classifier::Classifier;
use crate::model_file;
use crate::network::Backend;
use crate::output::{Staged, check_folder, print};
use crate::train::load_any_ema;
use crate::train::origin::Origin;

/// For pictures, which nobody recommends anything for.
const RECOMMENDED: Recommended = Recommended {
    steps: 20,
    guidance: 0.5,
    eta: 0.0,
};

/// Measure how good a model's pictures are, and write a report
///
/// A network of its own judges them: it is trained once on the real training
/// pictures and kept in the cache. Beside every figure stands what real
/// pictures get in place of generated ones.
///
/// Points are held against held-out points of the Swiss roll instead, by the
/// energy distance, and so is every sampler's set of them.
///
/// In the folder named by --out it writes report.html, one file with all
/// pictures in it, and evaluation.json. Files of these names are replaced.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct EvaluateArgs {
    /// A blob (int8), the folder of a training run (f32), or a folder with
    /// images.npy and labels.npy, like those that `sample` writes
    #[arg(value_name = "BLOB|RUN|PICTURES")]
    pub model: PathBuf,
    /// The run of a blob, or the blob of a run: measured beside it, from the
    /// same noise
    #[arg(long, value_name = "RUN|BLOB")]
    pub against: Option<PathBuf>,
    /// The real pictures, for training and for testing; where none are named,
    /// those of the run.
    #[command(flatten)]
    pub data: DataArgs,
    /// Where downloads and the judge are kept
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Pictures in a set, classes in equal shares
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10_000,
        allow_negative_numbers = true
    )]
    pub count: usize,
    /// Timesteps visited, 1 to the schedule's T; of several, each is a set, and
    /// the report has their curve [default: the model's]
    #[arg(
        long,
        value_name = "K,..",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    pub steps: Vec<u16>,
    /// How to sample.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Test pictures for the variational bound of a run, each at all
    /// timesteps; 0 for no bound
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub bound_pictures: usize,
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = "out/evaluation")]
    pub out: PathBuf,
    /// Where the float network and the judge are computed
    #[arg(long, value_enum, default_value = "flex")]
    pub backend: Backend,
    /// Print errors only; with --json, the JSON as well
    #[arg(long, short)]
    pub quiet: bool,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  tiny-ddpm evaluate models/digits.tddpm --data MNIST
      10,000 pictures as the model recommends; the report is in out/evaluation
  tiny-ddpm evaluate models/digits.run --against models/digits.tddpm
      f32 and int8 from the same noise, and the variational bound
  tiny-ddpm evaluate models/digits.tddpm --count 2000 --steps 1000,50,20,10,5
      quality over the number of steps
  tiny-ddpm evaluate models/digits.tddpm --sampler unipc --spacing shifted --steps 8,5
      with another sampler
  tiny-ddpm evaluate models/swiss-roll.run --against models/swiss-roll.tddpm
      points: every sampler, f32 and int8, and maps of the whole process
  tiny-ddpm evaluate out/samples --data MNIST
      pictures that are there already, from wherever";

impl EvaluateArgs {
    fn cache(&self) -> Result<PathBuf> {
        self.cache.clone().map_or_else(default_cache, Ok)
    }

    /// Settings of pictures that are there already.
    fn settings_of(&self, pictures: &Pictures) -> Result<Settings> {
        ensure!(
            self.steps.is_empty() && self.sampling.is_default(),
            "--steps, --sampler, --spacing, --guidance, --eta and --variance are for models: {} holds pictures",
            self.model.display()
        );
        Ok(Settings {
            count: self.count.min(pictures.len()),
            seed: self.sampling.seed,
            sampler: "",
            spacing: "",
            guidance: 0.0,
            eta: None,
            steps: vec![0],
            shown_steps: 0,
        })
    }

    fn settings(&self, recommended: Recommended, classes: u16) -> Result<Settings> {
        let recommended_steps = recommended.steps;
        let mut steps = self.steps.clone();
        if steps.is_empty() {
            steps.push(recommended_steps);
        }
        for (index, step) in steps.iter().enumerate() {
            ensure!(!steps[..index].contains(step), "--steps names {step} twice");
        }
        let guidance = if classes == 0 {
            0.0
        } else {
            recommended.guidance
        };
        let sampling = &self.sampling;
        let method = sampling.method(recommended)?;
        Ok(Settings {
            count: self.count,
            seed: sampling.seed,
            sampler: method.name(),
            spacing: sampling.spacing().name(),
            guidance: sampling.guidance.unwrap_or(guidance),
            eta: eta_of(method),
            shown_steps: match steps.contains(&recommended_steps) {
                true => recommended_steps,
                false => steps[0],
            },
            steps,
        })
    }
}

/// Evaluates, writes the report and says what was found.
///
/// # Errors
/// Where a model or the data is not as it should be, a setting does not fit
/// them, or a file cannot be written.
pub fn run(args: &EvaluateArgs) -> Result<()> {
    let device = args.backend.device()?;
    let paths: Vec<&Path> = std::iter::once(&args.model)
        .chain(&args.against)
        .map(PathBuf::as_path)
        .collect();
    // Models borrow their blobs' bytes.
    let blobs: Vec<Option<Vec<u8>>> = paths
        .iter()
        .map(|path| match path.is_dir() {
            true => Ok(None),
            false => model_file::read(path).map(Some),
        })
        .collect::<Result<_>>()?;
    let mut subjects = Vec::new();
    for (path, blob) in paths.iter().zip(&blobs) {
        subjects.push(subject(path, blob.as_deref(), &device)?);
    }
    ensure_counterparts(&subjects)?;
    check_folder(&args.out)?;
    // f32 first, in every table.
    subjects.sort_by_key(|subject| matches!(subject.network, Network::Int8(_)));
    let (size, classes) = (subjects[0].network.size(), subjects[0].network.classes());

    let of_blob = subjects.iter().find_map(|subject| match &subject.network {
        Network::Int8(model) => Some(model.info().recommended),
        Network::Float(..) | Network::Fixed(_) => None,
    });
    let of_run = subjects.iter().find_map(|subject| match &subject.network {
        Network::Float(config, _) => Some(config.recommended()),
        Network::Int8(_) | Network::Fixed(_) => None,
    });
    let recommended = of_blob.or(of_run).unwrap_or(RECOMMENDED);
    // A blob does not say that it was distilled to several steps; its run does.
    let student = subjects.iter().find_map(|subject| match &subject.network {
        Network::Float(config, _) => match config.recommended_method() {
            method @ Method::Consistency => Some(method),
            _ => None,
        },
        Network::Int8(_) | Network::Fixed(_) => None,
    });
    if subjects[0].network.draws_points() {
        return run_points(args, &subjects, recommended, &device);
    }
    let mut plan = Plan {
        settings: match &subjects[0].network {
            Network::Fixed(pictures) => args.settings_of(pictures)?,
            _ => args.settings(recommended, classes)?,
        },
        method: match student {
            Some(method) if !args.sampling.names_a_sampler() => method,
            _ => args.sampling.method(recommended)?,
        },
        spacing: args.sampling.spacing(),
        class_names: Vec::new(),
        bound_pictures: args.bound_pictures,
        progress: !args.quiet,
    };

    let cache = args.cache()?;
    let (mut data, mut downloads) = (args.data.clone(), args.cache.clone());
    // Where two runs remember different data, those of the first count.
    if data.is_default() {
        for run in paths.iter().filter(|path| path.is_dir()) {
            if let Some(origin) = Origin::load(run)? {
                origin.fill(run, &mut data, &mut downloads)?;
                break;
            }
        }
    }
    let folder = data.folder(|| downloads.map_or_else(|| Ok(cache.clone()), Ok))?;
    let pictures = Layout::open(&folder)?;
    plan.class_names = pictures.class_names();
    // Pictures from elsewhere may lack a class that the data has.
    let classes = match subjects[0].network {
        Network::Fixed(_) => 0,
        _ => classes,
    };
    let [train, test] = [Split::Train, Split::Test].map(|split| {
        let (data, notice) = pictures.read(split, size, classes)?;
        eprint!("{notice}");
        anyhow::Ok(data)
    });
    let (train, test) = (train?, test?);
    // What cannot be done shall not be found out after minutes.
    plan.validate(&subjects, &train, &test)?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let judge = Classifier::load_or_train(&cache, &train, &test, &device)?;
    let (evaluation, gallery) = measure(&plan, &subjects, &train, &test, &judge, &device)?;

    let json = serde_json::to_string_pretty(&evaluation)? + "\n";
    let paths = publish(&args.out, html(&evaluation, &gallery)?, &json)?;
    if args.json {
        print(&json)?;
    } else if !args.quiet {
        print(&(heading(&evaluation) + &conclusion(&evaluation) + "\n" + &paths))?;
    }
    Ok(())
}

/// The same of models for points, which need no judge.
fn run_points(
    args: &EvaluateArgs,
    subjects: &[Subject<'_>],
    recommended: Recommended,
    device: &burn::tensor::Device,
) -> Result<()> {
    ensure!(
        args.data.is_default() && args.sampling.guidance.is_none(),
        "--data, --dataset and --guidance are for pictures: points are held against the Swiss roll, which is drawn"
    );
    let plan = points::Plan {
        count: args.count,
        seed: args.sampling.seed,
        steps: args.settings(recommended, 0)?.steps,
        only: match args.sampling.names_a_sampler() {
            true => Some(args.sampling.method(recommended)?),
            false => None,
        },
        spacing: args.sampling.spacing(),
        progress: !args.quiet,
    };
    let (evaluation, gallery) = points::measure(&plan, subjects, device)?;
    let json = serde_json::to_string_pretty(&evaluation)? + "\n";
    let paths = publish(&args.out, points::html(&evaluation, &gallery)?, &json)?;
    if args.json {
        print(&json)?;
    } else if !args.quiet {
        print(&(points::conclusion(&evaluation) + "\n" + &paths))?;
    }
    Ok(())
}

/// Writes the report and its figures into a folder, both together; gives lines
/// with their names.
fn publish(folder: &Path, html: String, json: &str) -> Result<String> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let mut staged = Staged::default();
    let mut lines = String::new();
    let files = [("report.html", html.as_str()), ("evaluation.json", json)];
    for (name, text) in files {
        let path = folder.join(name);
        staged.add(&path, text.as_bytes())?;
        lines += &format!("  {}\n", path.display());
    }
    staged.publish()?;
    Ok(lines)
}

/// A run where there is no blob.
fn subject<'b>(
    path: &Path,
    blob: Option<&'b [u8]>,
    device: &burn::tensor::Device,
) -> Result<Subject<'b>> {
    let name = path.display().to_string();
    let Some(bytes) = blob else {
        if path.join(IMAGES).is_file() {
            return Ok(Subject {
                facts: ModelFacts {
                    numbers: "pictures",
                    path: name,
                    name: None,
                    sha256: None,
                },
                network: Network::Fixed(read_pictures(path)?),
            });
        }
        let (config, network) = load_any_ema(path, device)?;
        return Ok(Subject {
            facts: ModelFacts {
                numbers: "f32",
                path: name,
                name: None,
                sha256: None,
            },
            network: Network::Float(Box::new(config), Box::new(network)),
        });
    };
    let model = model_file::load(path, bytes)?;
    Ok(Subject {
        facts: ModelFacts {
            numbers: "int8",
            path: name,
            name: Some(model.info().name.to_owned()),
            sha256: Some(model_file::sha256(bytes)),
        },
        network: Network::Int8(Box::new(model)),
    })
}

/// Of two models one must be float and the other a blob of the same network.
fn ensure_counterparts(subjects: &[Subject<'_>]) -> Result<()> {
    let [one, other] = subjects else {
        return Ok(());
    };
    let (config, model) = match (&one.network, &other.network) {
        (Network::Float(config, _), Network::Int8(model))
        | (Network::Int8(model), Network::Float(config, _)) => (config, model),
        (Network::Fixed(_), _) | (_, Network::Fixed(_)) => anyhow::bail!(
            "--against compares the numbers of one network: {} and {} are not a run and its blob",
            one.facts.path,
            other.facts.path
        ),
        _ => anyhow::bail!(
            "{} and {} are both {}: --against takes the run of a blob, or the blob of a run",
            one.facts.path,
            other.facts.path,
            one.facts.numbers
        ),
    };
    let (info, diffusion) = (model.info(), &config.diffusion);
    ensure!(
        config
            .network
            .small()
            .is_ok_and(|topology| info.topology == *topology)
            && info.schedule == diffusion.schedule
            && info.timesteps == diffusion.timesteps
            && info.prediction == diffusion.prediction,
        "{} and {} are not the same network and schedule: export the run, and name its blob",
        one.facts.path,
        other.facts.path
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: EvaluateArgs,
    }

    fn settings(more: &[&str]) -> Result<Settings> {
        let arguments = ["evaluate", "model.tddpm"].iter().chain(more);
        let cli = Cli::try_parse_from(arguments)?;
        cli.args.settings(RECOMMENDED, 10)
    }

    #[test]
    fn what_is_not_given_is_recommended() {
        let found = settings(&[]).unwrap();
        assert_eq!((found.count, found.steps), (10_000, vec![20]));
        assert_eq!((found.guidance, found.eta), (0.5, Some(0.0)));
        assert_eq!((found.sampler, found.spacing), ("ddim", "trailing"));
        assert_eq!(found.shown_steps, 20);
    }

    #[test]
    fn recommended_steps_are_shown_if_they_are_there() {
        let found = settings(&["--steps", "1000,50,20,10,5"]).unwrap();
        assert_eq!(found.steps, [1000, 50, 20, 10, 5]);
        assert_eq!(found.shown_steps, 20);
        assert_eq!(settings(&["--steps", "8,4"]).unwrap().shown_steps, 8);
        assert!(settings(&["--steps", "8,4,8"]).is_err());
        assert!(settings(&["--steps", "few"]).is_err());
    }

    #[test]
    fn another_sampler_is_named_and_has_no_eta() {
        let found = settings(&["--sampler", "heun", "--spacing", "quadratic"]).unwrap();
        assert_eq!((found.sampler, found.spacing), ("heun", "quadratic"));
        assert_eq!(found.eta, None);
        assert!(settings(&["--sampler", "heun", "--eta", "1"]).is_err());
    }
}
