//! Which features this tiny-ddpm was built with, and how to build one with others.

use std::sync::LazyLock;

/// Cargo features of this build that a user may have chosen.
const FEATURES: [(&str, bool); 4] = [
    ("explain", cfg!(feature = "explain")),
    ("train", cfg!(feature = "train")),
    ("wgpu", cfg!(feature = "wgpu")),
    ("ndarray", cfg!(feature = "ndarray")),
];

/// What `--version` prints after the name: the version, features and backends.
#[must_use]
pub fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let built = FEATURES.iter().filter(|(_, built)| *built);
        let features: Vec<&str> = built.map(|&(name, _)| name).collect();
        let backends = features.iter().filter_map(|&feature| match feature {
            "explain" => None,
            "train" => Some("flex"),
            backend => Some(backend),
        });
        let list = |names: Vec<&str>| match names[..] {
            [] => "none".to_owned(),
            _ => names.join(", "),
        };
        format!(
            "{}\nfeatures: {}\ntraining backends: {}",
            env!("CARGO_PKG_VERSION"),
            list(features.clone()),
            list(backends.collect())
        )
    });
    &TEXT
}

/// Says that this build lacks something, and the commands that build a
/// tiny-ddpm with the cargo feature that has it, with their duration.
#[must_use]
pub fn lacks(what: &str, feature: &str) -> String {
    let cargo = "cargo build --release -p tiny-ddpm-train";
    let light = format!("  {cargo}    (a few minutes)");
    let train = format!("  {cargo} --features train    (on the CPU; about 15 minutes of CPU time)");
    let wgpu = format!(
        "  {cargo} --features wgpu     (on the CPU or a GPU; about 25 minutes of CPU time)"
    );
    let commands = match feature {
        "explain" => light,
        "train" => format!("{train}\n{wgpu}"),
        "wgpu" => wgpu,
        other => format!("  {cargo} --features {other}"),
    };
    format!("this tiny-ddpm was built without {what}; build one that has it:\n{commands}")
}
