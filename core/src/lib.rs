//! Diffusion models on microcontrollers: from noise to a picture with
//! integers, without heap, without operating system, without panics.
//!
//! - [`diffusion`]: noise schedule and samplers (DDPM, DDIM, Euler-Maruyama,
//!   Heun, DPM-Solver++, UniPC, consistency), one step at a time, over anything
//!   that is a [`Denoiser`].
//! - [`graph`]: the network's shape and operations.
//! - [`unet`]: the int8 network, a [`Denoiser`] that reads its weights from
//!   flash.
//! - [`blob`]: those weights as bytes, validated from first to last.
//! - [`kernels`]: the arithmetic.
//!
//! Imports go one way: `unet` builds on `blob`, `blob` on `kernels`, `kernels`
//! on `graph`. `diffusion` knows networks by the [`Denoiser`] trait only.
//!
//! The caller provides all buffers; their sizes can be queried beforehand. One
//! seed, one blob and one set of settings give the same picture,
//! bit for bit, on every target: integers inside the network, and outside it
//! only IEEE 754 basic operations and `libm`. Programs that are compared must
//! have locked the same version of `libm` (`cargo update -p libm --precise`),
//! since a later one may round a sine or a logarithm otherwise.
//!
//! ```no_run
//! use tiny_ddpm::{InPlaceSampler, Model, Settings, Unet};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let blob: &[u8] = &[];
//! let model = Model::load(blob)?;
//! let pixels = model.topology().pixels();
//!
//! let mut workspace = vec![0; model.workspace_words()];
//! let mut unet = Unet::new(&model, &mut workspace)?;
//! let mut x = vec![0.0; pixels];
//! let settings = Settings::recommended(&model).class(7).seed(1);
//! let mut sampler = InPlaceSampler::new(model.schedule(), settings, &mut x, &mut [])?;
//! while let Some(step) = sampler.step(&mut unet)? {
//!     println!("step {} of {}", step.index, step.of);
//! }
//! let mut picture = vec![0; pixels];
//! tiny_ddpm::picture::to_pixels(sampler.x(), &mut picture);
//! # Ok(())
//! # }
//! ```
// Only the engines with instructions of their own have any.
#![cfg_attr(
    not(any(engine = "dsp", engine = "thumb", target_arch = "x86_64")),
    forbid(unsafe_code)
)]
#![no_std]
#![deny(missing_docs)]

#[cfg(test)]
extern crate std;

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod blob;
pub mod diffusion;
pub mod graph;
pub mod kernels;
pub mod picture;
pub mod unet;

pub use blob::BlobError;
pub use diffusion::latent_walk::Walk;
pub use diffusion::prediction::Prediction;
pub use diffusion::sampler::{
    Buffers, InPlaceSampler, Method, Sampler, Settings, SettingsError, SolverOrder, Spacing, Step,
    Variance,
};
pub use diffusion::schedule::{Schedule, ScheduleError, ScheduleKind};
pub use diffusion::{Denoiser, InPlace};
pub use graph::{Data, Level, Topology, TopologyError};
pub use unet::{Model, Unet, UnetError};
