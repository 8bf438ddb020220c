//! The f32 networks in Burn.
//!
//! [`UNet`] is the one that chips run: [`UNet::parameters`] are its weights by
//! name and [`UNet::forward_with`] shows its activations. A run trains a
//! [`Network`], which is either that or the reference network.

pub mod backend;
pub mod denoiser;
mod embedding;
mod interpreter;
mod kind;
pub mod layers;
pub mod optimizer;
pub mod parameters;
pub mod patches;
pub mod reference;
pub mod shards;
pub mod taps;
pub mod unet;

pub use backend::Backend;
pub use kind::{Forward, Network};
pub use parameters::Parameter;
pub use reference::ReferenceUNet;
pub use taps::{NoTaps, Observe, Taps};
pub use unet::UNet;
