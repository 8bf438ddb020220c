//! `cargo xtask hostile`: random and mutated blobs through the loader and a
//! step of the sampler, on an emulated chip and here.
//!
//! What the chip says of each blob and computes with it must be what this
//! computer does: both run `bench/src/hostile.rs` and hash all of it.

use crate::bench::machine::{self, Machine};
use crate::bench::reference::cost::CORTEX_M4;
use crate::bench::reference::hostile::{self, Cases, Meter, Room, Tally};
use crate::bench::reference::mutate::KINDS;
use crate::bench::{Values, run_words};
use crate::random::{
    self, int4_blob, point_topology, random_blob, small_topology, smallest_topology,
};
use crate::setup::{self, Purpose};
use crate::shell::{duration, heading};
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;
use tiny_ddpm::{Level, Topology};

const EXAMPLES: &str = "\
Every blob follows from the seed and its number, so that what went wrong can be
made again: --first 4711 --count 1.

Examples:
  cargo xtask hostile
  cargo xtask hostile --count 5000 --target m0,rv32 --seed 7";

/// Which blobs, and where.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// How many blobs
    #[arg(long, default_value_t = 100_000)]
    count: u32,
    /// Number of the first
    #[arg(long, default_value_t = 0)]
    first: u32,
    /// Seed of all mutations
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Emulated processors
    #[arg(long, value_delimiter = ',', value_enum, default_value = "m4")]
    target: Vec<Machine>,
}

/// Tries all of them.
///
/// # Errors
/// If a chip faults, hangs, or says something else than this computer.
pub fn run(options: &Options) -> Result<()> {
    heading("set-up");
    let toolchain = setup::ensure(Purpose::Bench)?;
    machine::build(toolchain, &options.target)?;
    let cases = Cases {
        seed: options.seed,
        first: options.first,
        count: options.count,
    };
    let bases = bases();
    heading("this computer");
    let expected = on_host(&bases, cases);
    for &machine in &options.target {
        heading(machine.title());
        let start = Instant::now();
        let outcome = on_chip(machine, &bases, cases)?;
        outcome.print();
        outcome.assert_same(&expected)?;
        ensure!(
            outcome.share <= 1000,
            "a step took longer than bench/src/cost.rs allows"
        );
        println!(
            "{} blobs, no fault; every verdict and output is this computer's: {}",
            cases.count,
            duration(start.elapsed())
        );
    }
    Ok(())
}

/// Valid blobs of every kind of layer, data and packing, each of a few
/// kilobytes.
#[must_use]
pub fn bases() -> Vec<Vec<u8>> {
    let level = |channels, attention| Level {
        channels,
        attention,
    };
    let levels = Topology {
        levels: [level(4, false), level(8, true)].into_iter().collect(),
        heads: 2,
        ..small_topology()
    };
    vec![
        random_blob(smallest_topology(), 1),
        random::transformed_blob(smallest_topology(), 2),
        int4_blob(smallest_topology(), 3),
        random_blob(point_topology(), 4),
        random_blob(levels.clone(), 5),
        random::transformed_blob(levels, 6),
    ]
}

/// What became of all mutations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// After how many, the hash of all verdicts and outputs.
    pub hashes: Vec<(u32, u32)>,
    /// Of each kind, how many were tried and how many accepted.
    pub mutations: BTreeMap<String, (u32, u32)>,
    /// How many of each verdict.
    pub verdicts: BTreeMap<String, u32>,
    /// Steps with an output that is not finite.
    pub not_finite: u32,
    /// Instructions of the longest load and step, on a chip.
    pub longest: (u64, u64),
    /// Thousandths of the instructions that a step may take.
    pub share: u64,
}

impl Outcome {
    /// Checks that a chip's is this computer's, which does not count
    /// instructions.
    ///
    /// # Errors
    /// The first thing that differs.
    pub fn assert_same(&self, expected: &Self) -> Result<()> {
        for (chip, host) in self.hashes.iter().zip(&expected.hashes) {
            ensure!(
                chip == host,
                "chip and host differ in the thousand blobs before number {}",
                host.0
            );
        }
        let comparable = Self {
            longest: expected.longest,
            share: expected.share,
            ..self.clone()
        };
        ensure!(
            comparable == *expected,
            "chip and host differ: {self:#?}\n{expected:#?}"
        );
        Ok(())
    }

    fn print(&self) {
        println!("mutation       tried  accepted");
        for (name, (tried, accepted)) in &self.mutations {
            println!("{name:12} {tried:>7} {accepted:>9}");
        }
        println!("\nverdict                           blobs");
        for (name, count) in &self.verdicts {
            println!("{name:31} {count:>7}");
        }
        println!(
            "\ninstructions: {} of the longest load, {} of the longest step; \
             no step took more than {}.{}% of what it may",
            self.longest.0,
            self.longest.1,
            self.share / 10,
            self.share % 10
        );
        println!(
            "steps with an output that is not finite: {}",
            self.not_finite
        );
        if let Some((_, hash)) = self.hashes.last() {
            println!("hash of all verdicts and outputs: {hash:08x}");
        }
    }
}

/// On this computer.
#[must_use]
pub fn on_host(bases: &[Vec<u8>], cases: Cases) -> Outcome {
    let bases: Vec<&[u8]> = bases.iter().map(Vec::as_slice).collect();
    let (mut room, mut lap) = (Box::new(Room::zeros()), || 0);
    let mut outcome = Outcome::default();
    let mut report = |tally: &Tally| {
        outcome.hashes.push((tally.cases, tally.hash.0));
        let mutations = KINDS.iter().zip(tally.kinds);
        outcome.mutations = mutations
            .map(|(name, counts)| ((*name).to_owned(), counts))
            .collect();
        let verdicts = tally.verdicts();
        outcome.verdicts = verdicts.map(|(name, n)| (name.to_owned(), n)).collect();
        outcome.not_finite = tally.not_finite;
    };
    let mut meter = uncounted(&mut lap);
    hostile::run(&bases, cases, &mut room, &mut meter, &mut report);
    outcome
}

/// This computer's instructions are not counted, and so cost what they like.
pub fn uncounted(lap: &mut dyn FnMut() -> u64) -> Meter<'_> {
    Meter {
        lap,
        cost: CORTEX_M4,
    }
}

/// On an emulated chip, for which [`machine::build`] has built.
///
/// # Errors
/// If it faults or hangs.
pub fn on_chip(machine: Machine, bases: &[Vec<u8>], cases: Cases) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let Cases { seed, first, count } = cases;
    let word = format!("hostile={seed}:{first}:{count}");
    with_bases(machine, bases, &word, |name, values| {
        match name {
            "tally" => {
                let cases = values.number("cases")?;
                outcome.hashes.push((cases, hex(values, "hash")?));
                if cases % 10_000 == 0 {
                    println!("{cases} of {count} blobs");
                }
            }
            "mutation" => {
                let counts = (values.number("tried")?, values.number("accepted")?);
                let name = values.text("name")?.to_owned();
                outcome.mutations.insert(name, counts);
            }
            "verdict" => {
                let name = values.text("name")?.to_owned();
                outcome.verdicts.insert(name, values.number("count")?);
            }
            "longest" => {
                outcome.longest = (values.number("load")?, values.number("step")?);
                outcome.share = values.number("share")?;
                outcome.not_finite = values.number("not_finite")?;
            }
            _ => {}
        }
        Ok(())
    })
    .with_context(|| {
        let done = outcome.hashes.last().map_or(0, |(done, _)| *done);
        format!("after {done} blobs or up to a thousand more")
    })?;
    Ok(outcome)
}

/// Runs a word of the benchmark's program on a machine with `bases` in its
/// file.
///
/// # Errors
/// If the program fails.
pub fn with_bases(
    machine: Machine,
    bases: &[Vec<u8>],
    word: &str,
    report: impl FnMut(&str, Values<'_>) -> Result<()>,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("bases.tddpm"), bases.concat())?;
    run_words(machine, &[word], folder.path(), report)
}

/// A hash.
///
/// # Errors
/// If there is none of this name.
pub fn hex(values: Values<'_>, name: &str) -> Result<u32> {
    u32::from_str_radix(values.text(name)?, 16).with_context(|| name.to_owned())
}
