//! Firmware whose weights are replaced over a serial line, on an emulated
//! board that has one: QEMU's `mps2-an386`.

use crate::emulator::{Event, Values, forward};
use crate::firmware::{self, Board};
use crate::request::Request;
use crate::setup::Toolchain;
use crate::shell::{command, line, run};
use anyhow::{Context, Result, anyhow, bail};
use defmt_decoder::{DecodeError, Table};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the board may have nothing to say.
const SILENCE: Duration = Duration::from_secs(120);

/// A cargo command for the firmware that takes weights over a line.
#[must_use]
pub fn cargo(toolchain: Toolchain, subcommand: &str) -> Command {
    let mut cargo = firmware::cargo(toolchain, Board::Stm32f405, subcommand);
    cargo
        .args(["--bin", "tiny-ddpm-field"])
        .env_remove("TINY_DDPM_KEY");
    cargo
}

/// Builds it for the emulator, with buffers for the model `blob`, and the
/// public key in a file.
///
/// # Errors
/// If the blob is no model, the key none, or cargo fails.
pub fn build(toolchain: Toolchain, blob: &Path, key: &Path) -> Result<PathBuf> {
    run(cargo(toolchain, "build")
        .args(["--features", "field"])
        .env("TINY_DDPM_BLOB", std::path::absolute(blob)?)
        .env("TINY_DDPM_KEY", std::path::absolute(key)?))?;
    let board = Board::Stm32f405;
    Ok(crate::root()
        .join("firmware/target")
        .join(board.target())
        .join(board.profile())
        .join("tiny-ddpm-field"))
}

/// What a board said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It has weights, and begins to make pictures.
    Weights {
        /// The how-manieth update they are.
        sequence: u32,
        /// Their CRC-32.
        crc: u32,
    },
    /// It has none.
    NoWeights,
    /// It does nothing but listen.
    Listening {
        /// The deepest its stack went.
        stack_peak: u64,
        /// How deep it may go.
        stack_room: u64,
    },
    /// Something that other firmware says, too.
    Other(Event),
}

/// Where the board's serial line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// At a Unix socket.
    Socket,
    /// At a pseudo-terminal.
    Terminal,
}

/// A board that is on. It is off when this is dropped.
#[derive(Debug)]
pub struct Emulated {
    qemu: Child,
    said: Receiver<Result<Said>>,
    monitor: UnixStream,
    line: PathBuf,
    _folder: TempDir,
}

impl Emulated {
    /// Switches a board on that will make the pictures of `request`.
    ///
    /// # Errors
    /// If QEMU cannot be started or the firmware is none.
    pub fn start(firmware: &Path, request: &Request, end: Line) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let [line_path, monitor_path] = ["line", "monitor"].map(|name| folder.path().join(name));
        let socket = |id: &str, path: &Path| {
            let path = path.display();
            format!("socket,id={id},path={path},server=on,wait=off")
        };
        let mut semihosting = String::from("enable=on,target=native");
        for word in request.words() {
            semihosting += &format!(",arg={}", word.replace(',', ",,"));
        }
        let mut qemu = command("qemu-system-arm");
        qemu.args(["-machine", "mps2-an386", "-display", "none"])
            .arg("-chardev")
            .arg(match end {
                Line::Socket => socket("line", &line_path),
                Line::Terminal => "pty,id=line".to_owned(),
            })
            .args(["-serial", "chardev:line", "-chardev"])
            .arg(socket("monitor", &monitor_path))
            .args(["-mon", "chardev=monitor,mode=readline"])
            .args(["-semihosting-config", &semihosting])
            .arg("-kernel")
            .arg(firmware)
            .stdout(Stdio::piped());
        println!("$ {}", line(&qemu));
        let mut qemu = qemu
            .spawn()
            .context("qemu-system-arm could not be started; `cargo xtask test` installs it")?;
        let stdout = qemu.stdout.take().context("QEMU has no output")?;
        let (sender, said) = mpsc::channel();
        let elf = std::fs::read(firmware)?;
        let log = forward(stdout);
        std::thread::spawn(move || {
            if let Err(error) = listen(&elf, &log, &sender) {
                // Nobody may be interested any more.
                let _ = sender.send(Err(error));
            }
        });
        let monitor = connect(&monitor_path)?;
        let mut board = Self {
            qemu,
            said,
            monitor,
            line: line_path,
            _folder: folder,
        };
        board.prompt()?;
        if end == Line::Terminal {
            board.line = board.terminal()?;
        }
        Ok(board)
    }

    /// The path of the socket or the pseudo-terminal.
    #[must_use]
    pub fn line(&self) -> &Path {
        &self.line
    }

    /// Waits for what `pick` picks.
    ///
    /// # Errors
    /// If the board has been silent for two minutes, has ended, or its log
    /// makes no sense.
    pub fn wait_for<T>(&mut self, mut pick: impl FnMut(&Said) -> Option<T>) -> Result<T> {
        loop {
            let said = match self.said.recv_timeout(SILENCE) {
                Ok(said) => said?,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    bail!("the board has been silent for {SILENCE:?}")
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the board has ended"),
            };
            if let Some(picked) = pick(&said) {
                return Ok(picked);
            }
        }
    }

    /// Takes power away and gives it back. What is in flash stays.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn cut_power(&mut self) -> Result<()> {
        self.ask("system_reset").map(|_| ())
    }

    fn terminal(&mut self) -> Result<PathBuf> {
        let answer = self.ask("info chardev")?;
        let path = answer.lines().find_map(|line| {
            let path = line.trim().strip_prefix("line: filename=pty:")?;
            Some(PathBuf::from(path))
        });
        path.with_context(|| format!("QEMU tells of no terminal: {answer}"))
    }

    fn ask(&mut self, command: &str) -> Result<String> {
        self.monitor.write_all(format!("{command}\n").as_bytes())?;
        self.prompt()
    }

    /// What QEMU's monitor says up to its prompt.
    fn prompt(&mut self) -> Result<String> {
        let mut text = Vec::new();
        let mut bytes = [0; 256];
        while !text.ends_with(b"(qemu) ") {
            let count = self.monitor.read(&mut bytes).context("QEMU's monitor")?;
            if count == 0 {
                bail!("QEMU's monitor is gone");
            }
            text.extend_from_slice(&bytes[..count]);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        // Fails if it has ended, which is what is wanted.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// QEMU makes its sockets some time after it starts.
fn connect(path: &Path) -> Result<UnixStream> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => {
                stream.set_read_timeout(Some(SILENCE))?;
                return Ok(stream);
            }
            Err(error) if start.elapsed() > Duration::from_secs(30) => {
                return Err(error).context("QEMU's monitor does not answer");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Decodes the log as it comes.
fn listen(elf: &[u8], log: &Receiver<Vec<u8>>, said: &Sender<Result<Said>>) -> Result<()> {
    let table = Table::parse(elf)?.ok_or_else(|| anyhow!("the firmware has no defmt log"))?;
    let mut decoder = table.new_stream_decoder();
    while let Ok(bytes) = log.recv() {
        decoder.received(&bytes);
        loop {
            match decoder.decode() {
                Ok(frame) => {
                    let mut text = frame.display_message().to_string();
                    if let Some(level) = frame.level() {
                        text = format!("{}: {text}", level.as_str());
                    }
                    if said.send(Said::parse(text)).is_err() {
                        return Ok(());
                    }
                }
                Err(DecodeError::UnexpectedEof) => break,
                // Power failed within a line.
                Err(DecodeError::Malformed) if table.encoding().can_recover() => {}
                Err(DecodeError::Malformed) => bail!("the firmware's log cannot be decoded"),
            }
        }
    }
    Ok(())
}

impl Said {
    fn parse(text: String) -> Result<Self> {
        match text.split_once(' ').unwrap_or((&text, "")) {
            ("@listening", values) => {
                let values = Values(values);
                Ok(Self::Listening {
                    stack_peak: values.number("stack_peak")?,
                    stack_room: values.number("stack_room")?,
                })
            }
            ("@weights", "none") => Ok(Self::NoWeights),
            ("@weights", values) => {
                let values = Values(values);
                Ok(Self::Weights {
                    sequence: values.number("sequence")?,
                    crc: values.hex("crc")?,
                })
            }
            _ => Event::parse(text).map(Self::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read() {
        let line = "@weights slot=1 sequence=7 length=9 crc=0000beef".to_owned();
        let (sequence, crc) = (7, 0xbeef);
        assert_eq!(Said::parse(line).unwrap(), Said::Weights { sequence, crc });
        let none = Said::parse("@weights none".to_owned());
        assert_eq!(none.unwrap(), Said::NoWeights);
        assert!(Said::parse("@weights crc=x".to_owned()).is_err());
    }
}
