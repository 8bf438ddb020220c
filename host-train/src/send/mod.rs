//! `tiny-ddpm send`: new weights for a device, over a serial line.

mod port;
mod transfer;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use tiny_ddpm_slots::{Sender, Stage};

use crate::duration::duration;
use crate::model_file;
use crate::output::grouped;
use crate::progress::style;
use crate::signing::{read_key, read_signature, sign_blob};
pub use port::Port;
pub use transfer::Tally;

/// Send a blob to a device, which runs it from then on
///
/// The device keeps what it had until the new blob has arrived whole and was
/// found good; power may fail and the line may be bad. See docs/update.md.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  tiny-ddpm send digits.tddpm --port /dev/ttyACM0
  tiny-ddpm send digits.tddpm --port COM3 --baud 921600
  tiny-ddpm send digits.tddpm --port /dev/ttyACM0 --key weights.key
  tiny-ddpm send digits.tddpm --port tcp:127.0.0.1:4321     an emulator
A pseudo-terminal is a port, too. Without --port, the ports are listed.")]
pub struct SendArgs {
    /// The blob
    #[arg(value_name = "BLOB")]
    pub blob: PathBuf,
    /// The serial port, or tcp:HOST:PORT
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
    /// Bits a second, as the firmware has it; of no meaning to TCP
    #[arg(long, value_name = "N", default_value_t = 115_200, value_parser = clap::value_parser!(u32).range(300..))]
    pub baud: u32,
    /// Sign the blob with this secret key, from `tiny-ddpm keygen`
    #[arg(long, value_name = "FILE", conflicts_with = "signature")]
    pub key: Option<PathBuf>,
    /// The blob's signature, from `tiny-ddpm sign`
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
}

/// Sends a blob.
///
/// # Errors
/// Where the blob, the key or the port cannot be used, nobody answers, or the
/// device refuses; each with what to do.
pub fn run(args: &SendArgs) -> Result<()> {
    let blob = model_file::read(&args.blob)?;
    let name = model_file::load(&args.blob, &blob)?.info().name.to_owned();
    let signature = match (&args.key, &args.signature) {
        (Some(key), _) => Some(sign_blob(&read_key(key)?, &blob)?),
        (None, Some(file)) => Some(read_signature(file)?),
        (None, None) => None,
    };
    let Some(port) = &args.port else {
        bail!("name the board's port with --port\n  {}", port::there_are());
    };
    let mut line = Port::open(port, args.baud)?;

    let bar = ProgressBar::new(blob.len() as u64).with_style(style(
        "{msg:32} {bar:30} {bytes}/{total_bytes}, {left} left",
    )?);
    bar.set_message(format!("calling {port}"));
    let start = Instant::now();
    // Only has to differ from the last one, and from the 0 of refusals that
    // belong to no session.
    let session = (RandomState::new().build_hasher().finish() as u32).max(1);
    let mut sender = Sender::new(&blob, signature, session);
    let result = transfer::run(&mut line, &mut sender, args.baud, |stage| match stage {
        Stage::Calling => {}
        Stage::Beginning => bar.set_message("the device makes room"),
        Stage::Sending { offset } => {
            bar.set_message(format!("sending {name}"));
            bar.set_position(offset.into());
        }
        Stage::Finishing => {
            bar.set_position(blob.len() as u64);
            bar.set_message("the device checks it");
        }
        Stage::Done { .. } => {}
    });
    bar.finish_and_clear();
    let tally = result.with_context(|| format!("{} was not installed", args.blob.display()))?;

    let Stage::Done { sequence } = sender.stage() else {
        bail!("the transfer ended without a result: send again");
    };
    let repeated = match tally.repeated {
        0 => String::new(),
        1 => ", one request repeated".to_owned(),
        n => format!(", {n} requests repeated"),
    };
    let before = match sender.installed_before() {
        Some(before) => format!("before: update {}", before.sequence),
        None => "there was none before".to_owned(),
    };
    println!(
        "{name}: {} bytes in {}{repeated}; active as update {sequence} ({before})",
        grouped(blob.len() as u64),
        duration(start.elapsed()),
    );
    Ok(())
}
