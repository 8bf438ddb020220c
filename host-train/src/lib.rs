//! Trains, exports, samples and inspects tiny-ddpm models.

#[cfg(feature = "train")]
pub mod config;
#[cfg(feature = "train")]
pub mod data;
#[cfg(feature = "train")]
pub mod train;
