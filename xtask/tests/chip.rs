//! The emulated chip against this computer.
//!
//! These tests need a Cortex-M toolchain and QEMU, and fail without:
//! `cargo xtask test` installs both.

#[path = "../../core/tests/common/mod.rs"]
mod common;
#[path = "chip/stack.rs"]
mod stack;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tiny_ddpm::blob::header::{HEADER_LEN, seal};
use tiny_ddpm::blob::records::Record;
use tiny_ddpm::graph::Cost;
use tiny_ddpm::picture::picture_hash;
use tiny_ddpm::{Method, Model, Spacing, Topology};
use xtask::emulator::{self, Run};
use xtask::firmware::{self, Board, Firmware};
use xtask::request::Request;
use xtask::setup::{Toolchain, has_qemu};
use xtask::{DIGITS, NANO, SWISS_ROLL, host, root};

static BLOB: LazyLock<Vec<u8>> = LazyLock::new(|| fs::read(digits()).unwrap());
static FIRMWARE: LazyLock<Firmware> = LazyLock::new(|| build(Board::Stm32f405, &digits(), None));

static NANO_FIRMWARE: LazyLock<Firmware> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nano.tddpm");
    fs::write(&path, nano()).unwrap();
    build(Board::Microbit, &path, None)
});

fn digits() -> PathBuf {
    root().join(DIGITS)
}

fn model() -> Model<'static> {
    Model::load(&BLOB).unwrap()
}

fn build(board: Board, blob: &Path, workspace_words: Option<usize>) -> Firmware {
    let toolchain = Toolchain::find(&[board.target()])
        .expect("no toolchain for Cortex-M: `cargo xtask test` installs one");
    assert!(has_qemu(), "no QEMU: `cargo xtask test` installs it");
    firmware::build(toolchain, board, blob, workspace_words).unwrap()
}

fn run(firmware: &Firmware, request: &Request) -> Run {
    emulator::run(firmware, request, |_| ()).unwrap()
}

/// One picture in few steps.
fn short(class: u8) -> Request {
    Request {
        steps: 2,
        classes: vec![class],
        ..Request::recommended(&model())
    }
}

fn assert_fails(run: &Run, with: &str) {
    assert!(!run.success, "the firmware ended with success");
    let told = run.log.iter().any(|line| line.contains(with));
    assert!(told, "no {with} in {:?}", run.log);
}

/// What the firmware cannot run with, it finds out by itself.
fn run_unchecked(name: &str, blob: &[u8], workspace_words: usize) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, blob).unwrap();
    let firmware = build(Board::Stm32f405, &path, Some(workspace_words));
    run(&firmware, &short(0))
}

#[test]
fn ten_digits_are_the_hosts_bit_for_bit() {
    let request = Request::recommended(&model());
    assert_eq!(request.classes.len(), 10);
    let run = run(&FIRMWARE, &request);
    assert!(run.success, "{:?}", run.log);
    let expected = host::generate(&model(), &request).unwrap();
    assert_eq!(run.pictures.len(), 10);
    for (chip, host) in run.pictures.iter().zip(&expected) {
        assert_eq!(chip.pixels, host.pixels, "class {}", chip.class);
        assert_eq!(
            chip.hash,
            picture_hash(&chip.pixels),
            "class {}",
            chip.class
        );
        assert_eq!(chip.state, host.state, "class {}", chip.class);
    }

    let memory = run.memory.expect("no account of the memory");
    assert!(memory.flash <= 1 << 20, "{memory:?}");
    assert!(
        memory.buffers + memory.stack_peak <= 128 << 10,
        "{memory:?}"
    );
    // What is not painted over at the far end was never reached.
    assert!(memory.stack_peak < memory.stack_room, "{memory:?}");
    assert!(memory.stack_peak > 256, "{memory:?}");
}

#[test]
fn every_sampler_is_the_host_s_bit_for_bit() {
    let spacings = Spacing::ALL.into_iter().cycle();
    for (name, spacing) in Method::NAMES.into_iter().zip(spacings) {
        let request = Request {
            method: Method::from_name(name, 0.5).unwrap(),
            spacing,
            steps: 3,
            ..short(4)
        };
        let run = run(&FIRMWARE, &request);
        assert!(run.success, "{name}: {:?}", run.log);
        let expected = host::generate(&model(), &request).unwrap();
        assert_eq!(run.pictures[0].state, expected[0].state, "{name}");
        assert_eq!(run.pictures[0].pixels, expected[0].pixels, "{name}");
    }
}

#[test]
fn a_walk_is_the_hosts_bit_for_bit() {
    let request = Request {
        classes: vec![3, 5, 3],
        walk: 2,
        // Its noise is the same in every frame.
        method: Method::Consistency,
        ..short(0)
    };
    let run = run(&FIRMWARE, &request);
    assert!(run.success, "{:?}", run.log);
    let expected = host::generate(&model(), &request).unwrap();
    assert_eq!(expected.len(), 6);
    let chip: Vec<_> = run.pictures.iter().map(|p| (p.state, &p.pixels)).collect();
    let host: Vec<_> = expected.iter().map(|p| (p.state, &p.pixels)).collect();
    assert_eq!(chip, host);
    let classes: Vec<_> = run.pictures.iter().map(|p| p.class).collect();
    assert_eq!(classes, [3, 5, 5, 3, 3, 3]);
    let stops = host::generate(&model(), &Request { walk: 0, ..request }).unwrap();
    // The first stop; the noise of the others' later steps is their own.
    assert_eq!(stops[0], expected[0]);
}

#[test]
fn instructions_are_counted_and_repeatable() {
    let [first, second] = [(); 2].map(|()| run(&FIRMWARE, &short(3)));
    // The firmware says so only if a loop of known length measures right.
    assert_eq!(first.unit, "instructions");
    assert_eq!(first.pictures, second.pictures);
    let macs = 2 * u64::from(Cost::of(model().topology()).macs);
    assert!(first.pictures[0].ticks > macs, "{:?}", first.pictures[0]);
}

#[test]
fn one_changed_weight_changes_the_hash() {
    let mut changed = BLOB.clone();
    let at = some_weight(&changed);
    changed[at] ^= 0x40;
    let (_, body) = changed.split_at(HEADER_LEN);
    let header = seal(model().arch_hash(), body);
    changed[..HEADER_LEN].copy_from_slice(&header);

    let request = short(7);
    let before = run(&FIRMWARE, &request);
    let after = run(&FIRMWARE.with_blob(&BLOB, &changed).unwrap(), &request);
    assert!(after.success, "{:?}", after.log);
    assert_ne!(before.pictures[0].hash, after.pictures[0].hash);
    let host = host::generate(&Model::load(&changed).unwrap(), &request).unwrap();
    assert_eq!(after.pictures[0].hash, host[0].hash);
}

/// Where a weight lies that is valid with another bit 6 too.
fn some_weight(blob: &[u8]) -> usize {
    let mut place = None;
    Model::load(blob).unwrap().for_each_layer(|layer| {
        if let Record::Conv(conv) = layer.record {
            let start = conv.weights.as_ptr() as usize - blob.as_ptr() as usize;
            let index = conv.weights.iter().position(|&w| w ^ 0x40 != 0x80);
            place = place.or(index.map(|index| start + index));
        }
    });
    place.expect("no convolution has a weight")
}

#[test]
fn a_damaged_blob_is_reported() {
    let mut damaged = BLOB.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let firmware = FIRMWARE.with_blob(&BLOB, &damaged).unwrap();
    assert_fails(&run(&firmware, &short(0)), "Crc");
}

#[test]
fn a_truncated_blob_is_reported() {
    let words = model().workspace_words();
    let run = run_unchecked("truncated.tddpm", &BLOB[..BLOB.len() - 1], words);
    assert_fails(&run, "TooShort");
}

#[test]
fn too_small_a_workspace_is_reported() {
    let words = model().least_workspace_words() - 1;
    let run = run_unchecked("digits.tddpm", &BLOB, words);
    assert_fails(&run, "Workspace");
}

#[test]
fn impossible_requests_are_reported() {
    assert_fails(&run(&FIRMWARE, &short(12)), "Class");
    let no_steps = Request {
        steps: 0,
        ..short(0)
    };
    assert_fails(&run(&FIRMWARE, &no_steps), "Steps");
    let wild = Request {
        guidance: 1000.0,
        ..short(0)
    };
    assert_fails(&run(&FIRMWARE, &wild), "Guidance");
}

#[test]
fn a_sampler_whose_history_does_not_fit_is_reported() {
    let blob = nano();
    let request = Request {
        method: Method::Heun,
        steps: 2,
        classes: vec![1],
        ..Request::recommended(&Model::load(&blob).unwrap())
    };
    assert_fails(&run(&NANO_FIRMWARE, &request), "History");
}

/// What a picture may take of a chip with 16 KiB of RAM: all buffers and the
/// stack at its deepest.
const NANO_RAM: u64 = 12_288;
const NANO_FLASH: u64 = 256 << 10;

/// The shipped blob, or one with the preset's shape that was taught nothing.
fn nano() -> Vec<u8> {
    fs::read(root().join(NANO)).unwrap_or_else(|_| {
        let preset = include_str!("../../host-train/presets/nano.toml");
        let preset: toml::Table = preset.parse().unwrap();
        let topology: Topology = preset["network"].clone().try_into().unwrap();
        common::random_blob(topology, 1)
    })
}

#[test]
fn nano_fits_a_micro_bit_and_is_the_hosts_bit_for_bit() {
    let blob = nano();
    let model = Model::load(&blob).unwrap();
    for guidance in [0.0, 0.5] {
        let request = Request {
            steps: 3,
            guidance,
            classes: vec![3, 8],
            ..Request::recommended(&model)
        };
        let run = run(&NANO_FIRMWARE, &request);
        assert!(run.success, "{:?}", run.log);
        assert_eq!(run.unit, "instructions");
        let expected = host::generate(&model, &request).unwrap();
        assert_eq!(run.pictures.len(), 2);
        for (chip, host) in run.pictures.iter().zip(&expected) {
            assert_eq!(chip.pixels, host.pixels, "class {}", chip.class);
            assert_eq!(chip.state, host.state, "class {}", chip.class);
        }
        let memory = run.memory.expect("no account of the memory");
        assert!(memory.buffers + memory.stack_peak <= NANO_RAM, "{memory:?}");
        assert!(memory.flash <= NANO_FLASH, "{memory:?}");
        assert!(memory.stack_peak > 256, "{memory:?}");
    }
}

/// Flash of code and points' blob, and RAM of buffers and stack.
const ROLL_FLASH: u64 = 256 << 10;
const ROLL_RAM: u64 = 8192;

#[test]
fn points_are_the_hosts_bit_for_bit() {
    let path = root().join(SWISS_ROLL);
    let blob = fs::read(&path).unwrap();
    let model = Model::load(&blob).unwrap();
    let request = Request {
        steps: 7,
        count: 12,
        ..Request::recommended(&model)
    };
    request.check(&model).unwrap();
    let expected = host::generate(&model, &request).unwrap();
    for board in [Board::Stm32f405, Board::Microbit] {
        let run = run(&build(board, &path, None), &request);
        assert!(run.success, "{:?}", run.log);
        assert_eq!(run.pictures.len(), 12);
        for (chip, host) in run.pictures.iter().zip(&expected) {
            assert_eq!(chip.values.len(), 2);
            assert_eq!(chip.values, host.values, "point {}", chip.number);
            assert_eq!(chip.state, host.state, "point {}", chip.number);
            assert_eq!(chip.class, -1);
        }
        let memory = run.memory.expect("no account of the memory");
        assert!(memory.flash <= ROLL_FLASH, "{memory:?}");
        assert!(memory.buffers + memory.stack_peak <= ROLL_RAM, "{memory:?}");
    }
}

#[test]
fn impossible_numbers_of_points_are_reported() {
    let path = root().join(SWISS_ROLL);
    let blob = fs::read(&path).unwrap();
    let model = Model::load(&blob).unwrap();
    let nothing = Request {
        count: 0,
        ..Request::recommended(&model)
    };
    assert!(nothing.check(&model).is_err());
    // The chip is asked for no more than it can be told.
    let firmware = build(Board::Stm32f405, &path, None);
    let classes = Request {
        classes: vec![3],
        ..Request::recommended(&model)
    };
    assert!(classes.check(&model).is_err());
    assert_fails(&run(&firmware, &classes), "Class");
}
