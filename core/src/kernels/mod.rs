//! The arithmetic of the network.
//!
//! The innermost loops belong to an [`engine`]: a plain one that is their
//! definition, and faster ones for the targets that have them, which give the
//! same integers. Everything around them is written once.
//!
//! Kernels work on slices and know nothing of blobs or topologies. They never
//! panic: where lengths do not fit they compute what fits. Sizes are checked
//! once, when a blob is loaded ([`crate::blob`]), and the limits of
//! [`crate::graph`] keep every `i32` below from overflowing; each kernel
//! says how.
//!
//! An activation value is `scale * (q - zero_point)` with `q` in `i8`. Scales
//! never enter here: they were folded into integer multipliers when the model
//! was exported.

pub mod attention;
pub mod conv;
pub mod engine;
pub mod epilogue;
pub mod limits;
pub mod linear;
pub(crate) mod little_endian;
pub mod norm;
pub mod packing;
pub mod quant;
pub mod rounding;
mod tables;
