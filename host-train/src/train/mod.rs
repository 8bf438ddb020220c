//! Training: the f32 network in Burn and everything that makes its weights.
//!
//! [`command`] is what a user types, [`run`] the loop behind it. The network is
//! [`UNet`]; [`load_ema`] gives the trained one, [`UNet::parameters`] its
//! weights by name and [`UNet::forward_with`] its activations.

pub mod backend;
pub mod batch;
pub mod checkpoint;
pub mod command;
pub mod denoiser;
pub mod ema;
pub mod gradients;
pub mod layers;
pub mod optimizer;
pub mod parameters;
pub mod preview;
pub mod qat;
pub mod run;
pub mod teacher;
pub mod unet;

pub use backend::Backend;
pub use checkpoint::{Checkpoint, load_ema};
pub use ema::Ema;
pub use parameters::Parameter;
pub use qat::Qat;
pub use unet::{NoTaps, Observe, Taps, UNet};
