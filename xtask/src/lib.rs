//! The commands a person or CI types: `cargo xtask demo`, `cargo xtask bench`,
//! `cargo xtask test`.
//!
//! The pieces are a library, so that tests can build and run firmware too:
//!
//! - [`setup`]: finds or installs what is missing;
//! - [`firmware`]: builds firmware around a blob;
//! - [`emulator`]: runs it, and reads its log;
//! - [`field`]: the same of firmware whose weights come over a serial line;
//! - [`host`]: generates the same pictures with the same code, here;
//! - [`untrusted`]: builds firmware in which nothing can panic;
//! - [`mod@bench`]: counts instructions on emulated machines;
//! - [`hashes`]: compares what all targets make;
//! - [`hygiene`]: dependencies, lock files, features and the public API;
//! - [`package`]: packs, unpacks and checks each crate;
//! - [`hostile`]: mutated blobs, on emulated machines and here;
//! - [`readme`]: runs the commands of `README.md`;
//! - [`fuzz`]: gives bytes of strangers to all that reads some.

pub mod animation;
pub mod bench;
pub mod demo;
pub mod emulator;
pub mod field;
pub mod firmware;
pub mod fuzz;
pub mod hashes;
pub mod host;
pub mod hostile;
pub mod hygiene;
pub mod imports;
pub mod links;
pub mod package;
/// Models with random weights, of `core`'s tests.
#[path = "../../core/tests/common/mod.rs"]
pub mod random;
pub mod readme;
pub mod request;
pub mod scatter;
pub mod setup;
pub mod sheet;
pub mod shell;
pub mod stages;
pub mod untrusted;

use std::path::Path;

/// The repository's root.
#[must_use]
pub fn root() -> &'static Path {
    // This package is one folder below it.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// The model that ships.
pub const DIGITS: &str = "models/digits.tddpm";
/// The model that ships for chips with 16 KiB of RAM.
pub const NANO: &str = "models/nano.tddpm";
/// The one for points.
pub const SWISS_ROLL: &str = "models/swiss-roll.tddpm";
