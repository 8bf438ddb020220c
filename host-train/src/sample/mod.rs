//! Sampling on the host, with the code that the chip runs.
//!
//! [`generate`] gives the pictures of a [`Request`], [`generate_points`] the
//! points. Picture i is made from
//! noise stream i alone, so neither the number of threads nor that of pictures
//! changes it, and a chip that is asked for the same seed, picture, class and
//! settings makes the same one. A training run's network is sampled in floats.

mod command;
mod film;
mod generate;
#[cfg(feature = "train")]
mod of_run;
mod points;
mod report;
mod request;
mod sampling;
mod walk;

pub use command::{SampleArgs, run};
pub use film::Film;
pub use generate::{Pictures, Progress, SampleError, generate};
pub use points::generate_points;
pub use request::{Classes, Request, RequestError};
pub use sampling::{
    SamplerName, SamplingArgs, SpacingName, VarianceName, describe, eta_of, for_denoisers,
};
