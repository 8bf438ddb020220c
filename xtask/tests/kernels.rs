//! Every engine against the definition, on the emulated machine that it is
//! for, and the machines against each other.
//!
//! These tests need toolchains for microcontrollers and QEMU, and fail
//! without: `cargo xtask test` installs both.

use std::sync::LazyLock;
use xtask::bench::machine::{self, Machine};
use xtask::bench::{reference, run_words};
use xtask::root;
use xtask::setup::{CORTEX_M4, OTHER_TARGETS, Toolchain, has_qemu, has_riscv_qemu};

static BUILT: LazyLock<()> = LazyLock::new(|| {
    let mut targets = vec![CORTEX_M4];
    targets.extend(OTHER_TARGETS);
    let toolchain = Toolchain::find(&targets)
        .expect("no toolchain for microcontrollers: `cargo xtask test` installs one");
    assert!(
        has_qemu() && has_riscv_qemu(),
        "no QEMU: `cargo xtask test` installs it"
    );
    machine::build(toolchain, &Machine::ALL).unwrap();
});

/// Group, cases, mismatches and hash, as a machine tells them.
type Told = (String, usize, usize, u32);

/// What a machine tells of its checks, and whether it was content.
fn check(machine: Machine, word: &str) -> (Vec<Told>, anyhow::Result<()>) {
    LazyLock::force(&BUILT);
    let mut told = Vec::new();
    let result = run_words(machine, &[word], root(), |name, values| {
        if name == "check" {
            told.push((
                values.text("group")?.to_owned(),
                values.number("cases")?,
                values.number("mismatches")?,
                u32::from_str_radix(values.text("hash")?, 16)?,
            ));
        }
        Ok(())
    });
    (told, result)
}

fn assert_agrees(machine: Machine) {
    let (told, result) = check(machine, "check");
    result.unwrap();
    // On this computer, too, its own engine is compared with the definition.
    let expected: Vec<Told> = reference::check()
        .into_iter()
        .map(|outcome| {
            let group = outcome.group.to_owned();
            (group, outcome.cases, outcome.mismatches, outcome.hash)
        })
        .collect();
    assert_eq!(told, expected);
    let cases: Vec<_> = told.iter().map(|told| (told.1, told.2)).collect();
    assert_eq!(cases, [(14_450, 0), (96, 0), (42, 0), (24, 0), (12, 0)]);
}

#[test]
fn cortex_m4_computes_what_is_defined() {
    assert_agrees(Machine::M4);
}

#[test]
fn cortex_m7_computes_what_is_defined() {
    assert_agrees(Machine::M7);
}

#[test]
fn cortex_m33_computes_what_is_defined() {
    assert_agrees(Machine::M33);
}

#[test]
fn cortex_m0_computes_what_is_defined() {
    assert_agrees(Machine::M0);
}

#[test]
fn risc_v_computes_what_is_defined() {
    assert_agrees(Machine::Rv32);
}

#[test]
fn one_changed_weight_is_noticed() {
    for machine in Machine::ALL {
        let (told, result) = check(machine, "check-spoiled");
        let message = result.unwrap_err().to_string();
        assert!(message.contains("first mismatch"), "{message}");
        assert!(message.contains("geometry"), "{message}");
        assert_eq!(told[0].2, 1, "{told:?}");
    }
}

/// The machine that stands for a Cortex-M0 must not forgive what a Cortex-M0
/// does not; of the others, the same test shows that they do.
#[test]
fn words_at_odd_addresses_are_a_fault_on_cortex_m0() {
    LazyLock::force(&BUILT);
    let misread = |machine| run_words(machine, &["misread"], root(), |_, _| Ok(()));
    let message = misread(Machine::M0).unwrap_err().to_string();
    assert!(message.contains("hard fault"), "{message}");
    misread(Machine::M4).unwrap();
}

/// A count is exact: it is the same in another run.
#[test]
fn counts_are_repeatable() {
    LazyLock::force(&BUILT);
    for machine in [Machine::M4, Machine::Rv32] {
        let [first, second] = [(); 2].map(|()| {
            let mut counts = Vec::new();
            run_words(machine, &["kernels"], root(), |name, values| {
                if name == "kernel" {
                    counts.push(values.number::<u64>("instructions")?);
                }
                Ok(())
            })
            .unwrap();
            counts
        });
        assert_eq!(first, second);
        assert_eq!(first.len(), 17, "{first:?}");
    }
}
