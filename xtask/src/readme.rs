//! `cargo xtask readme`: runs the commands of `README.md` as printed, top to
//! bottom.
//!
//! Commands are the lines of its `console` blocks. What this machine lacks, or
//! what would take hours, is changed by the rows of `changes` alone: each row
//! must fit exactly one printed command, so a row that has lost its command
//! fails. Beside that,
//!
//! - the tool runs in a scratch folder, where the repository's folders have
//!   their names, so that nothing of the user's is overwritten and nothing of
//!   theirs is used; cargo runs in the repository;
//! - firmware for a board is built and not flashed: the runner is `true`;
//! - MNIST is a few hundred of its pictures, in the cache of downloads.

use crate::field::{self, Emulated, Line};
use crate::request::{Request, load, read_blob};
use crate::setup::{self, Purpose, Toolchain};
use crate::shell::{self, command, duration, heading, run_within};
use crate::{DIGITS, root, stages};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const README: &str = "README.md";

/// No command may take longer: one that waits for ever fails.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Which commands to run.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Run only commands that contain this text; those before, whose files they
    /// may need, are left out
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// List the commands as they would run
    #[arg(long)]
    list: bool,
}

/// Runs the commands.
///
/// # Errors
/// The first that fails, with its line in the README; or a README that does
/// not fit the table of changes.
pub fn run(options: &Options) -> Result<()> {
    let commands = readme()?;
    let wanted = |command: &&Printed| match &options.only {
        Some(text) => command.text.contains(text),
        None => true,
    };
    let wanted: Vec<&Printed> = commands.iter().filter(wanted).collect();
    ensure!(
        !wanted.is_empty(),
        "no command of {README} contains that text"
    );
    if options.list {
        for command in wanted {
            println!("{README}:{}: {}", command.line, command.run);
        }
        return Ok(());
    }
    heading("set-up");
    run_commands(setup::ensure(Purpose::Demo)?, &wanted)
}

/// Runs all commands, as a part of `cargo xtask test`.
///
/// # Errors
/// As [`run`].
pub fn stage(toolchain: Toolchain) -> Result<()> {
    let commands = readme()?;
    run_commands(toolchain, &commands.iter().collect::<Vec<_>>())
}

fn readme() -> Result<Vec<Printed>> {
    let text = fs::read_to_string(root().join(README)).context(README)?;
    let mut commands = commands(&text)?;
    change(&mut commands, &changes())?;
    Ok(commands)
}

/// A command of the README.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Printed {
    /// Its line in the README, from 1.
    line: usize,
    /// As printed, without a comment behind it.
    text: String,
    /// As it is run here.
    run: String,
    /// Why that differs.
    why: Option<&'static str>,
}

/// The commands of a Markdown text: the lines of its `console` blocks.
///
/// # Errors
/// If a block is of no known language, so that none hides a command, or has no
/// end.
fn commands(markdown: &str) -> Result<Vec<Printed>> {
    let mut commands: Vec<Printed> = Vec::new();
    // The language of the block that a line is in; and a command that goes on.
    let (mut block, mut open) = (None, false);
    for (index, raw) in markdown.lines().enumerate() {
        let line = index + 1;
        if let Some(language) = raw.trim_start().strip_prefix("```") {
            ensure!(!open, "{README}:{line}: the command before does not end");
            block = match (block, language.trim()) {
                (Some(_), "") => None,
                (None, known @ ("console" | "rust")) => Some(known),
                (_, other) => {
                    bail!(
                        "{README}:{line}: a block of \"{other}\": only console and rust are known"
                    )
                }
            };
            continue;
        }
        if block != Some("console") {
            continue;
        }
        let text = raw.split(" #").next().unwrap_or_default().trim();
        let (text, goes_on) = match text.strip_suffix('\\') {
            Some(text) => (text.trim_end(), true),
            None => (text, false),
        };
        match commands.last_mut() {
            Some(last) if open => {
                last.text += " ";
                last.text += text;
            }
            _ if text.is_empty() || text.starts_with('#') => {}
            _ => commands.push(Printed {
                line,
                text: text.to_owned(),
                run: String::new(),
                why: None,
            }),
        }
        open = goes_on;
    }
    ensure!(block.is_none(), "{README}: the last block has no end");
    for command in &mut commands {
        command.run.clone_from(&command.text);
    }
    Ok(commands)
}

/// What a command has here in the place of what is printed.
struct Change {
    /// The whole command, as printed.
    command: &'static str,
    /// The part that is replaced; it occurs once.
    part: &'static str,
    /// What stands for it. The shell knows `$SCRATCH`, the folder where the
    /// tool runs, and `$PORT`, an emulated board's serial line.
    by: String,
    why: &'static str,
}

/// All that differs from the README.
fn changes() -> Vec<Change> {
    const SHORT: &str = "training takes minutes to hours";
    let row = |command, part, by: &str, why| Change {
        command,
        part,
        by: by.to_owned(),
        why,
    };
    vec![
        row(
            "cargo xtask test",
            "test",
            "test --help",
            "these commands are a part of it",
        ),
        row(
            "cargo xtask demo --blob models/swiss-roll.tddpm",
            "models/swiss-roll.tddpm",
            "models/swiss-roll.tddpm --count 40",
            "200 points take a minute",
        ),
        Change {
            command: "cargo build --release -p tiny-ddpm-train --features wgpu",
            part: "cargo build --release -p tiny-ddpm-train --features wgpu",
            by: shell::line(stages::all_crates_command().arg("--no-run")),
            why: "the same program, as the tests of all crates have built it",
        },
        row(
            "target/release/tiny-ddpm train --preset digits --backend wgpu --out runs/mine",
            "--backend wgpu --out runs/mine",
            "--out runs/mine --steps 2 --batch 4",
            "training takes hours, and a GPU in software minutes to compile its shaders; the tests of all crates compare wgpu with flex",
        ),
        row(
            "target/release/tiny-ddpm train --from runs/mine --qat 4 --out runs/mine-4bit",
            "--qat 4",
            "--qat 4 --steps 2 --batch 4",
            SHORT,
        ),
        row(
            "target/release/tiny-ddpm train --preset swiss-roll --out runs/roll",
            "--out runs/roll",
            "--out runs/roll --steps 200",
            SHORT,
        ),
        row(
            "target/release/tiny-ddpm evaluate runs/roll",
            "runs/roll",
            "runs/roll --count 1000",
            "10,000 points by every sampler take a minute",
        ),
        row(
            "target/release/tiny-ddpm evaluate mine.tddpm --against runs/mine --steps 50,20,10,5",
            "--steps 50,20,10,5",
            "--steps 50,20,10,5 --count 20 --bound-pictures 1",
            "10,000 pictures take long",
        ),
        row(
            "(cd firmware && TINY_DDPM_KEY=../weights.pub cargo run --release --bin tiny-ddpm-field --no-default-features --features rtt,field)",
            "../weights.pub",
            "\"$SCRATCH/weights.pub\"",
            "the key lies in the scratch folder",
        ),
        row(
            "target/release/tiny-ddpm send models/fashion.tddpm --port /dev/ttyACM0 --key weights.key",
            "/dev/ttyACM0",
            "\"$PORT\"",
            "the board is an emulated one",
        ),
    ]
}

/// Applies the changes.
///
/// # Errors
/// If one does not fit exactly one command.
fn change(commands: &mut [Printed], changes: &[Change]) -> Result<()> {
    for change in changes {
        let mut fitting = commands
            .iter_mut()
            .filter(|command| command.text == change.command);
        let (Some(found), None) = (fitting.next(), fitting.next()) else {
            bail!(
                "`{}` is in xtask/src/readme.rs, and not once in {README}: change one of the two",
                change.command
            );
        };
        ensure!(
            found.run.matches(change.part).count() == 1 && found.why.is_none(),
            "\"{}\" is not once in `{}`, or that is changed already: see xtask/src/readme.rs",
            change.part,
            change.command
        );
        found.run = found.run.replace(change.part, &change.by);
        found.why = Some(change.why);
    }
    Ok(())
}

fn run_commands(toolchain: Toolchain, commands: &[&Printed]) -> Result<()> {
    let scratch = Scratch::new()?;
    let mut board = None;
    let mut report = String::new();
    for printed in commands {
        let Printed {
            line,
            text,
            run,
            why,
        } = printed;
        heading(&format!("{README}:{line}: {text}"));
        if let Some(why) = why {
            println!("here `{run}`: {why}");
        }
        let start = Instant::now();
        if run.contains("$PORT") && board.is_none() {
            board = Some(scratch.board(toolchain)?);
        }
        let mut shell = scratch.shell(toolchain, run);
        if let Some(board) = &board {
            shell.env("PORT", board.line());
        }
        if let Err(error) = run_within(&mut shell, LIMIT) {
            println!("{error}");
            bail!("{README}:{line}: `{text}` failed, run as `{run}`");
        }
        let elapsed = duration(start.elapsed());
        println!("-- {elapsed}");
        // Writing to a string cannot fail.
        let _ = writeln!(report, "{elapsed:>12}  {README}:{line}: {text}");
    }
    println!("\n{report}");
    Ok(())
}

/// Where the tool runs, with what it needs.
struct Scratch {
    folder: TempDir,
}

impl Scratch {
    fn new() -> Result<Self> {
        let scratch = Self {
            folder: tempfile::tempdir()?,
        };
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
        symlink(root().join(target), scratch.path().join("target"))?;
        for name in ["models", "host-train"] {
            symlink(root().join(name), scratch.path().join(name))?;
        }
        let cache = scratch.path().join("cache/tiny-ddpm/mnist");
        fs::create_dir_all(&cache)?;
        for subset in ["mnist-subset", "mnist-subset-test"] {
            let subset = root().join("host-train/tests/data").join(subset);
            for file in fs::read_dir(&subset).with_context(|| subset.display().to_string())? {
                let file = file?;
                if file.path().extension().is_some_and(|name| name == "gz") {
                    symlink(file.path(), cache.join(file.file_name()))?;
                }
            }
        }
        Ok(scratch)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A shell that runs a command where it belongs.
    fn shell(&self, toolchain: Toolchain, run: &str) -> Command {
        let of_cargo = run.contains("cargo ");
        let mut script = String::new();
        if of_cargo && run.contains("cd firmware") {
            script = cargo_function(toolchain);
        }
        let mut shell = command("sh");
        shell
            .arg("-c")
            .arg(script + run)
            .current_dir(if of_cargo { root() } else { self.path() })
            .env("SCRATCH", self.path())
            .env("CARGO_TARGET_THUMBV7EM_NONE_EABIHF_RUNNER", "true");
        if of_cargo {
            // Firmware's are not those of the host.
            shell.env_remove("CARGO_BUILD_TARGET");
        } else {
            shell.env("XDG_CACHE_HOME", self.path().join("cache"));
        }
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            // Mesa's software Vulkan wants a folder of its own.
            shell.env("XDG_RUNTIME_DIR", self.path());
        }
        shell
    }

    /// An emulated board that takes weights which the scratch folder's key has
    /// signed.
    fn board(&self, toolchain: Toolchain) -> Result<Emulated> {
        let digits = root().join(DIGITS);
        let key = self.path().join("weights.pub");
        let firmware = field::build(toolchain, &digits, &key)?;
        let blob = read_blob(&digits)?;
        let request = Request::recommended(&load(&digits, &blob)?);
        Emulated::start(&firmware, &request, Line::Terminal)
    }
}

/// Where firmware is built by another cargo than the user's, the shell takes
/// that one for `cargo`.
fn cargo_function(toolchain: Toolchain) -> String {
    match toolchain {
        Toolchain::Rustup => String::new(),
        Toolchain::Debian => {
            let cargo = toolchain.cargo("$subcommand", &[]);
            let mut function = "cargo() { subcommand=$1; shift; env".to_owned();
            for (name, value) in cargo.get_envs() {
                // Writing to a string cannot fail.
                let _ = match value {
                    Some(value) => write!(function, " {}={}", name.display(), value.display()),
                    None => write!(function, " -u {}", name.display()),
                };
            }
            let words = std::iter::once(cargo.get_program()).chain(cargo.get_args());
            for word in words {
                let _ = write!(function, " {}", word.display());
            }
            function + " \"$@\"; }; "
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(markdown: &str) -> Vec<(usize, String)> {
        let commands = commands(markdown).unwrap();
        commands
            .into_iter()
            .map(|command| (command.line, command.text))
            .collect()
    }

    fn row(command: &'static str, part: &'static str, by: &str) -> Change {
        Change {
            command,
            part,
            by: by.to_owned(),
            why: "a test",
        }
    }

    #[test]
    fn the_readme_and_the_changes_fit() {
        let commands = readme().unwrap();
        let changed = commands.iter().filter(|command| command.why.is_some());
        assert_eq!(changed.count(), changes().len());
        assert!(commands.len() > 15, "{commands:?}");
    }

    #[test]
    fn commands_are_the_lines_of_console_blocks() {
        let markdown = "a\n```console\n# words\none --flag   # first\n\ntwo \\\n    --more\n```\n\
                        `no`\n```rust\nlet three = 3;\n```\n```console\nfour\n```\n";
        let expected = [(4, "one --flag"), (6, "two --more"), (14, "four")];
        assert_eq!(
            texts(markdown),
            expected.map(|(line, text)| (line, text.to_owned()))
        );
    }

    #[test]
    fn no_block_hides_a_command() {
        for (markdown, found) in [
            ("```\nrm\n```\n", "README.md:1: a block of \"\""),
            ("```sh\nrm\n```\n", "a block of \"sh\""),
            ("```console\nrm\n", "no end"),
            ("```console\nrm \\\n```\n", "does not end"),
        ] {
            let error = commands(markdown).unwrap_err().to_string();
            assert!(error.contains(found), "{error}");
        }
    }

    #[test]
    fn a_change_fits_exactly_one_command() {
        let block = |lines: &str| commands(&format!("```console\n{lines}\n```\n")).unwrap();
        let mut once = block("train 1\ntrain 2");
        change(&mut once, &[row("train 1", "1", "1 --steps 2")]).unwrap();
        assert_eq!(once[0].run, "train 1 --steps 2");
        assert_eq!((&*once[1].run, once[1].why), ("train 2", None));

        // Gone, printed twice, a part that is not there, a second change.
        let twice = [row("train 1", "1", "2"), row("train 1", "1", "3")];
        for (lines, changes) in [
            ("train 2", &twice[..1]),
            ("train 1\ntrain 1", &twice[..1]),
            ("train 1", &[row("train 1", "x", "y")]),
            ("train 1", &twice),
        ] {
            assert!(change(&mut block(lines), changes).is_err(), "{lines}");
        }
    }

    #[test]
    fn a_failure_names_its_line() {
        let printed = Printed {
            line: 7,
            text: "false --now".to_owned(),
            run: "false".to_owned(),
            why: None,
        };
        let error = run_commands(Toolchain::Rustup, &[&printed]).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("README.md:7: `false --now` failed"),
            "{error}"
        );
    }

    #[test]
    fn debian_s_cargo_stands_for_cargo() {
        let function = cargo_function(Toolchain::Debian);
        assert!(
            function.contains("RUSTC=/usr/bin/rustc")
                && function.ends_with("/usr/bin/cargo $subcommand -Zbuild-std=core \"$@\"; }; "),
            "{function}"
        );
    }
}
