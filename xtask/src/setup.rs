//! Finds what building and testing needs, and installs what is missing.
//!
//! Firmware needs `core` for its target, which comes by one of two routes:
//! rustup's prebuilt targets, or, where rustup cannot fetch them, Debian's
//! `rustc-web` packages, with which cargo builds `core` from source. Programs
//! come from Debian's packages. What cannot be installed is an error that
//! names it and the command that would do it; nothing is ever left out.

use crate::shell::{command, duration, output, run, run_within};
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The emulated STM32F405's instruction set.
pub const CORTEX_M4: &str = "thumbv7em-none-eabihf";
/// The emulated micro:bit's instruction set.
pub const CORTEX_M0: &str = "thumbv6m-none-eabi";
/// A processor with the security extension.
pub const CORTEX_M33: &str = "thumbv8m.main-none-eabihf";
/// RISC-V without floating point.
pub const RISC_V: &str = "riscv32imc-unknown-none-elf";
/// The further targets that `core` promises to build for.
pub const OTHER_TARGETS: [&str; 3] = [CORTEX_M0, CORTEX_M33, RISC_V];
/// Without floating point, DSP instructions or a board of ours.
pub const CORTEX_M3: &str = "thumbv7m-none-eabi";
/// What browsers run.
pub const WASM: &str = "wasm32-unknown-unknown";
/// The further targets whose bits are compared.
pub const COMPARED_TARGETS: [&str; 2] = [CORTEX_M3, WASM];

/// What a Cortex-M build needs of Debian.
const DEBIAN_RUST: [&str; 5] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-llvm",
    "lld-22",
];
const DEBIAN_CLIPPY: &str = "rust-web-clippy";
/// A program, and what every package that has it says it provides: it has moved
/// from one to another.
const QEMU_RISCV: &str = "qemu-system-riscv32";
/// The Rust that everything is promised to build with.
const RUST: &str = env!("CARGO_PKG_RUST_VERSION");
/// The oldest Node.js that is maintained and runs `bench/hashes/run.mjs`.
const NODE: u32 = 18;
/// Patience with a rustup that cannot reach its server.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);

/// How to build for a microcontroller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// With the toolchain that built this, and rustup's targets.
    Rustup,
    /// With Debian's, building `core` from source.
    Debian,
}

/// What somebody is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Run firmware.
    Demo,
    /// Count instructions on all targets.
    Bench,
    /// Compare what all targets compute.
    Hashes,
    /// Run everything that CI runs.
    Test,
}

impl Toolchain {
    /// A cargo command for `targets`, such as `build` or `clippy`.
    #[must_use]
    pub fn cargo(self, subcommand: &str, targets: &[&str]) -> Command {
        let mut cargo = match self {
            Self::Rustup => {
                let mut cargo = command("cargo");
                cargo.arg(subcommand);
                cargo
            }
            Self::Debian => {
                // By their full paths: rustup's come first in PATH. Clippy
                // asks `CARGO` which cargo to run.
                let (program, arguments): (_, &[&str]) = match subcommand {
                    "clippy" => ("/usr/bin/cargo-clippy", &["clippy"]),
                    other => ("/usr/bin/cargo", &[other]),
                };
                let mut cargo = command(program);
                cargo
                    .args(arguments)
                    .arg("-Zbuild-std=core")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO", "/usr/bin/cargo")
                    .env("RUSTC", "/usr/bin/rustc")
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("RUSTC_WRAPPER")
                    .env_remove("RUSTC_WORKSPACE_WRAPPER");
                cargo
            }
        };
        // Flags for the host do not suit a microcontroller.
        cargo
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .args(targets.iter().flat_map(|target| ["--target", target]));
        cargo
    }

    /// The toolchain that is there, without installing anything.
    #[must_use]
    pub fn find(targets: &[&str]) -> Option<Self> {
        if missing_targets(targets).is_some_and(|missing| missing.is_empty()) {
            return Some(Self::Rustup);
        }
        let debian = missing_packages(&DEBIAN_RUST).is_some_and(|missing| missing.is_empty());
        (debian && debian_rust_suffices()).then_some(Self::Debian)
    }
}

/// Makes sure that everything `purpose` needs is there.
///
/// # Errors
/// If something is missing and could not be installed.
pub fn ensure(purpose: Purpose) -> Result<Toolchain> {
    let mut targets = vec![CORTEX_M4];
    match purpose {
        Purpose::Demo => targets.push(CORTEX_M0),
        Purpose::Bench | Purpose::Hashes | Purpose::Test => targets.extend(OTHER_TARGETS),
    }
    let found = Toolchain::find(&targets).or_else(|| add_targets(&targets));
    let compared = match found {
        Some(Toolchain::Rustup) if matches!(purpose, Purpose::Hashes | Purpose::Test) => {
            let targets = COMPARED_TARGETS;
            Toolchain::find(&targets).or_else(|| add_targets(&targets))
        }
        found => found,
    };

    if purpose == Purpose::Test {
        ensure_components()?;
    }

    let mut wanted = Vec::new();
    if compared != Some(Toolchain::Rustup) {
        wanted.extend(DEBIAN_RUST);
        if purpose == Purpose::Test {
            wanted.push(DEBIAN_CLIPPY);
        }
    }
    if purpose == Purpose::Test && output(command("git").arg("--version")).is_none() {
        wanted.push("git");
    }
    if !has_qemu() {
        wanted.push("qemu-system-arm");
    }
    if purpose != Purpose::Demo && !has_riscv_qemu() {
        wanted.push(QEMU_RISCV);
    }
    if purpose == Purpose::Test && !has_vulkan() {
        wanted.extend(["mesa-vulkan-drivers", "libvulkan1"]);
    }
    if purpose == Purpose::Test && !has_python() {
        wanted.push("python3");
    }
    let compares = matches!(purpose, Purpose::Hashes | Purpose::Test);
    if compares && node_version().is_none() {
        wanted.push("nodejs");
    }
    install(&wanted)?;
    // A package's name does not say that the program is in it, or new enough.
    ensure!(
        purpose == Purpose::Demo || has_riscv_qemu(),
        "QEMU is installed, but `qemu-system-riscv32` is not in PATH"
    );
    if compares {
        let found = node_version().context("Node.js is installed, but `node` is not in PATH")?;
        ensure!(
            found >= NODE,
            "`node` is version {found}: WebAssembly is run by {NODE} or newer, from https://nodejs.org"
        );
    }

    let toolchain = found.unwrap_or(Toolchain::Debian);
    match toolchain {
        Toolchain::Rustup => println!("microcontroller targets: rustup's"),
        Toolchain::Debian => println!("microcontroller targets: Debian's rustc, core from source"),
    }
    let version = output(command("qemu-system-arm").arg("--version"));
    let version = version.context("qemu-system-arm is installed, but not in PATH")?;
    println!("emulator: {}", version.lines().next().unwrap_or_default());
    Ok(toolchain)
}

/// Makes sure of rustfmt and clippy, which rustup's minimal profile leaves out.
fn ensure_components() -> Result<()> {
    let lacks = |tool: &str| output(command("cargo").args([tool, "--version"])).is_none();
    if !lacks("fmt") && !lacks("clippy") {
        return Ok(());
    }
    let mut rustup = command("rustup");
    rustup.args(["component", "add", "rustfmt", "clippy"]);
    run_within(&mut rustup, RUSTUP_LIMIT)
        .context("`cargo fmt` and `cargo clippy` are needed: install rustfmt and clippy")
}

/// The major version of the Node.js that is there.
fn node_version() -> Option<u32> {
    major(&output(command("node").arg("--version"))?)
}

/// 20 of `v20.18.1`.
fn major(version: &str) -> Option<u32> {
    let digits = version.trim().trim_start_matches('v');
    digits.split('.').next()?.parse().ok()
}

/// Whether Debian's compiler, which may be of an older release than the one
/// that these packages came with, is one that firmware promises to build with.
fn debian_rust_suffices() -> bool {
    let version = output(command("/usr/bin/rustc").arg("--version"));
    version.is_some_and(|version| suffices(&version, RUST))
}

/// Whether `rustc 1.96.0 (...)` is at least 1.95.
fn suffices(version: &str, least: &str) -> bool {
    let release = version.split_whitespace().nth(1).unwrap_or_default();
    let numbers = |text: &str| -> Vec<u32> {
        let mut parts = text.split('.').map_while(|part| part.parse().ok());
        parts.by_ref().take(2).collect()
    };
    numbers(release) >= numbers(least)
}

/// Asks rustup for the missing targets.
fn add_targets(targets: &[&str]) -> Option<Toolchain> {
    let missing = missing_targets(targets)?;
    println!(
        "rustup lacks {}: asking it, for {} at most",
        missing.join(", "),
        duration(RUSTUP_LIMIT)
    );
    let mut rustup = command("rustup");
    rustup.args(["target", "add"]).args(missing);
    match run_within(&mut rustup, RUSTUP_LIMIT) {
        Ok(()) => Some(Toolchain::Rustup),
        Err(error) => {
            println!("{error}: taking Debian's packages instead");
            None
        }
    }
}

/// Those of `targets` that rustup lacks; `None` where there is no rustup.
fn missing_targets<'t>(targets: &[&'t str]) -> Option<Vec<&'t str>> {
    let installed = output(command("rustup").args(["target", "list", "--installed"]))?;
    let mut missing = targets.to_vec();
    missing.retain(|target| !installed.lines().any(|line| line == *target));
    Some(missing)
}

/// Those of `packages` that dpkg lacks; `None` where there is no dpkg.
fn missing_packages<'p>(packages: &[&'p str]) -> Option<Vec<&'p str>> {
    output(command("dpkg").arg("--version"))?;
    let mut missing = packages.to_vec();
    missing.retain(|package| {
        let status = output(command("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]));
        status.as_deref() != Some("installed")
    });
    Some(missing)
}

/// Whether the emulator is there.
#[must_use]
pub fn has_qemu() -> bool {
    output(command("qemu-system-arm").arg("--version")).is_some()
}

/// Whether the emulator for RISC-V is there.
#[must_use]
pub fn has_riscv_qemu() -> bool {
    output(command("qemu-system-riscv32").arg("--version")).is_some()
}

/// Whether the interpreter is there that runs the decoder in `tests/decoder`.
fn has_python() -> bool {
    output(command("python3").arg("--version")).is_some()
}

/// Whether some Vulkan driver is there, of a GPU or in software.
fn has_vulkan() -> bool {
    let drivers = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    !cfg!(target_os = "linux")
        || drivers
            .iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .any(|mut entries| entries.next().is_some())
}

/// Installs what is missing of some Debian packages.
///
/// # Errors
/// Where that is not possible; the message says what a person can do.
pub fn install(wanted: &[&str]) -> Result<()> {
    let mut missing = missing_packages(wanted).unwrap_or_else(|| wanted.to_vec());
    // apt brings those that are too old up to date, where it is asked.
    if wanted.contains(&DEBIAN_RUST[0]) && !debian_rust_suffices() {
        missing.retain(|package| !DEBIAN_RUST.contains(package));
        missing.extend(DEBIAN_RUST);
    }
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing packages: {}", missing.join(" "));
    let root = output(command("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(by_hand(&missing, "this is no Debian system"));
    }
    if !root {
        bail!(by_hand(&missing, "only root can install them"));
    }
    let apt_get = |arguments: &[&str]| {
        let mut apt_get = command("apt-get");
        apt_get
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments);
        apt_get
    };
    // Lists of an earlier update may do.
    if let Err(error) = run(&mut apt_get(&["update", "-q"])) {
        println!("{error}");
    }
    let arguments = ["install", "-q", "-y", "--no-install-recommends"];
    match run(apt_get(&arguments).args(&missing)) {
        Ok(()) => Ok(()),
        Err(error) => bail!(by_hand(&missing, &error.to_string())),
    }
}

/// What a person can do about missing packages.
fn by_hand(missing: &[&str], reason: &str) -> String {
    let list = missing.join(" ");
    let mut text = format!(
        "these Debian packages are missing and could not be installed ({reason}):\n  {list}\n\
         On Debian or Ubuntu:\n  \
         sudo apt-get update && sudo apt-get install --no-install-recommends {list}"
    );
    if missing.contains(&DEBIAN_RUST[0]) {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\nWith rustup, this stands in for the Rust packages and lld:\n  \
             rustup target add {CORTEX_M4} {} {}",
            OTHER_TARGETS.join(" "),
            COMPARED_TARGETS.join(" ")
        );
    }
    let programs = [
        ("qemu-system-arm", "qemu-system-arm"),
        (QEMU_RISCV, QEMU_RISCV),
        ("nodejs", "node"),
    ];
    for (package, program) in programs.iter().filter(|(p, _)| missing.contains(p)) {
        let name = match *package {
            "nodejs" => "Node.js",
            _ => "QEMU",
        };
        // As above.
        let _ = write!(
            text,
            "\nElsewhere, install {name} so that `{program}` is in PATH."
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_command_to_type() {
        let text = by_hand(&["lld-22", "qemu-system-arm"], "only root can install them");
        assert!(text.contains("install --no-install-recommends lld-22 qemu-system-arm"));
        assert!(!text.contains("rustup"));
        assert!(by_hand(&DEBIAN_RUST, "").contains("rustup target add thumbv7em-none-eabihf"));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(suffices("rustc 1.96.0 (ac68faa20 2026-05-25)", "1.95"));
        assert!(suffices("rustc 1.95.0", "1.95") && suffices("rustc 2.0.0", "1.95"));
        assert!(suffices("rustc 1.100.0-nightly (a b)", "1.95"));
        assert!(!suffices("rustc 1.85.0 (4d91de4e4 2025-02-17)", "1.95"));
        assert!(!suffices("", "1.95") && !suffices("rustc", "1.95"));
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("v8.10.0"), Some(8));
        assert_eq!(major("none"), None);
    }

    #[test]
    fn debian_builds_core_from_source_with_its_own_compiler() {
        let cargo = Toolchain::Debian.cargo("build", &[CORTEX_M4]);
        let line = crate::shell::line(&cargo);
        assert!(line.contains("RUSTC=/usr/bin/rustc"), "{line}");
        assert!(
            line.ends_with("/usr/bin/cargo build -Zbuild-std=core --target thumbv7em-none-eabihf"),
            "{line}"
        );
    }
}
