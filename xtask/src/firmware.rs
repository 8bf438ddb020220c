//! Builds firmware around a blob.

use crate::setup::{CORTEX_M0, CORTEX_M4, Toolchain};
use crate::shell::run;
use anyhow::{Context, Result, anyhow, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use tempfile::NamedTempFile;
use tiny_ddpm::picture::picture_hash;

/// Builds share a folder; what one has built must be copied before the next.
static BUILDING: Mutex<()> = Mutex::new(());

/// Cycles that an instruction takes on silicon, on average: an assumption for
/// estimates of time, not a measurement. Most instructions of the kernels take
/// one cycle, loads up to two, taken branches two to four, and weights come
/// from flash that is slower than the processor.
pub const CYCLES_PER_INSTRUCTION: f64 = 1.3;

/// An emulated board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// Cortex-M4F, 1 MiB of flash, 128 KiB of RAM
    #[value(name = "stm32f405")]
    Stm32f405,
    /// Cortex-M0, 256 KiB of flash, 16 KiB of RAM
    Microbit,
}

impl Board {
    /// Its instruction set.
    #[must_use]
    pub fn target(self) -> &'static str {
        match self {
            Self::Stm32f405 => CORTEX_M4,
            Self::Microbit => CORTEX_M0,
        }
    }

    /// The firmware's profile: what is small is not fast.
    #[must_use]
    pub fn profile(self) -> &'static str {
        match self {
            Self::Stm32f405 => "release",
            Self::Microbit => "small",
        }
    }

    /// QEMU's name of it.
    #[must_use]
    pub fn machine(self) -> &'static str {
        match self {
            Self::Stm32f405 => "netduinoplus2",
            Self::Microbit => "microbit",
        }
    }

    /// Cycles a second on silicon: what the firmware sets, or the only clock.
    #[must_use]
    pub fn hertz(self) -> u32 {
        match self {
            Self::Stm32f405 => 168_000_000,
            Self::Microbit => 16_000_000,
        }
    }

    /// Seconds that so many instructions would take on silicon: an estimate
    /// with [`CYCLES_PER_INSTRUCTION`].
    #[must_use]
    pub fn seconds(self, instructions: u64) -> f64 {
        instructions as f64 * CYCLES_PER_INSTRUCTION / f64::from(self.hertz())
    }

    /// Where its flash begins, with the vector table.
    fn flash(self) -> u32 {
        match self {
            Self::Stm32f405 => 0x0800_0000,
            Self::Microbit => 0,
        }
    }

    /// An instruction takes so many doublings of a nanosecond in QEMU: the
    /// firmware's timer counts on it.
    #[must_use]
    pub fn shift(self) -> u32 {
        match self {
            Self::Stm32f405 => 0,
            Self::Microbit => 6,
        }
    }
}

impl std::fmt::Display for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stm32f405 => "STM32F405",
            Self::Microbit => "micro:bit",
        })
    }
}

/// Firmware as it would be flashed: an ELF file.
#[derive(Clone, Debug)]
pub struct Firmware {
    board: Board,
    path: PathBuf,
}

impl Firmware {
    /// What it is for.
    #[must_use]
    pub fn board(&self) -> Board {
        self.board
    }

    /// The ELF file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same firmware with another blob of the same length in its flash.
    ///
    /// # Errors
    /// If the old blob is not there, or there more than once.
    pub fn with_blob(&self, old: &[u8], new: &[u8]) -> Result<Self> {
        ensure!(old.len() == new.len(), "the blobs' lengths differ");
        let mut elf = fs::read(&self.path)?;
        let mut places = (0..elf.len()).filter(|&at| elf[at..].starts_with(old));
        let (Some(at), None) = (places.next(), places.next()) else {
            return Err(anyhow!("the blob is not once in {}", self.path.display()));
        };
        elf[at..at + new.len()].copy_from_slice(new);
        Self::keep(self.board, &elf)
    }

    /// The same firmware with a stack of `bytes`, a multiple of 8: the first
    /// word of its flash, with which the processor begins, points so far above
    /// the beginning of RAM.
    ///
    /// # Errors
    /// If the ELF is none, or its flash does not begin with a vector table.
    pub fn with_stack(&self, bytes: u32) -> Result<Self> {
        const RAM: u32 = 0x2000_0000;
        let mut elf = fs::read(&self.path)?;
        let at = file_offset(&elf, self.board.flash());
        let word = at.and_then(|at| elf.get_mut(at..)?.first_chunk_mut::<4>());
        let word = word.ok_or_else(|| anyhow!("no vector table in {}", self.path.display()))?;
        let top = u32::from_le_bytes(*word);
        ensure!(
            (RAM..RAM + (1 << 20)).contains(&top),
            "the stack begins at {top:#010x}"
        );
        *word = (RAM + bytes).to_le_bytes();
        Self::keep(self.board, &elf)
    }

    /// Files an ELF under its checksum, so that it stays what it is.
    fn keep(board: Board, elf: &[u8]) -> Result<Self> {
        let folder = target_dir();
        let path = folder.join(format!("firmware-{:08x}.elf", picture_hash(elf)));
        let file = NamedTempFile::new_in(&folder)?;
        fs::write(file.path(), elf)?;
        file.persist(&path)?;
        Ok(Self { board, path })
    }
}

/// Where in a 32-bit ELF the segment lies that begins at an address.
fn file_offset(elf: &[u8], address: u32) -> Option<usize> {
    const LOAD: u32 = 1;
    let half = |at: usize| Some(u16::from_le_bytes(*elf.get(at..)?.first_chunk()?));
    let word = |at: usize| Some(u32::from_le_bytes(*elf.get(at..)?.first_chunk()?));
    let (table, size, count) = (word(28)? as usize, half(42)?, half(44)?);
    (0..usize::from(count))
        .map(|index| table + index * usize::from(size))
        .find(|&at| word(at) == Some(LOAD) && word(at + 8) == Some(address))
        .and_then(|at| Some(word(at + 4)? as usize))
}

fn target_dir() -> PathBuf {
    crate::root().join("firmware/target")
}

/// A cargo command for the firmware's own workspace.
#[must_use]
pub fn cargo(toolchain: Toolchain, board: Board, subcommand: &str) -> Command {
    let folder = crate::root().join("firmware");
    let mut cargo = toolchain.cargo(subcommand, &[board.target()]);
    cargo
        .args(["--profile", board.profile(), "--locked"])
        // Not where an outer cargo builds for the host.
        .args(["--target-dir", "target"])
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("TINY_DDPM_WORKSPACE_WORDS")
        .current_dir(folder);
    cargo
}

/// Builds firmware for the emulator. With `workspace_words` it has so much
/// workspace, and the blob reaches the chip unchecked.
///
/// # Errors
/// If the blob is no model or cargo fails.
pub fn build(
    toolchain: Toolchain,
    board: Board,
    blob: &Path,
    workspace_words: Option<usize>,
) -> Result<Firmware> {
    let blob = std::path::absolute(blob)?;
    let mut cargo = cargo(toolchain, board, "build");
    cargo.env("TINY_DDPM_BLOB", blob);
    if let Some(words) = workspace_words {
        cargo.env("TINY_DDPM_WORKSPACE_WORDS", words.to_string());
    }
    let _guard = BUILDING
        .lock()
        .map_err(|_| anyhow!("another build panicked"))?;
    run(&mut cargo)?;
    let elf = target_dir()
        .join(board.target())
        .join(board.profile())
        .join("tiny-ddpm-firmware");
    let bytes = fs::read(&elf).with_context(|| format!("{} cannot be read", elf.display()))?;
    Firmware::keep(board, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_cycles_over_the_clock() {
        // 420 million instructions are 546 million cycles.
        assert!((Board::Stm32f405.seconds(420_000_000) - 3.25).abs() < 1e-9);
        assert!((Board::Microbit.seconds(16_000_000) - 1.3).abs() < 1e-9);
    }
}
