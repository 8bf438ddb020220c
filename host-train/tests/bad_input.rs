//! Wrong input to `tiny-ddpm train`: a message that names what is wrong, a
//! non-zero exit, and nothing left behind.

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use common::{arg, stderr, subset, train};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

/// Runs with the smoke preset, expects failure and these words.
fn refused(args: &[&str], words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut all = vec!["--out", arg(&out)];
    if !args.contains(&"--preset") && !args.contains(&"--config") {
        all.extend(["--preset", "smoke"]);
    }
    let data = subset();
    if !args.contains(&"--data") {
        all.extend(["--data", arg(&data)]);
    }
    all.extend(args);
    let output = train(&all);
    let message = stderr(&output);
    assert!(
        output.status.code().is_some_and(|code| code != 0),
        "{args:?}: {message}"
    );
    for word in words {
        assert!(
            message.contains(word),
            "{args:?} should say {word:?}: {message}"
        );
    }
    assert!(!message.contains("panicked"), "{message}");
    assert!(!out.exists(), "{args:?} left a run behind");
}

/// A copy of the subset in which one file is replaced.
fn data_with(name: &str, bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(subset()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    // A raw file goes before a gzipped one.
    fs::write(folder.path().join(name), bytes).unwrap();
    folder
}

fn unpacked(name: &str) -> Vec<u8> {
    let bytes = fs::read(subset().join(format!("{name}.gz"))).unwrap();
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut unpacked)
        .unwrap();
    unpacked
}

fn refused_data(name: &str, bytes: &[u8], words: &[&str]) {
    let folder = data_with(name, bytes);
    let mut all = vec![name];
    all.extend(words);
    refused(&["--data", arg(folder.path())], &all);
}

const IMAGES: &str = "train-images-idx3-ubyte";
const LABELS: &str = "train-labels-idx1-ubyte";

#[test]
fn wrong_magic() {
    let mut bytes = unpacked(IMAGES);
    bytes[3] = 1;
    refused_data(
        IMAGES,
        &bytes,
        &["magic number is 0x00000801", "0x00000803"],
    );
    refused_data(LABELS, b"hello, world", &["magic number", "0x00000801"]);
    refused_data(LABELS, b"", &["too short"]);
}

#[test]
fn wrong_length() {
    let bytes = unpacked(IMAGES);
    refused_data(
        IMAGES,
        &bytes[..bytes.len() - 1],
        &["401408 bytes but 401407", "cut short"],
    );
    refused_data(IMAGES, &bytes[..9], &["header is cut short"]);
    let longer = [&bytes[..], &[0]].concat();
    refused_data(IMAGES, &longer, &["401408 bytes but 401409"]);
    let mut fewer = unpacked(LABELS);
    fewer.pop();
    fewer[6..8].copy_from_slice(&511u16.to_be_bytes());
    refused_data(LABELS, &fewer, &["512 pictures", "511 labels"]);
}

#[test]
fn no_pictures() {
    let header = [0x803u32, 0, 28, 28].map(u32::to_be_bytes).concat();
    refused_data(IMAGES, &header, &["no pictures"]);
}

#[test]
fn truncated_gzip() {
    let name = format!("{IMAGES}.gz");
    let bytes = fs::read(subset().join(&name)).unwrap();
    refused_data(&name, &bytes[..bytes.len() / 2], &["damaged or cut short"]);
    refused_data(&name, b"not gzip at all", &["is a text file"]);
    let page = b"<html><body>404</body></html>";
    refused_data(
        &name,
        page,
        &["is an HTML page, probably a download that failed"],
    );
}

#[test]
fn label_12() {
    let mut bytes = unpacked(LABELS);
    bytes[8 + 40] = 12;
    refused_data(LABELS, &bytes, &["label 12 at index 40", "0 to 9"]);
}

#[test]
fn classes_without_pictures() {
    let (_folder, path) = config_with("classes = 10", "classes = 27");
    refused(
        &["--config", arg(&path)],
        &[LABELS, "labels 10, 11", "have no picture", "`classes = 10`"],
    );
}

#[test]
fn wrong_picture_size() {
    let mut bytes = [0x803u32, 2, 32, 32].map(u32::to_be_bytes).concat();
    bytes.resize(16 + 2 * 32 * 32, 0);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&bytes).unwrap();
    let name = format!("{IMAGES}.gz");
    refused_data(
        &name,
        &encoder.finish().unwrap(),
        &["32 x 32", "28 x 28", "image_size"],
    );
}

#[test]
fn missing_data() {
    refused(
        &["--data", "no/such/folder"],
        &["no data folder no/such/folder", "--data"],
    );
    let empty = tempfile::tempdir().unwrap();
    refused(&["--data", arg(empty.path())], &[IMAGES, "holds neither"]);
}

#[test]
fn wrong_values_on_the_command_line() {
    refused(&["--steps", "0"], &["steps = 0", "1 to"]);
    refused(&["--batch", "0"], &["batch = 0", "1 to"]);
    refused(&["--steps", "many"], &["many", "--steps"]);
    refused(&["--learning-rate=-1"], &["learning_rate = -1"]);
    refused(
        &["--preset", "digit"],
        &["no preset \"digit\"", "digits-small"],
    );
    refused(&["--backend", "abacus"], &["abacus", "flex"]);
    refused(&["--colour", "red"], &["--colour"]);
}

#[test]
fn a_backend_that_is_not_built_in() {
    for (name, built_in) in [
        ("ndarray", cfg!(feature = "ndarray")),
        ("wgpu", cfg!(feature = "wgpu")),
    ] {
        if !built_in {
            let feature = format!("--features {name}");
            refused(&["--backend", name], &["built without", &feature]);
        }
    }
}

fn config_with(from: &str, to: &str) -> (TempDir, PathBuf) {
    let smoke = tiny_ddpm_train::config::PRESETS
        .iter()
        .find(|(name, _)| *name == "smoke")
        .unwrap()
        .1;
    assert!(smoke.contains(from), "{from}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    fs::write(&path, smoke.replace(from, to)).unwrap();
    (folder, path)
}

#[test]
fn wrong_configurations() {
    for (from, to, words) in [
        ("steps = 60", "stops = 60", ["my.toml", "stops"]),
        (
            "timesteps = 1000",
            "timesteps = 0",
            ["0 timesteps", "1 to 4000"],
        ),
        ("timesteps = 1000", "timesteps = 70000", ["70000", "u16"]),
        ("batch = 32", "batch = 32.5", ["32.5", "batch"]),
        ("heads = 2", "heads = 3", ["3 heads", "divide"]),
        ("seed = 1", "", ["seed", "missing"]),
        ("[training]", "[training", ["my.toml", "training"]),
    ] {
        let (_folder, path) = config_with(from, to);
        refused(&["--config", arg(&path)], &words);
    }
    refused(&["--config", "no/such.toml"], &["no/such.toml"]);
}

#[test]
fn fine_tuning_needs_a_run_and_known_bits() {
    refused(&["--qat"], &["--from"]);
    refused(&["--qat", "4"], &["--from"]);
    refused(
        &["--qat", "5", "--from", "no/such"],
        &["--qat", "'5'", "4, 8"],
    );
    refused(&["--qat", "--from", "no/such"], &["no/such"]);
    refused(&["--distill", "0.5"], &["--from"]);
    refused(&["--distill-up-to", "800"], &["--distill <W>"]);
    refused(&["--distill", "0.5", "--from", "no/such"], &["no/such"]);
    let section = "seed = 1\nqat = { weight_bits = 8 }";
    let (_folder, path) = config_with("seed = 1", section);
    refused(&["--config", arg(&path)], &["[training.qat]", "--from"]);
}

#[test]
fn a_folder_in_use_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
    let out = arg(folder.path());
    let output = train(&["--preset", "smoke", "--data", arg(&subset()), "--out", out]);
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("is not empty"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn resuming_what_is_no_run_or_with_other_data() {
    let resume = |run: &Path, data: &Path| {
        let output = train(&["--resume", arg(run), "--data", arg(data)]);
        assert!(!output.status.success());
        stderr(&output)
    };
    let folder = tempfile::tempdir().unwrap();
    let message = resume(folder.path(), &subset());
    assert!(message.contains("no config.toml"), "{message}");

    let run = folder.path().join("run");
    let output = train(&[
        "--preset",
        "smoke",
        "--steps",
        "1",
        "--data",
        arg(&subset()),
        "--out",
        arg(&run),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let mut labels = unpacked(LABELS);
    labels[8] ^= 1;
    let other = data_with(LABELS, &labels);
    let message = resume(&run, other.path());
    assert!(message.contains("other data"), "{message}");

    // A checkpoint that something else damaged.
    let model = run.join("checkpoint-00000001/model.bpk");
    let bytes = fs::read(&model).unwrap();
    fs::write(&model, &bytes[..bytes.len() / 2]).unwrap();
    let message = resume(&run, &subset());
    assert!(
        message.contains("model.bpk") && !message.contains("panicked"),
        "{message}"
    );
}

/// Nothing is downloaded, and no preset is chosen for the user.
#[test]
fn what_to_train_must_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |args: &[&str], words: &[&str]| {
        let output = common::tool()
            .arg("train")
            .args(args)
            .current_dir(folder.path())
            .env("XDG_CACHE_HOME", folder.path())
            .output()
            .unwrap();
        let message = stderr(&output);
        assert!(!output.status.success(), "{args:?}");
        for word in words {
            assert!(message.contains(word), "{word:?}: {message}");
        }
        assert!(!message.contains("download "), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    for (name, _) in tiny_ddpm_train::config::PRESETS {
        refused(
            &[],
            &["--preset NAME", name, "--config FILE", "--resume RUN"],
        );
    }
    let data = subset();
    refused(&["--data", arg(&data)], &["--preset NAME"]);
    refused(
        &["--from", "some/run"],
        &["--config some/run/config.toml", "--qat"],
    );
}
