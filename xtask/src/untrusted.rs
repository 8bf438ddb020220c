//! The firmware in `firmware/untrusted`, which trusts neither its blob nor its
//! settings: builds it, looks for panic machinery in it, and runs it.
//!
//! That it links says that nothing in it can panic (see its `src/panic.rs`).
//! [`panic_machinery`] looks for what the linker could have missed: symbols
//! and texts that come with a panic.

use crate::setup::{CORTEX_M0, CORTEX_M4, Toolchain};
use crate::shell::{command, line, run_within};
use anyhow::{Context, Result, anyhow, bail, ensure};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, elf};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use tempfile::NamedTempFile;

/// Builds share a folder; what one has built must be read before the next.
static BUILDING: Mutex<()> = Mutex::new(());
/// How long a run may take: it is seconds.
const PATIENCE: Duration = Duration::from_secs(240);
/// The function that a panic would call; nobody defines it.
pub const MISSING: &str = "something_in_this_firmware_can_panic";

/// A board that it is built for, as an emulator has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// Cortex-M4F
    Stm32f405,
    /// Cortex-M0, built small
    Microbit,
    /// Cortex-M33
    An505,
    /// RV32IMC
    Virt,
}

impl Board {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Stm32f405, Self::Microbit, Self::An505, Self::Virt];

    /// Its instruction set.
    #[must_use]
    pub fn target(self) -> &'static str {
        match self {
            Self::Stm32f405 => CORTEX_M4,
            Self::Microbit => CORTEX_M0,
            Self::An505 => "thumbv8m.main-none-eabihf",
            Self::Virt => "riscv32imc-unknown-none-elf",
        }
    }

    /// As the firmware that is flashed there.
    fn profile(self) -> &'static str {
        match self {
            Self::Microbit => "small",
            _ => "release",
        }
    }

    fn qemu(self) -> Command {
        let (program, machine) = match self {
            Self::Stm32f405 => ("qemu-system-arm", "netduinoplus2"),
            Self::Microbit => ("qemu-system-arm", "microbit"),
            Self::An505 => ("qemu-system-arm", "mps2-an505"),
            Self::Virt => ("qemu-system-riscv32", "virt"),
        };
        let mut qemu = command(program);
        qemu.args(["-machine", machine])
            .args(["-display", "none", "-monitor", "none", "-serial", "none"]);
        if self == Self::Virt {
            qemu.args(["-bios", "none"]);
        }
        qemu
    }
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Firmware {
    board: Board,
    /// The ELF file.
    pub elf: Vec<u8>,
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Hashes of what was sampled.
    Sampled {
        /// Of the pixels.
        pixels: u32,
        /// Of x_0.
        state: u32,
    },
    /// Why it did not.
    Refused(String),
}

/// A cargo command for it.
#[must_use]
pub fn cargo(toolchain: Toolchain, board: Board, subcommand: &str) -> Command {
    let mut cargo = toolchain.cargo(subcommand, &[board.target()]);
    cargo
        .args(["--profile", board.profile(), "--locked"])
        // The benchmark has built most of it already.
        .args(["--target-dir", "../../bench/target"])
        .env_remove("CARGO_BUILD_TARGET")
        .current_dir(crate::root().join("firmware/untrusted"));
    cargo
}

/// Builds it, with features that only show what the check would notice.
///
/// # Errors
/// If it does not link, with what cargo said: because something in it can
/// panic, if [`MISSING`] is named.
pub fn build(toolchain: Toolchain, board: Board, features: &[&str]) -> Result<Firmware> {
    let mut cargo = cargo(toolchain, board, "build");
    cargo.args(["--features", &features.join(",")]);
    let _guard = BUILDING
        .lock()
        .map_err(|_| anyhow!("another build panicked"))?;
    println!("$ (cd firmware/untrusted && {})", line(&cargo));
    let output = cargo.output().context("cargo could not be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{}` failed:\n{said}",
        line(&cargo)
    );
    let folder = crate::root().join("bench/target").join(board.target());
    let path: PathBuf = folder.join(board.profile()).join("tiny-ddpm-untrusted");
    let elf = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Firmware { board, elf })
}

/// Parts of symbols that panics bring along: `core::panicking`, what `unwrap`
/// and slices call, and `core::fmt`, which writes the message. As manglings
/// have them, so that it does not matter which there is.
const SYMBOLS: [&str; 8] = [
    "panic",
    "4core3fmt",
    "unwrap_failed",
    "expect_failed",
    "slice_index",
    "slice_error_fail",
    "mismatch_fail",
    "begin_unwind",
];

/// Parts of the texts that they bring along: messages, and names of source
/// files.
const TEXTS: [&str; 6] = [
    "out of range",
    "out of bounds",
    "attempt to ",
    "called `",
    "internal error",
    "src/",
];

/// Everything in an ELF file that looks like part of a panic.
///
/// # Errors
/// If the file cannot be read, or has no symbols, or not the network's: then
/// that nothing was found would mean nothing.
pub fn panic_machinery(elf: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(elf)?;
    let names: Vec<_> = file
        .symbols()
        .filter_map(|symbol| symbol.name().ok())
        .collect();
    for part in ["tiny_ddpm", "7forward", "6phases", "8winograd"] {
        ensure!(
            names.iter().any(|name| name.contains(part)),
            "no symbol with {part}: the network is not in this file, or no symbols are"
        );
    }
    let symbols = names
        .into_iter()
        .filter(|name| SYMBOLS.iter().any(|part| name.contains(part)))
        .map(|name| format!("the symbol {name}"));
    let mut found: Vec<_> = symbols.collect();
    for section in file.sections() {
        // What is flashed; the rest is for debuggers.
        let SectionFlags::Elf { sh_flags } = section.flags() else {
            bail!("not an ELF file");
        };
        if sh_flags & u64::from(elf::SHF_ALLOC) == 0 {
            continue;
        }
        let bytes = section.data()?;
        for text in TEXTS {
            let mut places = bytes.windows(text.len());
            if let Some(at) = places.position(|window| window == text.as_bytes()) {
                let context = &bytes[at.saturating_sub(40)..bytes.len().min(at + 40)];
                let context: String = context
                    .iter()
                    .map(|&byte| {
                        if (32..127).contains(&byte) {
                            byte as char
                        } else {
                            '.'
                        }
                    })
                    .collect();
                found.push(format!("the text \"{text}\" in \"{context}\""));
            }
        }
    }
    Ok(found)
}

impl Firmware {
    /// Runs it with `slot` where the blob should be and `words` where the
    /// settings should be.
    ///
    /// # Errors
    /// If QEMU does not start or end, or the firmware says nothing that makes
    /// sense, as after a fault.
    pub fn run(&self, slot: &[u8], words: &[u8]) -> Result<Answer> {
        let file = object::File::parse(&*self.elf)?;
        let address = |name: &str| {
            let mut symbols = file.symbols();
            let symbol = symbols.find(|symbol| symbol.name() == Ok(name));
            symbol
                .map(|symbol| symbol.address())
                .ok_or_else(|| anyhow!("no symbol {name}"))
        };
        let [elf, log] = [&*self.elf, &[]].map(keep);
        let (elf, log) = (elf?, log?);
        let mut qemu = self.board.qemu();
        qemu.arg("-kernel").arg(elf.path());
        let mut parts = Vec::new();
        for (part, bytes) in [("slot", slot), ("words", words)] {
            let (start, end) = (
                address(&format!("_{part}_start"))?,
                address(&format!("_{part}_end"))?,
            );
            ensure!(
                bytes.len() as u64 <= end - start,
                "{} bytes do not fit into the {part}",
                bytes.len()
            );
            if bytes.is_empty() {
                continue;
            }
            let file = keep(bytes)?;
            qemu.arg("-device").arg(format!(
                "loader,file={},addr={start:#x},force-raw=on",
                file.path().display()
            ));
            parts.push(file);
        }
        qemu.arg("-chardev")
            .arg(format!("file,id=log,path={}", log.path().display()))
            .args(["-semihosting-config", "enable=on,target=native,chardev=log"])
            .stdout(Stdio::null());
        // Its status is no more than what it says.
        let ended = run_within(&mut qemu, PATIENCE);
        let said = fs::read_to_string(log.path())?;
        let answer = Answer::parse(&said);
        answer.with_context(|| format!("the firmware said \"{said}\" ({ended:?})"))
    }
}

fn keep(bytes: &[u8]) -> Result<NamedTempFile> {
    let file = NamedTempFile::new()?;
    fs::write(file.path(), bytes)?;
    Ok(file)
}

impl Answer {
    /// Reads the one line that it says.
    fn parse(said: &str) -> Result<Self> {
        let line = said.strip_suffix('\n').context("no whole line")?;
        if let Some(reason) = line.strip_prefix("@refused reason=") {
            return Ok(Self::Refused(reason.to_owned()));
        }
        let hashes = line.strip_prefix("@sampled pixels=");
        let hashes = hashes.and_then(|hashes| hashes.split_once(" state="));
        let (pixels, state) = hashes.context("no answer")?;
        let word = |hash| u32::from_str_radix(hash, 16);
        Ok(Self::Sampled {
            pixels: word(pixels)?,
            state: word(state)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_nothing_else_is() {
        let sampled = Answer::Sampled {
            pixels: 0xbeef,
            state: 1,
        };
        let line = "@sampled pixels=0000beef state=00000001\n";
        assert_eq!(Answer::parse(line).unwrap(), sampled);
        let refused = Answer::Refused("blob".to_owned());
        assert_eq!(Answer::parse("@refused reason=blob\n").unwrap(), refused);
        for line in [
            "",
            "@fault\n",
            "@refused reason=blob",
            "@sampled pixels=1\n",
        ] {
            assert!(Answer::parse(line).is_err(), "{line}");
        }
    }
}
