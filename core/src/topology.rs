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

use crate::unet::{MAX_MACS, Work};
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

/// What a network draws.
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

/// The first thing wrong with a topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum TopologyError {
    /// `image_size` is above [`MAX_IMAGE_SIZE`].
    ImageSize(u8),
    /// Points of no values, or of more than [`MAX_POINT_VALUES`].
    PointValues(u8),
    /// Points with another number of levels than one.
    PointLevels(usize),
    /// Points with attention: a single position has nothing to attend to.
    PointAttention,
    /// `patch` is 0, above 8, or does not divide the picture.
    Patch(u8),
    /// There is no level.
    NoLevels,
    /// A level's channels are 0 or above [`MAX_CHANNELS`].
    Channels(u16),
    /// A side that should be halved is odd.
    OddSide(u8),
    /// `blocks` is 0 or above [`MAX_BLOCKS`].
    Blocks(u8),
    /// `heads` is 0 or does not divide the channels of an attention.
    Heads(u8),
    /// An attention would have more than [`MAX_TOKENS`] positions.
    Tokens(usize),
    /// `group_channels` is 0, does not divide a level's channels, or makes
    /// groups of more than [`MAX_GROUP_VALUES`].
    GroupChannels(u8),
    /// `time_features` is 0, odd, or above [`MAX_EMBEDDING`].
    TimeFeatures(u16),
    /// `embedding` is 0 or above [`MAX_EMBEDDING`].
    Embedding(u16),
    /// More than 256 classes.
    Classes(u16),
    /// One run takes more multiply-accumulates than [`MAX_MACS`].
    Work {
        /// So many; from 2^32 - 1 on, no more is said.
        macs: u32,
    },
}

impl core::fmt::Display for TopologyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::ImageSize(n) => write!(f, "image_size {n}: must be 1 to {MAX_IMAGE_SIZE}"),
            Self::PointValues(n) => {
                write!(f, "points of {n} values: must be 1 to {MAX_POINT_VALUES}")
            }
            Self::PointLevels(n) => write!(f, "{n} levels for points: must be exactly one"),
            Self::PointAttention => {
                f.write_str("attention for points: a single position has nothing to attend to")
            }
            Self::Patch(n) => write!(f, "patch {n}: must be 1 to 8 and divide image_size"),
            Self::NoLevels => f.write_str("no levels: at least one is needed"),
            Self::Channels(n) => write!(f, "{n} channels: must be 1 to {MAX_CHANNELS}"),
            Self::OddSide(n) => write!(f, "a level of side {n} cannot be halved"),
            Self::Blocks(n) => write!(f, "{n} blocks a level: must be 1 to {MAX_BLOCKS}"),
            Self::Heads(n) => write!(
                f,
                "{n} heads: must be at least 1 and divide the channels where attention is"
            ),
            Self::Tokens(n) => write!(
                f,
                "attention over {n} positions: at most {MAX_TOKENS} are possible"
            ),
            Self::GroupChannels(n) => write!(
                f,
                "group_channels {n}: must divide every level's channels and give groups of at most {MAX_GROUP_VALUES} values"
            ),
            Self::TimeFeatures(n) => {
                write!(
                    f,
                    "time_features {n}: must be even and 2 to {MAX_EMBEDDING}"
                )
            }
            Self::Embedding(n) => write!(f, "embedding {n}: must be 1 to {MAX_EMBEDDING}"),
            Self::Classes(n) => write!(f, "{n} classes: at most 256 are possible"),
            Self::Work { macs } => write!(
                f,
                "{macs} multiply-accumulates a run: at most {MAX_MACS} are possible; \
                 take fewer channels, fewer blocks or a larger patch"
            ),
        }
    }
}

impl core::error::Error for TopologyError {}

impl Topology {
    /// Checks every limit that the forward pass relies on.
    ///
    /// # Errors
    /// The first [`TopologyError`] found.
    pub fn validate(&self) -> Result<(), TopologyError> {
        use TopologyError as E;
        match self.data() {
            Data::Picture { side } => {
                if side > MAX_IMAGE_SIZE {
                    return Err(E::ImageSize(side));
                }
                if self.patch == 0 || self.patch > 8 || !side.is_multiple_of(self.patch) {
                    return Err(E::Patch(self.patch));
                }
            }
            Data::Point { values } => {
                if values == 0 || values > MAX_POINT_VALUES {
                    return Err(E::PointValues(values));
                }
                if self.levels.len() > 1 {
                    return Err(E::PointLevels(self.levels.len()));
                }
                if self.mid_attention || self.levels.iter().any(|level| level.attention) {
                    return Err(E::PointAttention);
                }
            }
        }
        if self.blocks == 0 || self.blocks > MAX_BLOCKS {
            return Err(E::Blocks(self.blocks));
        }
        if self.heads == 0 {
            return Err(E::Heads(0));
        }
        if self.group_channels == 0 {
            return Err(E::GroupChannels(0));
        }
        if self.time_features < 2
            || self.time_features > MAX_EMBEDDING
            || !self.time_features.is_multiple_of(2)
        {
            return Err(E::TimeFeatures(self.time_features));
        }
        if self.embedding == 0 || self.embedding > MAX_EMBEDDING {
            return Err(E::Embedding(self.embedding));
        }
        if self.classes > 256 {
            return Err(E::Classes(self.classes));
        }
        let Some((last, finer)) = self.levels.split_last() else {
            return Err(E::NoLevels);
        };
        // Within limits: both are at most 64.
        let mut side = self.side() as u8;
        for level in finer {
            self.validate_level(level, side, level.attention)?;
            if !side.is_multiple_of(2) {
                return Err(E::OddSide(side));
            }
            side /= 2;
        }
        self.validate_level(last, side, last.attention || self.mid_attention)?;
        match Work::of(self).macs {
            0..=MAX_MACS => Ok(()),
            macs => Err(E::Work { macs }),
        }
    }

    fn validate_level(
        &self,
        level: &Level,
        side: u8,
        attention: bool,
    ) -> Result<(), TopologyError> {
        use TopologyError as E;
        let channels = level.channels;
        if channels == 0 || channels > MAX_CHANNELS {
            return Err(E::Channels(channels));
        }
        let group = u16::from(self.group_channels);
        let positions = usize::from(side) * usize::from(side);
        if !channels.is_multiple_of(group) || positions * usize::from(group) > MAX_GROUP_VALUES {
            return Err(E::GroupChannels(self.group_channels));
        }
        if attention {
            if !channels.is_multiple_of(u16::from(self.heads)) {
                return Err(E::Heads(self.heads));
            }
            if positions > MAX_TOKENS {
                return Err(E::Tokens(positions));
            }
        }
        Ok(())
    }

    /// What the network draws.
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
