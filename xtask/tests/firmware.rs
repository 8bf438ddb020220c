//! What no firmware can be is refused in one sentence, before any compiler or
//! linker has a word.
//!
//! Needs a Cortex-M toolchain: `cargo xtask test` installs one.

use std::process::Command;
use xtask::firmware::{self, Board};
use xtask::setup::{CORTEX_M0, CORTEX_M4, Toolchain};
use xtask::shell::command;
use xtask::{DIGITS, root};

fn check(board: Board, features: &[&str]) -> Command {
    let toolchain = Toolchain::find(&[CORTEX_M4, CORTEX_M0])
        .expect("no toolchain for Cortex-M: `cargo xtask test` installs one");
    let mut check = firmware::cargo(toolchain, board, "check");
    check.args(features).env_remove("TINY_DDPM_BLOB");
    check
}

/// That it fails with this sentence, and cargo adds nothing but where it is
/// from.
#[track_caller]
fn refused(mut check: Command, sentence: &str) {
    let output = check.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("error"))
        .collect();
    let [first, last] = errors[..] else {
        panic!("{text}")
    };
    assert!(first.contains(sentence), "{text}");
    assert!(last.contains("build script logged errors"), "{text}");
}

const RTT: [&str; 3] = ["--no-default-features", "--features", "rtt"];

#[test]
fn a_micro_bit_is_for_the_emulator_alone() {
    refused(
        check(Board::Microbit, &RTT),
        "the micro:bit firmware runs in QEMU only",
    );
    refused(
        check(Board::Microbit, &["--features", "field"]),
        "no room for two slots of weights",
    );
}

#[test]
fn the_log_has_one_way_out() {
    for board in [Board::Stm32f405, Board::Microbit] {
        let both = check(board, &["--features", "rtt"]);
        refused(both, "for a board add --no-default-features");
        let neither = check(board, &["--no-default-features"]);
        refused(neither, "the log has nowhere to go");
    }
}

#[test]
fn a_target_without_a_board_is_named() {
    let version = command("rustc").arg("-vV").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.expect("rustc names its host");
    let mut check = command("cargo");
    check
        .args([
            "check",
            "--locked",
            "--target-dir",
            "target",
            "--target",
            host,
        ])
        .current_dir(root().join("firmware"));
    refused(check, &format!("no board here is a {host}"));
}

#[test]
fn a_model_that_is_too_large_is_refused_with_both_sizes() {
    let bytes = std::fs::metadata(root().join(DIGITS)).unwrap().len();
    let mut large = check(Board::Microbit, &[]);
    large.env("TINY_DDPM_BLOB", root().join(DIGITS));
    refused(
        large,
        &format!("it takes {bytes} bytes of flash, and the board has 262144"),
    );
    // The one that ships for it is what it has by default.
    assert!(check(Board::Microbit, &[]).status().unwrap().success());
}
