//! The diffusion process: how much noise there is when, what a network
//! predicts, and how samplers undo the noise.
//!
//! Nothing here knows of a network but through the [`Denoiser`] trait.

mod denoiser;
pub mod latent_walk;
pub mod noise;
pub mod prediction;
pub mod sampler;
pub mod schedule;

pub use denoiser::{Denoiser, InPlace};
