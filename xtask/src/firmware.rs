//! Builds firmware around a blob.

use crate::setup::{CORTEX_M4, Toolchain};
use crate::shell::run;
use anyhow::{Context, Result, anyhow};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use tempfile::NamedTempFile;

/// Builds share a folder; what one has built must be copied before the next.
static BUILDING: Mutex<()> = Mutex::new(());

/// Firmware as it would be flashed.
#[derive(Debug)]
pub struct Firmware {
    file: NamedTempFile,
}

impl Firmware {
    /// The ELF file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

/// A cargo command for the firmware's own workspace.
#[must_use]
pub fn cargo(toolchain: Toolchain, subcommand: &str) -> Command {
    let folder = crate::root().join("firmware");
    let mut cargo = toolchain.cargo(subcommand, CORTEX_M4);
    cargo
        .args(["--release", "--locked"])
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
    blob: &Path,
    workspace_words: Option<usize>,
) -> Result<Firmware> {
    let blob = std::path::absolute(blob)?;
    let mut cargo = cargo(toolchain, "build");
    cargo.env("TINY_DDPM_BLOB", blob);
    if let Some(words) = workspace_words {
        cargo.env("TINY_DDPM_WORKSPACE_WORDS", words.to_string());
    }
    let _guard = BUILDING
        .lock()
        .map_err(|_| anyhow!("another build panicked"))?;
    run(&mut cargo)?;
    let elf = crate::root()
        .join("firmware/target")
        .join(CORTEX_M4)
        .join("release/tiny-ddpm-firmware");
    let file = NamedTempFile::with_suffix(".elf")?;
    std::fs::copy(&elf, file.path())
        .with_context(|| format!("{} could not be copied", elf.display()))?;
    Ok(Firmware { file })
}
