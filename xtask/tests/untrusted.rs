//! Firmware that trusts nothing has nothing in it that can panic.
//!
//! Needs toolchains for microcontrollers and QEMU, and fails without:
//! `cargo xtask test` installs both.

use std::fs;
use std::sync::LazyLock;
use tiny_ddpm::{Method, Model, Spacing};
use xtask::request::Request;
use xtask::setup::{CORTEX_M4, OTHER_TARGETS, Toolchain, has_qemu, has_riscv_qemu};
use xtask::untrusted::{self, Answer, Board, Firmware, MISSING, panic_machinery};
use xtask::{DIGITS, NANO, SWISS_ROLL, host, root};

static TOOLCHAIN: LazyLock<Toolchain> = LazyLock::new(|| {
    let mut targets = vec![CORTEX_M4];
    targets.extend(OTHER_TARGETS);
    let toolchain = Toolchain::find(&targets);
    let toolchain = toolchain.expect("no toolchain for microcontrollers: see `cargo xtask test`");
    assert!(
        has_qemu() && has_riscv_qemu(),
        "no QEMU: `cargo xtask test` installs it"
    );
    toolchain
});

/// Linked, so that nothing in it can panic.
fn build(board: Board) -> Firmware {
    let firmware = untrusted::build(*TOOLCHAIN, board, &[]);
    firmware.unwrap_or_else(|error| panic!("{board:?}: {error:#}"))
}

fn blob(path: &str) -> Vec<u8> {
    fs::read(root().join(path)).unwrap()
}

/// What this computer samples.
fn expected(blob: &[u8], change: impl FnOnce(&mut Request)) -> Answer {
    let model = Model::load(blob).unwrap();
    let mut request = Request::recommended(&model);
    (request.guidance, request.count) = (0.0, 1);
    request.classes.truncate(1);
    change(&mut request);
    let pictures = host::generate(&model, &request).unwrap();
    let picture = pictures.first().unwrap();
    Answer::Sampled {
        pixels: picture.hash,
        state: picture.state,
    }
}

#[test]
fn nothing_in_it_can_panic_on_any_board() {
    for board in Board::ALL {
        let firmware = build(board);
        let found = panic_machinery(&firmware.elf).unwrap();
        assert!(found.is_empty(), "{board:?}: {found:#?}");
    }
}

/// One index that nothing proves to be in range.
#[test]
fn a_single_index_is_noticed_by_the_linker_and_in_the_file() {
    let error = untrusted::build(*TOOLCHAIN, Board::Microbit, &["spoiled"]).unwrap_err();
    assert!(format!("{error:#}").contains(MISSING), "{error:#}");

    let firmware = untrusted::build(*TOOLCHAIN, Board::Microbit, &["spoiled", "lenient"]);
    let found = panic_machinery(&firmware.unwrap().elf).unwrap();
    for part in ["the symbol", "the text \"src/\""] {
        assert!(found.iter().any(|found| found.contains(part)), "{found:#?}");
    }
}

#[test]
fn it_samples_what_this_computer_samples() {
    let (digits, nano, points) = (blob(DIGITS), blob(NANO), blob(SWISS_ROLL));

    let chip = build(Board::Stm32f405);
    let heun = expected(&digits, |request| {
        (request.method, request.steps) = (Method::Heun, 2);
        (request.classes, request.guidance) = (vec![3], 0.5);
    });
    let words = b"heun steps=2 class=3 guidance=50";
    assert_eq!(chip.run(&digits, words).unwrap(), heun);

    let dpm_solver = expected(&digits, |request| {
        (request.method, request.steps) = (Method::DpmSolver, 3);
        (request.spacing, request.seed) = (Spacing::LogSnr, 77);
        request.classes = vec![9];
    });
    let words = b"apart dpm-solver log-snr steps=3 class=9 seed=77\xff\xff";
    assert_eq!(chip.run(&digits, words).unwrap(), dpm_solver);

    let small = build(Board::Microbit);
    let guided = expected(&nano, |request| {
        (request.classes, request.guidance, request.steps) = (vec![7], 0.5, 1);
    });
    let words = b"class=7 guidance=50 steps=1";
    assert_eq!(small.run(&nano, words).unwrap(), guided);

    let point = expected(&points, |_| ());
    for board in Board::ALL {
        for words in [&b"apart"[..], b""] {
            assert_eq!(
                build(board).run(&points, words).unwrap(),
                point,
                "{board:?}"
            );
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (nano, points) = (blob(NANO), blob(SWISS_ROLL));
    let mut damaged = points.clone();
    damaged[4000] ^= 1;
    let mut longer = points.clone();
    longer[19] = 0xff;
    for board in Board::ALL {
        let firmware = build(board);
        let cases: [(&[u8], &[u8], &str); 8] = [
            (&[], b"", "blob"),
            (&[0xff; 1000], b"", "blob"),
            (&damaged, b"", "blob"),
            (&longer, b"", "blob"),
            (&points, b"steps=70000", "words"),
            (&points, b"\x80", "words"),
            (&points, b"steps=65535", "settings"),
            (&points, b"class=255", "network"),
        ];
        for (slot, words, reason) in cases {
            let answer = firmware.run(slot, words).unwrap();
            assert_eq!(answer, Answer::Refused(reason.to_owned()), "{board:?}");
        }
    }
    // It would need three pictures of memory.
    let answer = build(Board::Microbit).run(&nano, b"apart heun").unwrap();
    assert_eq!(answer, Answer::Refused("memory".to_owned()));
}
