//! `tiny-ddpm send` and an emulated board, over its serial line: through
//! noise, with wrong signatures, and with power that fails.
//!
//! Needs a Cortex-M toolchain and QEMU: `cargo xtask test` installs both.

#[path = "../../core/tests/common/mod.rs"]
mod common;

use ed25519_compact::{KeyPair, Seed};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;
use tiny_ddpm::{Model, Topology};
use xtask::emulator::Event;
use xtask::field::{self, Emulated, Line, Said};
use xtask::request::Request;
use xtask::setup::{Toolchain, has_qemu};
use xtask::shell::command;
use xtask::{DIGITS, SWISS_ROLL, host, root};

/// The key that the firmware trusts, and another.
fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(Seed::new([seed; 32]))
}

/// Bytes of the stack, as `firmware/memory` states them.
const STACK: u64 = 32 << 10;

const RIGHT: u8 = 7;
const WRONG: u8 = 8;

static FIRMWARE: LazyLock<PathBuf> = LazyLock::new(|| {
    let toolchain = Toolchain::find(&["thumbv7em-none-eabihf"])
        .expect("no toolchain for Cortex-M: `cargo xtask test` installs one");
    assert!(has_qemu(), "no QEMU: `cargo xtask test` installs it");
    let folder = root().join("firmware/target");
    fs::create_dir_all(&folder).unwrap();
    let key = folder.join("field-test.pub");
    let pem = pair(RIGHT).pk.to_pem();
    // Untouched it need not be built again.
    if fs::read_to_string(&key).ok().as_deref() != Some(&pem) {
        fs::write(&key, pem).unwrap();
    }
    field::build(toolchain, &root().join(DIGITS), &key).unwrap()
});

/// The command line tool as a user has it.
static TOOL: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut cargo = command("cargo");
    cargo
        .args(["build", "--locked", "--profile", "xtask"])
        .args(["--package", "tiny-ddpm-train", "--no-default-features"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root())
        .stderr(Stdio::inherit());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "tiny-ddpm cannot be built");
    let messages = String::from_utf8(output.stdout).unwrap();
    let path = messages.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        Some(PathBuf::from(rest.split_once('"')?.0))
    });
    path.expect("cargo names no program")
});

/// `tiny-ddpm send`, begun.
fn begin(blob: &Path, port: &str, key: Option<u8>) -> Sending {
    let folder = tempfile::tempdir().unwrap();
    let mut send = Command::new(&*TOOL);
    send.arg("send").arg(blob).args(["--port", port]);
    // What this line can do, as far as anybody can tell.
    send.args(["--baud", "921600"]);
    if let Some(seed) = key {
        let path = folder.path().join("test.key");
        fs::write(&path, pair(seed).sk.to_pem()).unwrap();
        send.arg("--key").arg(path);
    }
    send.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Sending {
        child: send.spawn().unwrap(),
        _folder: folder,
    }
}

struct Sending {
    child: std::process::Child,
    _folder: tempfile::TempDir,
}

impl Sending {
    fn end(self) -> (bool, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.child.wait_with_output().unwrap();
        let text = [stdout, stderr].concat();
        (
            status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    #[track_caller]
    fn succeeds(self, words: &[&str]) {
        let (success, text) = self.end();
        assert!(success, "{text}");
        for word in words {
            assert!(text.contains(word), "no {word:?} in {text}");
        }
    }

    #[track_caller]
    fn fails(self, words: &[&str]) {
        let (success, text) = self.end();
        assert!(!success, "{text}");
        assert!(!text.contains("panicked"), "{text}");
        for word in words {
            assert!(text.contains(word), "no {word:?} in {text}");
        }
    }
}

/// A network port in front of the board's line, as bad as is wished.
#[derive(Debug, Default)]
struct Noise {
    /// One of so many bytes is changed or lost on the way to the board, and
    /// on the way back; 0 is none.
    there: AtomicU64,
    back: AtomicU64,
    /// Bytes that came through to the board, and what was done to them.
    passed: AtomicU64,
    faults: AtomicU64,
}

impl Noise {
    fn before(line: &Path) -> (Arc<Self>, String) {
        let noise = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (shared, line) = (noise.clone(), line.to_owned());
        thread::spawn(move || {
            for host in listener.incoming().map_while(Result::ok) {
                let Ok(board) = UnixStream::connect(&line) else {
                    return;
                };
                let [a, b] = [(); 2].map(|()| shared.clone());
                let (mut host_out, mut board_in) =
                    (host.try_clone().unwrap(), board.try_clone().unwrap());
                let (mut host_in, mut board_out) = (host, board);
                let back = thread::spawn(move || {
                    a.carry(&mut board_in, &mut host_out, &a.back, false);
                });
                b.carry(&mut host_in, &mut board_out, &b.there, true);
                let _ = board_out.shutdown(Shutdown::Both);
                let _ = back.join();
            }
        });
        (noise, format!("tcp:127.0.0.1:{port}"))
    }

    fn carry(&self, from: &mut impl Read, to: &mut impl Write, every: &AtomicU64, there: bool) {
        let mut buffer = [0; 512];
        let mut since = 0;
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut bytes = Vec::with_capacity(count);
            for &byte in &buffer[..count] {
                since += 1;
                let every = every.load(SeqCst);
                if every == 0 || since < every {
                    bytes.push(byte);
                    continue;
                }
                since = 0;
                // In turn changed and lost.
                if self.faults.fetch_add(1, SeqCst).is_multiple_of(2) {
                    bytes.push(byte ^ 0x10);
                }
            }
            if to.write_all(&bytes).is_err() {
                return;
            }
            if there {
                self.passed.fetch_add(count as u64, SeqCst);
            }
        }
    }
}

fn weights(said: &Said) -> Option<(u32, u32)> {
    match *said {
        Said::Weights { sequence, crc } => Some((sequence, crc)),
        Said::NoWeights => Some((0, 0)),
        _ => None,
    }
}

/// The hash of x_0 of the next picture or point.
fn state(said: &Said) -> Option<u32> {
    match said {
        Said::Other(Event::Picture(picture)) => Some(picture.state),
        Said::NoWeights => panic!("the board has no weights"),
        _ => None,
    }
}

/// That it listens; what has run by then left half of the stack alone.
fn listening(said: &Said) -> Option<()> {
    let &Said::Listening {
        stack_peak,
        stack_room,
    } = said
    else {
        return None;
    };
    println!("stack: {stack_peak} of {stack_room} bytes");
    assert_eq!(stack_room, STACK);
    assert!(stack_peak <= STACK / 2, "{stack_peak} bytes of stack");
    Some(())
}

fn crc(blob: &[u8]) -> u32 {
    tiny_ddpm::picture::picture_hash(blob)
}

/// A network of some 30 KB, so that an emulated line has it soon.
fn topology() -> Topology {
    Topology {
        image_size: 16,
        embedding: 32,
        ..common::small_topology()
    }
}

/// What the host makes of the same request.
fn expected(blob: &[u8], request: &Request) -> u32 {
    let model = Model::load(blob).unwrap();
    host::generate(&model, request).unwrap()[0].state
}

#[test]
fn weights_arrive_through_noise_and_power_cuts_and_only_with_their_signature() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = [1, 2].map(|seed| common::random_blob(topology(), seed));
    let [old_path, new_path] = [("old", &old), ("new", &new)].map(|(name, blob)| {
        let path = folder.path().join(name);
        fs::write(&path, blob).unwrap();
        path
    });
    let request = Request {
        steps: 2,
        classes: vec![2],
        ..Request::recommended(&Model::load(&old).unwrap())
    };
    let mut board = Emulated::start(&FIRMWARE, &request, Line::Socket).unwrap();
    let (noise, port) = Noise::before(board.line());
    assert_eq!(board.wait_for(weights).unwrap(), (0, 0));
    board.wait_for(listening).unwrap();

    // Not without a signature, and not with somebody else's.
    begin(&old_path, &port, None).fails(&["only signed blobs", "--key"]);
    begin(&old_path, &port, Some(WRONG)).fails(&["the device refused", "signature"]);

    noise.there.store(1_501, SeqCst);
    noise.back.store(211, SeqCst);
    begin(&old_path, &port, Some(RIGHT)).succeeds(&["update 1", "none before", "repeated"]);
    assert!(noise.faults.load(SeqCst) >= 10, "{noise:?}");
    noise.there.store(0, SeqCst);
    noise.back.store(0, SeqCst);
    // The refused update did not become active.
    assert_eq!(board.wait_for(weights).unwrap(), (1, crc(&old)));
    let picture = expected(&old, &request);
    assert_eq!(board.wait_for(state).unwrap(), picture);
    board.wait_for(listening).unwrap();

    // Power fails when half has arrived.
    let start = noise.passed.load(SeqCst);
    let sending = begin(&new_path, &port, Some(RIGHT));
    while noise.passed.load(SeqCst) < start + new.len() as u64 / 2 {
        thread::sleep(Duration::from_millis(1));
    }
    board.cut_power().unwrap();
    sending.fails(&["restarted", "send again"]);
    assert_eq!(board.wait_for(weights).unwrap(), (1, crc(&old)));
    assert_eq!(board.wait_for(state).unwrap(), picture);

    begin(&new_path, &port, Some(RIGHT)).succeeds(&["update 2", "before: update 1"]);
    assert_eq!(board.wait_for(weights).unwrap(), (2, crc(&new)));
    let picture = expected(&new, &request);
    assert_eq!(board.wait_for(state).unwrap(), picture);
    board.cut_power().unwrap();
    assert_eq!(board.wait_for(weights).unwrap(), (2, crc(&new)));
    assert_eq!(board.wait_for(state).unwrap(), picture);
    // Having checked a signature at boot.
    board.wait_for(listening).unwrap();
}

/// The same by the code for serial ports; and a model that is too much for
/// the board.
#[test]
fn a_pseudo_terminal_is_a_serial_port() {
    let path = root().join(SWISS_ROLL);
    let points = fs::read(&path).unwrap();
    let request = Request {
        steps: 3,
        count: 1,
        ..Request::recommended(&Model::load(&points).unwrap())
    };
    let mut board = Emulated::start(&FIRMWARE, &request, Line::Terminal).unwrap();
    board.wait_for(listening).unwrap();
    let port = board.line().to_str().unwrap().to_owned();

    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.tddpm");
    let topology = Topology {
        image_size: 64,
        ..common::small_topology()
    };
    fs::write(&large, common::random_blob(topology, 1)).unwrap();
    begin(&large, &port, Some(RIGHT)).fails(&["the device refused", "bytes of buffers"]);

    begin(&path, &port, Some(RIGHT)).succeeds(&["update 1", "none before"]);
    assert_eq!(board.wait_for(weights).unwrap(), (1, crc(&points)));
    assert_eq!(board.wait_for(state).unwrap(), expected(&points, &request));
}
