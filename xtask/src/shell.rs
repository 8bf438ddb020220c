//! Running programs in plain sight: every command line is shown before it
//! runs, and what it prints is passed on.

// The tool's own, without its dependencies.
#[path = "../../host-train/src/duration.rs"]
mod duration;

use anyhow::{Context, Result, bail};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use duration::duration;

/// Announces what comes next.
pub fn heading(text: &str) {
    println!("\n== {text}");
}

/// A command free of what `cargo xtask` itself was started with: variables
/// that cargo sets for the programs it runs, and those that pick a compiler.
#[must_use]
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let of_cargo_run = name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || name.starts_with("CARGO_BIN_")
            || name == "CARGO_CRATE_NAME"
            || name == "CARGO_PRIMARY_PACKAGE";
        let of_rustup = matches!(&*name, "CARGO" | "RUST_RECURSION_COUNT" | "LD_LIBRARY_PATH");
        if of_cargo_run || of_rustup {
            command.env_remove(&*name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end; a failure is an error.
///
/// # Errors
/// If it does not start or does not succeed.
pub fn run(command: &mut Command) -> Result<()> {
    show(command);
    let status = command.status().with_context(|| not_started(command))?;
    succeeded(command, status)
}

/// Like [`run`], but kills the command after `limit`.
///
/// # Errors
/// If it does not start, does not succeed, or takes too long.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    show(command);
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| not_started(command))?;
    loop {
        if let Some(status) = child.try_wait()? {
            return succeeded(command, status);
        }
        if start.elapsed() > limit {
            // It may have ended by itself in the meantime.
            let _ = child.kill();
            child.wait()?;
            bail!("`{}` took more than {limit:?}", line(command));
        }
        sleep(Duration::from_millis(50));
    }
}

/// What a command prints, if it succeeds; neither is shown.
#[must_use]
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

/// Runs a command without showing it or what it prints, unless it fails.
///
/// # Errors
/// If it does not start or does not succeed: with what it said.
pub fn quiet(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| not_started(command))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = || format!("`{}` says: {}", line(command), said.trim());
    succeeded(command, output.status).with_context(said)
}

/// A command as a person would type it.
#[must_use]
pub fn line(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.display(), value?.display())));
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| match word.to_string_lossy() {
            word if word.contains(char::is_whitespace) => format!("'{word}'"),
            word => word.into_owned(),
        });
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn show(command: &Command) {
    match command.get_current_dir() {
        Some(folder) => println!("$ (cd {} && {})", near(folder), line(command)),
        None => println!("$ {}", line(command)),
    }
}

/// A path inside the repository, relative to its root.
fn near(path: &std::path::Path) -> String {
    path.strip_prefix(crate::root())
        .map(|path| path.display().to_string())
        .ok()
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| path.display().to_string())
}

fn not_started(command: &Command) -> String {
    format!("{} could not be started", command.get_program().display())
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}
