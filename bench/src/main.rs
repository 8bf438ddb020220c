//! Counts the instructions of kernels, and checks their results, on an
//! emulated microcontroller; `cargo xtask bench` runs it.
//!
//! What to do comes as words from the emulator: `kernels`, `step` (of the
//! model in the file `model.tddpm`), `check`, `check-spoiled`, `misread`,
//! `hostile=SEED:FIRST:COUNT` (mutations of the models in `bases.tddpm`), `work`
//! (a step of each of these), `watchdog=TRIAL` (with the first two of them).
//! Lines that begin with `@` are for programs: a word that names the line,
//! then `name=value` words.
#![no_std]
#![no_main]

mod board;
mod check;
mod cost;
mod hostile;
mod kernels;
mod layers;
mod memory;
mod mutate;
mod step;
#[cfg(machine = "mps2")]
mod watchdog;

use board::Counter;
use core::mem::MaybeUninit;
use memory::{Aligned, Memory};
use semihosting::io::Read as _;
use semihosting::sys::arm_compat::sys_get_cmdline_uninit;
use semihosting::{fs, println, process};
use tiny_ddpm::kernels::engine::Native;

/// Everything that is too large for the stack.
struct Statics {
    memory: Memory,
    blob: Aligned<{ 2 << 20 }>,
    room: step::Room,
    hostile: hostile::Room,
}

static mut STATICS: Statics = Statics {
    memory: Memory::zeros(),
    blob: Aligned([0; _]),
    room: step::Room {
        workspace: [0; _],
        x: [0.0; _],
        out: [0.0; _],
    },
    hostile: hostile::Room::zeros(),
};

/// What work costs here.
const HERE: cost::InstructionCost = if cfg!(instructions = "riscv32imc") {
    cost::RV32
} else if cfg!(instructions = "thumbv6m") {
    cost::CORTEX_M0
} else {
    cost::CORTEX_M4
};

/// Why there is no result.
#[derive(Debug)]
#[expect(dead_code, reason = "the reasons are printed")]
enum Failure {
    /// The emulator's timer does not count instructions.
    Counter,
    NotRepeatable(kernels::NotRepeatable),
    Step(step::StepError),
    File(semihosting::io::Error),
    Mismatch,
    Blob(tiny_ddpm::BlobError),
    Refusal(hostile::Refusal),
    #[cfg(machine = "mps2")]
    Watchdog(watchdog::WatchdogError),
    Word,
}

/// What the start-up code calls.
fn main() -> ! {
    board::prepare();
    let mut buffer = [MaybeUninit::uninit(); 256];
    let line = sys_get_cmdline_uninit(&mut buffer).unwrap_or_default();
    let line = core::str::from_utf8(line).unwrap_or_default();
    let statics = &raw mut STATICS;
    // SAFETY: this runs once, and nothing else knows of these.
    let statics = unsafe { &mut *statics };
    println!("@engine name={}", core::any::type_name::<Native>());
    for word in line.split_ascii_whitespace() {
        if let Err(failure) = run(word, statics) {
            println!("{word}: {failure:?}");
            process::exit(1);
        }
    }
    println!("@end");
    process::exit(0)
}

fn run(word: &str, statics: &mut Statics) -> Result<(), Failure> {
    match word {
        "kernels" => {
            let counter = Counter::start().ok_or(Failure::Counter)?;
            kernels::run(counter, &mut statics.memory, |row| {
                println!(
                    "@kernel kernel={} shape={} layout={} macs={} instructions={}",
                    row.kernel, row.shape, row.layout, row.macs, row.instructions
                );
            })
            .map_err(Failure::NotRepeatable)
        }
        "step" => {
            let counter = Counter::start().ok_or(Failure::Counter)?;
            let length = read(c"model.tddpm", &mut statics.blob.0).map_err(Failure::File)?;
            let blob = &statics.blob.0[..length];
            let step = step::run(counter, blob, &mut statics.room).map_err(Failure::Step)?;
            println!(
                "@step macs={} instructions={} hash={:08x}",
                step.macs, step.instructions, step.hash
            );
            for (name, (macs, instructions)) in step::KINDS.iter().zip(step.kinds) {
                println!("@kind name={name} macs={macs} instructions={instructions}");
            }
            let around = step::around(counter, blob, &mut statics.room).map_err(Failure::Step)?;
            let parts = [
                ("noise", around.noise),
                ("schedule", around.schedule),
                ("update", around.update),
            ];
            for (name, instructions) in parts {
                let values = around.values;
                println!("@around name={name} values={values} instructions={instructions}");
            }
            Ok(())
        }
        "check" => check(&mut statics.memory, false),
        "check-spoiled" => check(&mut statics.memory, true),
        "misread" => {
            println!("a word at an odd address: {:#010x}", board::misread());
            Ok(())
        }
        "work" => work(statics),
        _ => match word.split_once('=') {
            Some(("hostile", cases)) => hostile(cases, statics),
            #[cfg(machine = "mps2")]
            Some(("watchdog", trial)) => {
                let trial = watchdog::Trial::from_name(trial).ok_or(Failure::Word)?;
                let counter = Counter::start().ok_or(Failure::Counter)?;
                let (all, _) = bases(&mut statics.blob.0)?;
                watchdog::run(trial, counter, [all[0], all[1]], &mut statics.room)
                    .map_err(Failure::Watchdog)
            }
            _ => Err(Failure::Word),
        },
    }
}

/// The blobs of the file `bases.tddpm`, and how many there are.
fn bases(buffer: &mut [u8]) -> Result<([&[u8]; hostile::MOST_BASES], usize), Failure> {
    let length = read(c"bases.tddpm", buffer).map_err(Failure::File)?;
    let mut bases = [&[][..]; _];
    let count = hostile::split(&buffer[..length], &mut bases);
    Ok((bases, count))
}

fn hostile(cases: &str, statics: &mut Statics) -> Result<(), Failure> {
    let mut numbers = cases.split(':').map(str::parse);
    let mut number = || numbers.next()?.ok();
    let cases = hostile::Cases {
        seed: number().ok_or(Failure::Word)?,
        first: number().ok_or(Failure::Word)?,
        count: number().ok_or(Failure::Word)?,
    };
    let counter = Counter::start().ok_or(Failure::Counter)?;
    let (bases, count) = bases(&mut statics.blob.0)?;
    let mut last = counter.stamp();
    let mut lap = || {
        let now = counter.stamp();
        counter.between(core::mem::replace(&mut last, now), now)
    };
    let mut report = |tally: &hostile::Tally| {
        println!("@tally cases={} hash={:08x}", tally.cases, tally.hash.0);
        if tally.cases < cases.count {
            return;
        }
        for (name, (tried, accepted)) in mutate::KINDS.iter().zip(tally.kinds) {
            println!("@mutation name={name} tried={tried} accepted={accepted}");
        }
        for (name, count) in tally.verdicts() {
            println!("@verdict name={name} count={count}");
        }
        println!(
            "@longest load={} step={} share={} not_finite={}",
            tally.longest.0, tally.longest.1, tally.share, tally.not_finite
        );
    };
    hostile::run(
        &bases[..count],
        cases,
        &mut statics.hostile,
        &mut hostile::Meter {
            lap: &mut lap,
            cost: HERE,
        },
        &mut report,
    );
    Ok(())
}

/// A step of each model, with what it may cost.
fn work(statics: &mut Statics) -> Result<(), Failure> {
    let counter = Counter::start().ok_or(Failure::Counter)?;
    let (bases, count) = bases(&mut statics.blob.0)?;
    for (index, blob) in bases[..count].iter().enumerate() {
        let model = tiny_ddpm::Model::load(blob).map_err(Failure::Blob)?;
        // With each choice of sampler and workspace that these lead to.
        for seed in 0..4 {
            let (mut last, mut ran) = (counter.stamp(), hostile::Ran::default());
            let mut lap = || {
                let now = counter.stamp();
                counter.between(core::mem::replace(&mut last, now), now)
            };
            let room = &mut statics.room;
            hostile::step(
                &model,
                &mut memory::Random::new(seed),
                &mut room.workspace,
                &mut room.x,
                &mut room.out,
                &mut hostile::Meter {
                    lap: &mut lap,
                    cost: HERE,
                },
                &mut ran,
            )
            .map_err(Failure::Refusal)?;
            println!(
                "@work index={index} instructions={} share={} hash={:08x}",
                ran.instructions, ran.share, ran.hash
            );
        }
    }
    Ok(())
}

fn check(memory: &mut Memory, spoil: bool) -> Result<(), Failure> {
    let convolutions = check::convolutions(memory, spoil, |mismatch| {
        println!("first mismatch: {mismatch}");
    });
    let outcomes = [
        convolutions,
        check::normalisations(memory),
        check::attentions(memory),
        check::linears(memory),
        check::misfits(),
    ];
    for outcome in outcomes {
        println!(
            "@check group={} cases={} mismatches={} hash={:08x}",
            outcome.group, outcome.cases, outcome.mismatches, outcome.hash
        );
    }
    match convolutions.mismatches {
        0 => Ok(()),
        _ => Err(Failure::Mismatch),
    }
}

/// Reads a file of the host; returns its length.
fn read(path: &core::ffi::CStr, buffer: &mut [u8]) -> semihosting::io::Result<usize> {
    let mut file = fs::File::open(path)?;
    let mut length = 0;
    loop {
        match file.read(&mut buffer[length..])? {
            0 => return Ok(length),
            count => length += count,
        }
    }
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo) -> ! {
    println!("{info}");
    process::exit(1)
}
