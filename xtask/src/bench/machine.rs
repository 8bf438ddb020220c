//! Emulated machines for the benchmark, and how to build for them.

use crate::setup::{CORTEX_M0, CORTEX_M4, CORTEX_M33, RISC_V, Toolchain};
use crate::shell::{command, run};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::ValueEnum;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

/// How long an emulator may be silent: a slow step, or a chain, takes seconds.
const SILENCE: Duration = Duration::from_secs(120);

/// A processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// Cortex-M4F
    M4,
    /// Cortex-M7
    M7,
    /// Cortex-M33
    M33,
    /// Cortex-M0: its code, on the Cortex-M4's machine
    M0,
    /// RV32IMC
    Rv32,
}

impl Machine {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::M4, Self::M7, Self::M33, Self::M0, Self::Rv32];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::M4 => "m4",
            Self::M7 => "m7",
            Self::M33 => "m33",
            Self::M0 => "m0",
            Self::Rv32 => "rv32",
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::M4 => "Cortex-M4 (mps2-an386)",
            Self::M7 => "Cortex-M7 (mps2-an500)",
            Self::M33 => "Cortex-M33 (mps2-an505)",
            Self::M0 => "Cortex-M0 (its code on mps2-an386)",
            Self::Rv32 => "RV32IMC (virt)",
        }
    }

    /// What the compiler calls it.
    #[must_use]
    pub fn triple(self) -> &'static str {
        match self {
            // A Cortex-M7 runs what is built for a Cortex-M4.
            Self::M4 | Self::M7 => CORTEX_M4,
            Self::M33 => CORTEX_M33,
            Self::M0 => CORTEX_M0,
            Self::Rv32 => RISC_V,
        }
    }

    /// The emulator, with a clock that counts instructions.
    fn qemu(self) -> Command {
        let (program, machine, shift) = match self {
            Self::M4 | Self::M0 => ("qemu-system-arm", "mps2-an386", 8),
            Self::M7 => ("qemu-system-arm", "mps2-an500", 8),
            Self::M33 => ("qemu-system-arm", "mps2-an505", 8),
            Self::Rv32 => ("qemu-system-riscv32", "virt", 0),
        };
        let mut qemu = command(program);
        // What resets itself has failed.
        qemu.args(["-machine", machine, "-no-reboot"])
            .args(["-display", "none", "-monitor", "none", "-serial", "none"])
            .args(["-icount", &format!("shift={shift},sleep=off,align=off")]);
        if self == Self::Rv32 {
            qemu.args(["-bios", "none"]);
        }
        qemu
    }

    /// Runs the program with `words`, in a folder where it finds files;
    /// `report` gets every line that it prints. Whether it succeeded.
    ///
    /// # Errors
    /// If QEMU does not start or is silent for two minutes.
    pub fn run(self, words: &[&str], folder: &Path, report: impl FnMut(&str)) -> Result<bool> {
        let mut semihosting = String::from("enable=on,target=native");
        for word in words {
            semihosting += &format!(",arg={word}");
        }
        let mut qemu = self.qemu();
        qemu.args(["-semihosting-config", &semihosting])
            .arg("-kernel")
            .arg(elf(self.triple()))
            .current_dir(folder);
        watch(&mut qemu, self.title(), report)
    }
}

/// Runs an emulator to its end; `report` gets every line that it prints.
/// Whether it succeeded.
///
/// # Errors
/// If it does not start or is silent for two minutes.
pub(crate) fn watch(
    emulator: &mut Command,
    title: &str,
    mut report: impl FnMut(&str),
) -> Result<bool> {
    let child = emulator.stdout(Stdio::piped()).spawn().with_context(|| {
        let name = emulator.get_program().display();
        format!("{name} could not be started: `cargo xtask test` installs it")
    })?;
    let mut running = Running(child);
    let stdout = running.0.stdout.take();
    let lines = forward(stdout.ok_or_else(|| anyhow!("there is no output"))?);
    loop {
        match lines.recv_timeout(SILENCE) {
            Ok(line) => report(&line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                bail!("the {title} has been silent for {SILENCE:?}")
            }
        }
    }
    Ok(running.0.wait()?.success())
}

/// An emulator; it ends with this value.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if it has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads in a thread, so that waiting can end.
fn forward(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn folder() -> PathBuf {
    crate::root().join("bench")
}

/// Where a build for a target lies.
fn elf(triple: &str) -> PathBuf {
    let target = folder().join("target").join(triple);
    target.join("release/tiny-ddpm-bench")
}

/// A cargo command for the benchmark's own workspace.
#[must_use]
pub fn cargo(toolchain: Toolchain, subcommand: &str, triples: &[&str]) -> Command {
    let mut cargo = bench_cargo(toolchain, subcommand, triples);
    cargo.arg("--release");
    cargo
}

/// The same for any package and profile there.
#[must_use]
pub fn bench_cargo(toolchain: Toolchain, subcommand: &str, triples: &[&str]) -> Command {
    let mut cargo = toolchain.cargo(subcommand, triples);
    cargo
        .arg("--locked")
        // Not where an outer cargo builds for the host.
        .args(["--target-dir", "target"])
        .env_remove("CARGO_BUILD_TARGET")
        .current_dir(folder());
    cargo
}

/// Builds the program for `machines`.
///
/// # Errors
/// If cargo fails.
pub fn build(toolchain: Toolchain, machines: &[Machine]) -> Result<()> {
    let mut triples: Vec<_> = machines.iter().map(|machine| machine.triple()).collect();
    triples.sort_unstable();
    triples.dedup();
    run(&mut cargo(toolchain, "build", &triples))?;
    for triple in triples {
        let elf = elf(triple);
        ensure!(elf.exists(), "cargo built no {}", elf.display());
    }
    Ok(())
}
