//! Training: the f32 network in Burn and everything that makes its weights.
//!
//! [`command`] is what a user types, [`run`] the loop behind it. What is trained
//! is a [`Network`], and [`load_any_ema`] gives the trained one. The one that
//! chips run is [`UNet`]: [`load_ema`] gives it, [`UNet::parameters`] its
//! weights by name and [`UNet::forward_with`] its activations.

pub mod backend;
pub mod batch;
pub mod calibrate;
pub mod checkpoint;
pub mod command;
pub mod curve;
pub mod denoiser;
pub mod ema;
mod embedding;
pub mod few_step;
pub mod gradients;
mod interpreter;
pub mod layers;
pub mod network;
pub mod optimizer;
pub mod origin;
pub mod parameters;
pub mod patches;
pub mod preview;
mod progress;
pub mod qat;
pub mod reference;
pub mod run;
pub mod taps;
pub mod teacher;
pub mod trouble;
pub mod unet;

pub use backend::Backend;
pub use calibrate::{CalibrationSettings, calibrate};
pub use checkpoint::{Checkpoint, load_any_ema, load_ema};
pub use ema::Ema;
pub use few_step::FewStep;
pub use network::{Forward, Network};
pub use parameters::Parameter;
pub use qat::Qat;
pub use reference::ReferenceUNet;
pub use taps::{NoTaps, Observe, Taps};
pub use trouble::Trouble;
pub use unet::UNet;
