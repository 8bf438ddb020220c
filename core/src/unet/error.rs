//! Why a network does not run.

use core::fmt;

/// Why the network could not be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum UnetError {
    /// The workspace is too small.
    Workspace {
        /// Words needed.
        needed: usize,
        /// Words there.
        found: usize,
    },
    /// A slice has not the picture's length.
    Pixels {
        /// Pixels of a picture.
        expected: usize,
        /// Values there.
        found: usize,
    },
    /// A timestep outside 1 to T.
    Timestep {
        /// The timestep.
        found: u16,
        /// T.
        timesteps: u16,
    },
    /// A class that the model does not know.
    Class {
        /// The class.
        found: u8,
        /// Classes of the model, counted from 0.
        classes: u16,
    },
    /// A run without a class, or with guidance, of a model that was only trained
    /// with one: see [`Model::is_conditional_only`](crate::Model::is_conditional_only).
    ConditionalOnly,
    /// The blob is no longer what was loaded.
    Corrupt,
}

impl fmt::Display for UnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace { needed, found } => {
                write!(f, "a workspace of {found} words where {needed} are needed")
            }
            Self::Pixels { expected, found } => {
                write!(f, "{found} values where the picture has {expected} pixels")
            }
            Self::Timestep { found, timesteps } => {
                write!(f, "timestep {found}: must be 1 to {timesteps}")
            }
            Self::Class { found, classes } => {
                write!(f, "class {found}: the model has {classes}, counted from 0")
            }
            Self::ConditionalOnly => f.write_str(
                "the model was not trained without a class: name one, and set guidance to 0",
            ),
            Self::Corrupt => f.write_str("the model's bytes changed after it was loaded"),
        }
    }
}

impl core::error::Error for UnetError {}
