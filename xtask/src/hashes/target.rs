//! The targets whose bits are compared: how to build for each, and to run it.

use crate::bench::machine::{bench_cargo, watch};
use crate::setup::{CORTEX_M0, CORTEX_M3, CORTEX_M4, CORTEX_M33, RISC_V, Toolchain, WASM};
use crate::shell::{command, run};
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::NamedTempFile;

/// Where a program has room for a model; see `bench/hashes/src/main.rs`.
const MARK: &[u8; 16] = b"tiny-ddpm's slot";

/// A target other than this computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Cortex-M0 with 16 KiB of RAM
    M0,
    /// Cortex-M3
    M3,
    /// Cortex-M4F
    M4,
    /// Cortex-M7
    M7,
    /// Cortex-M33
    M33,
    /// RV32IMC
    Rv32,
    /// WebAssembly
    Wasm,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::M0,
        Self::M3,
        Self::M4,
        Self::M7,
        Self::M33,
        Self::Rv32,
        Self::Wasm,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::M0 => "Cortex-M0",
            Self::M3 => "Cortex-M3",
            Self::M4 => "Cortex-M4F",
            Self::M7 => "Cortex-M7",
            Self::M33 => "Cortex-M33",
            Self::Rv32 => "RV32IMC",
            Self::Wasm => "WebAssembly",
        }
    }

    /// What runs it.
    #[must_use]
    pub fn runs_in(self) -> &'static str {
        match self {
            Self::Wasm => "Node",
            _ => self.machine(),
        }
    }

    /// QEMU's name of it.
    fn machine(self) -> &'static str {
        match self {
            Self::M0 => "microbit",
            Self::M3 => "mps2-an385",
            Self::M4 => "mps2-an386",
            Self::M7 => "mps2-an500",
            Self::M33 => "mps2-an505",
            Self::Rv32 => "virt",
            Self::Wasm => "none",
        }
    }

    /// What the compiler calls it.
    #[must_use]
    pub fn triple(self) -> &'static str {
        match self {
            Self::M0 => CORTEX_M0,
            Self::M3 => CORTEX_M3,
            // A Cortex-M7 runs what is built for a Cortex-M4.
            Self::M4 | Self::M7 => CORTEX_M4,
            Self::M33 => CORTEX_M33,
            Self::Rv32 => RISC_V,
            Self::Wasm => WASM,
        }
    }

    /// What is small is not fast.
    fn profile(self) -> &'static str {
        match self {
            Self::M0 => "small",
            _ => "release",
        }
    }

    /// Where its build lies.
    fn program(self) -> PathBuf {
        let folder = crate::root().join("bench/target").join(self.triple());
        folder.join(self.profile()).join(match self {
            Self::Wasm => "tiny-ddpm-hashes.wasm",
            _ => "tiny-ddpm-hashes",
        })
    }

    /// Runs the program around a model; `report` gets every line that it
    /// prints. Whether it succeeded.
    ///
    /// # Errors
    /// If the model does not fit, or the program does not start or is silent
    /// for two minutes.
    pub fn run(self, blob: &[u8], report: impl FnMut(&str)) -> Result<bool> {
        let built = self.program();
        let mut program =
            fs::read(&built).with_context(|| format!("{} cannot be read", built.display()))?;
        fill(&mut program, blob).with_context(|| format!("in {}", built.display()))?;
        let file = NamedTempFile::new()?;
        fs::write(file.path(), &program)?;

        watch(&mut self.command(file.path()), self.title(), report)
    }

    fn command(self, program: &Path) -> Command {
        let mut emulator = match self {
            Self::Wasm => {
                let mut node = command("node");
                node.arg(crate::root().join("bench/hashes/run.mjs"))
                    .arg(program);
                return node;
            }
            Self::Rv32 => {
                let mut qemu = command("qemu-system-riscv32");
                qemu.args(["-bios", "none"]);
                qemu
            }
            _ => command("qemu-system-arm"),
        };
        emulator
            .args(["-machine", self.machine()])
            .args(["-display", "none", "-monitor", "none", "-serial", "none"])
            .args(["-semihosting-config", "enable=on,target=native"])
            .arg("-kernel")
            .arg(program);
        emulator
    }
}

/// Puts a model into a program's slot: a mark, the model's length, the room
/// there is, eight bytes of nothing, the model.
fn fill(program: &mut [u8], blob: &[u8]) -> Result<()> {
    let mut places = (0..program.len()).filter(|&at| program[at..].starts_with(MARK));
    let (Some(at), None) = (places.next(), places.next()) else {
        bail!("the slot is not there once");
    };
    let slot = &mut program[at + MARK.len()..];
    let room = slot.get(4..8).and_then(|room| room.try_into().ok());
    let room = u32::from_le_bytes(room.context("the slot is cut off")?) as usize;
    ensure!(
        blob.len() <= room && slot.len() >= 16 + room,
        "a model of {} bytes does not fit the slot of {room}",
        blob.len()
    );
    slot[..4].copy_from_slice(&(blob.len() as u32).to_le_bytes());
    slot[16..16 + blob.len()].copy_from_slice(blob);
    Ok(())
}

/// Builds the program for `targets`.
///
/// # Errors
/// If cargo fails.
pub fn build(toolchain: Toolchain, targets: &[Target]) -> Result<()> {
    for profile in ["small", "release"] {
        let wanted = targets.iter().filter(|target| target.profile() == profile);
        let mut triples: Vec<_> = wanted.map(|target| target.triple()).collect();
        triples.sort_unstable();
        triples.dedup();
        if triples.is_empty() {
            continue;
        }
        run(bench_cargo(toolchain, "build", &triples).args([
            "--package",
            "tiny-ddpm-hashes",
            "--profile",
            profile,
        ]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(room: u32) -> Vec<u8> {
        let mut program = b"code".to_vec();
        program.extend(MARK);
        program.extend([0; 4]);
        program.extend(room.to_le_bytes());
        program.extend(vec![0; 8 + room as usize]);
        program
    }

    #[test]
    fn a_model_lies_behind_its_length() {
        let mut filled = program(4);
        fill(&mut filled, &[7, 8, 9]).unwrap();
        assert_eq!(filled[20..24], 3_u32.to_le_bytes());
        assert_eq!(filled[36..], [7, 8, 9, 0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(fill(&mut program(2), &[7, 8, 9]).is_err());
        assert!(fill(&mut b"no slot".to_vec(), &[7]).is_err());
        let twice = [program(4), program(4)].concat();
        assert!(fill(&mut twice.clone(), &[7]).is_err());
    }
}
