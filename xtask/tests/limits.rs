//! What a layer and a step may cost, in instructions for each
//! multiply-accumulate: half of what CMSIS-NN needs, and less. A change that
//! makes one slower than that is noticed here.
//!
//! Needs what `cargo xtask bench` needs.

use xtask::bench::machine::Machine;
use xtask::bench::{measure, table::Row};
use xtask::{DIGITS, root};

/// Processor, kernel, shape, layout, and the most that is allowed.
const LIMITS: [(Machine, &str, &str, &str, f64); 23] = [
    (Machine::M4, "conv3x3", "28x28x16->16", "direct", 1.165),
    (Machine::M4, "conv3x3", "14x14x32->32", "direct", 0.965),
    (Machine::M4, "conv3x3", "7x7x64->64", "direct", 0.979),
    (Machine::M4, "conv3x3", "14x14x32->32", "int4", 1.2),
    (Machine::M4, "conv3x3", "28x28x16->16", "winograd", 0.90),
    (Machine::M4, "conv3x3", "14x14x32->32", "winograd", 0.62),
    (Machine::M4, "conv3x3", "7x7x64->64", "winograd", 0.62),
    (
        Machine::M4,
        "conv3x3-stride2",
        "28x28x16->32",
        "direct",
        1.07,
    ),
    (Machine::M4, "conv3x3-first", "28x28x1->16", "direct", 5.25),
    (Machine::M4, "conv3x3-up", "7x7x48->24", "phases", 0.56),
    (Machine::M4, "conv1x1", "14x14x64->32", "direct", 1.15),
    (Machine::M4, "fully-connected", "64->128", "-", 1.7),
    (Machine::M4, "denoise_step", "portable", "-", 1.25),
    (Machine::M4, "denoise_step", "winograd", "-", 0.95),
    (Machine::M0, "conv3x3", "28x28x16->16", "direct", 4.0),
    (Machine::M0, "conv3x3", "14x14x32->32", "direct", 3.2),
    (Machine::M0, "conv3x3", "7x7x64->64", "direct", 3.0),
    (Machine::M0, "conv3x3", "14x14x32->32", "int4", 3.6),
    (
        Machine::M0,
        "conv3x3-stride2",
        "28x28x16->32",
        "direct",
        3.6,
    ),
    (Machine::M0, "conv1x1", "14x14x64->32", "direct", 4.2),
    (Machine::M0, "denoise_step", "portable", "-", 4.0),
    (Machine::Rv32, "denoise_step", "portable", "-", 4.0),
    (Machine::Rv32, "conv3x3", "14x14x32->32", "int4", 3.6),
];

/// Instructions for a picture in one evaluation of the network, with noise and
/// all: processor, model, layout, and the most that is allowed.
const PICTURES: [(Machine, &str, &str, u64); 2] = [
    (Machine::M4, DIGITS, "winograd", 16_000_000),
    (Machine::M4, DIGITS, "portable", 22_000_000),
];

/// Of these rows, what one picture takes.
fn picture(rows: &[Row], machine: Machine, layout: &str) -> u64 {
    let parts = ["denoise_step", "noise", "schedule", "update"];
    let part = |kernel: &str| {
        let row = rows
            .iter()
            .find(|row| row.machine == machine && row.kernel == kernel && row.shape == layout);
        row.unwrap_or_else(|| panic!("{machine:?}: no {kernel} {layout}"))
            .instructions
    };
    parts.into_iter().map(part).sum()
}

#[test]
fn nothing_costs_more_than_it_may() {
    let machines = [Machine::M4, Machine::M0, Machine::Rv32];
    let rows = measure(&machines, Some(&root().join(DIGITS))).unwrap();
    let mut failures = Vec::new();
    for (machine, model, layout, limit) in PICTURES {
        let found = picture(&rows, machine, layout);
        println!("{machine:?} {model} {layout}: {found} instructions a picture");
        if found > limit {
            failures.push(format!(
                "{machine:?} {model} {layout}: {found} where {limit} is allowed"
            ));
        }
    }
    for (machine, kernel, shape, layout, limit) in LIMITS {
        let wanted = |row: &&Row| {
            let names = (row.kernel.as_str(), row.shape.as_str(), row.layout.as_str());
            row.machine == machine && names == (kernel, shape, layout)
        };
        let row = rows.iter().find(wanted);
        let row = row.unwrap_or_else(|| panic!("{machine:?}: no {kernel} {shape} {layout}"));
        if row.per_mac() > limit {
            let found = row.per_mac();
            failures.push(format!(
                "{machine:?} {kernel} {shape} {layout}: {found:.3} where {limit} is allowed"
            ));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
