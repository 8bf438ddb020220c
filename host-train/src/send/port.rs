//! Lines to a device: serial ports, what poses as one, and TCP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serial2::SerialPort;

/// How long a read waits for something to come.
const TICK: Duration = Duration::from_millis(10);
/// How long a line may refuse to take bytes.
const STUCK: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);

/// An open line.
#[derive(Debug)]
pub enum Port {
    /// A serial port, or a pseudo-terminal.
    Serial(SerialPort),
    /// An emulator, or a converter on the network.
    Tcp(TcpStream),
}

impl Port {
    /// Opens `tcp:HOST:PORT`, or a serial port by its name.
    ///
    /// # Errors
    /// Where it cannot be opened; the message lists the ports that there are.
    pub fn open(name: &str, baud: u32) -> Result<Self> {
        if let Some(address) = name.strip_prefix("tcp:") {
            return Self::connect(address)
                .with_context(|| format!("cannot connect to {address}"))
                .map(Self::Tcp);
        }
        let open = || -> io::Result<SerialPort> {
            let mut port = SerialPort::open(name, baud)?;
            port.set_read_timeout(TICK)?;
            port.set_write_timeout(STUCK)?;
            port.discard_input_buffer()?;
            Ok(port)
        };
        open().map(Self::Serial).map_err(|error| {
            let advice = match error.kind() {
                ErrorKind::PermissionDenied => {
                    "you may not use it; on most Linux systems members of the group dialout may:\n  \
                     sudo usermod -aG dialout $USER    and log in again"
                        .to_owned()
                }
                ErrorKind::InvalidInput | ErrorKind::Unsupported => {
                    format!("it may not know {baud} baud: try --baud 115200")
                }
                _ => there_are(),
            };
            anyhow!("cannot open the port {name}: {error}\n  {advice}")
        })
    }

    fn connect(address: &str) -> io::Result<TcpStream> {
        let mut last = ErrorKind::NotFound.into();
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(TICK))?;
                    stream.set_write_timeout(Some(STUCK))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// What has come, or comes soon; nothing is no error.
    ///
    /// # Errors
    /// Where the line is gone.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match self {
            Self::Serial(port) => port.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        };
        match result {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted
                ) =>
            {
                Ok(0)
            }
            result => result,
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// Where the line is gone, or takes nothing for ten seconds.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Serial(port) => port.write_all(bytes),
            Self::Tcp(stream) => stream.write_all(bytes),
        }
    }
}

/// The serial ports of this computer, as an advice.
#[must_use]
pub fn there_are() -> String {
    let mut ports = SerialPort::available_ports().unwrap_or_default();
    ports.sort();
    if ports.is_empty() {
        return "this computer has no serial port: is the board plugged in?".to_owned();
    }
    let names: Vec<String> = ports
        .iter()
        .map(|port| port.display().to_string())
        .collect();
    format!("serial ports: {}", names.join(", "))
}
