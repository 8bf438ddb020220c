//! The command line tool.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tiny_ddpm_train::output::message;
use tiny_ddpm_train::{build, inspect, repack, sample, send, signing};

/// Diffusion models for microcontrollers: train, export, evaluate, sample, inspect.
#[derive(Debug, Parser)]
#[command(name = "tiny-ddpm", version = build::version(), after_help = EXAMPLES, arg_required_else_help = true)]
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
    #[cfg(not(feature = "train"))]
    #[command(about = TRAIN.about(), override_help = TRAIN.text())]
    Train(NotBuilt),
    #[cfg(feature = "train")]
    Export(tiny_ddpm_train::export::ExportArgs),
    #[cfg(not(feature = "train"))]
    #[command(about = EXPORT.about(), override_help = EXPORT.text())]
    Export(NotBuilt),
    #[cfg(feature = "train")]
    Evaluate(tiny_ddpm_train::evaluate::EvaluateArgs),
    #[cfg(not(feature = "train"))]
    #[command(about = EVALUATE.about(), override_help = EVALUATE.text())]
    Evaluate(NotBuilt),
    #[cfg(feature = "explain")]
    Explain(tiny_ddpm_train::explain::ExplainArgs),
    #[cfg(not(feature = "explain"))]
    #[command(about = EXPLAIN.about(), override_help = EXPLAIN.text())]
    Explain(NotBuilt),
    Sample(sample::SampleArgs),
    Inspect(inspect::InspectArgs),
    Repack(repack::RepackArgs),
    Send(send::SendArgs),
    Keygen(signing::KeygenArgs),
    Sign(signing::SignArgs),
}

/// A command that this build lacks.
#[cfg(not(feature = "train"))]
struct Absent {
    name: &'static str,
    does: &'static str,
    /// The cargo feature that has it.
    feature: &'static str,
}

#[cfg(not(feature = "train"))]
const TRAIN: Absent = Absent {
    name: "train",
    does: "train a network on pictures or points",
    feature: "train",
};
#[cfg(not(feature = "train"))]
const EXPORT: Absent = Absent {
    name: "export",
    does: "quantise a training run's weights and write the blob",
    feature: "train",
};
#[cfg(not(feature = "train"))]
const EVALUATE: Absent = Absent {
    name: "evaluate",
    does: "measure how good a model's pictures are, and write a report",
    feature: "train",
};
#[cfg(not(feature = "explain"))]
const EXPLAIN: Absent = Absent {
    name: "explain",
    does: "show how a model draws, on one page",
    feature: "explain",
};

/// The arguments of such a command.
#[cfg(not(feature = "train"))]
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
struct NotBuilt {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<std::ffi::OsString>,
}

#[cfg(not(feature = "train"))]
impl Absent {
    /// For the list of commands.
    fn about(&self) -> String {
        format!("Not in this build: {}", self.does)
    }

    /// What the command does and how to build a tiny-ddpm that has it.
    fn text(&self) -> String {
        build::lacks(&format!("`{}` ({})", self.name, self.does), self.feature)
    }

    /// Prints the text: as help where that was asked for, otherwise as an error.
    fn run(&self, args: &NotBuilt) -> Result<ExitCode> {
        if args.arguments.iter().any(|a| a == "--help" || a == "-h") {
            tiny_ddpm_train::output::print(&(self.text() + "\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        anyhow::bail!(self.text())
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        #[cfg(feature = "train")]
        Command::Train(args) => tiny_ddpm_train::train::command::run(&args),
        #[cfg(feature = "train")]
        Command::Export(args) => tiny_ddpm_train::export::run(&args).map(|()| ExitCode::SUCCESS),
        #[cfg(not(feature = "train"))]
        Command::Train(absent) => TRAIN.run(&absent),
        #[cfg(not(feature = "train"))]
        Command::Export(absent) => EXPORT.run(&absent),
        #[cfg(feature = "train")]
        Command::Evaluate(args) => {
            tiny_ddpm_train::evaluate::run(&args).map(|()| ExitCode::SUCCESS)
        }
        #[cfg(not(feature = "train"))]
        Command::Evaluate(absent) => EVALUATE.run(&absent),
        #[cfg(feature = "explain")]
        Command::Explain(args) => tiny_ddpm_train::explain::run(&args).map(|()| ExitCode::SUCCESS),
        #[cfg(not(feature = "explain"))]
        Command::Explain(absent) => EXPLAIN.run(&absent),
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
