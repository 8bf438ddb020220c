//! Says which of a target's multiplying engines the kernels can count on.
//!
//! Stable rustc does not show Arm's target features to `cfg`, so they are read
//! from the target's name, and from flags that add to it. What decides is the
//! same that decides which instructions the compiler may use.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(engine, values(\"dsp\", \"thumb\"))");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if has_dsp(&target, &flags) {
        println!("cargo::rustc-cfg=engine=\"dsp\"");
        // Where a crate becomes bitcode, its assembly is read without the
        // flags, so it has to name a processor itself.
        let cpu = match target.starts_with("thumbv8m") {
            true => "cortex-m33",
            false => "cortex-m4",
        };
        println!("cargo::rustc-env=DSP_CPU=.cpu {cpu}");
    } else if target.starts_with("thumbv6m") || target.starts_with("thumbv8m.base") {
        println!("cargo::rustc-cfg=engine=\"thumb\"");
    }
}

/// Whether there are `SMLAD` and its like: always in Armv7E-M, and in
/// Armv8-M Mainline where the processor or the feature is named.
pub fn has_dsp(target: &str, flags: &str) -> bool {
    if target.starts_with("thumbv7em") {
        return true;
    }
    let named = |word: &str| {
        let cpu = word.strip_prefix("target-cpu=").is_some_and(|cpu| {
            [
                "cortex-m33",
                "cortex-m35p",
                "cortex-m52",
                "cortex-m55",
                "cortex-m85",
            ]
            .contains(&cpu)
        });
        cpu || has_feature(word, "+dsp")
    };
    let words = flags.split('\x1f');
    let mut words = words.map(|word| word.strip_prefix("-C").unwrap_or(word).trim_start());
    // Some Cortex-M33 are built without it.
    let without = words.clone().any(|word| has_feature(word, "-dsp"));
    target.starts_with("thumbv8m.main") && !without && words.any(named)
}

/// Whether a flag switches this feature.
fn has_feature(flag: &str, feature: &str) -> bool {
    flag.strip_prefix("target-feature=")
        .is_some_and(|features| features.split(',').any(|named| named == feature))
}
