//! `tiny-ddpm sample RUN`: pictures or points of a run's averaged weights, in
//! floats.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use tiny_ddpm::Data;

use super::report::{Report, Source, write_files};
use crate::generate::Progress;
use crate::generate::float::{generate_float, generate_float_points};
use crate::output::{check_folder, print};
use crate::progress::style;
use crate::sample::{SampleArgs, points, walk};
use crate::train::load_any_ema;

/// Generates, writes and shows what a run draws.
///
/// # Errors
/// Where the run cannot be read, a setting is not as it should be, or a file
/// cannot be written.
pub(super) fn run(args: &SampleArgs) -> Result<ExitCode> {
    ensure!(
        !args.gif,
        "--gif films a blob's pictures: {} is the folder of a run",
        args.blob.display()
    );
    let device = args.backend.device()?;
    let (config, network) = load_any_ema(&args.blob, &device)?;
    let (schedule, classes) = (config.schedule()?, config.network.classes());
    let data = config.network.data();
    let mut request = args.request(data, config.recommended(), classes, &schedule)?;
    if !args.sampling.names_a_sampler() {
        request.method = config.recommended_method();
    }
    if config.is_conditional_only() {
        request.validate_with_class()?;
    }
    check_folder(&args.out)?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;

    let name = args.blob.file_stem().unwrap_or_default();
    let source = Source {
        path: &args.blob,
        name: name.to_string_lossy().into_owned(),
        sha256: None,
        data,
        classes,
    };
    let mut report = Report::new(source, &request);
    let chatty = !args.quiet && !args.json;
    if chatty {
        print(&report.heading())?;
    }
    let bar = match args.quiet {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(request.count as u64 * u64::from(request.steps)),
    };
    bar.set_style(style("{bar:30} {percent}%, {left} left")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let start = Instant::now();
    let conclusion = match data {
        Data::Picture { .. } => {
            let step = |steps| bar.inc(steps);
            let pictures = generate_float(&network, &config, &request, &device, step)?;
            bar.finish_and_clear();
            report.seconds = start.elapsed().as_secs_f64();
            let animation = match request.walk {
                Some(_) => Some((walk::GIF, walk::gif(&pictures)?)),
                None => None,
            };
            let files = write_files(
                &args.out,
                &pictures,
                request.first,
                report.grid(),
                animation,
            )?;
            report.finish(&pictures, files);
            report.conclusion(&pictures)
        }
        Data::Point { .. } => {
            let step = |_: Progress<'_>| bar.inc(1);
            let made = generate_float_points(&network, &config, &request, &device, step)?;
            bar.finish_and_clear();
            report.seconds = start.elapsed().as_secs_f64();
            let wanted: Vec<Option<u8>> = (0..request.count)
                .map(|index| request.class_of(index, classes))
                .collect();
            let files = points::write_files(&args.out, &made, &wanted, None)?;
            report.finish_points(&made, files);
            report.conclusion_points(&made)
        }
    };
    if args.json {
        print(&report.to_json()?)?;
    } else if chatty {
        print(&conclusion)?;
    }
    Ok(ExitCode::SUCCESS)
}
