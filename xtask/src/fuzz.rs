//! `cargo xtask fuzz`: bytes of strangers for everything that reads some.
//!
//! The targets are in `fuzz/`, each with a corpus of small cases from which it
//! starts. What a run finds besides goes to `fuzz/target/corpus`, from where
//! the next run takes it up again. A stable compiler does, told to behave as a
//! nightly one: that is where its sanitizer is.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::root;
use crate::setup;
use crate::shell::{command, duration, line, output, run};

/// The version of cargo-fuzz that is installed where there is none.
const CARGO_FUZZ: &str = "0.13.2";
/// Seconds that a target runs, where nothing else is asked for.
const SECONDS: u64 = 30;

/// Something that reads bytes.
#[derive(Clone, Copy, Debug)]
struct Target {
    name: &'static str,
    /// Its longest input.
    bytes: usize,
    what: &'static str,
}

const TARGETS: [Target; 8] = [
    Target {
        name: "blob",
        bytes: 6000,
        what: "loading any bytes whose checksums are right",
    },
    Target {
        name: "step",
        bytes: 6000,
        what: "a denoising step with any blob that is accepted",
    },
    Target {
        name: "model",
        bytes: 2048,
        what: "valid models of any shape, changed in a few places",
    },
    Target {
        name: "engines",
        bytes: 512,
        what: "this machine's engines against their definition",
    },
    Target {
        name: "slots",
        bytes: 2048,
        what: "weights over a line into any flash, while power fails",
    },
    Target {
        name: "host",
        bytes: 6000,
        what: "inspect and repack, with any blob that is accepted",
    },
    Target {
        name: "idx",
        bytes: 4096,
        what: "training data in IDX files, bare and gzipped",
    },
    Target {
        name: "config",
        bytes: 4096,
        what: "configurations of a training",
    },
];

/// What to run, and for how long.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = TARGETS.map(|target| target.name))]
    target: Vec<String>,
    /// Seconds for each target; 30 where neither this nor --runs is given
    #[arg(long, value_name = "SECONDS", conflicts_with = "runs")]
    time: Option<u64>,
    /// Executions of each target, however long they take
    #[arg(long, value_name = "COUNT")]
    runs: Option<u64>,
    /// Without the checks of memory: several times as fast. Nothing but the
    /// engines has `unsafe` code
    #[arg(long)]
    bare: bool,
    /// Run one target on one file, such as a crash that was found
    #[arg(long, value_name = "FILE", conflicts_with_all = ["time", "runs"])]
    input: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Targets:
  blob     loading any bytes whose checksums are right
  step     a denoising step with any blob that is accepted
  model    valid models of any shape, changed in a few places
  engines  this machine's engines against their definition
  slots    weights over a line into any flash, while power fails
  host     inspect and repack, with any blob that is accepted
  idx      training data in IDX files, bare and gzipped
  config   configurations of a training

Examples:
  cargo xtask fuzz
  cargo xtask fuzz --target blob,step --time 600
  cargo xtask fuzz --target blob --runs 20000000 --bare
  cargo xtask fuzz --target step --input fuzz/artifacts/step/crash-0123";

/// Runs targets, as many at a time as there are processors, to the first
/// failure.
///
/// # Errors
/// Where something is missing, or a target found something; the message then
/// ends with the command that shows it again.
pub fn run_targets(options: &Options) -> Result<()> {
    let chosen: Vec<Target> = TARGETS
        .into_iter()
        .filter(|target| {
            options.target.is_empty() || options.target.iter().any(|name| name == target.name)
        })
        .collect();
    prepare()?;
    if let Some(input) = &options.input {
        let [target] = chosen[..] else {
            bail!("--input wants one --target: the one that the file is for");
        };
        let input = std::path::absolute(input)?;
        ensure!(input.is_file(), "there is no file {}", input.display());
        return run(cargo_fuzz("run", options.bare).arg(target.name).arg(input));
    }
    run(&mut cargo_fuzz("build", options.bare))?;
    let limit = match (options.runs, options.time) {
        (Some(runs), _) => format!("-runs={runs}"),
        (None, seconds) => format!("-max_total_time={}", seconds.unwrap_or(SECONDS)),
    };
    let results = side_by_side(&chosen, &limit, options.bare)?;
    summary(&results);
    let crashed = results.iter().filter_map(|result| result.crash.as_deref());
    let crashed: Vec<&str> = crashed.collect();
    ensure!(crashed.is_empty(), "{}", crashed.join("\n"));
    Ok(())
}

/// What CI does: lints, and then all targets for as long as a person has them
/// run.
///
/// # Errors
/// As [`run_targets`].
pub fn stage() -> Result<()> {
    prepare()?;
    // What `cargo clippy` does, by way of cargo-fuzz: so nothing in C++ is
    // built twice.
    run(cargo_fuzz("check", false)
        .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
        .env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__"))?;
    run_targets(&Options::default())
}

/// Finds cargo-fuzz and what it needs, or installs it.
fn prepare() -> Result<()> {
    if output(command("c++").arg("--version")).is_none() {
        setup::install(&["g++"])?;
    }
    if output(command("cargo").args(["fuzz", "--version"])).is_none() {
        println!("cargo-fuzz is missing: installing it");
        // It only starts others: optimised it would build for longer than it runs.
        run(command("cargo")
            .args(["install", "cargo-fuzz", "--locked", "--debug"])
            .args(["--version", CARGO_FUZZ])
            .env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
    }
    // cargo-fuzz would mend the lock file in silence.
    run(command("cargo")
        .args(["fetch", "--locked", "--manifest-path", "fuzz/Cargo.toml"])
        .current_dir(root()))
}

fn cargo_fuzz(subcommand: &str, bare: bool) -> Command {
    let mut cargo = command("cargo");
    cargo
        .args(["fuzz", subcommand, "--fuzz-dir", "fuzz"])
        .args(["--sanitizer", if bare { "none" } else { "address" }])
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(root());
    cargo
}

/// What came of a target.
#[derive(Debug)]
struct Outcome {
    name: &'static str,
    executions: u64,
    elapsed: Duration,
    /// What to say of a failure.
    crash: Option<String>,
}

fn side_by_side(targets: &[Target], limit: &str, bare: bool) -> Result<Vec<Outcome>> {
    let queue: Mutex<VecDeque<Target>> = Mutex::new(targets.iter().copied().collect());
    let next = || queue.lock().ok().and_then(|mut queue| queue.pop_front());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers.min(targets.len()))
            .map(|_| {
                scope.spawn(|| {
                    let mut outcomes = Vec::new();
                    while let Some(target) = next() {
                        outcomes.push(fuzz(target, limit, bare)?);
                    }
                    Ok(outcomes)
                })
            })
            .collect();
        let mut outcomes = Vec::new();
        for worker in workers {
            let found: Result<Vec<Outcome>> = match worker.join() {
                Ok(found) => found,
                Err(_) => bail!("a thread panicked"),
            };
            outcomes.extend(found?);
        }
        Ok(outcomes)
    })
}

/// Runs a target to its limit or to what it finds.
fn fuzz(target: Target, limit: &str, bare: bool) -> Result<Outcome> {
    let Target { name, bytes, what } = target;
    // The first folder gets what is found; the others are only read.
    let found = root().join("fuzz/target/corpus").join(name);
    std::fs::create_dir_all(&found)
        .with_context(|| format!("cannot make the folder {}", found.display()))?;
    let mut cargo = cargo_fuzz("run", bare);
    cargo
        .arg(name)
        .args([
            format!("fuzz/target/corpus/{name}"),
            format!("fuzz/corpus/{name}"),
        ])
        .args(["--", limit])
        .args([
            format!("-max_len={bytes}"),
            "-timeout=20".into(),
            "-verbosity=0".into(),
            "-print_funcs=0".into(),
            "-print_final_stats=1".into(),
        ]);
    if Path::new(root())
        .join("fuzz")
        .join(format!("{name}.dict"))
        .is_file()
    {
        cargo.arg(format!("-dict=fuzz/{name}.dict"));
    }
    println!("{name}: {what}\n$ {}", line(&cargo));
    let start = Instant::now();
    let mut child = cargo
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cargo could not be started")?;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            said.push(String::from_utf8_lossy(&line?).into_owned());
        }
    }
    let status = child.wait()?;
    let crash = (!status.success()).then(|| {
        println!("{}", said.join("\n"));
        failure(name, &said)
    });
    Ok(Outcome {
        name,
        executions: statistic(&said, "number_of_executed_units").unwrap_or(0),
        elapsed: start.elapsed(),
        crash,
    })
}

/// A number of libFuzzer's last words.
fn statistic(said: &[String], name: &str) -> Option<u64> {
    let start = format!("stat::{name}:");
    let mut numbers = said.iter().filter_map(|line| line.strip_prefix(&start));
    numbers.next()?.trim().parse().ok()
}

/// What failed, and how to see it again.
fn failure(name: &str, said: &[String]) -> String {
    let written = "Test unit written to ";
    let input = said.iter().rev().find_map(|line| {
        let (_, path) = line.split_once(written)?;
        let path = Path::new(path.trim());
        Some(
            path.strip_prefix(root())
                .unwrap_or(path)
                .display()
                .to_string(),
        )
    });
    match input {
        Some(input) => format!(
            "target {name} found something; to see it again:\n  \
             cargo xtask fuzz --target {name} --input {input}"
        ),
        None => format!("target {name} failed before it found anything; see above"),
    }
}

fn summary(outcomes: &[Outcome]) {
    println!();
    for outcome in outcomes {
        let Outcome {
            name,
            executions,
            elapsed,
            crash,
        } = outcome;
        let verdict = if crash.is_none() { "ok" } else { "FAILED" };
        let rate = (*executions as f64 / elapsed.as_secs_f64().max(1e-9)) as u64;
        println!(
            "{verdict:>6}  {name:<8} {executions:>11} executions, {}, {rate} a second",
            duration(*elapsed)
        );
    }
    let total: u64 = outcomes.iter().map(|outcome| outcome.executions).sum();
    println!("        {total} executions in all");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_crash_is_told_with_the_command_that_shows_it() {
        let path = root().join("fuzz/artifacts/blob/crash-12ab");
        let said = format!(
            "SUMMARY: libFuzzer: deadly signal\n\
             artifact_prefix='x'; Test unit written to {}\nBase64: AA==",
            path.display()
        );
        let text = failure("blob", &lines(&said));
        let command = "cargo xtask fuzz --target blob --input fuzz/artifacts/blob/crash-12ab";
        assert!(text.ends_with(command), "{text}");
        assert!(failure("blob", &lines("no linker")).contains("before it found anything"));
    }

    #[test]
    fn executions_are_counted() {
        let said = lines("INFO\nstat::number_of_executed_units: 23117\nstat::peak_rss_mb: 9");
        assert_eq!(statistic(&said, "number_of_executed_units"), Some(23_117));
        assert_eq!(statistic(&said, "new_units_added"), None);
    }

    #[test]
    fn every_target_is_described_and_has_cases_to_start_from() {
        for target in TARGETS {
            let described = EXAMPLES.lines().any(|line| {
                let words = line.trim().strip_prefix(target.name);
                words.is_some_and(|words| words.trim() == target.what)
            });
            assert!(described, "{}", target.name);
            let corpus = root().join("fuzz/corpus").join(target.name);
            let cases = std::fs::read_dir(corpus).map_or(0, Iterator::count);
            assert!(cases > 5, "{}: {cases} cases", target.name);
        }
    }
}
