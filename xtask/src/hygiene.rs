//! `cargo xtask hygiene`: what we depend on, and what others depend on of us.
//!
//! - Every workspace has a lock file that is up to date.
//! - Modules import each other in one direction ([`imports`]).
//! - Links in documents, and the files that they name, exist ([`links`]).
//! - `cargo deny`: licences, duplicates and sources by `deny.toml` and
//!   `deny-embedded.toml`; known vulnerabilities by RustSec's database.
//! - The Rust version that the manifests promise is the one that checks this.
//! - `cargo hack`: `core` builds with each of its features and without.
//! - `cargo semver-checks`: `core` keeps what its last release promised.
//!
//! What cannot be checked here is said at once and again in the end, and is
//! part of what [`run`] returns. Programs are built once, into `target/tools`.

use crate::root;
use crate::setup::{CORTEX_M4, Toolchain};
use crate::shell::{command, heading, output, quiet, run as run_command, run_within};
use crate::{imports, links};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A program from crates.io.
#[derive(Clone, Copy, Debug)]
struct Tool {
    /// Of the crate and of the program.
    name: &'static str,
    version: &'static str,
}

const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
};
const HACK: Tool = Tool {
    name: "cargo-hack",
    version: "0.6.46",
};
const SEMVER: Tool = Tool {
    name: "cargo-semver-checks",
    version: "0.51.0",
};

/// Workspaces whose crates end up in flash.
const EMBEDDED: [&str; 3] = ["firmware", "firmware/untrusted", "bench"];
/// Crates whose modules must not import each other in cycles.
pub const ONE_WAY: [&str; 3] = ["core", "slots", "host-train"];
/// Where RustSec keeps its database.
const ADVISORIES: &str = "https://github.com/rustsec/advisory-db";
/// Patience with a server that may not be reachable.
const LIMIT: Duration = Duration::from_secs(30);

/// Checks everything; returns what could not be checked, and why.
///
/// # Errors
/// The first thing that does not hold, or a program that cannot be installed.
pub fn run() -> Result<Vec<String>> {
    let mut unchecked = Vec::new();
    heading("lock files and the Rust version");
    let workspaces = workspaces()?;
    locked(&workspaces)?;
    unchecked.extend(rust_version(&workspaces)?);

    heading("imports go one way");
    for name in ONE_WAY {
        imports::check(&root().join(name).join("src/lib.rs"))?;
    }

    heading("links in documents");
    links::check(root())?;

    heading("licences, duplicates, sources");
    let deny = DENY.installed()?;
    for workspace in &workspaces {
        run_command(&mut cargo_deny(
            &deny,
            workspace,
            &["licenses", "bans", "sources"],
        ))?;
    }
    heading("advisories");
    let mut look = command("git");
    look.args(["ls-remote", "--quiet", ADVISORIES, "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0");
    match run_within(&mut look, LIMIT) {
        Ok(()) => {
            for workspace in &workspaces {
                run_command(&mut cargo_deny(&deny, workspace, &["advisories"]))?;
            }
        }
        Err(error) => unchecked.push(format!(
            "known vulnerabilities: RustSec's database cannot be fetched here ({error}). \
             Where it can: cargo xtask hygiene"
        )),
    }

    heading("features of core");
    let hack = HACK.installed()?;
    // Without `--no-dev-deps`, which rewrites the manifest for a while: this
    // resolver keeps the features of dev-dependencies out of a check anyway.
    run_command(
        command(&hack.display().to_string())
            .args([
                "hack",
                "check",
                "--feature-powerset",
                "--package",
                "tiny-ddpm",
            ])
            .arg("--locked")
            .current_dir(root()),
    )?;

    heading("the public API of core");
    unchecked.extend(public_api()?);
    for what in &unchecked {
        println!("NOT CHECKED: {what}");
    }
    Ok(unchecked)
}

impl Tool {
    /// Where the program is, built if it was not.
    fn installed(self) -> Result<PathBuf> {
        let folder = root().join("target/tools");
        let program = folder.join("bin").join(self.name);
        // Cargo's subcommands are told their own name first.
        let subcommand = self.name.trim_start_matches("cargo-");
        let mut ask = command(&program.display().to_string());
        let found = output(ask.args([subcommand, "--version"]));
        let same = |text: String| text.split_whitespace().any(|word| word == self.version);
        if !found.is_some_and(same) {
            println!(
                "{} {} is not there: building it once",
                self.name, self.version
            );
            run_command(
                command("cargo")
                    .args(["install", "--locked", "--force", self.name])
                    .args(["--version", self.version])
                    // Runs for seconds; optimised it would build for minutes.
                    .arg("--debug")
                    .env("CARGO_PROFILE_DEV_DEBUG", "0")
                    .arg("--root")
                    .arg(&folder)
                    .arg("--target-dir")
                    .arg(folder.join("build"))
                    .current_dir(root()),
            )
            .with_context(|| format!("{} cannot be installed", self.name))?;
        }
        Ok(program)
    }
}

/// `cargo deny check` of a workspace, with what is right for it.
fn cargo_deny(program: &Path, workspace: &str, what: &[&str]) -> Command {
    let embedded = EMBEDDED.contains(&workspace);
    let config = match embedded {
        true => "deny-embedded.toml",
        false => "deny.toml",
    };
    let mut deny = command(&program.display().to_string());
    deny.args(["--locked", "--workspace", "--manifest-path"])
        .arg(root().join(workspace).join("Cargo.toml"))
        .arg("--config")
        .arg(root().join(config))
        .args(["check", "--hide-inclusion-graph"])
        .args(what)
        .current_dir(root());
    deny
}

/// Folders with a workspace, and folders in these, relative to the
/// repository's root, which is `.`.
fn workspaces() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in folders("")? {
        if has_workspace(&name) {
            found.extend(
                folders(&name)?
                    .into_iter()
                    .filter(|name| has_workspace(name)),
            );
            found.push(name);
        }
    }
    found.sort_unstable();
    found.insert(0, ".".to_owned());
    Ok(found)
}

fn folders(parent: &str) -> Result<Vec<String>> {
    let parent = Path::new(parent);
    let path_of = |name| parent.join(name).to_string_lossy().into_owned();
    fs::read_dir(root().join(parent))?
        .map(|entry| Ok(path_of(entry?.file_name())))
        .collect()
}

fn has_workspace(folder: &str) -> bool {
    let manifest = root().join(folder).join("Cargo.toml");
    is_workspace(&fs::read_to_string(manifest).unwrap_or_default())
}

fn is_workspace(manifest: &str) -> bool {
    manifest.lines().any(|line| line.trim() == "[workspace]")
}

/// Every workspace has a lock file, known to git and up to date.
fn locked(workspaces: &[String]) -> Result<()> {
    for workspace in workspaces {
        let folder = root().join(workspace);
        let mut known = command("git");
        known.args(["ls-files", "--error-unmatch", "Cargo.lock"]);
        quiet(known.current_dir(&folder))
            .with_context(|| format!("{workspace}: is Cargo.lock under version control?"))?;
        let mut tree = command("cargo");
        tree.args(["tree", "--locked", "--quiet", "--depth", "0"]);
        quiet(tree.current_dir(&folder)).with_context(|| {
            format!(
                "{workspace}: is Cargo.lock up to date? If not, run `cargo check` there, and commit it"
            )
        })?;
    }
    println!("up to date: Cargo.lock of {}", workspaces.join(", "));
    Ok(())
}

/// All manifests promise one Rust version, and this is it; or why that does
/// not show.
fn rust_version(workspaces: &[String]) -> Result<Option<String>> {
    let mut promised = Vec::new();
    for workspace in workspaces {
        let manifest = root().join(workspace).join("Cargo.toml");
        let text = fs::read_to_string(manifest)?;
        let version = promised_version(&text);
        let version = version.with_context(|| format!("{workspace}: no rust-version"))?;
        promised.push(version.to_owned());
    }
    let first = promised.first().context("no workspace")?;
    ensure!(
        promised.iter().all(|version| version == first),
        "the workspaces promise different Rust versions: {promised:?}"
    );
    let version = output(command("rustc").arg("--version").current_dir(root()));
    let version = version.context("no rustc")?;
    let found = version.split_whitespace().nth(1).unwrap_or_default();
    // Debian's compiler for microcontrollers is one of its own.
    let rustup = Toolchain::find(&[CORTEX_M4]) == Some(Toolchain::Rustup);
    if is_of(found, first) && rustup {
        println!("rust-version {first} is what this runs with: every build is a check of it");
        return Ok(None);
    }
    if is_of(found, first) {
        return Ok(Some(format!(
            "that Rust {first} suffices for microcontrollers: here Debian's compiler builds for them. \
             Where there is rustup: rustup target add {CORTEX_M4}"
        )));
    }
    Ok(Some(format!(
        "that Rust {first} suffices: this is {found}. Where there is rustup: \
         cargo +{first} xtask test. (Of the standard library, clippy's incompatible_msrv \
         knows what is newer.)"
    )))
}

/// The `rust-version` of a manifest.
fn promised_version(manifest: &str) -> Option<&str> {
    manifest.lines().find_map(|line| {
        let value = line.strip_prefix("rust-version")?.trim_start();
        Some(value.strip_prefix('=')?.trim().trim_matches('"'))
    })
}

/// Whether release `found` is one of `version`: 1.95.0 is one of 1.95.
fn is_of(found: &str, version: &str) -> bool {
    let rest = found.strip_prefix(version);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Compares `core` with its last release; what is not compared.
fn public_api() -> Result<Option<String>> {
    let mut tags = command("git");
    tags.args(["tag", "--list", "v*", "--sort=-version:refname"]);
    let tags = output(tags.current_dir(root())).context("git cannot list tags")?;
    let Some(last) = tags.lines().next() else {
        return Ok(Some(
            "the public API: there is no release yet, no tag v*, to compare with".to_owned(),
        ));
    };
    let semver = SEMVER.installed()?;
    run_command(
        command(&semver.display().to_string())
            .args([
                "semver-checks",
                "--package",
                "tiny-ddpm",
                "--baseline-rev",
                last,
            ])
            .current_dir(root()),
    )?;
    Ok(None)
}

/// The command of its own: what is not checked is no failure here.
///
/// # Errors
/// As [`run`].
pub fn run_alone() -> Result<()> {
    let unchecked = run()?;
    if unchecked.is_empty() {
        println!("all is in order");
    } else {
        println!("the rest is in order");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspaces_are_found_by_their_manifests() {
        assert!(is_workspace("[package]\n\n[workspace]\nmembers = []\n"));
        assert!(!is_workspace("[package]\n[lints]\nworkspace = true\n"));
        let found = workspaces().unwrap();
        for name in [".", "firmware", "firmware/untrusted", "bench"] {
            assert!(found.iter().any(|workspace| workspace == name), "{found:?}");
        }
    }

    #[test]
    fn a_promised_version_is_compared_by_whole_numbers() {
        assert_eq!(
            promised_version("x = 1\nrust-version = \"1.95\"\n"),
            Some("1.95")
        );
        assert_eq!(promised_version("rust-version.workspace = true"), None);
        assert!(is_of("1.95.0", "1.95"));
        assert!(!is_of("1.96.0", "1.95"));
        assert!(!is_of("1.9.0", "1.95"));
        assert!(!is_of("1.950.0", "1.95"));
    }
}
