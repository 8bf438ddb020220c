//! The command line.

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::{bench, demo, fuzz, hashes, hostile, hygiene, package, readme, stages};

/// Builds, shows and tests tiny-ddpm
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
All commands first look for what they need (toolchains for microcontrollers,
QEMU, a Vulkan driver) and install it where they can.

Examples:
  cargo xtask demo
  cargo xtask demo --seed 7 --classes 3,1,4 --steps 10
  cargo xtask demo --board microbit
  cargo xtask demo --blob runs/mine/model.tddpm --png out/mine.png
  cargo xtask bench --target m4,m0
  cargo xtask hashes
  cargo xtask fuzz --target blob --time 600
  cargo xtask test --fast";

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch an emulated microcontroller turn noise into digits
    Demo(demo::Options),
    /// Count the instructions of kernels and of a denoising step
    Bench(bench::Options),
    /// Compare what every target makes of one seed and one blob
    Hashes(hashes::Options),
    /// Check dependencies, lock files, features and the public API
    Hygiene,
    /// Pack each crate as for crates.io, unpack it elsewhere and check it there
    Package,
    /// Feed an emulated chip random and mutated blobs
    Hostile(hostile::Options),
    /// Give bytes of strangers to all that reads some
    Fuzz(fuzz::Options),
    /// Run the commands of README.md, top to bottom
    Readme(readme::Options),
    /// Run everything that CI runs
    Test(stages::Options),
}

fn main() -> ExitCode {
    let result: Result<()> = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Hashes(options) => hashes::run(&options),
        Command::Hygiene => hygiene::run_alone(),
        Command::Package => package::run_all(),
        Command::Hostile(options) => hostile::run(&options),
        Command::Fuzz(options) => fuzz::run_targets(&options),
        Command::Readme(options) => readme::run(&options),
        Command::Test(options) => stages::run_all(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
