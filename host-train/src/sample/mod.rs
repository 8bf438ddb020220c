//! `tiny-ddpm sample`: pictures, points and animations from a blob or a run.

mod args;
mod command;
mod film;
#[cfg(feature = "train")]
mod of_run;
mod points;
mod publish;
mod report;
mod walk;

pub use args::SampleArgs;
pub use command::run;
pub use film::Film;
