//! Names of the network's layers, for blobs, errors, tables and tests.

use core::fmt;
use core::str::FromStr;

/// A group of layers that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// The 1x1 convolution around a residual block whose channels change.
    Shortcut,
    /// First convolution of a residual block.
    Conv1,
    /// Projection of the time and class embedding, added to the first convolution.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Names of the parts but for [`Part::Whole`], which has none.
const PARTS: [(Part, &str); 16] = [
    (Part::Linear1, "linear1"),
    (Part::Linear2, "linear2"),
    (Part::Classes, "classes"),
    (Part::Conv, "conv"),
    (Part::Norm, "norm"),
    (Part::Norm1, "norm1"),
    (Part::Shortcut, "shortcut"),
    (Part::Conv1, "conv1"),
    (Part::Embedding, "emb"),
    (Part::Norm2, "norm2"),
    (Part::Conv2, "conv2"),
    (Part::Query, "q"),
    (Part::Key, "k"),
    (Part::Value, "v"),
    (Part::Mix, "mix"),
    (Part::Project, "proj"),
];

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stage.fmt(f)?;
        match PARTS.iter().find(|(part, _)| *part == self.part) {
            Some((_, name)) => write!(f, ".{name}"),
            None => Ok(()),
        }
    }
}

/// A text that names no layer of any network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerIdError;

impl fmt::Display for LayerIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a layer's name: these are like conv_in, down0.0.conv1 or mid.attn.q")
    }
}

impl core::error::Error for LayerIdError {}

impl FromStr for LayerId {
    type Err = LayerIdError;

    /// The layer that prints as `name`.
    fn from_str(name: &str) -> Result<Self, LayerIdError> {
        let whole = match name {
            "x" => Some(Stage::Input),
            "conv_in" => Some(Stage::ConvIn),
            _ => None,
        };
        if let Some(stage) = whole {
            return Ok(Self::new(stage, Part::Whole));
        }
        let (stage, part) = name.rsplit_once('.').ok_or(LayerIdError)?;
        let part = PARTS.iter().find(|(_, name)| *name == part);
        let (part, _) = part.ok_or(LayerIdError)?;
        let stage = parse_stage(stage).ok_or(LayerIdError)?;
        Ok(Self::new(stage, *part))
    }
}

/// The stage of more than one layer, or of one with a name, that prints so.
fn parse_stage(name: &str) -> Option<Stage> {
    match name {
        "time" => return Some(Stage::Time),
        "mid.attn" => return Some(Stage::MidAttention),
        "out" => return Some(Stage::Output),
        _ => {}
    }
    if let Some(level) = name.strip_prefix("downsample") {
        return number(level).map(|level| Stage::Downsample { level });
    }
    if let Some(level) = name.strip_prefix("upsample") {
        return number(level).map(|level| Stage::Upsample { level });
    }
    if let Some(block) = name.strip_prefix("mid") {
        return number(block).map(|block| Stage::Mid { block });
    }
    let (block, attention) = match name.strip_suffix(".attn") {
        Some(block) => (block, true),
        None => (name, false),
    };
    let (down, place) = match (block.strip_prefix("down"), block.strip_prefix("up")) {
        (Some(place), _) => (true, place),
        (_, Some(place)) => (false, place),
        _ => return None,
    };
    let (level, block) = place.split_once('.')?;
    let (level, block) = (number(level)?, number(block)?);
    Some(match (down, attention) {
        (true, false) => Stage::Down { level, block },
        (true, true) => Stage::DownAttention { level, block },
        (false, false) => Stage::Up { level, block },
        (false, true) => Stage::UpAttention { level, block },
    })
}

/// A number as it is printed: without a sign, and without leading zeros.
fn number(digits: &str) -> Option<u8> {
    let plain = digits == "0"
        || digits
            .bytes()
            .next()
            .is_some_and(|b| (b'1'..=b'9').contains(&b));
    plain.then(|| digits.parse().ok()).flatten()
}
