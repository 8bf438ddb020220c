//! Diffusion models on microcontrollers.
#![no_std]
#![deny(missing_docs)]

pub mod prediction;
pub mod schedule;
pub mod topology;

pub use prediction::Prediction;
pub use schedule::{Schedule, ScheduleError, ScheduleKind};
pub use topology::{Level, Topology, TopologyError};
