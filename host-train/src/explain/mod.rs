//! `tiny-ddpm explain`: a picture book of one model, one picture (or cloud
//! of points) and one seed.
//!
//! Whatever the page shows is computed by the functions of `core` that run on
//! the chip, too; [`story`] asks them, [`page`] shows what they said. The same
//! model, picture and seed give the same page, byte for byte.

mod command;
mod curves;
pub mod page;
pub mod story;

pub use command::{ExplainArgs, run};
