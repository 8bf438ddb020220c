//! A transfer over an open line.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tiny_ddpm_slots::wire::{Deframer, LONGEST_REPLY, Refusal, Reply, decode, encode, frame_len};
use tiny_ddpm_slots::{Heard, Sender, Stage, Trouble, Unfit};

use super::port::Port;

/// More than any message has: what a chunk may hold, and what goes with it.
const LONGEST: usize = u16::MAX as usize + 64;

/// What happened on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were sent more than once.
    pub repeated: u64,
}

/// Sends everything that `sender` has to say, until the device has all of it.
/// `report` is shown each step.
///
/// # Errors
/// Where the line is gone, nobody answers, or the device refuses; with what to
/// do about it.
pub fn run(
    port: &mut Port,
    sender: &mut Sender<'_>,
    baud: u32,
    mut report: impl FnMut(Stage),
) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut deframer = Deframer::<LONGEST_REPLY>::default();
    let (mut scratch, mut frame) = (vec![0; LONGEST], vec![0; frame_len(LONGEST)]);
    let mut bytes = [0; 256];
    report(sender.stage());
    while let Some(request) = sender.request() {
        let frame = encode(&request, &mut scratch, &mut frame);
        let frame = frame.context("a request is longer than any can be")?;
        let stage = sender.stage();
        let (again, limit) = sender.patience();
        // A byte is ten bits on the line; there and back.
        let carry = Duration::from_secs_f64(10.0 * (frame.len() + 64) as f64 / f64::from(baud));
        let start = Instant::now();
        'stage: loop {
            port.write_all(frame).context("cannot write to the port")?;
            let sent = Instant::now();
            'wait: while sent.elapsed() < again + carry {
                let count = port.read(&mut bytes).context("the port is gone")?;
                let mut heard = Heard::Nothing;
                for &byte in bytes.iter().take(count) {
                    let Some(Ok(message)) = deframer.push(byte) else {
                        continue;
                    };
                    let Some(reply) = decode::<Reply>(message) else {
                        continue;
                    };
                    match sender.heard(reply).map_err(explain)? {
                        Heard::Nothing => {}
                        other if heard != Heard::Progress => heard = other,
                        _ => {}
                    }
                }
                match heard {
                    Heard::Progress => break 'stage,
                    Heard::Repeat => break 'wait,
                    Heard::Nothing => {}
                }
            }
            if start.elapsed() > limit {
                bail!(silence(stage, limit));
            }
            tally.repeated += 1;
        }
        report(sender.stage());
    }
    Ok(tally)
}

fn silence(stage: Stage, limit: Duration) -> String {
    let seconds = limit.as_secs();
    match stage {
        Stage::Calling => format!(
            "nobody answered for {seconds} s\n  Is the board on, has it firmware that takes \
             weights over this line, and is --baud what that firmware uses?"
        ),
        Stage::Beginning => format!(
            "the device answered, and was then silent for {seconds} s while it made room: \
             send again"
        ),
        Stage::Sending { offset } => format!(
            "the device fell silent after {offset} bytes, for {seconds} s: check the cable and \
             send again; the device keeps what it had"
        ),
        Stage::Finishing | Stage::Done { .. } => format!(
            "all bytes arrived, but the device has not said within {seconds} s that they are \
             active: ask it by sending again"
        ),
    }
}

/// What a person can do about it.
fn explain(trouble: Trouble) -> anyhow::Error {
    let advice = match trouble {
        Trouble::Version { .. } => "use the tiny-ddpm that the firmware was built with",
        Trouble::NotSigned | Trouble::Refused(Refusal::SignatureMissing) => {
            "sign it on the way with --key FILE, or beforehand with `tiny-ddpm sign`"
        }
        Trouble::TooLarge { .. } | Trouble::Refused(Refusal::TooLarge { .. }) => {
            "`tiny-ddpm repack --target portable` makes a blob smaller"
        }
        Trouble::Refused(Refusal::SignatureWrong) => {
            "sign it with the key whose public half is in the firmware"
        }
        Trouble::Refused(Refusal::Unfit(Unfit::Memory { .. })) => {
            "build the firmware for this model, or send a smaller one"
        }
        Trouble::Refused(Refusal::Unfit(Unfit::Invalid)) => {
            "this tiny-ddpm finds it valid: bring the firmware up to date"
        }
        Trouble::Refused(Refusal::Flash { .. } | Refusal::Record) => {
            "its flash may be worn; it keeps what it had"
        }
        _ => "send again; the device keeps what it had",
    };
    anyhow!("{trouble}\n  {advice}")
}
