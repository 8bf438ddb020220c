//! Trains, exports, repacks, samples, inspects and sends tiny-ddpm models.

#[cfg(feature = "config")]
pub mod config;
#[cfg(feature = "evaluate")]
pub mod data;
#[cfg(feature = "evaluate")]
pub mod evaluate;
#[cfg(feature = "evaluate")]
pub mod explain;
#[cfg(feature = "train")]
pub mod export;
#[cfg(feature = "idx")]
pub mod idx;
pub mod inspect;
pub mod loss;
pub mod model_file;
pub mod output;
pub mod points;
pub mod quant;
pub mod repack;
pub mod sample;
pub mod send;
pub mod shape;
pub mod signing;
pub mod topology;
#[cfg(feature = "train")]
pub mod train;
