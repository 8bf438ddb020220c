//! `tiny-ddpm export`: from a training run to a blob.
//!
//! The averaged weights are quantised by ranges that the float network itself
//! shows while it samples ([`calibrate`]), packed, and the blob is then run
//! beside the float network, layer by layer ([`compare`]).

mod calibrate;
mod command;
mod compare;

pub use calibrate::{CalibrationSettings, calibrate, form};
pub use command::{ExportArgs, run};
pub use compare::{Input, LayerError, compare};

use crate::quant::Weights;
use crate::train::UNet;

/// The parameters of a network, by name.
#[must_use]
pub fn weights(model: &UNet) -> Weights {
    let parameters = model.parameters().into_iter();
    parameters.map(|p| (p.name, p.values)).collect()
}
