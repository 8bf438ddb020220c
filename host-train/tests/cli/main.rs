//! The commands that need no training, as a user meets them: the files, what is
//! printed, and a message for everything that can be wrong.

mod cards;
mod destinations;
#[cfg(feature = "explain")]
mod explain;
mod inspect;
#[cfg(feature = "explain")]
#[path = "../common/page.rs"]
mod page;
mod points;
mod repack;
mod sample;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use npyz::NpyFile;
use serde_json::Value;
use tempfile::TempDir;
use tiny_ddpm::blob::header;
use tiny_ddpm::blob::records::Record;
use tiny_ddpm::graph::Stage;
use tiny_ddpm::picture::{picture_hash, to_pixels};
use tiny_ddpm::{Buffers, Method, Model, Sampler, Settings, Spacing, Unet};

/// The models that ship.
fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

/// The model that these tests use.
fn blob() -> PathBuf {
    models().join("digits.tddpm")
}

/// The model for points.
fn roll() -> PathBuf {
    models().join("swiss-roll.tddpm")
}

fn tool() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiny-ddpm"));
    command.stdin(Stdio::null());
    command
}

/// The tool with these arguments, to its end.
fn run(args: &[&str]) -> Output {
    tool().args(args).output().unwrap()
}

/// `tiny-ddpm sample` with the test's model.
fn sample(out: &Path, args: &[&str]) -> Output {
    sample_of(&blob(), out, args)
}

/// The same with any model.
fn sample_of(blob: &Path, out: &Path, args: &[&str]) -> Output {
    let mut command = tool();
    command.arg("sample").arg(blob).arg("--out").arg(out);
    command.args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// Expects failure with these words and without a panic.
#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let message = stderr(output);
    assert!(!output.status.success(), "was accepted");
    assert!(!message.contains("panicked"), "{message}");
    for word in words {
        assert!(message.contains(word), "should say {word:?}: {message}");
    }
}

fn array(path: &Path) -> (Vec<u64>, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let array = NpyFile::new(&bytes[..]).unwrap();
    (array.shape().to_vec(), array.into_vec().unwrap())
}

fn labels(out: &Path) -> Vec<i64> {
    let bytes = fs::read(out.join("labels.npy")).unwrap();
    NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn help_names_every_command() {
    let help = run(&["--help"]);
    succeeded(&help);
    for word in ["train", "export", "repack", "sample", "inspect", "Examples"] {
        assert!(stdout(&help).contains(word), "{word}");
    }
    for command in ["sample", "inspect", "repack"] {
        let help = run(&[command, "--help"]);
        succeeded(&help);
        let examples = format!("tiny-ddpm {command} models/digits.tddpm");
        assert!(stdout(&help).contains(&examples), "{}", stdout(&help));
    }
    refused(&run(&["draw"]), &["draw"]);
    refused(&run(&[]), &["Usage"]);
}

/// Every command has a help in every build. Where the build lacks the command, its
/// help is what the command itself then says.
#[test]
fn help_works_in_every_build() {
    let training = cfg!(feature = "train");
    for (command, feature, built) in [
        ("train", "--features train", training),
        ("export", "--features train", training),
        ("evaluate", "--features train", training),
        ("explain", "tiny-ddpm-train ", cfg!(feature = "explain")),
        ("sample", "", true),
        ("inspect", "", true),
        ("repack", "", true),
        ("send", "", true),
        ("keygen", "", true),
        ("sign", "", true),
    ] {
        let help = run(&[command, "--help"]);
        succeeded(&help);
        assert!(stderr(&help).is_empty(), "{}", stderr(&help));
        let text = stdout(&help);
        if built {
            assert!(text.contains("Usage"), "{text}");
            continue;
        }
        for word in [
            command,
            "without",
            "cargo build --release",
            feature,
            "minutes",
        ] {
            assert!(text.contains(word), "{word:?} is missing in\n{text}");
        }
        for same in [
            &["help", command] as &[&str],
            &[command, "-h"],
            &[command, "--preset", "digits", "--help"],
        ] {
            let same = run(same);
            succeeded(&same);
            assert_eq!(stdout(&same).trim_end(), text.trim_end());
        }
        for args in [&[command] as &[&str], &[command, "digits", "--count", "3"]] {
            let output = run(args);
            assert_eq!(output.status.code(), Some(1));
            assert_eq!(stderr(&output), format!("error: {text}"));
            assert!(output.stdout.is_empty());
        }
    }
}

#[test]
fn the_version_says_what_was_built_in() {
    let version = run(&["--version"]);
    succeeded(&version);
    let text = stdout(&version);
    let mut lines = text.lines();
    let first = concat!("tiny-ddpm ", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines.next(), Some(first));
    let mut listed = |name: &str| -> Vec<String> {
        let (line_name, names) = lines.next().unwrap().split_once(": ").unwrap();
        assert_eq!(line_name, name);
        names.split(", ").map(str::to_owned).collect()
    };
    let (features, backends) = (listed("features"), listed("training backends"));
    for (feature, backend, built) in [
        ("explain", "", cfg!(feature = "explain")),
        ("train", "flex", cfg!(feature = "train")),
        ("wgpu", "wgpu", cfg!(feature = "wgpu")),
        ("ndarray", "ndarray", cfg!(feature = "ndarray")),
    ] {
        assert_eq!(features.iter().any(|f| f == feature), built, "{text}");
        let listed = backends.iter().any(|b| b == backend);
        assert_eq!(listed, built && !backend.is_empty(), "{text}");
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let mut child = tool()
        .arg("inspect")
        .arg(blob())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    succeeded(&output);
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let output = tool()
        .arg("inspect")
        .arg(blob())
        .stdout(full.unwrap())
        .output()
        .unwrap();
    refused(&output, &["standard output"]);
}

#[test]
#[cfg(unix)]
fn ctrl_c_leaves_nothing_half_written() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let mut child = tool()
        .arg("sample")
        .arg(blob())
        .arg("--out")
        .arg(&out)
        .args(["--count", "100000", "--steps", "1000"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Made when everything is checked and before the first step.
    while !out.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    refused(&output, &["stopped", "nothing was written"]);
    assert!(names(&out).is_empty(), "{:?}", names(&out));
}
