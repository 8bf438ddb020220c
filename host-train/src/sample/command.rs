//! `tiny-ddpm sample`: from the command line to a folder of pictures.

use std::fs;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use tiny_ddpm::Data;

use super::args::SampleArgs;
use super::points::{self, Drift};
use super::report::{Report, Source, write_files};
use crate::generate::{Progress, Request, SampleError, generate, generate_points};
use crate::model_file;
use crate::output::{check_folder, print};
use crate::progress::style;
use crate::sample::{Film, walk};

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
