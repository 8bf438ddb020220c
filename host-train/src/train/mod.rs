//! Training: everything that makes a network's weights.
//!
//! [`command`] is what a user types, [`run`] the loop behind it. The trained
//! network is loaded by [`load_any_ema`], one for chips by [`load_ema`].

pub mod batch;
pub mod calibrate;
pub mod checkpoint;
pub mod command;
pub mod curve;
pub mod ema;
pub mod few_step;
pub mod gradients;
pub mod origin;
pub mod preview;
mod progress;
pub mod qat;
pub mod run;
pub mod teacher;
pub mod trouble;

pub use calibrate::{CalibrationSettings, calibrate};
pub use checkpoint::{Checkpoint, load_any_ema, load_ema};
pub use ema::Ema;
pub use few_step::FewStep;
pub use qat::Qat;
pub use trouble::Trouble;
