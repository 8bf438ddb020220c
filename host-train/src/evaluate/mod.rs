//! `tiny-ddpm evaluate`: how good are the pictures, and how sure is that?
//!
//! Every figure stands beside what real pictures get in its place, so that it
//! can be read without knowing the figure. [`results`] is what was found,
//! [`report`] shows it; only measuring needs Burn.

pub mod bound;
#[cfg(feature = "train")]
mod command;
#[cfg(feature = "train")]
pub mod measure;
#[cfg(feature = "train")]
mod nearness;
#[cfg(feature = "train")]
mod pictures;
pub mod points;
pub mod report;
pub mod results;
#[cfg_attr(not(feature = "train"), allow(dead_code, reason = "`measure` warns"))]
mod warnings;

#[cfg(feature = "train")]
pub use command::{EvaluateArgs, run};
pub use results::Evaluation;
