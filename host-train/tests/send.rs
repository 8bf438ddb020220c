//! `tiny-ddpm keygen`, `sign` and `send` as a user meets them. An emulated
//! board is at the other end in `xtask/tests/field.rs`; here it is a thread.

#[path = "../../slots/tests/common/mod.rs"]
mod flash;

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use ed25519_compact::{PublicKey, Signature};
use flash::MockFlash;
use tempfile::TempDir;
use tiny_ddpm_slots::{Key, Receiver, Region, Slots};

type Flash = MockFlash<4, 4096>;

fn blob() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/swiss-roll.tddpm")
}

fn tool(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiny-ddpm"));
    command.args(args).current_dir(folder);
    command.stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn succeeds(folder: &Path, args: &[&str]) -> String {
    let output = tool(folder, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Expects failure with these words and without a panic.
#[track_caller]
fn fails(folder: &Path, args: &[&str], words: &[&str]) {
    let output = tool(folder, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "was accepted");
    assert!(!error.contains("panicked"), "{error}");
    for word in words {
        assert!(error.contains(word), "should say {word:?}: {error}");
    }
}

/// A folder with a blob, and its keys.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::copy(blob(), folder.path().join("roll.tddpm")).unwrap();
    succeeds(folder.path(), &["keygen"]);
    folder
}

fn public_key(folder: &Path) -> PublicKey {
    PublicKey::from_pem(&fs::read_to_string(folder.join("weights.pub")).unwrap()).unwrap()
}

/// A device on a network port, with so much flash. Its slots come back.
fn device(slot_len: u32, key: Option<Key>) -> (String, JoinHandle<Slots<Flash>>) {
    device_with_echo(slot_len, key, Echo::None)
}

/// Who hears on a line what they sent themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Echo {
    None,
    /// The device: its input is its own output, too.
    Device,
    /// The sender.
    Sender,
    Both,
}

fn device_with_echo(
    slot_len: u32,
    key: Option<Key>,
    echo: Echo,
) -> (String, JoinHandle<Slots<Flash>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    let serve = move |mut stream: TcpStream| {
        let region = Region {
            offset: 0,
            slot_len,
        };
        let flash = Flash::new(2 * slot_len as usize);
        let mut slots = Slots::new(flash, region).unwrap();
        if let Some(key) = key {
            slots = slots.with_key(key);
        }
        let mut receiver = Receiver::<_, 600>::new(slots);
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            if matches!(echo, Echo::Sender | Echo::Both) {
                stream.write_all(&bytes[..count]).unwrap();
            }
            let mut heard: VecDeque<u8> = bytes[..count].iter().copied().collect();
            let mut said = 0;
            while let Some(byte) = heard.pop_front() {
                if let Some(reply) = receiver.push(byte, |_| Ok(())) {
                    said += reply.len();
                    assert!(said < 10_000, "the device talks to itself");
                    if matches!(echo, Echo::Device | Echo::Both) {
                        heard.extend(reply);
                    }
                    stream.write_all(reply).unwrap();
                }
            }
        }
        let slots = receiver.slots();
        let region = slots.region();
        Slots::new(slots.flash().clone(), region).unwrap()
    };
    let device = thread::spawn(move || serve(listener.accept().unwrap().0));
    (port, device)
}

#[test]
fn keys_are_private_and_never_overwritten() {
    let folder = folder();
    let folder = folder.path();
    let key = fs::read_to_string(folder.join("weights.key")).unwrap();
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"), "{key}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |name| {
            fs::metadata(folder.join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode("weights.key"), 0o600);
        assert_ne!(mode("weights.pub") & 0o400, 0);
    }
    fails(folder, &["keygen"], &["weights.key exists", "--out"]);
    fs::remove_file(folder.join("weights.key")).unwrap();
    fails(folder, &["keygen"], &["weights.pub exists"]);
    assert!(!folder.join("weights.key").exists());
    fails(folder, &["keygen", "--out", "a.pub"], &["a.pub"]);
    fails(
        folder,
        &["keygen", "--out", "no/such/a.key"],
        &["no/such/a.key"],
    );
    let other = succeeds(folder, &["keygen", "--out", "other.key"]);
    assert!(other.contains("other.pub") && other.contains("fingerprint"));
    assert_ne!(fs::read_to_string(folder.join("other.key")).unwrap(), key);
}

#[test]
fn signatures_are_plain_ed25519_over_the_blob() {
    let folder = folder();
    let folder = folder.path();
    succeeds(folder, &["sign", "roll.tddpm", "--key", "weights.key"]);
    let signature = fs::read(folder.join("roll.tddpm.sig")).unwrap();
    let blob = fs::read(blob()).unwrap();
    let signature = Signature::from_slice(&signature).unwrap();
    public_key(folder).verify(&blob, &signature).unwrap();

    let sign = |key| ["sign", "roll.tddpm", "--key", key];
    fails(folder, &sign("weights.pub"), &["is a public key"]);
    fails(folder, &sign("roll.tddpm"), &["roll.tddpm"]);
    fails(folder, &sign("nothing.key"), &["nothing.key"]);
    fails(
        folder,
        &["sign", "weights.pub", "--key", "weights.key"],
        &["no valid blob"],
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = fs::Permissions::from_mode(0o644);
        fs::set_permissions(folder.join("weights.key"), open).unwrap();
        let output = tool(folder, &sign("weights.key"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && error.contains("chmod 600"),
            "{error}"
        );
    }
}

#[test]
fn a_signed_blob_arrives() {
    let folder = folder();
    let folder = folder.path();
    let key = Key::new(*public_key(folder)).unwrap();
    succeeds(folder, &["sign", "roll.tddpm", "--key", "weights.key"]);
    for how in [["--key", "weights.key"], ["--signature", "roll.tddpm.sig"]] {
        let (port, device) = device(128 << 10, Some(key));
        let args = ["send", "roll.tddpm", "--port", &port];
        let text = succeeds(folder, &[&args[..], &how].concat());
        assert!(
            text.contains("update 1") && text.contains("none before"),
            "{text}"
        );
        let mut slots = device.join().unwrap().with_key(key);
        let place = slots.active().unwrap().place;
        let bytes = &slots.flash().bytes[place.offset as usize..][..place.length as usize];
        assert_eq!(bytes, fs::read(blob()).unwrap());
    }
}

/// As on two wires, or where a terminal echoes.
#[test]
fn a_blob_arrives_over_a_line_with_echo() {
    let folder = folder();
    for echo in [Echo::Device, Echo::Sender, Echo::Both] {
        let (port, device) = device_with_echo(128 << 10, None, echo);
        let text = succeeds(folder.path(), &["send", "roll.tddpm", "--port", &port]);
        assert!(!text.contains("repeated"), "{echo:?}: {text}");
        let mut slots = device.join().unwrap();
        let place = slots.active().unwrap().place;
        let bytes = &slots.flash().bytes[place.offset as usize..][..place.length as usize];
        assert_eq!(bytes, fs::read(blob()).unwrap(), "{echo:?}");
    }
}

#[test]
fn what_a_device_refuses_is_explained() {
    let folder = folder();
    let folder = folder.path();
    let (port, device_end) = device(64 << 10, None);
    let args = ["send", "roll.tddpm", "--port", &port];
    fails(folder, &args, &["107410 bytes", "room for 65408", "repack"]);
    assert!(device_end.join().unwrap().active().is_none());

    let key = Key::new(*public_key(folder)).unwrap();
    let (port, device_end) = device(128 << 10, Some(key));
    let args = ["send", "roll.tddpm", "--port", &port];
    fails(folder, &args, &["only signed blobs", "--key"]);
    assert!(device_end.join().unwrap().active().is_none());

    succeeds(folder, &["keygen", "--out", "other.key"]);
    let (port, device_end) = device(128 << 10, Some(key));
    let args = ["send", "roll.tddpm", "--key", "other.key", "--port", &port];
    fails(folder, &args, &["signature is not that", "public half"]);
    assert!(device_end.join().unwrap().active().is_none());
}

#[test]
fn what_cannot_be_sent_is_found_before_anything_is_opened() {
    let folder = folder();
    let folder = folder.path();
    let mut damaged = fs::read(blob()).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(folder.join("damaged.tddpm"), damaged).unwrap();
    // A port that does not exist, either.
    let port = "/dev/no-such-port";
    let send = |blob| ["send", blob, "--port", port];
    fails(
        folder,
        &send("damaged.tddpm"),
        &["damaged.tddpm", "copy or export it again"],
    );
    fails(folder, &send("nothing.tddpm"), &["nothing.tddpm"]);
    fails(folder, &send("roll.tddpm"), &[port, "serial port"]);
    fails(folder, &["send", "roll.tddpm"], &["--port", "serial port"]);
    let send = ["send", "roll.tddpm", "--port", "tcp:127.0.0.1:1"];
    fails(folder, &send, &["127.0.0.1:1"]);
    fs::write(folder.join("short.sig"), [0; 63]).unwrap();
    let signed = [&send[..], &["--signature", "short.sig"]].concat();
    fails(folder, &signed, &["63 bytes instead of 64"]);
    fails(folder, &[&send[..], &["--baud", "0"]].concat(), &["--baud"]);
}

/// The device goes away, or is none.
#[test]
fn a_line_that_ends_is_an_error() {
    let folder = folder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    let end = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"login: ").unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).unwrap();
    });
    let args = ["send", "roll.tddpm", "--port", &port];
    fails(folder.path(), &args, &["roll.tddpm was not installed"]);
    end.join().unwrap();
}
