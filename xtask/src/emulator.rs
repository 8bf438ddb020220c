//! Runs firmware in QEMU and reads its log.
//!
//! Lines that begin with `@` are for programs: a word that names the line,
//! then `name=value` words. Everything else is for people.

use crate::firmware::Firmware;
use crate::request::Request;
use crate::shell::{command, line};
use anyhow::{Context, Result, anyhow, bail};
use defmt_decoder::{DecodeError, Table};
use std::io::Read;
use std::process::{Child, ChildStdout, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// How long firmware may be silent: a sampling step takes a second.
const SILENCE: Duration = Duration::from_secs(120);

/// Something that firmware said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A sampling step is done.
    Step {
        /// The picture's number.
        picture: u64,
        /// Steps done.
        index: u16,
        /// Steps in all.
        of: u16,
        /// Instructions so far.
        ticks: u64,
    },
    /// A picture or point is finished; its rows of pixels or its values follow.
    Picture(Picture),
    /// A row of pixels.
    Row(Vec<u8>),
    /// The bits of a value of a point.
    Value(u32),
    /// What the counter counts.
    Unit(String),
    /// What the memory was used for.
    Memory(Memory),
    /// A line for people.
    Text(String),
}

/// A picture that the chip made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its number under the seed.
    pub number: u64,
    /// What it should show; -1 for nothing in particular.
    pub class: i16,
    /// The hash of its pixels, computed by the chip.
    pub hash: u32,
    /// The hash of x_0.
    pub state: u32,
    /// Instructions it took.
    pub ticks: u64,
    /// Grey values, row by row; of points none.
    pub pixels: Vec<u8>,
    /// The bits of x_0 where it is a point.
    pub values: Vec<u32>,
}

/// Bytes of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Code, constants and blob.
    pub flash: u64,
    /// The blob alone.
    pub blob: u64,
    /// Static buffers.
    pub buffers: u64,
    /// The deepest the stack went.
    pub stack_peak: u64,
    /// The deepest it could have gone.
    pub stack_room: u64,
}

/// A run from boot to exit.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Whether the firmware ended with success.
    pub success: bool,
    /// What it made.
    pub pictures: Vec<Picture>,
    /// What the counter counted: "instructions".
    pub unit: String,
    /// What the memory was used for, if it came so far.
    pub memory: Option<Memory>,
    /// The lines for people.
    pub log: Vec<String>,
}

/// Runs firmware on its emulated board, reporting what it says as it comes.
///
/// # Errors
/// If QEMU does not start, the log makes no sense, or the firmware is silent
/// for two minutes. That the firmware fails is no error: see [`Run::success`].
pub fn run(firmware: &Firmware, request: &Request, mut report: impl FnMut(&Event)) -> Result<Run> {
    let elf = std::fs::read(firmware.path())?;
    let table = Table::parse(&elf)?.ok_or_else(|| anyhow!("the firmware has no defmt log"))?;
    let mut decoder = table.new_stream_decoder();
    let mut qemu = Qemu::start(firmware, request)?;
    let mut run = Run::default();
    while let Some(bytes) = qemu.read()? {
        decoder.received(&bytes);
        loop {
            match decoder.decode() {
                Ok(frame) => {
                    let mut text = frame.display_message().to_string();
                    if let Some(level) = frame.level() {
                        text = format!("{}: {text}", level.as_str());
                    }
                    let event = Event::parse(text)?;
                    report(&event);
                    run.add(event);
                }
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) => bail!("the firmware's log cannot be decoded"),
            }
        }
    }
    run.success = qemu.child.wait()?.success();
    Ok(run)
}

impl Run {
    fn add(&mut self, event: Event) {
        match event {
            Event::Picture(picture) => self.pictures.push(picture),
            Event::Row(row) => {
                if let Some(picture) = self.pictures.last_mut() {
                    picture.pixels.extend(row);
                }
            }
            Event::Value(bits) => {
                if let Some(picture) = self.pictures.last_mut() {
                    picture.values.push(bits);
                }
            }
            Event::Unit(unit) => self.unit = unit,
            Event::Memory(memory) => self.memory = Some(memory),
            Event::Text(text) => self.log.push(text),
            Event::Step { .. } => {}
        }
    }
}

/// A running emulator; it ends with this value.
struct Qemu {
    child: Child,
    output: Receiver<Vec<u8>>,
}

impl Qemu {
    fn start(firmware: &Firmware, request: &Request) -> Result<Self> {
        let mut semihosting = String::from("enable=on,target=native");
        for word in request.words() {
            // QEMU takes a doubled comma for one.
            semihosting += &format!(",arg={}", word.replace(',', ",,"));
        }
        let mut qemu = command("qemu-system-arm");
        let board = firmware.board();
        qemu.args(["-machine", board.machine()])
            .args(["-display", "none", "-monitor", "none", "-serial", "none"])
            // All instructions take one time: the firmware's timer counts them.
            .args(["-icount"])
            .arg(format!("shift={},sleep=off,align=off", board.shift()))
            .args(["-semihosting-config", &semihosting])
            .arg("-kernel")
            .arg(firmware.path())
            .stdout(Stdio::piped());
        println!("$ {}", line(&qemu));
        let mut child = qemu.spawn().context(
            "qemu-system-arm could not be started; \
             `cargo xtask test` and `cargo xtask demo` install it",
        )?;
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| anyhow!("QEMU has no output"))?;
        let output = forward(stdout);
        Ok(Self { child, output })
    }

    /// The next bytes of the log; `None` at its end.
    fn read(&self) -> Result<Option<Vec<u8>>> {
        match self.output.recv_timeout(SILENCE) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(mpsc::RecvTimeoutError::Disconnected) => Ok(None),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!("the firmware has been silent for {SILENCE:?}")
            }
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Fails if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads in a thread, so that waiting can end.
pub(crate) fn forward(mut stdout: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Event {
    /// Reads a line of the log.
    pub(crate) fn parse(text: String) -> Result<Self> {
        let Some(rest) = text.strip_prefix('@') else {
            return Ok(Self::Text(text));
        };
        let (name, values) = rest.split_once(' ').unwrap_or((rest, ""));
        Self::parse_values(name, &Values(values))
            .with_context(|| format!("the firmware said \"{text}\""))
    }

    fn parse_values(name: &str, values: &Values<'_>) -> Result<Self> {
        Ok(match name {
            "step" => Self::Step {
                picture: values.number("picture")?,
                index: values.number("index")?,
                of: values.number("of")?,
                ticks: values.number("ticks")?,
            },
            "picture" => Self::Picture(Picture {
                number: values.number("number")?,
                class: values.number("class")?,
                hash: values.hex("hash")?,
                state: values.hex("state")?,
                ticks: values.number("ticks")?,
                pixels: Vec::new(),
                values: Vec::new(),
            }),
            "value" => Self::Value(values.hex("bits")?),
            "row" => Self::Row(values.bytes("pixels")?),
            "counter" => Self::Unit(values.text("unit")?.to_owned()),
            "memory" => Self::Memory(Memory {
                flash: values.number("flash")?,
                blob: values.number("blob")?,
                buffers: values.number("buffers")?,
                stack_peak: values.number("stack_peak")?,
                stack_room: values.number("stack_room")?,
            }),
            _ => bail!("a line of an unknown kind"),
        })
    }
}

/// `name=value` words.
pub(crate) struct Values<'t>(pub(crate) &'t str);

impl<'t> Values<'t> {
    fn text(&self, name: &str) -> Result<&'t str> {
        let words = self.0.split(' ');
        let mut values = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        values.next().ok_or_else(|| anyhow!("no {name}"))
    }

    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.text(name)?.parse().with_context(|| name.to_owned())
    }

    pub(crate) fn hex(&self, name: &str) -> Result<u32> {
        u32::from_str_radix(self.text(name)?, 16).with_context(|| name.to_owned())
    }

    /// A list in defmt's manner at the end of the line: `[00, 7f, ff]`.
    fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let list = self.0.split_once(&format!("{name}=["));
        let list = list.and_then(|(_, list)| list.strip_suffix(']'));
        let list = list.ok_or_else(|| anyhow!("no list of {name}"))?;
        list.split(", ")
            .map(|digits| u8::from_str_radix(digits, 16).with_context(|| name.to_owned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_programs_are_read() {
        let line = "@picture number=3 class=-1 hash=0000beef state=1 ticks=99".to_owned();
        let expected = Picture {
            number: 3,
            class: -1,
            hash: 0xbeef,
            state: 1,
            ticks: 99,
            pixels: Vec::new(),
            values: Vec::new(),
        };
        assert_eq!(Event::parse(line).unwrap(), Event::Picture(expected));
        let line = "@row picture=3 pixels=[00, ff, 80]".to_owned();
        assert_eq!(Event::parse(line).unwrap(), Event::Row(vec![0, 255, 128]));
        let line = "@value picture=3 bits=bf800000".to_owned();
        let bits = (-1.0_f32).to_bits();
        assert_eq!(Event::parse(line).unwrap(), Event::Value(bits));
    }

    #[test]
    fn a_line_that_makes_no_sense_is_shown_in_the_error() {
        let error = Event::parse("@step picture=x".to_owned()).unwrap_err();
        assert!(
            format!("{error:#}").contains("@step picture=x"),
            "{error:#}"
        );
    }

    #[test]
    fn lines_for_people_stay_as_they_are() {
        let text = "INFO a = b".to_owned();
        assert_eq!(Event::parse(text.clone()).unwrap(), Event::Text(text));
    }
}
