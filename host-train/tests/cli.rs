//! `tiny-ddpm sample` and `tiny-ddpm inspect` as a user meets them: the files,
//! what is printed, and a message for everything that can be wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use npyz::NpyFile;
use serde_json::Value;
use tempfile::TempDir;
use tiny_ddpm::blob::header;
use tiny_ddpm::blob::records::Record;
use tiny_ddpm::picture::{picture_hash, to_pixels};
use tiny_ddpm::unet::Stage;
use tiny_ddpm::{Buffers, Method, Model, Sampler, Settings, Spacing, Unet};

/// The model that these tests use.
fn blob() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits.tddpm")
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
    let mut command = tool();
    command.arg("sample").arg(blob()).arg("--out").arg(out);
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
fn writes_arrays_hashes_a_grid_and_an_animation() {
    let out = TempDir::new().unwrap();
    let output = sample(out.path(), &["--count", "12", "--steps", "2", "--gif"]);
    succeeded(&output);
    let expected = [
        "denoising.gif",
        "grid.png",
        "hashes.csv",
        "images.npy",
        "labels.npy",
    ];
    assert_eq!(names(out.path()), expected);

    let (shape, images) = array(&out.path().join("images.npy"));
    assert_eq!(shape, [12, 28, 28]);
    assert_eq!(labels(out.path()), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    let hashes: Vec<String> = images
        .chunks(28 * 28)
        .map(|picture| format!("{:08x}", picture_hash(picture)))
        .collect();
    let csv = fs::read_to_string(out.path().join("hashes.csv")).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("picture,class,hash,state"));
    for (index, (line, hash)) in lines.zip(&hashes).enumerate() {
        let start = format!("{index},{},{hash},", index % 10);
        assert!(line.starts_with(&start), "{line} should be {start}...");
    }

    let text = stdout(&output);
    let all = format!("{:08x}", picture_hash(&images));
    let drawn = hashes.iter().take(10);
    for word in drawn.chain([&all]).map(String::as_str).chain(expected) {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    assert!(text.contains(['▀', '▄', '█']), "no drawing in\n{text}");

    let png = fs::File::open(out.path().join("grid.png")).unwrap();
    let png = png::Decoder::new(std::io::BufReader::new(png));
    let mut png = png.read_info().unwrap();
    let mut grey = vec![0; png.output_buffer_size().unwrap()];
    let info = png.next_frame(&mut grey).unwrap();
    // Ten columns and two rows.
    assert!(info.width > 4 * info.height && info.width >= 10 * 28);

    let gif = fs::File::open(out.path().join("denoising.gif")).unwrap();
    let mut gif = gif::DecodeOptions::new().read_info(gif).unwrap();
    let mut delays = Vec::new();
    while let Some(frame) = gif.read_next_frame().unwrap() {
        delays.push(frame.delay);
    }
    // The noise and two steps, the last of which stays.
    assert_eq!(delays.len(), 3);
    assert!(delays[2] > delays[1]);
}

#[test]
fn json_says_the_same_and_nothing_else() {
    let out = TempDir::new().unwrap();
    let args = ["--class", "3", "--count", "2", "--steps", "3", "--json"];
    let output = sample(out.path(), &args);
    succeeded(&output);
    assert!(stderr(&output).is_empty(), "{}", stderr(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (_, images) = array(&out.path().join("images.npy"));
    assert_eq!(json["hash"], format!("{:08x}", picture_hash(&images)));
    assert_eq!(json["steps"], 3);
    assert_eq!(json["sampler"], "ddim");
    assert_eq!(json["spacing"], "trailing");
    assert_eq!(json["evaluations"], 3);
    assert_eq!(json["pictures"].as_array().unwrap().len(), 2);
    for (index, picture) in images.chunks(28 * 28).enumerate() {
        let row = &json["pictures"][index];
        assert_eq!(row["picture"], index);
        assert_eq!(row["class"], 3);
        assert_eq!(row["hash"], format!("{:08x}", picture_hash(picture)));
    }
    for file in json["files"].as_array().unwrap() {
        assert!(Path::new(file.as_str().unwrap()).is_file(), "{file}");
    }
}

/// Heun asks twice but for the last step, and guidance doubles that.
#[test]
fn evaluations_are_runs_of_the_network() {
    let out = TempDir::new().unwrap();
    let words =
        "--class 3 --count 1 --steps 3 --sampler heun --spacing uniform --guidance 0.5 --json";
    let output = sample(out.path(), &words.split(' ').collect::<Vec<_>>());
    succeeded(&output);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["evaluations"], 10);
    assert_eq!(json["steps"], 3);
    assert_eq!(
        (&json["sampler"], &json["spacing"]),
        (&"heun".into(), &"uniform".into())
    );
    assert_eq!(json["eta"], Value::Null);
}

#[test]
fn quiet_prints_nothing() {
    let out = TempDir::new().unwrap();
    let output = sample(out.path(), &["--count", "1", "--steps", "1", "--quiet"]);
    succeeded(&output);
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn neither_threads_nor_count_change_a_picture() {
    let images = |threads: &str, count: &str| {
        let out = TempDir::new().unwrap();
        let mut command = tool();
        command.env("RAYON_NUM_THREADS", threads);
        command.arg("sample").arg(blob()).arg("--out");
        command.arg(out.path()).args(["--count", count]);
        command.args(["--steps", "2", "--eta", "1", "--seed", "5"]);
        succeeded(&command.output().unwrap());
        array(&out.path().join("images.npy")).1
    };
    let one = images("1", "11");
    assert_eq!(one, images("4", "11"));
    let fewer = images("3", "4");
    assert_eq!(fewer, one[..fewer.len()]);
}

#[test]
fn a_picture_is_what_core_makes_of_its_settings() {
    let out = TempDir::new().unwrap();
    let args = ["--seed", "9", "--steps", "3", "--guidance", "0.25"];
    succeeded(&sample(out.path(), &args));
    let (_, images) = array(&out.path().join("images.npy"));

    let bytes = fs::read(blob()).unwrap();
    let model = Model::load(&bytes).unwrap();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    let [mut x, mut x0_hat, mut unconditional] = [[0.0; 28 * 28]; 3];
    let settings = Settings {
        method: Method::Ddim {
            eta: model.info().recommended.eta,
        },
        steps: 3,
        spacing: Spacing::Trailing,
        guidance: 0.25,
        clip: true,
        seed: 9,
        picture: 7,
        class: Some(7),
    };
    let buffers = Buffers {
        x: &mut x,
        x0_hat: &mut x0_hat,
        unconditional: &mut unconditional,
        memory: &mut [],
    };
    let mut sampler = Sampler::new(model.schedule(), settings, buffers).unwrap();
    while sampler.step(&mut unet).unwrap().is_some() {}
    let mut seventh = [0; 28 * 28];
    to_pixels(sampler.x(), &mut seventh);
    assert_eq!(images[7 * 28 * 28..][..28 * 28], seventh);
}

#[test]
fn every_setting_counts() {
    let hash = |args: &[&str]| {
        let out = TempDir::new().unwrap();
        let all = [&["--count", "2", "--json"], args].concat();
        let output = sample(out.path(), &all);
        succeeded(&output);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        json["hash"].as_str().unwrap().to_owned()
    };
    let settings: [&[&str]; 15] = [
        &["--steps", "4"],
        &["--steps", "5"],
        &["--steps", "4", "--seed", "2"],
        &["--steps", "4", "--eta", "0.9"],
        &["--steps", "4", "--guidance", "0.5"],
        &["--steps", "4", "--no-clip"],
        &["--steps", "4", "--class", "8"],
        &["--steps", "4", "--class", "none"],
        &["--steps", "4", "--sampler", "ddpm"],
        &["--steps", "4", "--sampler", "ddpm", "--variance", "beta"],
        &["--steps", "4", "--sampler", "euler-maruyama"],
        &["--steps", "4", "--sampler", "heun"],
        &["--steps", "4", "--sampler", "dpm-solver"],
        &["--steps", "4", "--spacing", "quadratic"],
        &["--steps", "4", "--spacing", "log-snr"],
    ];
    let mut hashes: Vec<String> = settings.iter().map(|args| hash(args)).collect();
    assert_eq!(hash(settings[0]), hashes[0]);
    // Another way to say the same.
    assert_eq!(hash(&["--steps", "4", "--sampler", "ddpm-beta"]), hashes[9]);
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), settings.len());
}

#[test]
fn labels_say_what_was_asked_for() {
    let out = TempDir::new().unwrap();
    succeeded(&sample(out.path(), &["--class", "none", "--steps", "1"]));
    assert_eq!(labels(out.path()), [-1; 16]);
    succeeded(&sample(out.path(), &["--class", "7", "--steps", "1"]));
    assert_eq!(labels(out.path()), [7; 16]);
    succeeded(&sample(out.path(), &["--class", "all", "--steps", "1"]));
    assert_eq!(labels(out.path()), (0..10).collect::<Vec<_>>());
}

#[test]
fn replaces_its_own_files_and_no_others() {
    let out = TempDir::new().unwrap();
    fs::write(out.path().join("thesis.txt"), "precious").unwrap();
    succeeded(&sample(out.path(), &["--steps", "1", "--gif"]));
    assert_eq!(names(out.path()).len(), 6);
    succeeded(&sample(out.path(), &["--steps", "1", "--count", "3"]));
    // An animation of other pictures would be misleading.
    assert_eq!(names(out.path()).len(), 5);
    assert_eq!(array(&out.path().join("images.npy")).0, [3, 28, 28]);
    let thesis = fs::read_to_string(out.path().join("thesis.txt")).unwrap();
    assert_eq!(thesis, "precious");
}

#[test]
fn wrong_settings() {
    let cases: [(&[&str], &[&str]); 26] = [
        (&["--class", "12"], &["class 12", "0 to 9"]),
        (&["--class", "300"], &["class 300", "0 to 9"]),
        (&["--class", "seven"], &["seven", "all", "none"]),
        (&["--class", "-1"], &["-1", "all", "none"]),
        (&["--steps", "0"], &["0 steps", "1 to", "1000"]),
        (&["--steps", "1001"], &["1001 steps", "1000"]),
        (&["--steps", "70000"], &["70000", "--steps", "too large"]),
        (&["--steps", "-3"], &["-3", "--steps", "whole number"]),
        (&["--steps", "2.5"], &["2.5", "--steps", "whole number"]),
        (&["--eta", "2"], &["eta 2", "0 to 1"]),
        (&["--eta", "-0.5"], &["eta -0.5", "0 to 1"]),
        (&["--eta", "NaN"], &["eta NaN", "0 to 1"]),
        (&["--guidance", "-1"], &["guidance -1", "0 to 100"]),
        (&["--guidance", "NaN"], &["guidance NaN", "0 to 100"]),
        (&["--guidance", "inf"], &["guidance inf", "0 to 100"]),
        (&["--guidance", "strong"], &["strong", "--guidance"]),
        (
            &["--guidance", "0.5", "--class", "none"],
            &["guidance", "class"],
        ),
        (&["--count", "0"], &["0 pictures", "1 to"]),
        (&["--count", "2000000"], &["2000000 pictures", "1 to"]),
        (&["--count", "some"], &["some", "--count", "whole number"]),
        (&["--sampler", "euler"], &["euler", "ddim", "ddpm"]),
        (&["--sampler", "ddpm", "--eta", "1"], &["--eta", "DDIM"]),
        (&["--variance", "beta"], &["--variance", "DDPM"]),
        (&["--sampler", "heun", "--eta", "1"], &["--eta", "DDIM"]),
        (&["--spacing", "even"], &["even", "uniform", "log-snr"]),
        (&["--colour", "red"], &["--colour"]),
    ];
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    for (args, words) in cases {
        let output = sample(&out, args);
        refused(&output, words);
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!out.exists(), "{args:?} left a folder behind");
    }
}

#[test]
fn wrong_places_to_write_to() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    let args = ["--count", "1", "--steps", "1"];
    refused(&sample(&file, &args), &["file", "folder"]);
    refused(&sample(&file.join("out"), &args), &["out", "folder"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    // One of the files cannot be put in its place: none is left half-written.
    let out = folder.path().join("out");
    fs::create_dir_all(out.join("images.npy/taken")).unwrap();
    refused(&sample(&out, &args), &["images.npy"]);
    assert_eq!(names(&out), ["images.npy"]);
}

/// Both commands, given a file with these bytes.
#[track_caller]
fn refused_blob(bytes: &[u8], words: &[&str]) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("broken.tddpm");
    fs::write(&path, bytes).unwrap();
    let (path, out) = (path.to_str().unwrap(), folder.path().join("out"));
    let words = [&["broken.tddpm"], words].concat();
    for args in [
        &["inspect", path] as &[&str],
        &["inspect", path, "--json"],
        &["sample", path, "--out", out.to_str().unwrap()],
    ] {
        let output = run(args);
        refused(&output, &words);
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    assert!(!out.exists());
}

#[test]
fn broken_blobs() {
    let good = fs::read(blob()).unwrap();
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    refused_blob(&[], &["empty"]);
    refused_blob(&good[..31], &["too short", "31", "copy or export"]);
    refused_blob(&good[..good.len() - 1], &["too short", "copy or export"]);
    let longer = [&good[..], &[0]].concat();
    refused_blob(&longer, &["too long", "copy or export"]);
    refused_blob(b"a letter to a friend, in many words", &["magic", "export"]);
    refused_blob(&changed(8), &["version", "export it again"]);
    refused_blob(&changed(13), &["header damaged", "copy or export"]);
    refused_blob(&changed(good.len() / 2), &["body damaged", "CRC"]);
}

/// Only a tool with Burn in it runs a network of floats.
#[test]
fn a_run_is_sampled_where_burn_is_built_in() {
    let run_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits.run");
    let folder = run_folder.to_str().unwrap();
    let out = TempDir::new().unwrap();
    let args = ["--count", "3", "--steps", "2", "--json", "--out"];
    let output = run(&[
        &["sample", folder],
        &args[..],
        &[out.path().to_str().unwrap()],
    ]
    .concat());
    if cfg!(not(feature = "train")) {
        return refused(
            &output,
            &["folder of a training run", "name a blob", "cargo build"],
        );
    }
    succeeded(&output);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["model"], "digits");
    assert_eq!(json["sha256"], Value::Null);
    let (shape, floats) = array(&out.path().join("images.npy"));
    assert_eq!(shape, [3, 28, 28]);
    assert_eq!(json["hash"], format!("{:08x}", picture_hash(&floats)));
    assert_eq!(labels(out.path()), [0, 1, 2]);

    // From the same noise the blob draws the same pictures, up to rounding.
    let same = sample(out.path(), &["--count", "3", "--steps", "2"]);
    succeeded(&same);
    let (_, integers) = array(&out.path().join("images.npy"));
    let apart = floats.iter().zip(&integers);
    let apart: u32 = apart.map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    let mean = f64::from(apart) / floats.len() as f64;
    assert!(mean > 0.0 && mean < 10.0, "{mean} grey values apart");

    refused(&run(&["sample", folder, "--gif"]), &["--gif", "blob"]);
    refused(
        &run(&["sample", folder, "--class", "11"]),
        &["class 11", "0 to 9"],
    );
}

#[test]
fn blobs_that_are_no_files() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().to_str().unwrap();
    for command in ["inspect", "sample"] {
        refused(&run(&[command, folder]), &[folder, "is a folder"]);
        refused(
            &run(&[command, "no/such.tddpm"]),
            &["no/such.tddpm", "open"],
        );
        refused(&run(&[command]), &["BLOB"]);
    }
}

#[test]
fn inspect_counts_every_byte() {
    let bytes = fs::read(blob()).unwrap();
    let model = Model::load(&bytes).unwrap();
    let path = blob();
    let output = run(&["inspect", path.to_str().unwrap(), "--json"]);
    succeeded(&output);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();

    let layers = json["layers"].as_array().unwrap();
    let sum = |key: &str| {
        layers
            .iter()
            .map(|layer| number(&layer[key]))
            .sum::<usize>()
    };
    assert_eq!(number(&json["flash_bytes"]), bytes.len());
    let other = number(&json["other_bytes"]);
    assert_eq!(sum("bytes") + other, bytes.len());
    assert!(other < bytes.len() / 50, "{other}");
    assert_eq!(sum("macs"), number(&json["macs_per_step"]));
    assert_eq!(sum("parameters"), number(&json["parameters"]));

    let picture = 4 * model.topology().pixels();
    let workspace = 4 * model.workspace_words();
    assert_eq!(number(&json["ram_bytes"]), workspace + 3 * picture);
    assert_eq!(
        number(&json["ram_bytes_without_guidance"]),
        workspace + 2 * picture
    );
    let least = 4 * model.plan().least_guided_workspace_words() + picture;
    assert_eq!(number(&json["ram_bytes_least"]), least);
    assert!(number(&json["ram_bytes_least_without_guidance"]) < least);
    assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(json["arch_hash"], format!("{:08x}", model.arch_hash()));
    assert_eq!(json["name"], model.info().name);
    for layer in layers {
        let lengths = layer["weights"].as_array().unwrap();
        let weights: usize = lengths.iter().map(number).product();
        if !lengths.is_empty() {
            assert!(weights <= number(&layer["bytes"]), "{layer}");
            assert!(weights <= number(&layer["parameters"]), "{layer}");
        }
    }
}

#[test]
fn inspect_shows_every_layer() {
    let path = blob();
    let output = run(&["inspect", path.to_str().unwrap()]);
    succeeded(&output);
    let text = stdout(&output);
    let bytes = fs::read(&path).unwrap();
    Model::load(&bytes).unwrap().for_each_layer(|layer| {
        let name = layer.site.to_string();
        let shown = text
            .lines()
            .any(|line| line.split(' ').next() == Some(&name));
        assert!(shown, "{name} is missing in\n{text}");
    });
    for word in ["SHA-256", "flash", "RAM", "multiply-accumulates"] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
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
    let version = run(&["--version"]);
    assert!(stdout(&version).contains(env!("CARGO_PKG_VERSION")));
    refused(&run(&["draw"]), &["draw"]);
    refused(&run(&[]), &["Usage"]);
}

#[test]
#[cfg(not(feature = "train"))]
fn commands_that_are_not_built_in_say_how_to_get_them() {
    for args in [
        &["train", "--preset", "digits"] as &[&str],
        &["train"],
        &["train", "--help"],
        &["export", "runs/digits", "--out", "digits.tddpm"],
        &["evaluate", "digits.tddpm", "--count", "100"],
    ] {
        let words = [
            "without",
            args[0],
            "cargo build --release -p tiny-ddpm-train",
        ];
        refused(&run(args), &words);
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

/// `tiny-ddpm repack`.
fn repack(from: &Path, to: &Path, args: &[&str]) -> Output {
    let mut command = tool();
    command.arg("repack").arg(from).arg("--out").arg(to);
    command.args(args).output().unwrap()
}

/// What `tiny-ddpm inspect --json` says.
fn inspect(path: &Path) -> Value {
    let output = run(&["inspect", path.to_str().unwrap(), "--json"]);
    succeeded(&output);
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// The hash of a picture that a model makes.
fn hash_of(blob: &[u8]) -> u32 {
    let model = Model::load(blob).unwrap();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    let pixels = model.topology().pixels();
    let (mut x, mut x0_hat) = (vec![0.0; pixels], vec![0.0; pixels]);
    let buffers = Buffers {
        x: &mut x,
        x0_hat: &mut x0_hat,
        unconditional: &mut [],
        memory: &mut [],
    };
    let settings = Settings {
        method: Method::Ddim { eta: 0.0 },
        steps: 3,
        spacing: Spacing::Trailing,
        guidance: 0.0,
        clip: true,
        seed: 5,
        picture: 0,
        class: Some(5),
    };
    let mut sampler = Sampler::new(model.schedule(), settings, buffers).unwrap();
    while sampler.step(&mut unet).unwrap().is_some() {}
    let mut grey = vec![0; pixels];
    to_pixels(sampler.x(), &mut grey);
    picture_hash(&grey)
}

/// Another packing is the same model: the same pictures, and the way back
/// gives the same bytes.
#[test]
fn repacking_changes_no_picture() {
    let folder = tempfile::tempdir().unwrap();
    let (fast, back) = (folder.path().join("fast"), folder.path().join("back"));
    let output = repack(&blob(), &fast, &["--target", "cortex-m4"]);
    succeeded(&output);
    assert!(
        stdout(&output).contains("transformed"),
        "{}",
        stdout(&output)
    );
    succeeded(&repack(&fast, &back, &["--target", "portable"]));
    let portable = fs::read(blob()).unwrap();
    assert_eq!(fs::read(&back).unwrap(), portable);
    let transformed = fs::read(&fast).unwrap();
    assert!(transformed.len() > portable.len() && transformed.len() <= 1 << 20);

    assert_eq!(hash_of(&portable), hash_of(&transformed));

    let (small, large) = (inspect(&back), inspect(&fast));
    assert_eq!(small["packing"], "portable");
    assert_eq!(large["packing"], "transformed");
    assert_eq!(small["parameters"], large["parameters"]);
    assert_eq!(small["macs_per_step"], large["macs_per_step"]);

    // As much as fits, and not a byte more.
    let limit = portable.len() + 200_000;
    let words = ["--target", "cortex-m4", "--flash", &limit.to_string()];
    succeeded(&repack(&blob(), &fast, &words));
    let length = fs::read(&fast).unwrap().len();
    assert!(length > portable.len() && length <= limit, "{length}");
    refused(
        &repack(&blob(), &fast, &["--flash", "lots"]),
        &["lots", "KiB"],
    );
    refused(
        &repack(&blob(), &fast, &["--target", "z80"]),
        &["z80", "cortex-m4"],
    );
}

/// The shipped model with weights that 4 bits hold, the first convolution's
/// apart; still stored in 8.
fn coarse_blob() -> Vec<u8> {
    let mut bytes = fs::read(blob()).unwrap();
    let mut weights = Vec::new();
    Model::load(&bytes).unwrap().for_each_layer(|layer| {
        if let Record::Conv(conv) = layer.record
            && layer.site.stage != Stage::ConvIn
        {
            let start = conv.weights.as_ptr().addr() - bytes.as_ptr().addr();
            weights.push(start..start + conv.weights.len());
        }
    });
    for range in weights {
        for byte in &mut bytes[range] {
            *byte = (*byte as i8 & -16).max(-112) as u8;
        }
    }
    let hash = Model::load(&fs::read(blob()).unwrap()).unwrap().arch_hash();
    let (start, body) = bytes.split_at_mut(header::HEADER_LEN);
    start.copy_from_slice(&header::seal(hash, body));
    bytes
}

/// Weights that 4 bits hold are stored in 4 bits, transformed where a device
/// gains by it, and found again: always the same model.
#[test]
fn repacking_stores_weights_in_four_bits_where_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (wide, small, fast, back) = (path("wide"), path("small"), path("fast"), path("back"));
    fs::write(&wide, coarse_blob()).unwrap();
    let output = repack(&wide, &small, &["--target", "portable"]);
    succeeded(&output);
    assert!(stdout(&output).contains("in 4 bits"), "{}", stdout(&output));
    succeeded(&repack(&small, &fast, &["--target", "cortex-m4"]));
    succeeded(&repack(&fast, &back, &[]));
    let [wide_bytes, small_bytes, fast_bytes] =
        [&wide, &small, &fast].map(|path| fs::read(path).unwrap());
    assert_eq!(fs::read(&back).unwrap(), small_bytes);
    assert!(fast_bytes.len() > small_bytes.len() && fast_bytes.len() <= 1 << 20);
    let hash = hash_of(&wide_bytes);
    assert_eq!([hash_of(&small_bytes), hash_of(&fast_bytes)], [hash; 2]);

    let [wide, small, fast] = [&wide, &small, &fast].map(|path| inspect(path));
    assert_eq!(wide["packing"], "portable");
    for json in [&small, &fast] {
        assert_eq!(json["packing"], "nibbles");
        assert_eq!(json["parameters"], wide["parameters"]);
        assert_eq!(json["macs_per_step"], wide["macs_per_step"]);
    }
    let layers = |json: &Value| json["layers"].as_array().unwrap().clone();
    let (mut nibbles, mut transformed) = (0, 0);
    for ((wide, small), fast) in layers(&wide).iter().zip(layers(&small)).zip(layers(&fast)) {
        if small["form"] != "nibbles" {
            assert_eq!(wide, &small);
            continue;
        }
        nibbles += 1;
        transformed += usize::from(fast["form"] == "winograd" || fast["form"] == "phases");
        let weights = wide["weights"].as_array().unwrap();
        let weights: u64 = weights.iter().map(|n| n.as_u64().unwrap()).product();
        let bytes = |layer: &Value| layer["bytes"].as_u64().unwrap();
        assert_eq!(bytes(wide) - bytes(&small), weights / 2, "{small}");
    }
    assert!(
        transformed > 5 && nibbles > transformed,
        "{nibbles}, {transformed}"
    );
}

/// The model for points.
fn roll() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/swiss-roll.tddpm")
}

#[test]
fn points_become_a_table_an_array_a_map_and_an_animation() {
    let out = TempDir::new().unwrap();
    let mut command = tool();
    command
        .arg("sample")
        .arg(roll())
        .arg("--out")
        .arg(out.path());
    let options = ["--count", "30", "--steps", "4", "--gif", "--json"];
    let output = command.args(options).output().unwrap();
    succeeded(&output);
    let expected = [
        "denoising.gif",
        "labels.npy",
        "points.csv",
        "points.npy",
        "scatter.png",
    ];
    assert_eq!(names(out.path()), expected);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&report["data"], &report["count"]),
        (&"point".into(), &30.into())
    );
    assert_eq!(labels(out.path()), [-1; 30]);

    // The same points by hand.
    let bytes = fs::read(out.path().join("points.npy")).unwrap();
    let array = NpyFile::new(&bytes[..]).unwrap();
    assert_eq!(array.shape(), [30, 2]);
    let found: Vec<f32> = array.into_vec().unwrap();
    let blob = fs::read(roll()).unwrap();
    let model = Model::load(&blob).unwrap();
    let table = fs::read_to_string(out.path().join("points.csv")).unwrap();
    for (index, row) in table.lines().skip(1).enumerate() {
        let mut workspace = vec![0; model.workspace_words()];
        let mut unet = Unet::new(&model, &mut workspace).unwrap();
        let (mut x, mut x0_hat) = ([0.0; 2], [0.0; 2]);
        let buffers = Buffers {
            x: &mut x,
            x0_hat: &mut x0_hat,
            unconditional: &mut [],
            memory: &mut [],
        };
        let settings = Settings {
            method: Method::Ddim { eta: 0.0 },
            steps: 4,
            spacing: Spacing::default(),
            guidance: 0.0,
            clip: true,
            seed: 1,
            picture: index as u64,
            class: None,
        };
        let mut sampler = Sampler::new(model.schedule(), settings, buffers).unwrap();
        while sampler.step(&mut unet).unwrap().is_some() {}
        assert_eq!(sampler.x(), &found[2 * index..2 * index + 2]);
        let state = tiny_ddpm::picture::state_hash(sampler.x());
        assert!(
            row.starts_with(&format!("{index},-1,{state:08x},")),
            "{row}"
        );
    }
}

#[test]
fn points_are_drawn_in_the_terminal_and_have_no_classes() {
    let out = TempDir::new().unwrap();
    let ask = |options: &[&str]| {
        let mut command = tool();
        command
            .arg("sample")
            .arg(roll())
            .arg("--out")
            .arg(out.path());
        command.args(options).output().unwrap()
    };
    let output = ask(&["--count", "500"]);
    succeeded(&output);
    let text = stdout(&output);
    assert!(text.contains("500 points"), "{text}");
    assert!(
        text.chars().filter(|c| "▀▄█".contains(*c)).count() > 60,
        "{text}"
    );
    refused(&ask(&["--class", "1"]), &["no classes", "none"]);
    refused(&ask(&["--guidance", "1"]), &["guidance"]);
    let roll = roll();
    let roll = roll.to_str().unwrap();
    let output = run(&["inspect", roll, "--json"]);
    succeeded(&output);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["topology"]["points"], 2);
}

#[cfg(feature = "evaluate")]
mod explain {
    use super::*;
    use tiny_ddpm_train::output::encode_png;

    fn explain(out: &Path, args: &[&str]) -> Output {
        let blob = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano.tddpm");
        let mut command = tool();
        command.arg("explain").arg(blob).arg("--out").arg(out);
        command.args(args).output().unwrap()
    }

    fn page(out: &Path) -> String {
        fs::read_to_string(out.join("explain.html")).unwrap()
    }

    #[test]
    fn a_png_of_ones_own() {
        let out = TempDir::new().unwrap();
        let png = out.path().join("mine.png");
        let pixels: Vec<u8> = (0..40 * 40).map(|i| (i % 40 * 6) as u8).collect();
        fs::write(&png, encode_png(40, 40, &pixels).unwrap()).unwrap();
        let args = ["--picture", png.to_str().unwrap(), "--steps", "2"];
        let output = explain(out.path(), &args);
        succeeded(&output);
        assert!(stdout(&output).contains("40 x 40 pixels resized to 28 x 28"));
        let page = page(out.path());
        assert!(page.contains("resized to 28 x 28"));
        assert!(page.contains("the network is told no class"));
        assert_eq!(names(out.path()), ["explain.html", "mine.png"]);
    }

    #[test]
    fn a_test_picture_of_a_class() {
        let folder = TempDir::new().unwrap();
        let (data, out) = (folder.path().join("data"), folder.path().join("out"));
        for class in 0..10 {
            let of_class = data.join(class.to_string());
            fs::create_dir_all(&of_class).unwrap();
            for picture in 0..10 {
                let mut pixels = vec![class; 28 * 28];
                pixels[0] = picture;
                let png = encode_png(28, 28, &pixels).unwrap();
                fs::write(of_class.join(format!("{picture}.png")), png).unwrap();
            }
        }
        let data = data.to_str().unwrap();
        let args = ["--data", data, "--class", "4", "--steps", "1", "--quiet"];
        let output = explain(&out, &args);
        succeeded(&output);
        assert_eq!(stdout(&output), "");
        let page = page(&out);
        for words in ["test picture 4 in", "of class 4", "told class 4"] {
            assert!(page.contains(words), "{words}");
        }
        let args = ["--data", data, "--picture", data];
        refused(&explain(&out, &args), &["--data", "--picture"]);
    }

    #[test]
    fn points_and_the_one_that_is_followed() {
        let folder = TempDir::new().unwrap();
        let (blob, out) = (roll(), folder.path().join("out"));
        let roll = |options: &[&str]| {
            let mut command = tool();
            command.arg("explain").arg(&blob).arg("--out").arg(&out);
            command.args(options).output().unwrap()
        };
        for (options, words) in [
            (&["--picture", "mine.png"][..], "--picture are for pictures"),
            (&["--data", "."], "--picture are for pictures"),
            (&["--class", "3"], "no classes"),
            (&["--point", "1000000"], "0 to 999999"),
            (&["--point", "1", "--data", "."], "cannot be used with"),
            (&["--steps", "1001"], "1001 steps"),
        ] {
            refused(&roll(options), &[words]);
            assert!(!out.exists(), "{options:?} left a folder behind");
        }
        refused(&explain(&out, &["--point", "1"]), &["--point", "pictures"]);

        let output = roll(&["--point", "3", "--steps", "2"]);
        succeeded(&output);
        assert!(stdout(&output).contains("number 3 is followed"));
        let page = page(&out);
        for words in ["number 3 is followed", "aria-label=\"trajectories, Heun"] {
            assert!(page.contains(words), "{words}");
        }
        // The end of the followed way is point 0 of a sampling.
        let samples = folder.path().join("samples");
        let mut command = tool();
        command.arg("sample").arg(&blob).arg("--out").arg(&samples);
        succeeded(
            &command
                .args(["--count", "1", "--steps", "2"])
                .output()
                .unwrap(),
        );
        let table = fs::read_to_string(samples.join("points.csv")).unwrap();
        let state = table.lines().nth(1).unwrap().split(',').nth(2).unwrap();
        assert!(page.contains(&format!("<code>{state}</code>")), "{state}");
    }

    #[test]
    fn what_cannot_be_explained() {
        let out = TempDir::new().unwrap();
        let path = out.path().join("page");
        let missing = out.path().join("missing");
        let missing = missing.to_str().unwrap();
        for (args, words) in [
            (&["--class", "10"][..], &["class 10", "0 to 9"][..]),
            (&["--class", "all"], &["one class"]),
            (&["--class", "-1"], &["--class"]),
            (&["--steps", "0"], &["0 steps", "1 to"]),
            (&["--steps", "1001"], &["1001 steps"]),
            (&["--picture", missing], &["missing", "no PNG"]),
            (&["--data", missing], &["no data folder"]),
        ] {
            refused(&explain(&path, args), words);
            assert!(!path.exists(), "{args:?} left a folder behind");
        }
        let blob = out.path().join("empty.tddpm");
        fs::write(&blob, "").unwrap();
        refused(&run(&["explain", blob.to_str().unwrap()]), &["is empty"]);
    }
}
