//! The command line tool.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tiny_ddpm_train::output::message;
use tiny_ddpm_train::{inspect, repack, sample, send, signing};

/// Diffusion models for microcontrollers: train, export, evaluate, sample, inspect.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tiny-ddpm sample models/digits.tddpm          ten digits, in the terminal and in out/samples
  tiny-ddpm inspect models/digits.tddpm         what is in a model and what it needs
  tiny-ddpm repack models/digits.tddpm --target cortex-m4 --out fast.tddpm
  tiny-ddpm send digits.tddpm --port /dev/ttyACM0     to a board that is in the field
  tiny-ddpm train --preset digits --out runs/digits
  tiny-ddpm export runs/digits --out digits.tddpm
  tiny-ddpm evaluate digits.tddpm               how good its pictures are, as a report
  tiny-ddpm explain digits.tddpm                how it draws them, as a picture book
Each command explains itself: tiny-ddpm sample --help";

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "train")]
    Train(tiny_ddpm_train::train::command::TrainArgs),
    #[cfg(feature = "train")]
    Export(tiny_ddpm_train::export::ExportArgs),
    /// Train a network (not in this one: cargo build --release -p tiny-ddpm-train)
    #[cfg(not(feature = "train"))]
    Train(NotBuilt),
    /// Quantise a run's weights and write the blob (not in this one, either)
    #[cfg(not(feature = "train"))]
    Export(NotBuilt),
    #[cfg(feature = "train")]
    Evaluate(tiny_ddpm_train::evaluate::EvaluateArgs),
    /// Measure how good pictures are (not in this one, either)
    #[cfg(not(feature = "train"))]
    Evaluate(NotBuilt),
    #[cfg(feature = "evaluate")]
    Explain(tiny_ddpm_train::explain::ExplainArgs),
    /// Show how a model draws (not in this one: cargo build --release -p tiny-ddpm-train --no-default-features --features evaluate)
    #[cfg(not(feature = "evaluate"))]
    Explain(NotBuilt),
    Sample(sample::SampleArgs),
    Inspect(inspect::InspectArgs),
    Repack(repack::RepackArgs),
    Send(send::SendArgs),
    Keygen(signing::KeygenArgs),
    Sign(signing::SignArgs),
}

/// A command that this build lacks, with whatever was meant for it.
#[cfg(not(feature = "train"))]
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
struct NotBuilt {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<std::ffi::OsString>,
}

#[cfg(not(feature = "train"))]
fn not_built(command: &str) -> Result<ExitCode> {
    anyhow::bail!(
        "this tiny-ddpm was built without `{command}`; build one with it by
  cargo build --release -p tiny-ddpm-train                    to compute on the CPU
  cargo build --release -p tiny-ddpm-train --features wgpu    for a GPU, too"
    )
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        #[cfg(feature = "train")]
        Command::Train(args) => tiny_ddpm_train::train::command::run(&args),
        #[cfg(feature = "train")]
        Command::Export(args) => tiny_ddpm_train::export::run(&args).map(|()| ExitCode::SUCCESS),
        #[cfg(not(feature = "train"))]
        Command::Train(_) => not_built("train"),
        #[cfg(not(feature = "train"))]
        Command::Export(_) => not_built("export"),
        #[cfg(feature = "train")]
        Command::Evaluate(args) => {
            tiny_ddpm_train::evaluate::run(&args).map(|()| ExitCode::SUCCESS)
        }
        #[cfg(not(feature = "train"))]
        Command::Evaluate(_) => not_built("evaluate"),
        #[cfg(feature = "evaluate")]
        Command::Explain(args) => tiny_ddpm_train::explain::run(&args).map(|()| ExitCode::SUCCESS),
        #[cfg(not(feature = "evaluate"))]
        Command::Explain(_) => not_built("explain"),
        Command::Sample(args) => sample::run(&args),
        Command::Inspect(args) => inspect::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Repack(args) => repack::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Send(args) => send::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Keygen(args) => signing::keygen(&args).map(|()| ExitCode::SUCCESS),
        Command::Sign(args) => signing::sign(&args).map(|()| ExitCode::SUCCESS),
    }
}

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {}", message(&error));
        ExitCode::FAILURE
    })
}
