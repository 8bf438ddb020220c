//! `cargo xtask package`: what crates.io would get of each crate, packed,
//! unpacked elsewhere and checked there.

use crate::root;
use crate::shell::{command, heading, run};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// A crate that others may use without the repository.
struct Crate {
    name: &'static str,
    /// What to check it with.
    features: &'static [&'static str],
    /// Those below that it needs, which crates.io may not have in this version.
    needs: &'static [&'static str],
}

const CORE: &str = "tiny-ddpm";
const SLOTS: &str = "tiny-ddpm-slots";

const CRATES: [Crate; 3] = [
    Crate {
        name: CORE,
        features: &[],
        needs: &[],
    },
    Crate {
        name: SLOTS,
        features: &["--features", "ed25519"],
        needs: &[],
    },
    // Without Burn, which `cargo xtask test` builds elsewhere.
    Crate {
        name: "tiny-ddpm-train",
        features: &["--no-default-features"],
        needs: &[CORE, SLOTS],
    },
];

/// What every package has for people who have only it.
const FOR_PEOPLE: [&str; 3] = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Packs, unpacks and checks each crate.
///
/// # Errors
/// The first that cannot be packed, lacks a file or does not compile.
pub fn run_all() -> Result<()> {
    // Not below the repository, whose workspace it would be taken for.
    let elsewhere = tempfile::tempdir()?;
    heading("packing");
    let target = root().join("target/package-check");
    let mut pack = command("cargo");
    // Each is built below; what is not committed is packed, too.
    pack.args(["package", "--locked", "--no-verify", "--allow-dirty"]);
    for package in &CRATES {
        pack.args(["--package", package.name]);
    }
    run(pack.arg("--target-dir").arg(&target).current_dir(root()))?;

    let version = env!("CARGO_PKG_VERSION");
    let unpacked = |name: &str| elsewhere.path().join(format!("{name}-{version}"));
    for package in &CRATES {
        heading(package.name);
        let folder = unpacked(package.name);
        let archive = target.join(format!("package/{}-{version}.crate", package.name));
        run(command("tar")
            .arg("-xzf")
            .arg(&archive)
            .arg("-C")
            .arg(elsewhere.path()))?;
        for name in FOR_PEOPLE {
            let size = fs::metadata(folder.join(name)).map_or(0, |file| file.len());
            ensure!(size > 0, "{} has no {name}", archive.display());
        }
        let mut check = command("cargo");
        check
            // With what clippy left of their dependencies in `cargo xtask test`.
            .args(["check", "--release", "--all-targets"])
            .args(package.features)
            .arg("--target-dir")
            .arg(root().join("target"))
            .current_dir(&folder);
        for name in package.needs {
            check.arg("--config").arg(patch(name, &unpacked(name))?);
        }
        run(&mut check)?;
    }
    Ok(())
}

/// Has cargo take a crate from a folder instead of crates.io.
fn patch(name: &str, folder: &Path) -> Result<String> {
    let folder: PathBuf = folder.canonicalize()?;
    let folder = folder
        .to_str()
        .context("the temporary folder's name is no UTF-8")?;
    // A literal string of TOML.
    Ok(format!("patch.crates-io.{name}.path='{folder}'"))
}
