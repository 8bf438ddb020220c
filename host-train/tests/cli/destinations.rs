//! Where results go: places that cannot be written are refused before any work,
//! by the name that the user gave, and with each cause once.

use std::time::{Duration, Instant};

use super::*;

/// Expects a refusal that has the place's name, no cause twice, and no name of
/// a temporary file.
#[track_caller]
fn refused_once(output: &Output, words: &[&str]) {
    refused(output, words);
    let message = stderr(output);
    assert!(
        stdout(output).is_empty(),
        "began to work: {}",
        stdout(output)
    );
    assert!(message.matches("os error").count() <= 1, "{message}");
    for word in ["temporary", ".tmp", ".unfinished"] {
        assert!(!message.contains(word), "{message}");
    }
}

/// A folder whose name is not that of a temporary file.
fn place() -> TempDir {
    tempfile::Builder::new().prefix("place").tempdir().unwrap()
}

/// Every command that writes one file.
fn writes_a_file(out: &str) -> Vec<Vec<String>> {
    let blob = blob().display().to_string();
    let key = format!("{}/weights.key", env!("CARGO_TARGET_TMPDIR"));
    let _ = fs::remove_file(&key);
    let _ = fs::remove_file(format!("{}/weights.pub", env!("CARGO_TARGET_TMPDIR")));
    succeeded(&run(&["keygen", "--out", &key]));
    let mut commands = vec![
        vec!["repack", &blob, "--target", "portable"],
        vec!["sign", &blob, "--key", &key],
    ];
    if cfg!(feature = "train") {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/digits.run");
        commands.push(vec!["export", folder]);
    }
    let owned = |command: &Vec<&str>| command.iter().map(ToString::to_string).collect();
    let mut commands: Vec<Vec<String>> = commands.iter().map(owned).collect();
    for command in &mut commands {
        command.extend(["--out".to_owned(), out.to_owned()]);
    }
    commands
}

fn run_owned(args: &[String]) -> Output {
    tool().args(args).output().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_cannot_be_written_is_refused_by_its_name() {
    let folder = place();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("file"), "").unwrap();
    for (out, words) in [
        (
            "/proc/x".to_owned(),
            "/proc: No such file or directory (os error 2)",
        ),
        ("/dev/null".to_owned(), "no regular file"),
        (folder.path().display().to_string(), "is a folder"),
        ("/".to_owned(), "is a folder"),
        (path("no/x"), "make it first"),
        (path("file/x"), "no folder"),
    ] {
        for command in writes_a_file(&out) {
            refused_once(&run_owned(&command), &[&out, words]);
        }
    }
    refused_once(
        &run(&["keygen", "--out", "/proc/x"]),
        &["/proc/x", "os error 2"],
    );
    assert_eq!(names(folder.path()), ["file"]);
}

/// Every command that writes a folder, asked for work that takes minutes.
#[test]
#[cfg(target_os = "linux")]
fn a_folder_that_cannot_be_written_is_refused_before_any_work() {
    let blob = blob().display().to_string();
    let mut commands = vec![vec!["sample", &blob, "--count", "100000"]];
    if cfg!(feature = "explain") {
        commands.push(vec!["explain", &blob]);
    }
    if cfg!(feature = "train") {
        commands.push(vec!["evaluate", &blob, "--count", "100000"]);
        commands.push(vec!["train", "--preset", "digits"]);
    }
    let folder = place();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("x").display().to_string();
    for (out, words) in [("/proc/x/y", "os error 2"), (&below, "is no folder")] {
        for command in &commands {
            let start = Instant::now();
            let output = run(&[command, &["--out", out][..]].concat());
            refused_once(&output, &[out, words]);
            assert!(start.elapsed() < Duration::from_secs(20), "{command:?}");
        }
    }
    // What is fine leaves no trace of having been tried.
    let out = folder.path().join("a/b");
    succeeded(&sample(&out, &["--count", "1", "--steps", "1"]));
    assert!(names(&out).iter().all(|name| !name.starts_with('.')));
}

/// A file that is no secret key is called what it is.
#[test]
fn what_is_no_key_is_named() {
    let folder = place();
    let path = |name: &str| folder.path().join(name).display().to_string();
    succeeded(&run(&["keygen", "--out", &path("weights.key")]));
    let blob = blob().display().to_string();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("signature"), [0xff; 64]).unwrap();
    fs::write(path("text"), "not a key").unwrap();
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    fs::write(path("rsa"), pem).unwrap();
    for (key, words) in [
        (blob.clone(), "it is a blob"),
        (path("weights.pub"), "it is a public key"),
        (path("empty"), "it is empty"),
        (path("signature"), "--signature"),
        (path("text"), "keygen"),
        (path("rsa"), "something else than an ed25519 key"),
    ] {
        for command in [
            vec!["sign", &blob, "--key", &key],
            vec!["send", &blob, "--port", "/dev/no-such-port", "--key", &key],
        ] {
            let output = run(&command);
            refused_once(&output, &[&key, "no secret key", words]);
            let message = stderr(&output);
            assert!(
                !message.contains("chmod") && !message.contains("UTF-8"),
                "{message}"
            );
        }
    }
    let missing = path("nothing.key");
    refused_once(
        &run(&["sign", &blob, "--key", &missing]),
        &[&missing, "os error 2"],
    );
}

/// A picture that is damaged says so once.
#[test]
#[cfg(feature = "explain")]
fn a_damaged_picture_says_why_once() {
    let folder = place();
    let picture = folder.path().join("cut.png");
    let whole = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano.png")).unwrap();
    fs::write(&picture, &whole[..whole.len() / 2]).unwrap();
    let out = folder.path().join("out");
    let output = tool()
        .args(["explain", blob().to_str().unwrap(), "--picture"])
        .arg(&picture)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    refused(&output, &["cut.png"]);
    let message = stderr(&output);
    // No part between colons or brackets is there twice.
    let mut parts: Vec<&str> = message.split(": ").map(str::trim).collect();
    parts.sort_unstable();
    let all = parts.len();
    parts.dedup();
    assert_eq!(parts.len(), all, "{message}");
}
