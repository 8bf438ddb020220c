//! The shape of a U-Net: everything about it but its numbers.
//!
//! The data is square grey pictures, or points of a few values each
//! ([`Data`]). A network for points is the same network on one position: its
//! convolutions see nothing but that, so each residual block is a multilayer
//! perceptron's.
//!
//! A [`Topology`] comes from a blob (or, on the host, from a training
//! configuration) and is checked before anything else believes it. After
//! [`Topology::validate`] every size below is small enough that no index or
//! accumulator of the forward pass can overflow.

use heapless::Vec;
use serde::{Deserialize, Serialize};

/// Most resolutions a network may have.
pub const MAX_LEVELS: usize = 4;
/// Most residual blocks at a level.
pub const MAX_BLOCKS: u8 = 4;
/// Largest picture side in pixels.
pub const MAX_IMAGE_SIZE: u8 = 64;
/// Most values of a point.
pub const MAX_POINT_VALUES: u8 = 8;
/// Angular frequencies of what a network sees of a point beside its values:
/// sine and cosine of each value times each of these. A perceptron alone is slow
/// to learn what changes within a small part of its input's range (Tancik et al.
/// 2020, arXiv:2006.10739), and an `i8` of a value is coarser than that of its
/// sine.
pub const FREQUENCIES: [f32; 4] = {
    use core::f32::consts::{FRAC_PI_2, PI, TAU};
    [FRAC_PI_2, PI, TAU, 2.0 * TAU]
};
/// Most channels of one activation; a skip concatenation has at most twice
/// as many.
pub const MAX_CHANNELS: u16 = 256;
/// Most values that share one normalisation statistic.
pub const MAX_GROUP_VALUES: usize = 1 << 16;
/// Most positions that attend to each other.
pub const MAX_TOKENS: usize = 256;
/// Widest time embedding.
pub const MAX_EMBEDDING: u16 = 512;

/// One resolution of the U-Net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Channels of every activation at this resolution.
    pub channels: u16,
    /// Whether self-attention follows each residual block.
    #[serde(default)]
    pub attention: bool,
}

/// Kind of data that a network generates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Data {
    /// A square grey picture.
    Picture {
        /// Its side in pixels.
        side: u8,
    },
    /// A point: numbers without neighbours.
    Point {
        /// How many, 1 to [`MAX_POINT_VALUES`].
        values: u8,
    },
}

/// The shape of a U-Net on square grey pictures, or on [points](Data::Point).
///
/// The picture is cut into `patch` x `patch` squares whose pixels become
/// channels; the first level works on `image_size / patch` positions a side,
/// and each further level on half as many. A point is one position whose
/// values are channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Side of the picture in pixels, 1 to [`MAX_IMAGE_SIZE`]; 0 where the
    /// data is points.
    pub image_size: u8,
    /// Side of a patch in pixels; divides `image_size`. Of points the number
    /// of values, 1 to [`MAX_POINT_VALUES`].
    pub patch: u8,
    /// From the finest resolution to the coarsest; of points exactly one, and
    /// without attention.
    pub levels: Vec<Level, MAX_LEVELS>,
    /// Residual blocks at each level, on the way down and again on the way up.
    pub blocks: u8,
    /// Whether self-attention stands between the two middle blocks.
    pub mid_attention: bool,
    /// Heads of every self-attention; divides the channels where there is one.
    pub heads: u8,
    /// Channels in one normalisation group; divides every level's channels.
    pub group_channels: u8,
    /// Sines plus cosines of the timestep; even.
    pub time_features: u16,
    /// Width of the time and class embedding.
    pub embedding: u16,
    /// Classes a picture can be asked for; 0 for an unconditional network.
    pub classes: u16,
}

impl Topology {
    /// Kind of data that the network generates.
    #[must_use]
    pub fn data(&self) -> Data {
        match self.image_size {
            0 => Data::Point { values: self.patch },
            side => Data::Picture { side },
        }
    }

    /// Pixels of a picture or values of a point: the length of x_t.
    #[must_use]
    pub fn pixels(&self) -> usize {
        match self.data() {
            Data::Picture { side } => usize::from(side) * usize::from(side),
            Data::Point { values } => values.into(),
        }
    }

    /// Positions a side at the finest level, 1 of points; 0 where `patch` is 0.
    #[must_use]
    pub fn side(&self) -> usize {
        match self.data() {
            Data::Picture { side } => usize::from(side.checked_div(self.patch).unwrap_or(0)),
            Data::Point { .. } => 1,
        }
    }

    /// Channels that enter the network: pixels of a patch, or a point's values
    /// and then, for each of [`FREQUENCIES`], the sines of all values and their
    /// cosines.
    #[must_use]
    pub fn input_channels(&self) -> usize {
        match self.data() {
            Data::Picture { .. } => self.patch_pixels(),
            Data::Point { values } => usize::from(values) * (1 + 2 * FREQUENCIES.len()),
        }
    }

    /// Pixels of a patch, or values of a point: the channels that leave the
    /// network.
    #[must_use]
    pub fn patch_pixels(&self) -> usize {
        match self.data() {
            Data::Picture { .. } => usize::from(self.patch) * usize::from(self.patch),
            Data::Point { values } => values.into(),
        }
    }
}
