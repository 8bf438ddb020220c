//! Which targets and flags the build script takes to have DSP instructions. It
//! cannot ask the compiler, so this holds it to what the processors are.

#[path = "../build.rs"]
#[expect(dead_code, reason = "its main is for Cargo")]
mod build;

use build::has_dsp;

/// Flags as Cargo hands them to a build script.
fn flags(words: &[&str]) -> String {
    words.join("\x1f")
}

#[test]
fn a_target_that_always_has_them() {
    for target in ["thumbv7em-none-eabi", "thumbv7em-none-eabihf"] {
        assert!(has_dsp(target, ""), "{target}");
    }
}

#[test]
fn a_target_that_never_has_them() {
    for target in [
        "thumbv6m-none-eabi",
        "thumbv7m-none-eabi",
        "thumbv8m.base-none-eabi",
        "riscv32imc-unknown-none-elf",
        "x86_64-unknown-linux-gnu",
        "",
    ] {
        for words in [&[][..], &["-C", "target-cpu=cortex-m33"]] {
            assert!(!has_dsp(target, &flags(words)), "{target} {words:?}");
        }
    }
}

#[test]
fn a_target_that_may_have_them() {
    for (words, expected) in [
        (&[][..], false),
        (&["-C", "target-cpu=cortex-m33"], true),
        (&["-Ctarget-cpu=cortex-m33"], true),
        (&["-C", "target-cpu=cortex-m55"], true),
        (&["-C", "target-cpu=cortex-m23"], false),
        (&["-C", "target-feature=+dsp"], true),
        (&["-Ctarget-feature=+fp-armv8d16sp,+dsp"], true),
        (&["-C", "target-feature=+dspx"], false),
        (&["-C", "link-arg=+dsp"], false),
        // A Cortex-M33 without them, whichever is said first.
        (
            &["-C", "target-cpu=cortex-m33", "-C", "target-feature=-dsp"],
            false,
        ),
        (
            &["-C", "target-feature=-dsp", "-C", "target-cpu=cortex-m33"],
            false,
        ),
    ] {
        for target in ["thumbv8m.main-none-eabi", "thumbv8m.main-none-eabihf"] {
            let found = has_dsp(target, &flags(words));
            assert_eq!(found, expected, "{target} {words:?}");
        }
    }
}
