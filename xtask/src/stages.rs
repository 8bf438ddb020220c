//! `cargo xtask test`: everything that CI runs, cheapest first, to the first
//! failure.

use crate::firmware::Board;
use crate::setup::{self, COMPARED_TARGETS, CORTEX_M4, OTHER_TARGETS, Purpose, Toolchain};
use crate::shell::{command, duration, heading, run};
use crate::{bench, field, firmware, fuzz, hygiene, package, readme, root, untrusted};
use anyhow::{Context, Result};
use clap::Args;
use std::process::Command;
use std::time::{Duration, Instant};

/// All backends at once, everywhere the same: Burn is built once.
const BACKENDS: &str =
    "tiny-ddpm-train/train,tiny-ddpm-train/ndarray,tiny-ddpm-train/wgpu,tiny-ddpm-tests/ndarray";

/// Says how to build what only the slower backends need.
const PROFILE: &str = "xtask/test-profile.toml";

/// How much to test.
#[derive(Args, Clone, Copy, Debug)]
pub struct Options {
    /// Leave out what needs Burn, the documentation and hygiene: minutes instead of half
    /// an hour
    #[arg(long)]
    fast: bool,
}

/// Runs all stages.
///
/// # Errors
/// The first failure.
pub fn run_all(options: &Options) -> Result<()> {
    let mut stages = Stages::default();
    let result = stages.run(options);
    stages.summary();
    result?;
    println!("all passed");
    Ok(())
}

/// The stages that were run, with their times.
#[derive(Debug, Default)]
struct Stages {
    done: Vec<(&'static str, Duration, bool)>,
    /// What could not be checked here, and why.
    unchecked: Vec<String>,
}

impl Stages {
    fn run(&mut self, options: &Options) -> Result<()> {
        let toolchain = self.stage("set-up", || setup::ensure(Purpose::Test))?;
        self.stage("formatting", formatting)?;
        self.stage("core, with overflow checks", || {
            run(cargo("test").args(["--locked", "--package", "tiny-ddpm"]))
        })?;
        self.stage("slots in flash, and a bad line", || {
            run(cargo("test")
                .args(["--locked", "--package", "tiny-ddpm-slots"])
                .args(["--features", "ed25519"]))
        })?;
        self.stage("core on other targets", || core_alone(toolchain))?;
        self.stage("firmware", || firmware_lints(toolchain))?;
        self.stage("clippy", || lints(options.fast))?;
        self.stage("fuzzing", fuzz::stage)?;
        if options.fast {
            self.stage("what does without Burn", without_burn)?;
        } else {
            self.stage("documentation", documentation)?;
            self.stage("all crates, all backends", all_crates)?;
            self.stage("README", || readme::stage(toolchain))?;
            self.stage("packages", package::run_all)?;
            self.unchecked = self.stage("hygiene", hygiene::run)?;
        }
        self.stage("the emulated chip", || {
            run(cargo("test").args(["--locked", "--profile", "xtask", "--package", "xtask"]))
        })
    }

    fn stage<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        heading(name);
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed();
        self.done.push((name, elapsed, result.is_ok()));
        if result.is_ok() {
            println!("-- {name}: {}", duration(elapsed));
        }
        result.with_context(|| format!("stage \"{name}\""))
    }

    fn summary(&self) {
        println!();
        for (name, elapsed, passed) in &self.done {
            let verdict = if *passed { "ok" } else { "FAILED" };
            println!("{verdict:>6}  {name}, {}", duration(*elapsed));
        }
        let total = self.done.iter().map(|(_, elapsed, _)| *elapsed).sum();
        println!("        {} in all", duration(total));
        for what in &self.unchecked {
            println!("NOT CHECKED: {what}");
        }
    }
}

/// The host's cargo, in the repository's root.
fn cargo(subcommand: &str) -> Command {
    let mut cargo = command("cargo");
    cargo.arg(subcommand).current_dir(root());
    cargo
}

fn formatting() -> Result<()> {
    run(cargo("fmt").args(["--all", "--check"]))?;
    let untrusted = "firmware/untrusted/Cargo.toml";
    let (bench, fuzz) = ("bench/Cargo.toml", "fuzz/Cargo.toml");
    for manifest in ["firmware/Cargo.toml", untrusted, bench, fuzz] {
        run(cargo("fmt").args(["--all", "--check", "--manifest-path", manifest]))?;
    }
    Ok(())
}

/// `core` as somebody else's firmware would use it. Checked only: what code
/// generation could add, the firmware's build shows.
fn core_alone(toolchain: Toolchain) -> Result<()> {
    run(toolchain
        .cargo("check", &OTHER_TARGETS)
        .args(["--release", "--locked", "--package", "tiny-ddpm"])
        .args(["--package", "tiny-ddpm-slots"])
        .args([
            "--features",
            "tiny-ddpm/defmt,tiny-ddpm-slots/defmt,tiny-ddpm-slots/ed25519",
        ])
        .args(["--target-dir", "firmware/target"])
        .current_dir(root()))
}

/// For the emulated boards and for a real one.
fn firmware_lints(toolchain: Toolchain) -> Result<()> {
    let clippy = |board, features: &[&str]| {
        let mut clippy = firmware::cargo(toolchain, board, "clippy");
        run(clippy.args(features).args(["--", "-D", "warnings"]))
    };
    let rtt = ["--no-default-features", "--features", "rtt"];
    clippy(Board::Microbit, &[])?;
    clippy(Board::Stm32f405, &[])?;
    clippy(Board::Stm32f405, &rtt)?;
    // As README flashes a board, but for the board.
    run(firmware::cargo(toolchain, Board::Stm32f405, "run")
        .args(rtt)
        .env("CARGO_TARGET_THUMBV7EM_NONE_EABIHF_RUNNER", "true"))?;
    for features in ["semihosting,field", "rtt,field"] {
        run(field::cargo(toolchain, "clippy")
            .args(["--no-default-features", "--features", features])
            .args(["--", "-D", "warnings"]))?;
    }
    for board in untrusted::Board::ALL {
        run(untrusted::cargo(toolchain, board, "clippy").args(["--", "-D", "warnings"]))?;
    }
    let mut targets = vec![CORTEX_M4];
    targets.extend(OTHER_TARGETS);
    run(bench::machine::cargo(toolchain, "clippy", &targets).args(["--", "-D", "warnings"]))?;
    targets.extend(COMPARED_TARGETS);
    let toolchain = Toolchain::find(&targets).unwrap_or(toolchain);
    run(bench::machine::cargo(toolchain, "clippy", &targets).args([
        "--package",
        "tiny-ddpm-hashes",
        "--",
        "-D",
        "warnings",
    ]))
}

fn lints(fast: bool) -> Result<()> {
    let deny = ["--", "-D", "warnings"];
    // The smallest build, and the default one.
    run(cargo("clippy")
        .args(["--release", "--locked", "--all-targets"])
        .args(["--package", "tiny-ddpm-train", "--no-default-features"])
        .args(deny))?;
    run(cargo("clippy")
        .args(["--release", "--locked", "--workspace", "--all-targets"])
        .args(deny))?;
    if fast {
        return Ok(());
    }
    run(cargo("clippy")
        .args(["--release", "--locked", "--workspace", "--all-targets"])
        .args(["--features", BACKENDS, "--config", PROFILE])
        .args(deny))
}

fn documentation() -> Result<()> {
    run(cargo("doc")
        .args(["--release", "--locked", "--workspace", "--no-deps"])
        .args(["--features", BACKENDS, "--config", PROFILE])
        .env("RUSTDOCFLAGS", "-D warnings"))
}

/// The tool as it is built by default, the format against its decoder, shipped
/// models.
fn without_burn() -> Result<()> {
    run(cargo("test").args(["--release", "--locked"]).args([
        "--package",
        "tiny-ddpm-train",
        "--package",
        "tiny-ddpm-tests",
    ]))
}

fn all_crates() -> Result<()> {
    // Mesa's software Vulkan wants a folder of its own.
    let runtime = tempfile::tempdir()?;
    let mut test = all_crates_command();
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        test.env("XDG_RUNTIME_DIR", runtime.path());
    }
    run(&mut test)
}

/// Tests all crates but this one, with all backends.
pub(crate) fn all_crates_command() -> Command {
    let mut test = cargo("test");
    test.args(["--release", "--locked", "--workspace", "--exclude", "xtask"])
        .args(["--features", BACKENDS, "--config", PROFILE]);
    test
}
