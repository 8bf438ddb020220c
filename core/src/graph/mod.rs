//! The network as a graph: its shape, its operations and what they cost.
//!
//! An architecture is written once, as a sequence of operations on activations
//! that it never looks into ([`walk`]). Running the network, checking a blob,
//! planning memory, counting multiplications and training are [`Interpreter`]s
//! of the same text, so they cannot disagree about what the network is.

mod cost;
mod layer;
mod op;
mod topology;
mod unet;
mod validate;
mod walk;

pub use cost::{Cost, MAX_MACS};
pub use layer::{LayerId, LayerIdError, Part, Stage};
pub use op::{
    Activation, Attention, Conv, Extra, Geometry, Interpreter, Linear, Norm, Readers, Shape, Table,
};
pub use topology::{
    Data, FREQUENCIES, Level, MAX_BLOCKS, MAX_CHANNELS, MAX_EMBEDDING, MAX_GROUP_VALUES,
    MAX_IMAGE_SIZE, MAX_LEVELS, MAX_POINT_VALUES, MAX_TOKENS, Topology,
};
pub use validate::TopologyError;
pub use walk::walk;
