//! What the targets in `targets/` share: blobs whose checksums are right
//! whatever is in them, models drawn from a fuzzer's bytes, and what must hold
//! of every blob that is accepted.
//!
//! `cargo xtask fuzz` runs the targets; see `docs/security.md`.

pub mod blob;
pub mod draw;
pub mod kernels;
pub mod rewrite;
pub mod run;

/// What the tests of `core` make models with.
#[path = "../../core/tests/common/mod.rs"]
pub mod common;
