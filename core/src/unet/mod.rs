//! The int8 network.
//!
//! [`Model`] is a checked blob; [`Plan`] says what memory it needs; [`Unet`]
//! runs it, in a workspace that the caller lends.

mod arena;
mod error;
mod forward;
mod io;
mod model;
mod plan;
mod run;

pub use error::UnetError;
pub use io::Observation;
pub use model::Model;
pub use plan::Plan;
pub use run::Unet;
