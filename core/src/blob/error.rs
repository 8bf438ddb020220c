//! Why a blob was refused.

use crate::diffusion::schedule::ScheduleError;
use crate::graph::{LayerId, TopologyError};
use core::fmt;

/// Why bytes are not a model: the first thing that was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BlobError {
    /// Fewer bytes than the header, or than the header says.
    TooShort {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        found: usize,
    },
    /// More bytes than the header says.
    TooLong {
        /// Bytes that belong to the model.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
    /// The first bytes are not those of a tiny-ddpm model.
    BadMagic,
    /// A format version that this build does not read.
    Version {
        /// The blob's.
        found: u16,
        /// The one this build reads.
        supported: u16,
    },
    /// The header's checksum is wrong.
    HeaderCrc {
        /// Computed from the header.
        computed: u32,
        /// Stored in it.
        stored: u32,
    },
    /// A byte of the header that means nothing yet is not 0.
    Reserved {
        /// Its place in the header, counted from 0.
        at: usize,
    },
    /// The body's checksum is wrong.
    Crc {
        /// Computed from the body.
        computed: u32,
        /// Stored in the header.
        stored: u32,
    },
    /// The body's description of the network could not be decoded, or is not in
    /// the shortest encoding.
    Info,
    /// The header's architecture hash is not that of the topology.
    ArchMismatch {
        /// Computed from the topology.
        computed: u32,
        /// Stored in the header.
        stored: u32,
    },
    /// The network's shape is not a possible one.
    Topology(TopologyError),
    /// The noise schedule is not a possible one.
    Schedule(ScheduleError),
    /// The weights are stored in a way that this build cannot run: export the
    /// model for another target.
    Packing {
        /// The blob's.
        found: u8,
    },
    /// The recommended settings are out of range.
    Recommended,
    /// The record of a layer could not be decoded, or is not in the shortest
    /// encoding.
    Record {
        /// The layer.
        layer: LayerId,
    },
    /// A number of a layer is out of range.
    Param {
        /// The layer.
        layer: LayerId,
        /// The check that failed.
        what: ParamError,
    },
    /// Bytes are left after the last layer.
    TrailingBytes {
        /// How many.
        count: usize,
    },
}

/// A layer's numbers that were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ParamError {
    /// An array has not the size that the topology asks for.
    Length {
        /// Bytes that the topology asks for.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
    /// Weights do not begin at a multiple of 16 bytes, or the padding before
    /// them is not 0 to 15 zero bytes.
    Alignment,
    /// A scale is not a positive, normal number.
    Scale,
    /// A float is infinite or NaN.
    NotFinite,
    /// A weight beyond what its layout allows, as -128, or -8 of 4 bits: weights
    /// are symmetric.
    Weight,
    /// Weights in a layout that this convolution cannot have, or in one that the
    /// blob's packing does not announce.
    WeightLayout,
    /// A bias beyond 2^29, which could overflow an accumulator.
    Bias,
    /// A multiplier out of range.
    Multiplier,
    /// A gain or offset out of range.
    Gain,
    /// A channel's scale is halved too often, or where all must be equal.
    Shift,
    /// A zero point out of range, not 0 where the arithmetic needs 0, or not
    /// in `i8` where padding must hold it.
    ZeroPoint,
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => {
                write!(f, "{found} bytes where {expected} are needed")
            }
            Self::Alignment => f.write_str("weights are not aligned to 16 bytes by zeros"),
            Self::Scale => f.write_str("a scale is not a positive, normal number"),
            Self::NotFinite => f.write_str("a number is not finite"),
            Self::Weight => {
                f.write_str("a weight is -128 (-8 of 4 bits), or beyond its layout's limit")
            }
            Self::WeightLayout => f.write_str("weights in a layout that does not fit here"),
            Self::Bias => f.write_str("a bias is beyond 2^29"),
            Self::Multiplier => f.write_str("a multiplier is out of range"),
            Self::Gain => f.write_str("a gain or offset is out of range"),
            Self::Shift => f.write_str("a channel's shift is out of range"),
            Self::ZeroPoint => f.write_str("a zero point is out of range"),
        }
    }
}

impl core::error::Error for ParamError {}

impl fmt::Display for BlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { needed, found } => {
                write!(f, "too short: {found} bytes of {needed}")
            }
            Self::TooLong { expected, found } => {
                write!(
                    f,
                    "too long: {found} bytes where the header says {expected}"
                )
            }
            Self::BadMagic => f.write_str("not a tiny-ddpm model: wrong magic"),
            Self::Version { found, supported } => {
                write!(f, "format version {found}: this build reads {supported}")
            }
            Self::HeaderCrc { computed, stored } => {
                write!(f, "header damaged: CRC {computed:08x}, stored {stored:08x}")
            }
            Self::Reserved { at } => write!(f, "byte {at} of the header is not 0"),
            Self::Crc { computed, stored } => {
                write!(f, "body damaged: CRC {computed:08x}, stored {stored:08x}")
            }
            Self::Info => f.write_str("the description of the network cannot be decoded"),
            Self::ArchMismatch { computed, stored } => write!(
                f,
                "architecture hash {stored:08x} in the header, {computed:08x} of the topology"
            ),
            Self::Topology(error) => write!(f, "topology: {error}"),
            Self::Schedule(error) => write!(f, "schedule: {error}"),
            Self::Packing { found } => write!(
                f,
                "weights packed in way {found}, which this build cannot run; \
                 export the model for another target"
            ),
            Self::Recommended => f.write_str("recommended settings out of range"),
            Self::Record { layer } => write!(f, "layer {layer}: cannot be decoded"),
            Self::Param { layer, what } => write!(f, "layer {layer}: {what}"),
            Self::TrailingBytes { count } => write!(f, "{count} bytes after the last layer"),
        }
    }
}

impl core::error::Error for BlobError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Topology(error) => Some(error),
            Self::Schedule(error) => Some(error),
            Self::Param { what, .. } => Some(what),
            _ => None,
        }
    }
}
