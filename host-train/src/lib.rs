//! Trains, exports, repacks, samples and inspects tiny-ddpm models.

#[cfg(feature = "train")]
pub mod config;
#[cfg(feature = "train")]
pub mod data;
#[cfg(feature = "evaluate")]
pub mod evaluate;
#[cfg(feature = "train")]
pub mod export;
pub mod inspect;
pub mod model_file;
pub mod output;
pub mod quant;
pub mod repack;
pub mod sample;
#[cfg(feature = "train")]
pub mod shape;
#[cfg(feature = "train")]
pub mod train;
