//! The commands a person or CI types: `cargo xtask demo`, `cargo xtask bench`,
//! `cargo xtask test`.
//!
//! The pieces are a library, so that tests can build and run firmware too:
//!
//! - [`setup`]: finds or installs what is missing;
//! - [`firmware`]: builds firmware around a blob;
//! - [`emulator`]: runs it, and reads its log;
//! - [`host`]: generates the same pictures with the same code, here;
//! - [`mod@bench`]: counts instructions on emulated machines;
//! - [`fuzz`]: gives bytes of strangers to all that reads some.

pub mod bench;
pub mod demo;
pub mod emulator;
pub mod firmware;
pub mod fuzz;
pub mod host;
pub mod request;
pub mod scatter;
pub mod setup;
pub mod sheet;
pub mod shell;
pub mod stages;

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
