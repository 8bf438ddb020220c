//! Generates pictures and points on the host: with the code that the chip runs,
//! or with a float network.
//!
//! [`generate`] gives the pictures of a [`Request`], [`generate_points`] the
//! points. Picture i is made from noise stream i alone, so neither the number of
//! threads nor that of pictures changes it, and a chip that is asked for the same
//! seed, picture, class and settings makes the same one.

#[cfg(feature = "train")]
pub mod float;
mod pictures;
mod points;
mod request;
mod sampling;

pub use pictures::{Pictures, Progress, SampleError, generate};
pub use points::generate_points;
pub use request::{Classes, Request, RequestError};
pub use sampling::{
    SamplerName, SamplingArgs, SpacingName, VarianceName, describe, eta_of, for_denoisers,
};
