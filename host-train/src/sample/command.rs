//! `tiny-ddpm sample`: from the command line to a folder of pictures.

use std::fs;
use std::num::NonZeroU16;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::ProgressBar;
use tiny_ddpm::blob::records::Recommended;
use tiny_ddpm::{Data, Schedule};

use super::points::{self, Drift};
use super::report::{Report, Source, write_files};
use super::{
    Classes, Film, Progress, Request, SampleError, SamplingArgs, generate, generate_points, walk,
};
use crate::model_file;
use crate::output::{check_folder, print};
use crate::progress::style;

/// Generate pictures on this computer, the same that the chip makes
///
/// The pictures come from the same code as on the chip. Picture number i under
/// a seed is the same however many are generated, and its hash is the one that
/// the chip prints. What is not given is as the model recommends. Of a training
/// run they are those of its averaged weights, in floats.
///
/// Of a model for points it makes points, 2000 unless told, and writes
/// points.npy (f32, points x values), points.csv, labels.npy, scatter.png and,
/// with --gif, denoising.gif.
///
/// Otherwise, in the folder named by --out it writes images.npy (u8, pictures x rows x
/// columns), labels.npy (i64, -1 without a class), hashes.csv, grid.png and,
/// with --gif, denoising.gif or, with --walk, walk.gif. What stood there under these names is replaced.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SampleArgs {
    /// The weights, as `tiny-ddpm export` writes them, or the folder of a
    /// training run
    #[arg(value_name = "BLOB|RUN")]
    pub blob: PathBuf,
    /// How many pictures [default: one of each class, or 16 of one; 2000 points]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub count: Option<usize>,
    /// Draw from picture N of the seed on: alone, unless --count says otherwise.
    /// Pictures keep their number's class and hash
    #[arg(long, value_name = "N")]
    pub first: Option<u64>,
    /// What they show: a class's number, `all` in equal shares, or `none`
    /// [default: all]
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    pub class: Option<Classes>,
    /// Timesteps visited, 1 to the schedule's T [default: the model's]
    #[arg(long, value_name = "K", value_parser = whole::<u16>, allow_negative_numbers = true)]
    pub steps: Option<u16>,
    /// How to sample.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Let the predicted picture leave [-1, 1] between steps
    #[arg(long)]
    pub no_clip: bool,
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = "out/samples")]
    pub out: PathBuf,
    /// Write the denoising of the first pictures as an animation, too
    #[arg(long)]
    pub gif: bool,
    /// Walk from each picture to the next and back to the first in N frames each:
    /// the noise turns, and the class changes halfway. Writes walk.gif, and plays
    /// it in a terminal [default: 16 frames]
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        default_missing_value = "16",
        conflicts_with = "gif"
    )]
    pub walk: Option<NonZeroU16>,
    /// Where a run's network is computed; a blob's always is on the CPU
    #[cfg(feature = "train")]
    #[arg(long, value_enum, default_value = "flex")]
    pub backend: crate::train::Backend,
    /// Print errors only; with --json, the JSON as well
    #[arg(long, short)]
    pub quiet: bool,
    /// Print settings, hashes and files as JSON
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  tiny-ddpm sample models/digits.tddpm
      one of each class, in out/samples and in the terminal
  tiny-ddpm sample models/digits.tddpm --class 7 --count 100 --seed 42 --gif
      a hundred sevens and how they came out of the noise
  tiny-ddpm sample models/digits.tddpm --count 1000 --steps 20 --out out/judge
      a set for a classifier: picture i shows class i modulo 10
  tiny-ddpm sample models/digits.tddpm --walk
      from 0 to 9 and back to 0, in 16 frames from each to the next
  tiny-ddpm sample models/digits.tddpm --first 7
      picture 7 of the seed alone, with the hash that it has in any set
  tiny-ddpm sample models/swiss-roll.tddpm
      2000 points on a spiral, as a map and a table
  tiny-ddpm sample models/digits.tddpm --sampler ddpm --steps 1000
      every step of the chain, as in Ho et al. 2020
  tiny-ddpm sample models/digits.tddpm --sampler unipc --spacing shifted --steps 8
      as good as the default, with fewer runs of the network
  tiny-ddpm sample runs/reference --count 8
      what a run has learned so far, in floats";

/// A whole number; how large it may be, the request knows.
fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let what = if digits {
            "far too large"
        } else {
            "must be a whole number, at least 1"
        };
        what.to_owned()
    })
}

impl SampleArgs {
    /// What is asked of a model that draws this, with these settings, so many
    /// classes and this schedule.
    pub(super) fn request(
        &self,
        data: Data,
        recommended: Recommended,
        known: u16,
        schedule: &Schedule,
    ) -> Result<Request> {
        let mut request = Request::recommended(data, recommended, known, self.class);
        request.method = self.sampling.method(recommended)?;
        request.spacing = self.sampling.spacing();
        if let Some(first) = self.first {
            (request.first, request.count) = (first, 1);
        }
        request.count = self.count.unwrap_or(request.count);
        if let Some(frames) = self.walk {
            ensure!(
                matches!(data, Data::Picture { .. }),
                "--walk leads from picture to picture, and this model draws points"
            );
            request.walk = Some(frames);
            request.count = request.count.saturating_mul(frames.get().into());
        }
        request.steps = self.steps.unwrap_or(request.steps);
        request.guidance = self.sampling.guidance.unwrap_or(request.guidance);
        request.clip = !self.no_clip;
        request.seed = self.sampling.seed;
        request.validate_for(known, schedule)?;
        Ok(request)
    }
}

/// Exit code of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;
/// Whether Ctrl-C was pressed. It never ends the program in the middle of
/// writing.
static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// Generates, writes and shows the pictures, and gives the program's exit
/// code.
///
/// # Errors
/// Where the blob or a setting is not as it should be, or a file cannot be
/// written.
pub fn run(args: &SampleArgs) -> Result<ExitCode> {
    if args.blob.join("config.toml").is_file() {
        return of_run(args);
    }
    let bytes = model_file::read(&args.blob)?;
    let model = model_file::load(&args.blob, &bytes)?;
    let info = model.info();
    let (data, classes) = (info.topology.data(), info.topology.classes);
    let request = args.request(data, info.recommended, classes, &model.schedule())?;
    request.validate(&model)?;
    check_folder(&args.out)?;
    ctrlc::set_handler(|| INTERRUPT.store(true, Ordering::Relaxed))?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;

    let chatty = !args.quiet && !args.json;
    let source = Source {
        path: &args.blob,
        name: info.name.to_owned(),
        sha256: Some(model_file::sha256(&bytes)),
        data,
        classes,
    };
    let mut report = Report::new(source, &request);
    if chatty {
        print(&report.heading())?;
    }
    let stopped = || {
        eprintln!("stopped; nothing was written");
        Ok(ExitCode::from(INTERRUPTED))
    };
    let start = Instant::now();
    if let Data::Point { values } = data {
        let drift = args
            .gif
            .then(|| Drift::new(request.count, values.into(), request.rounds()));
        let record = |progress: &Progress<'_>| {
            if let Some(drift) = &drift {
                drift.record(progress);
            }
        };
        let Some(points) = watched(&request, args.quiet, record, |watch| {
            generate_points(&model, &request, watch)
        })?
        else {
            return stopped();
        };
        report.seconds = start.elapsed().as_secs_f64();
        let gif = drift.map(Drift::encode).transpose()?;
        let gif = gif.map(|bytes| (Film::GIF, bytes));
        let classes: Vec<Option<u8>> = (0..request.count)
            .map(|index| request.class_of(index, classes))
            .collect();
        let files = points::write_files(&args.out, &points, &classes, gif)?;
        report.finish_points(&points, files);
        if args.json {
            print(&report.to_json()?)?;
        } else if chatty {
            print(&report.conclusion_points(&points))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let grid = report.grid();
    let film = args.gif.then(|| Film::new(grid.pictures()));
    let record = |progress: &Progress<'_>| {
        if let Some(film) = &film {
            film.record(progress);
        }
    };
    let Some(pictures) = watched(&request, args.quiet, record, |watch| {
        generate(&model, &request, watch)
    })?
    else {
        return stopped();
    };
    report.seconds = start.elapsed().as_secs_f64();

    let animation = match (film, request.walk) {
        (Some(film), _) => Some((Film::GIF, film.encode(grid)?)),
        (None, Some(_)) => Some((walk::GIF, walk::gif(&pictures)?)),
        (None, None) => None,
    };
    let files = write_files(&args.out, &pictures, request.first, grid, animation)?;
    report.finish(&pictures, files);
    if args.json {
        print(&report.to_json()?)?;
    } else if chatty {
        if request.walk.is_some() {
            walk::play(&pictures, || INTERRUPT.load(Ordering::Relaxed))?;
        }
        print(&report.conclusion(&pictures))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Pictures of a training run, where Burn is there to run its network.
#[cfg(feature = "train")]
fn of_run(args: &SampleArgs) -> Result<ExitCode> {
    super::of_run::run(args)
}

#[cfg(not(feature = "train"))]
fn of_run(args: &SampleArgs) -> Result<ExitCode> {
    anyhow::bail!(
        "{} is the folder of a training run: name a blob instead, for {}",
        args.blob.display(),
        crate::build::lacks("`sample RUN`", "train")
    )
}

/// Generates with a progress bar; `None` after Ctrl-C.
fn watched<T>(
    request: &Request,
    quiet: bool,
    record: impl Fn(&Progress<'_>) + Sync,
    generate: impl FnOnce(&(dyn Fn(Progress<'_>) -> ControlFlow<()> + Sync)) -> Result<T, SampleError>,
) -> Result<Option<T>> {
    let all_steps = request.count as u64 * u64::from(request.rounds());
    let bar = if quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(all_steps)
    };
    bar.set_style(style("{bar:30} {msg}, {left} left")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let finished = AtomicUsize::new(0);
    bar.set_message(format!("0 of {}", request.count));
    let result = generate(&|progress| {
        record(&progress);
        if progress.step > 0 {
            bar.inc(1);
        }
        if progress.step == progress.of {
            let finished = finished.fetch_add(1, Ordering::Relaxed) + 1;
            bar.set_message(format!("{finished} of {}", request.count));
        }
        match INTERRUPT.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    bar.finish_and_clear();
    match result {
        Err(SampleError::Stopped) => Ok(None),
        result => Ok(Some(result?)),
    }
}
