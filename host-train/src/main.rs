//! The command line tool.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Trains, exports, samples and inspects tiny-ddpm models.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a network
    #[cfg(feature = "train")]
    Train(tiny_ddpm_train::train::command::TrainArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        #[cfg(feature = "train")]
        Command::Train(args) => tiny_ddpm_train::train::command::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
