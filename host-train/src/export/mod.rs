//! `tiny-ddpm export`: from a training run to a blob.
//!
//! The averaged weights are quantised by ranges that the float network itself
//! shows while it samples ([`calibrate`](crate::train::calibrate())), packed, and the blob is then run
//! beside the float network, layer by layer ([`compare`]).

mod command;
mod compare;

pub use command::{ExportArgs, run};
pub use compare::{Input, LayerError, compare};
