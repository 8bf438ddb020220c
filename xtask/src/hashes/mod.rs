//! `cargo xtask hashes`: one seed and one blob give the same bits on every
//! target, and here is the table.
//!
//! Each target samples with every model on its own: the program in
//! `bench/hashes`, built for it, with the model in its flash. On this computer
//! the same cases run in this process.

pub mod target;

#[path = "../../../bench/hashes/src/cases.rs"]
pub mod cases;

use crate::bench::Values;
use crate::random;
use crate::request::read_blob;
use crate::setup::{self, Purpose, Toolchain};
use crate::shell::{duration, heading};
use crate::{DIGITS, NANO, SWISS_ROLL, root};
use anyhow::{Context, Result, anyhow, bail, ensure};
use cases::Outcome;
use clap::Args;
use std::fmt::Write as _;
use std::time::Instant;
use target::Target;
use tiny_ddpm::picture::picture_hash;
use tiny_ddpm::{Data, Model};

const EXAMPLES: &str = "\
Targets run in QEMU, WebAssembly in Node; what is missing is installed where it
can be. Each hash is the CRC-32 of those of all chains of a column.

Examples:
  cargo xtask hashes
  cargo xtask hashes --target m0,wasm
  cargo xtask hashes --all";

/// What to compare.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Targets, such as m0,wasm; by default all
    #[arg(long, value_delimiter = ',', value_enum)]
    target: Vec<Target>,
    /// Also print the hashes of every chain
    #[arg(long)]
    all: bool,
}

/// A model that every target samples with.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name in the table.
    pub name: &'static str,
    /// The model.
    pub blob: Vec<u8>,
    /// Whether it makes pictures.
    pub pictures: bool,
    /// Whether 16 KiB of RAM and 256 KiB of flash hold it.
    pub small: bool,
}

/// What a target made of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Of each chain.
    Chains(Vec<Outcome>),
    /// Nothing: the model is larger than the target.
    TooLarge,
}

/// A target's row.
#[derive(Clone, Debug)]
pub struct Row {
    /// The target.
    pub title: String,
    /// What ran it.
    pub runs_in: String,
    /// How it multiplies.
    pub engine: String,
    /// Of each subject.
    pub made: Vec<Made>,
}

/// Runs everything, and prints the table.
///
/// # Errors
/// If something is missing or fails, or two targets differ.
pub fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let targets = match &options.target[..] {
        [] => &Target::ALL,
        chosen => chosen,
    };
    heading("set-up");
    setup::ensure(Purpose::Hashes)?;
    let (subjects, rows) = measure(targets)?;
    if options.all {
        print!("{}", chains(&subjects, &rows)?);
    }
    println!("\n{}", table(&subjects, &rows));
    println!("this took {}", duration(start.elapsed()));
    same(&subjects, &rows)
}

/// What is sampled: models with random weights in every packing, and those
/// that ship.
///
/// # Errors
/// If one that ships is not there.
pub fn subjects() -> Result<Vec<Subject>> {
    let small = random::small_topology;
    let random = [
        ("random, portable", random::random_blob(small(), 1)),
        ("random, transformed", random::transformed_blob(small(), 2)),
        ("random, int4", random::int4_blob(small(), 3)),
        (
            "random points",
            random::random_blob(random::point_topology(), 4),
        ),
    ];
    let shipped = [
        ("swiss-roll", SWISS_ROLL),
        ("nano", NANO),
        ("digits", DIGITS),
    ];
    let shipped = shipped.map(|(name, path)| Ok((name, read_blob(&root().join(path))?)));
    random
        .into_iter()
        .map(Ok)
        .chain(shipped)
        .map(|subject: Result<_>| {
            let (name, blob) = subject?;
            let model = Model::load(&blob).map_err(|error| anyhow!("{name}: {error}"))?;
            let pictures = matches!(model.topology().data(), Data::Picture { .. });
            Ok(Subject {
                pictures,
                small: name != "digits",
                name,
                blob,
            })
        })
        .collect()
}

/// Builds for `targets` and runs everything there and here, this computer
/// first.
///
/// # Errors
/// If a toolchain is missing or something fails. That targets differ is no
/// error: see [`same`].
pub fn measure(targets: &[Target]) -> Result<(Vec<Subject>, Vec<Row>)> {
    let triples: Vec<_> = targets.iter().map(|target| target.triple()).collect();
    let toolchain = Toolchain::find(&triples)
        .context("no toolchain for all targets: `cargo xtask hashes` installs one")?;
    heading("building for each target");
    target::build(toolchain, targets)?;
    let subjects = subjects()?;
    let mut rows = vec![here(&subjects)?];
    for &target in targets {
        println!("sampling on a {} ({})", target.title(), target.runs_in());
        rows.push(there(target, &subjects)?);
    }
    Ok((subjects, rows))
}

/// What this computer makes.
///
/// # Errors
/// If a model does not run.
pub fn here(subjects: &[Subject]) -> Result<Row> {
    let mut arena = vec![0; 1 << 18];
    let mut made = Vec::new();
    for subject in subjects {
        let mut chains = Vec::new();
        cases::run::<false>(&subject.blob, &mut arena, &mut |_, outcome| {
            chains.push(outcome);
        })
        .map_err(|failure| anyhow!("{}: {failure:?}", subject.name))?;
        made.push(Made::Chains(chains));
    }
    Ok(Row {
        title: std::env::consts::ARCH.replace('_', "-"),
        runs_in: "this computer".to_owned(),
        engine: engine_here().to_owned(),
        made,
    })
}

fn engine_here() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        use tiny_ddpm::kernels::engine::x86::{Avx2, Vnni};
        if Vnni::detect().is_some() {
            return "Vnni";
        }
        if Avx2::detect().is_some() {
            return "Avx2";
        }
    }
    last_word(std::any::type_name::<tiny_ddpm::kernels::engine::Native>())
}

/// What another target makes.
fn there(target: Target, subjects: &[Subject]) -> Result<Row> {
    let mut row = Row {
        title: target.title().to_owned(),
        runs_in: target.runs_in().to_owned(),
        engine: String::new(),
        made: Vec::new(),
    };
    for subject in subjects {
        if target == Target::M0 && !subject.small {
            row.made.push(Made::TooLarge);
            continue;
        }
        let (mut chains, mut said, mut ended) = (Vec::new(), Vec::new(), false);
        let mut result = Ok(());
        let success = target.run(&subject.blob, |line| match line.strip_prefix('@') {
            Some("end") => ended = true,
            Some(rest) if result.is_ok() => {
                result = read(rest, &mut row.engine, &mut chains).with_context(|| line.to_owned());
            }
            _ => said.push(line.to_owned()),
        })?;
        result?;
        let said = said.join("\n");
        ensure!(
            success && ended,
            "{}, {}: {said}",
            target.title(),
            subject.name
        );
        row.made.push(Made::Chains(chains));
    }
    Ok(row)
}

/// Reads a line for programs.
fn read(line: &str, engine: &mut String, chains: &mut Vec<Outcome>) -> Result<()> {
    let (name, values) = line.split_once(' ').unwrap_or((line, ""));
    let values = Values(values);
    let hex = |name| Ok::<_, anyhow::Error>(u32::from_str_radix(values.text(name)?, 16)?);
    match name {
        "engine" => last_word(values.text("name")?).clone_into(engine),
        "case" => {
            ensure!(
                values.number::<usize>("number")? == chains.len(),
                "out of order"
            );
            let (pixels, state) = (hex("pixels")?, hex("state")?);
            chains.push(Outcome { pixels, state });
        }
        _ => bail!("a line of an unknown kind"),
    }
    Ok(())
}

/// The last word of a type's path.
fn last_word(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

/// Compares all rows with the first.
///
/// # Errors
/// Names every target, model and chain that differs.
pub fn same(subjects: &[Subject], rows: &[Row]) -> Result<()> {
    let (first, others) = rows.split_first().context("there is no row")?;
    let mut differences = String::new();
    for row in others {
        ensure!(
            row.made.len() == first.made.len(),
            "{} lacks models",
            row.title
        );
        for ((subject, here), there) in subjects.iter().zip(&first.made).zip(&row.made) {
            let (Made::Chains(here), Made::Chains(there)) = (here, there) else {
                continue;
            };
            ensure!(
                here.len() == there.len() && !here.is_empty(),
                "{} made {} chains with {}, {} made {}",
                row.title,
                there.len(),
                subject.name,
                first.title,
                here.len()
            );
            for (number, (here, there)) in here.iter().zip(there).enumerate() {
                if here != there {
                    // Writing to a string cannot fail.
                    let _ = write!(
                        differences,
                        "\n{}, chain {number} on a {}: {there:x?}, on {} {here:x?}",
                        subject.name, row.title, first.title
                    );
                }
            }
        }
    }
    ensure!(differences.is_empty(), "targets differ:{differences}");
    Ok(())
}

/// One hash of many.
fn joined(hashes: impl Iterator<Item = u32>) -> String {
    let bytes: Vec<u8> = hashes.flat_map(u32::to_le_bytes).collect();
    format!("`{:08x}`", picture_hash(&bytes))
}

/// What subjects have in common that share a column.
fn column(subject: &Subject) -> &str {
    subject.name.split(',').next().unwrap_or(subject.name)
}

/// The table, in Markdown: a row for each target. Models whose names differ
/// only behind a comma share a column.
#[must_use]
pub fn table(subjects: &[Subject], rows: &[Row]) -> String {
    let groups: Vec<_> = subjects.chunk_by(|a, b| column(a) == column(b)).collect();
    let mut lines = vec![Vec::from(
        ["target", "runs in", "engine"].map(str::to_owned),
    )];
    for subject in groups.iter().filter_map(|group| group.first()) {
        if subject.pictures {
            lines[0].push(format!("{}: pixels", column(subject)));
        }
        lines[0].push(format!("{}: x_0", column(subject)));
    }
    lines.push(vec!["---".to_owned(); lines[0].len()]);
    for row in rows {
        let mut cells = vec![row.title.clone(), row.runs_in.clone(), row.engine.clone()];
        let mut made = row.made.iter();
        for group in &groups {
            let chains: Option<Vec<_>> = made
                .by_ref()
                .take(group.len())
                .map(|made| match made {
                    Made::Chains(chains) => Some(chains),
                    Made::TooLarge => None,
                })
                .collect();
            let hash = |of: fn(&Outcome) -> u32| match &chains {
                Some(chains) => joined(chains.iter().flat_map(|chains| chains.iter()).map(of)),
                None => "too large".to_owned(),
            };
            if group.first().is_some_and(|subject| subject.pictures) {
                cells.push(hash(|chain| chain.pixels));
            }
            cells.push(hash(|chain| chain.state));
        }
        lines.push(cells);
    }
    let lines = lines
        .iter()
        .map(|cells| format!("| {} |\n", cells.join(" | ")));
    lines.collect()
}

/// Every chain of the first row: what was asked, and what came out.
fn chains(subjects: &[Subject], rows: &[Row]) -> Result<String> {
    let mut text = String::new();
    for (subject, made) in subjects.iter().zip(rows.iter().flat_map(|row| &row.made)) {
        let model = Model::load(&subject.blob).map_err(|error| anyhow!("{error}"))?;
        let Made::Chains(chains) = made else { continue };
        for (number, outcome) in chains.iter().enumerate() {
            let settings = cases::case(&model, number).context("no such chain")?;
            writeln!(
                text,
                "{} {number}: {}, {}, {} steps, guidance {}, clip {}: pixels {:08x}, x_0 {:08x}",
                subject.name,
                settings.method.name(),
                settings.spacing.name(),
                settings.steps,
                settings.guidance,
                settings.clip,
                outcome.pixels,
                outcome.state
            )?;
        }
    }
    Ok(text)
}
