//! The int8 U-Net.
//!
//! [`walk`] is the network, written once; [`Plan`] says what memory it needs, and
//! [`Work`] how much it computes; [`Unet`] runs it, from a [`Model`](crate::Model) in flash and a workspace
//! that the caller lends.
//!
//! The picture is cut into patches. At each level stand residual blocks of
//! two 3x3 convolutions, each behind a group normalisation and SiLU; the
//! embedding of timestep and class is added between them. Convolutions of
//! stride 2 lead down, nearest-neighbour doubling and a convolution lead up,
//! and every block on the way up sees its counterpart on the way down.
//!
//! A network for points ([`Data::Point`](crate::Data::Point)) is the same text
//! on a single position, where every convolution is pointwise: a multilayer
//! perceptron of residual blocks.

mod arena;
mod error;
mod forward;
mod plan;
mod run;
mod site;
mod walk;
mod work;

pub use error::UnetError;
pub use plan::Plan;
pub use run::{Observation, Unet};
pub use site::{Part, Site, Stage};
pub use walk::{Activation, Attention, Conv, Extra, Geometry, Interpreter, Norm, Shape, walk};
pub use work::{MAX_MACS, Work};
