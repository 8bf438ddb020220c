//! `cargo xtask demo`: a microcontroller turns noise into digits, or into
//! points, and this computer checks every one.

use crate::emulator::{self, Event, Memory, Run};
use crate::firmware::Board;
use crate::request::{Request, load, read_blob};
use crate::setup::{self, Purpose};
use crate::shell::{duration, heading};
use crate::{DIGITS, NANO, animation, firmware, host, root, scatter, sheet};
use anyhow::{Result, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::value_parser;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::path::PathBuf;
use std::time::Instant;
use tiny_ddpm::{Data, Method, Spacing};

/// What to generate, and where to put it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Seed of all noise
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Classes to generate, such as 3,1,4; by default one of each
    #[arg(long, value_delimiter = ',')]
    classes: Vec<u8>,
    /// How many, of a model without classes; by default 10 pictures or 200 points
    #[arg(long, value_name = "N")]
    count: Option<u16>,
    /// Sampling steps; by default what the model recommends
    #[arg(long)]
    steps: Option<u16>,
    /// How a step is made
    #[arg(long, default_value = "ddim", value_parser = PossibleValuesParser::new(Method::NAMES))]
    sampler: String,
    /// Which timesteps are visited
    #[arg(
        long,
        default_value = Spacing::default().name(),
        value_parser = PossibleValuesParser::new(Spacing::ALL.map(Spacing::name))
    )]
    spacing: String,
    /// Classifier-free guidance; by default what the model recommends
    #[arg(long)]
    guidance: Option<f32>,
    /// The emulated board
    #[arg(long, value_enum, default_value_t = Board::Stm32f405)]
    board: Board,
    /// The model; by default the one that ships for the board
    #[arg(long, value_name = "FILE")]
    blob: Option<PathBuf>,
    /// Walk from each picture to the next and back to the first in N frames each,
    /// and write them as an animation [default: 16 frames]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "16",
        value_parser = value_parser!(u16).range(1..))]
    walk: Option<u16>,
    /// The animation of a walk to write
    #[arg(long, value_name = "FILE", default_value = "out/walk-on-chip.gif")]
    gif: PathBuf,
    /// The picture file to write
    #[arg(long, value_name = "FILE", default_value = "out/digits-on-chip.png")]
    png: PathBuf,
}

/// Runs the demo.
///
/// # Errors
/// If something is missing, fails, or differs between chip and host.
pub fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let shipped = match options.board {
        Board::Stm32f405 => DIGITS,
        Board::Microbit => NANO,
    };
    let path = options.blob.clone().unwrap_or_else(|| root().join(shipped));
    let blob = read_blob(&path)?;
    let model = load(&path, &blob)?;
    let mut request = Request::recommended(&model);
    request.seed = options.seed;
    request.steps = options.steps.unwrap_or(request.steps);
    request.count = options.count.unwrap_or(request.count);
    let eta = model.info().recommended.eta;
    request.method = Method::from_name(&options.sampler, eta).unwrap_or(request.method);
    request.spacing = Spacing::from_name(&options.spacing).unwrap_or_default();
    request.guidance = options.guidance.unwrap_or(request.guidance);
    if !options.classes.is_empty() {
        request.classes.clone_from(&options.classes);
    }
    request.walk = options.walk.unwrap_or(0);
    request.check(&model)?;

    heading("set-up");
    let toolchain = setup::ensure(Purpose::Demo)?;
    heading("building the firmware");
    let firmware = firmware::build(toolchain, options.board, &path, None)?;
    heading(&format!("running it on an emulated {}", options.board));
    let points = matches!(model.topology().data(), Data::Point { .. });
    let many = points || request.walk > 0;
    let run = watch(&firmware, &request, many)?;
    if !run.success {
        bail!("the firmware failed: {}", run.log.join("\n"));
    }

    let written = match request.walk {
        0 => &options.png,
        _ => &options.gif,
    };
    // An absolute path replaces the root.
    let path = root().join(written);
    match model.topology().data() {
        Data::Picture { side } => {
            let pictures: Vec<&[u8]> = run.pictures.iter().map(|p| &p.pixels[..]).collect();
            match request.walk {
                0 => sheet::write(&path, side.into(), &pictures)?,
                _ => animation::write(&path, side.into(), &pictures)?,
            }
        }
        Data::Point { .. } => {
            let points: Vec<&[u32]> = run.pictures.iter().map(|p| &p.values[..]).collect();
            print!("{}", scatter::text(&points));
            sheet::write(
                &path,
                scatter::SIDE,
                &[&scatter::map(&points, scatter::SIDE)],
            )?;
        }
    }
    println!("\nwritten: {}", written.display());

    heading("generating the same pictures on this computer");
    let expected = host::generate(&model, &request)?;
    let equal = match model.topology().data() {
        Data::Picture { .. } if !many => compare(&run, &expected),
        Data::Picture { .. } => compare_many(&run, &expected, "frame"),
        Data::Point { .. } => compare_many(&run, &expected, "point"),
    };
    if let Some(estimate) = estimate(options.board, &run) {
        println!("{estimate}");
    }
    if let Some(memory) = run.memory {
        describe(memory);
    }
    println!("the demo took {}", duration(start.elapsed()));
    if !equal {
        bail!("the chip's pictures differ from this computer's");
    }
    Ok(())
}

/// Runs the firmware, with a bar for the steps and the drawings as they come.
fn watch(firmware: &firmware::Firmware, request: &Request, many: bool) -> Result<Run> {
    let rounds = request.method.evaluations(request.steps);
    let steps = request.len() as u64 * u64::from(rounds);
    let bar = ProgressBar::new(steps);
    let template = "{bar:30} step {pos} of {len}, {msg}, {left} left";
    let left = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = out.write_str(&duration(state.eta()));
    };
    bar.set_style(ProgressStyle::with_template(template)?.with_key("left", left));
    let hidden = bar.is_hidden();
    let show = |line: &str| bar.suspend(|| println!("{line}"));
    let run = emulator::run(firmware, request, |event| match event {
        Event::Step {
            picture,
            index,
            of,
            ticks,
        } => {
            let message = format!("picture {picture}: {index}/{of}");
            if hidden && !many && (*index == *of || index % 5 == 0) {
                println!("{message}, {} million instructions", ticks / 1_000_000);
            }
            bar.set_message(message);
            bar.inc(1);
        }
        // Of points and frames there are many, and one drawing in the end.
        Event::Picture(_) if many => {}
        Event::Text(_) if request.walk > 0 => {}
        Event::Picture(picture) => show(&format!(
            "picture {}, class {}: hash {:08x}",
            picture.number, picture.class, picture.hash
        )),
        Event::Text(text) => show(text),
        Event::Row(_) | Event::Value(_) | Event::Unit(_) | Event::Memory(_) => {}
    })?;
    bar.finish_and_clear();
    Ok(run)
}

/// Prints chip and host side by side; whether all is equal.
fn compare(run: &Run, expected: &[host::Picture]) -> bool {
    println!(
        "{:>5}  {:8}  {:8}  {:5}  {:>17}",
        "class", "chip", "host", "equal", run.unit
    );
    let mut equal = run.pictures.len() == expected.len();
    for (chip, host) in run.pictures.iter().zip(expected) {
        let same = chip.hash == host.hash && chip.state == host.state && chip.pixels == host.pixels;
        equal &= same;
        println!(
            "{:>5}  {:08x}  {:08x}  {:5}  {:>17}",
            chip.class,
            chip.hash,
            host.hash,
            if same { "yes" } else { "NO" },
            thousands(chip.ticks)
        );
    }
    equal
}

/// The same of many points or frames, in one line; whether all is equal.
fn compare_many(run: &Run, expected: &[host::Picture], what: &str) -> bool {
    let same = run.pictures.iter().zip(expected).filter(|(chip, host)| {
        chip.values == host.values && chip.pixels == host.pixels && chip.state == host.state
    });
    let (same, count) = (same.count(), expected.len());
    let ticks: u64 = run.pictures.iter().map(|point| point.ticks).sum();
    println!(
        "{same} of {count} {what}s are the host's, bit for bit; {} {} a {what}",
        thousands(ticks / (run.pictures.len() as u64).max(1)),
        run.unit
    );
    same == count && run.pictures.len() == count
}

/// Seconds for a picture or point on silicon, with how they are estimated;
/// `None` where no instructions were counted.
fn estimate(board: Board, run: &Run) -> Option<String> {
    let count = run.pictures.len() as u64;
    if count == 0 || run.unit != "instructions" {
        return None;
    }
    let ticks: u64 = run.pictures.iter().map(|picture| picture.ticks).sum();
    let mean = ticks / count;
    Some(format!(
        "estimate for a real {board}, not measured: {:.2} s each, {:.1} a second ({} instructions, {} cycles per instruction, {} MHz)",
        board.seconds(mean),
        1.0 / board.seconds(mean),
        thousands(mean),
        firmware::CYCLES_PER_INSTRUCTION,
        board.hertz() / 1_000_000
    ))
}

fn describe(memory: Memory) {
    println!(
        "\nflash {} bytes (model {}), RAM: buffers {} bytes, stack {} of {} bytes",
        thousands(memory.flash),
        thousands(memory.blob),
        thousands(memory.buffers),
        thousands(memory.stack_peak),
        thousands(memory.stack_room)
    );
}

/// Digits in groups of three.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::Picture;

    #[test]
    fn seconds_are_estimated_from_instructions_alone() {
        let picture = Picture {
            number: 0,
            class: -1,
            hash: 0,
            state: 0,
            ticks: 420_000_000,
            pixels: Vec::new(),
            values: Vec::new(),
        };
        let mut run = Run {
            pictures: vec![picture],
            unit: "instructions".to_owned(),
            ..Run::default()
        };
        let text = estimate(Board::Stm32f405, &run).unwrap();
        assert!(
            text.contains(
                "3.25 s each, 0.3 a second (420 000 000 instructions, 1.3 cycles per instruction, 168 MHz)"
            ),
            "{text}"
        );
        assert!(
            text.contains("estimate") && text.contains("not measured"),
            "{text}"
        );
        run.unit = "ticks".to_owned();
        assert_eq!(estimate(Board::Stm32f405, &run), None);
    }

    #[test]
    fn digits_come_in_groups_of_three() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(123_456), "123 456");
        assert_eq!(thousands(1_234_567), "1 234 567");
    }
}
