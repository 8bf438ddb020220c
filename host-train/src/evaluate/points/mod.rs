//! `tiny-ddpm evaluate` of a network for points: distances of what every
//! sampler draws from held-out data, each beside its floor, and the pictures of
//! the whole process.

#[cfg(feature = "train")]
mod measure;
mod methods;
mod plot;
mod report;
mod results;

#[cfg(feature = "train")]
pub use measure::{Plan, measure};
pub use methods::{Sampling, samplings};
pub use report::{conclusion, html};
pub use results::{FORMAT, Facts, Gallery, Panel, PointsEvaluation, SetResult, Trajectories};
