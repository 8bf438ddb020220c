//! Diffusion models on microcontrollers: from noise to a picture with
//! integers, without heap, without operating system, without panics.
//!
//! - [`schedule`]: how much noise a picture has at which timestep.
//! - [`sampler`]: DDPM, DDIM, Euler-Maruyama, Heun and DPM-Solver++, a step at
//!   a time, over anything that is a [`Denoiser`].
//! - [`unet`]: the int8 U-Net, a [`Denoiser`] that reads its weights from
//!   flash; of points ([`Data`]) it is a multilayer perceptron.
//! - [`blob`]: those weights as bytes, checked from first to last.
//! - [`kernels`]: the arithmetic.
//!
//! Whoever calls provides every buffer and can ask beforehand how large it
//! must be. One seed, one blob and one set of settings give the same picture,
//! bit for bit, on every target: integers inside the network, and outside it
//! only IEEE 754 basic operations and `libm`. Programs that are compared must
//! have locked the same version of `libm` (`cargo update -p libm --precise`),
//! since a later one may round a sine or a logarithm otherwise.
//!
//! ```no_run
//! use tiny_ddpm::{Buffers, Method, Model, Sampler, Settings, Spacing, Unet};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let blob: &[u8] = &[];
//! let model = Model::load(blob)?;
//! let recommended = model.info().recommended;
//! let pixels = model.topology().pixels();
//!
//! let mut workspace = vec![0; model.workspace_words()];
//! let mut unet = Unet::new(&model, &mut workspace)?;
//! let (mut x, mut x0_hat, mut spare) = (vec![0.0; pixels], vec![0.0; pixels], vec![0.0; pixels]);
//! let buffers = Buffers {
//!     x: &mut x,
//!     x0_hat: &mut x0_hat,
//!     unconditional: &mut spare,
//!     // Heun and DPM-Solver++ need one.
//!     memory: &mut [],
//! };
//! let settings = Settings {
//!     method: Method::Ddim { eta: recommended.eta },
//!     steps: recommended.steps,
//!     spacing: Spacing::Trailing,
//!     guidance: recommended.guidance,
//!     clip: true,
//!     seed: 1,
//!     picture: 0,
//!     class: Some(7),
//! };
//! let mut sampler = Sampler::new(model.schedule(), settings, buffers)?;
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
pub mod denoiser;
pub mod kernels;
pub mod noise;
pub mod picture;
pub mod prediction;
pub mod sampler;
pub mod schedule;
pub mod topology;
pub mod unet;
pub mod walk;

pub use blob::{BlobError, Model};
pub use denoiser::{Denoiser, InPlace};
pub use prediction::Prediction;
pub use sampler::{
    Buffers, InPlaceSampler, Method, Sampler, Settings, SettingsError, SolverOrder, Spacing, Step,
    Variance,
};
pub use schedule::{Schedule, ScheduleError, ScheduleKind};
pub use topology::{Data, Level, Topology, TopologyError};
pub use unet::{Unet, UnetError};
pub use walk::Walk;
