//! Names of the network's layers, for blobs, errors, tables and tests.

use core::fmt;

/// A group of layers that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Stage {
    /// The embedding of timestep and class.
    Time,
    /// Before the first convolution.
    Input,
    /// The first convolution.
    ConvIn,
    /// A residual block on the way down.
    Down {
        /// 0 is the finest level.
        level: u8,
        /// Counts within the level.
        block: u8,
    },
    /// The self-attention after such a block.
    DownAttention {
        /// 0 is the finest level.
        level: u8,
        /// Counts within the level.
        block: u8,
    },
    /// The convolution from `level` to the next coarser one.
    Downsample {
        /// The finer of the two levels.
        level: u8,
    },
    /// The middle block before or after the attention.
    Mid {
        /// 0 or 1.
        block: u8,
    },
    /// The self-attention between the middle blocks.
    MidAttention,
    /// A residual block on the way up.
    Up {
        /// 0 is the finest level.
        level: u8,
        /// Counts within the level.
        block: u8,
    },
    /// The self-attention after such a block.
    UpAttention {
        /// 0 is the finest level.
        level: u8,
        /// Counts within the level.
        block: u8,
    },
    /// The convolution from `level` to the next finer one.
    Upsample {
        /// The coarser of the two levels.
        level: u8,
    },
    /// After the last block.
    Output,
}

/// A layer within its [`Stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Part {
    /// The stage itself, where it is one layer.
    Whole,
    /// First layer of the time embedding.
    Linear1,
    /// Second layer of the time embedding.
    Linear2,
    /// The table of class embeddings.
    Classes,
    /// The only convolution of a stage.
    Conv,
    /// The only normalisation of a stage.
    Norm,
    /// First normalisation of a residual block.
    Norm1,
    /// What a residual block adds where its channels change.
    Shortcut,
    /// First convolution of a residual block.
    Conv1,
    /// What the time and class embedding adds to the first convolution.
    Embedding,
    /// Second normalisation of a residual block.
    Norm2,
    /// Second convolution of a residual block, with the residual added.
    Conv2,
    /// Queries of an attention.
    Query,
    /// Keys of an attention.
    Key,
    /// Values of an attention.
    Value,
    /// Values weighted by the softmax.
    Mix,
    /// The last layer of an attention, with the residual added.
    Project,
}

/// A layer of the network; prints as, say, `down0.0.conv1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LayerId {
    /// Where in the network.
    pub stage: Stage,
    /// Which layer there.
    pub part: Part,
}

impl LayerId {
    /// A layer of a stage.
    #[must_use]
    pub const fn new(stage: Stage, part: Part) -> Self {
        Self { stage, part }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time => f.write_str("time"),
            Self::Input => f.write_str("x"),
            Self::ConvIn => f.write_str("conv_in"),
            Self::Down { level, block } => write!(f, "down{level}.{block}"),
            Self::DownAttention { level, block } => write!(f, "down{level}.{block}.attn"),
            Self::Downsample { level } => write!(f, "downsample{level}"),
            Self::Mid { block } => write!(f, "mid{block}"),
            Self::MidAttention => f.write_str("mid.attn"),
            Self::Up { level, block } => write!(f, "up{level}.{block}"),
            Self::UpAttention { level, block } => write!(f, "up{level}.{block}.attn"),
            Self::Upsample { level } => write!(f, "upsample{level}"),
            Self::Output => f.write_str("out"),
        }
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Whole => return self.stage.fmt(f),
            Part::Linear1 => "linear1",
            Part::Linear2 => "linear2",
            Part::Classes => "classes",
            Part::Conv => "conv",
            Part::Norm => "norm",
            Part::Norm1 => "norm1",
            Part::Shortcut => "shortcut",
            Part::Conv1 => "conv1",
            Part::Embedding => "emb",
            Part::Norm2 => "norm2",
            Part::Conv2 => "conv2",
            Part::Query => "q",
            Part::Key => "k",
            Part::Value => "v",
            Part::Mix => "mix",
            Part::Project => "proj",
        };
        write!(f, "{}.{part}", self.stage)
    }
}
