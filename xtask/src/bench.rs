//! `cargo xtask bench`: counts the instructions of kernels, and of a denoising
//! step, on emulated machines.

pub mod machine;
pub mod reference;
pub mod table;

use crate::request::{load, read_blob};
use crate::setup::{self, Purpose};
use crate::shell::{command, duration, heading, run as run_command};
use crate::{DIGITS, root};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use machine::Machine;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;
use table::{Row, json, table};

const EXAMPLES: &str = "\
QEMU counts instructions, exactly and repeatably; it does not know how many
cycles each of them takes on silicon. A row of a layer has all that the layer
costs in the network, from its input to its output.

Examples:
  cargo xtask bench
  cargo xtask bench --target m4,m0
  cargo xtask bench --target m4 --blob runs/mine/model.tddpm
  cargo xtask bench --json out/bench.json
  cargo xtask bench --target rv32 --json - | jq '.[].instructions'";

/// What to count, and where to put it.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Machines, such as m4,m0; by default all
    #[arg(long, value_delimiter = ',', value_enum)]
    target: Vec<Machine>,
    /// The model whose step is counted; by default the digits that ship
    #[arg(long, value_name = "FILE")]
    blob: Option<PathBuf>,
    /// Count layers only, no denoising step
    #[arg(long, conflicts_with = "blob")]
    kernels_only: bool,
    /// Also write the counts as JSON; - is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Counts everything.
///
/// # Errors
/// If something is missing or fails, or a machine does not count instructions
/// or computes something else than this computer.
pub fn run(options: &Options) -> Result<()> {
    if options.json.as_deref() == Some(Path::new("-")) {
        return run_for_pipe();
    }
    let start = Instant::now();
    let folder = options.json.as_deref().and_then(Path::parent);
    if let Some(folder) = folder {
        // Before anything is counted.
        fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let machines = match &options.target[..] {
        [] => &Machine::ALL,
        chosen => chosen,
    };
    let digits = root().join(DIGITS);
    let blob = options.blob.as_deref().unwrap_or(&digits);
    let rows = measure(machines, (!options.kernels_only).then_some(blob))?;
    println!(
        "These are instructions, not cycles. CMSIS-NN's figures are instructions for each\n\
         multiply-accumulate; its fully connected layer has 8-bit weights, this one 16-bit.\n\
         The \"MACs\" of a normalisation, of noise and of what is around a step are values."
    );
    if let Some(path) = &options.json {
        fs::write(path, json(&rows))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        println!("written: {}", path.display());
    }
    println!("the benchmark took {}", duration(start.elapsed()));
    Ok(())
}

/// Counts all layers on each machine, and the steps of a model if there is
/// one, as it is and packed for speed.
///
/// # Errors
/// As [`run`].
pub fn measure(machines: &[Machine], blob: Option<&Path>) -> Result<Vec<Row>> {
    if let Some(path) = blob {
        // Before anything is installed or built.
        load(path, &read_blob(path)?)?;
    }
    heading("set-up");
    let toolchain = setup::ensure(Purpose::Bench)?;
    let folder = tempfile::tempdir()?;
    let mut steps = Vec::new();
    if let Some(path) = blob {
        heading("packing the model");
        for (name, target) in [("portable", "portable"), ("winograd", "cortex-m4")] {
            steps.push(Step::new(folder.path(), path, name, target)?);
        }
    }
    heading("building the benchmark");
    machine::build(toolchain, machines)?;

    let mut rows = Vec::new();
    for &machine in machines {
        heading(machine.title());
        let first = rows.len();
        count(machine, &steps, &mut rows)?;
        let rows: Vec<_> = rows[first..].iter().collect();
        println!("\n{}", table(&rows));
    }
    Ok(rows)
}

/// Runs this command again with everything but the JSON on standard error.
fn run_for_pipe() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let mut again = std::process::Command::new(std::env::current_exe()?);
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("-") => again.arg(file.path()),
            Some("--json=-") => again.arg("--json").arg(file.path()),
            _ => again.arg(argument),
        };
    }
    let status = again.stdout(std::io::stderr()).status()?;
    ensure!(status.success(), "the benchmark failed: see above");
    print!("{}", fs::read_to_string(file.path())?);
    Ok(())
}

/// A model whose step is counted.
#[derive(Debug)]
struct Step {
    /// Of its packing.
    name: &'static str,
    /// Where it lies as `model.tddpm`.
    folder: PathBuf,
    /// Of what it predicts.
    hash: u32,
}

impl Step {
    /// Packs a model for `target`.
    fn new(folder: &Path, blob: &Path, name: &'static str, target: &str) -> Result<Self> {
        let folder = folder.join(name);
        fs::create_dir(&folder)?;
        let path = folder.join("model.tddpm");
        let mut cargo = command("cargo");
        cargo
            .args([
                "run",
                "--profile",
                "xtask",
                "--locked",
                "--package",
                "tiny-ddpm-train",
            ])
            .args(["--no-default-features", "--", "repack"])
            .arg(std::path::absolute(blob)?)
            .args(["--target", target, "--out"])
            .arg(&path)
            .current_dir(root());
        run_command(&mut cargo)?;
        let blob = read_blob(&path)?;
        let hash = reference::step(&load(&path, &blob)?)?;
        Ok(Self { name, folder, hash })
    }
}

/// Runs everything on one machine.
fn count(machine: Machine, steps: &[Step], rows: &mut Vec<Row>) -> Result<()> {
    run_words(machine, &["kernels"], root(), |name, values| {
        match name {
            "engine" => println!("engine: {}", values.text("name")?),
            "kernel" => rows.push(Row {
                machine,
                kernel: values.text("kernel")?.to_owned(),
                shape: values.text("shape")?.to_owned(),
                layout: values.text("layout")?.to_owned(),
                macs: values.number("macs")?,
                instructions: values.number("instructions")?,
            }),
            _ => {}
        }
        Ok(())
    })?;
    for step in steps {
        let (mut kinds, mut hash) = (Vec::new(), None);
        let mut around = Vec::new();
        let mut total = 0;
        run_words(machine, &["step"], &step.folder, |name, values| {
            match name {
                "step" => {
                    total = values.number("instructions")?;
                    hash = Some(u32::from_str_radix(values.text("hash")?, 16)?);
                    rows.push(Row {
                        machine,
                        kernel: "denoise_step".to_owned(),
                        shape: step.name.to_owned(),
                        layout: "-".to_owned(),
                        macs: values.number("macs")?,
                        instructions: total,
                    });
                }
                "kind" => kinds.push((
                    values.text("name")?.to_owned(),
                    values.number::<u64>("macs")?,
                    values.number::<u64>("instructions")?,
                )),
                "around" => around.push(Row {
                    machine,
                    kernel: values.text("name")?.to_owned(),
                    shape: step.name.to_owned(),
                    layout: "-".to_owned(),
                    macs: values.number("values")?,
                    instructions: values.number("instructions")?,
                }),
                _ => {}
            }
            Ok(())
        })?;
        ensure!(
            hash == Some(step.hash),
            "the {} predicts something else than this computer",
            machine.title()
        );
        println!("\na denoising step, {} packing:", step.name);
        for (name, macs, instructions) in kinds {
            let share = 100.0 * instructions as f64 / total.max(1) as f64;
            let per_mac = match macs {
                0 => String::new(),
                _ => format!("{:.2} per MAC", instructions as f64 / macs as f64),
            };
            println!("  {name:20} {instructions:>12} {share:>5.1}%  {per_mac}");
        }
        println!("\naround it, for a picture in one evaluation:");
        for row in &around {
            let (name, instructions, each) = (&row.kernel, row.instructions, row.per_mac());
            println!("  {name:20} {instructions:>12}         {each:.0} per value");
        }
        rows.extend(around);
    }
    Ok(())
}

/// `name=value` words of a line.
#[derive(Clone, Copy, Debug)]
pub struct Values<'t>(pub(crate) &'t str);

impl<'t> Values<'t> {
    /// A value's text.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn text(&self, name: &str) -> Result<&'t str> {
        let mut words = self.0.split(' ');
        words
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| anyhow!("no {name}"))
    }

    /// A value.
    ///
    /// # Errors
    /// If there is none, or it is not such a number.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.text(name)?.parse().with_context(|| name.to_owned())
    }
}

/// Runs the program on a machine; `report` gets the lines for programs.
///
/// # Errors
/// If the program fails, with what it says.
pub fn run_words(
    machine: Machine,
    words: &[&str],
    folder: &Path,
    mut report: impl FnMut(&str, Values<'_>) -> Result<()>,
) -> Result<()> {
    let (mut said, mut ended) = (Vec::new(), false);
    let mut result = Ok(());
    let success = machine.run(words, folder, |line| match line.strip_prefix('@') {
        Some("end") => ended = true,
        Some(rest) => {
            let (name, values) = rest.split_once(' ').unwrap_or((rest, ""));
            if result.is_ok() {
                result = report(name, Values(values)).with_context(|| line.to_owned());
            }
        }
        None => said.push(line.to_owned()),
    })?;
    if !success || !ended {
        bail!("the {} failed: {}", machine.title(), said.join("\n"));
    }
    result
}
