//! The limits of a topology.

use super::cost::{Cost, MAX_MACS};
use super::topology::{
    Data, Level, MAX_BLOCKS, MAX_CHANNELS, MAX_EMBEDDING, MAX_GROUP_VALUES, MAX_IMAGE_SIZE,
    MAX_POINT_VALUES, MAX_TOKENS, Topology,
};

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
        match Cost::of(self).macs {
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
}
