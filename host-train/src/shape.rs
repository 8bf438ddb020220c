//! Which network a run trains, and of what shape: `[network]` of a
//! configuration.
//!
//! Without `architecture` it is the [`Topology`] of the small network, which
//! chips run; with `architecture = "reference"` a [`ReferenceShape`].

use anyhow::{Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use tiny_ddpm::graph::MAX_IMAGE_SIZE;
use tiny_ddpm::{Data, Topology};

/// Most channels of an activation of the reference network.
const MAX_CHANNELS: u16 = 1024;
/// Widest embedding of the reference network.
const MAX_EMBEDDING: u16 = 1024;
/// Most blocks on its way down, and most in its middle.
const MAX_BLOCKS: usize = 8;
/// Most layers of one of its blocks.
const MAX_LAYERS: u8 = 8;
/// Bytes that the attention of pictures looked at together may take where no
/// gradients are wanted.
const ATTENTION_BYTES: usize = 1 << 30;

/// The network of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Shape {
    /// The network that is exported and that chips run.
    Small(#[serde(serialize_with = "crate::topology::serialize")] Topology),
    /// The network of the course notes, for the host alone.
    Reference(ReferenceShape),
}

impl From<Topology> for Shape {
    fn from(topology: Topology) -> Self {
        Self::Small(topology)
    }
}

impl From<ReferenceShape> for Shape {
    fn from(shape: ReferenceShape) -> Self {
        Self::Reference(shape)
    }
}

impl Shape {
    /// What the network draws.
    #[must_use]
    pub fn data(&self) -> Data {
        match self {
            Self::Small(topology) => topology.data(),
            Self::Reference(shape) => Data::Picture {
                side: shape.image_size,
            },
        }
    }

    /// Side of a picture, in pixels; 0 of points.
    #[must_use]
    pub fn image_size(&self) -> usize {
        match self.data() {
            Data::Picture { side } => side.into(),
            Data::Point { .. } => 0,
        }
    }

    /// Pixels of a picture or values of a point.
    #[must_use]
    pub fn pixels(&self) -> usize {
        match self {
            Self::Small(topology) => topology.pixels(),
            Self::Reference(_) => self.image_size() * self.image_size(),
        }
    }

    /// Classes that can be asked for; 0 for none.
    #[must_use]
    pub fn classes(&self) -> u16 {
        match self {
            Self::Small(topology) => topology.classes,
            Self::Reference(shape) => shape.classes,
        }
    }

    /// Makes it a network of so many classes.
    pub fn set_classes(&mut self, classes: u16) {
        match self {
            Self::Small(topology) => topology.classes = classes,
            Self::Reference(shape) => shape.classes = classes,
        }
    }

    /// The small network's shape.
    ///
    /// # Errors
    /// Where it is the reference network.
    pub fn small(&self) -> Result<&Topology> {
        match self {
            Self::Small(topology) => Ok(topology),
            Self::Reference(_) => {
                bail!("this is for networks that fit a chip, and not for the reference network")
            }
        }
    }

    /// How many pictures, of `most`, the network should look at together where
    /// no gradients are wanted. The reference network attends from each pixel
    /// to each other: 10 MB a picture and copy, at 28 x 28 with 4 heads.
    #[must_use]
    pub fn at_once(&self, most: usize) -> usize {
        match self {
            Self::Small(_) => most,
            Self::Reference(shape) => {
                // Four bytes, and as many copies on the way through a softmax.
                let bytes = 16 * usize::from(shape.heads) * self.pixels() * self.pixels();
                (ATTENTION_BYTES / bytes.max(1)).clamp(1, most.max(1))
            }
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value that is not allowed, and what is.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Small(topology) => topology.validate().map_err(|error| anyhow!("{error}")),
            Self::Reference(shape) => shape.validate(),
        }
    }
}

/// The only word that `architecture` may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// [`ReferenceShape`].
    #[default]
    Reference,
}

/// The shape of the course notes' U-Net.
///
/// A block on the way down has `layers` layers, each a residual block and
/// self-attention, and then may halve the side; blocks on the way up mirror
/// them. A block in the middle has one residual block more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceShape {
    /// Tells a configuration from one of the small network.
    pub architecture: Architecture,
    /// Side of a picture in pixels, 1 to 64.
    pub image_size: u8,
    /// Channels at the start and after each block on the way down.
    pub down_channels: Vec<u16>,
    /// Whether each of these blocks halves the side.
    pub down_sample: Vec<bool>,
    /// Channels at the end of the way down, and after each block in the
    /// middle: the last are those before the last block on the way down, for
    /// that is where the way up starts.
    pub mid_channels: Vec<u16>,
    /// Channels at the end of the way up.
    pub out_channels: u16,
    /// Layers of a block.
    pub layers: u8,
    /// Heads of every self-attention.
    pub heads: u8,
    /// Groups of every normalisation.
    pub groups: u8,
    /// Sines and cosines of the timestep, and width of the embedding; even.
    pub embedding: u16,
    /// Classes a picture can be asked for; 0 as in the course notes.
    pub classes: u16,
}

impl ReferenceShape {
    /// Channels after the block on the way up that faces block `level` on the
    /// way down.
    #[must_use]
    pub fn up_channels(&self, level: usize) -> u16 {
        match level {
            0 => self.out_channels,
            _ => self.down_channels[level - 1],
        }
    }

    fn validate(&self) -> Result<()> {
        let (down, mid) = (&self.down_channels, &self.mid_channels);
        ensure!(
            (1..=MAX_IMAGE_SIZE).contains(&self.image_size),
            "image_size = {}: must be 1 to {MAX_IMAGE_SIZE}",
            self.image_size
        );
        ensure!(
            (2..=MAX_BLOCKS + 1).contains(&down.len()),
            "down_channels has {} numbers: must be 2 to {}, one for the start and one for each block",
            down.len(),
            MAX_BLOCKS + 1
        );
        ensure!(
            self.down_sample.len() == down.len() - 1,
            "down_sample has {} values: must be {}, one for each block of down_channels",
            self.down_sample.len(),
            down.len() - 1
        );
        ensure!(
            (2..=MAX_BLOCKS + 1).contains(&mid.len()),
            "mid_channels has {} numbers: must be 2 to {}, one for the start and one for each block",
            mid.len(),
            MAX_BLOCKS + 1
        );
        let all = || down.iter().chain(mid).chain([&self.out_channels]);
        for &channels in all() {
            ensure!(
                (1..=MAX_CHANNELS).contains(&channels),
                "{channels} channels: must be 1 to {MAX_CHANNELS}"
            );
        }
        let (last, before) = (down[down.len() - 1], down[down.len() - 2]);
        ensure!(
            mid[0] == last,
            "mid_channels starts with {}: must be {last}, the last of down_channels",
            mid[0]
        );
        ensure!(
            mid[mid.len() - 1] == before,
            "mid_channels ends with {}: must be {before}, the last but one of down_channels",
            mid[mid.len() - 1]
        );
        ensure!(
            (1..=MAX_LAYERS).contains(&self.layers),
            "layers = {}: must be 1 to {MAX_LAYERS}",
            self.layers
        );
        let divides = |number: u8| number > 0 && all().all(|c| c.is_multiple_of(number.into()));
        ensure!(
            divides(self.heads),
            "heads = {}: must be at least 1 and divide all channels",
            self.heads
        );
        ensure!(
            divides(self.groups),
            "groups = {}: must be at least 1 and divide all channels",
            self.groups
        );
        let mut side = self.image_size;
        for &halved in &self.down_sample {
            ensure!(
                !halved || side.is_multiple_of(2),
                "down_sample: a side of {side} cannot be halved"
            );
            side = if halved { side / 2 } else { side };
        }
        ensure!(
            (2..=MAX_EMBEDDING).contains(&self.embedding) && self.embedding.is_multiple_of(2),
            "embedding = {}: must be even and 2 to {MAX_EMBEDDING}",
            self.embedding
        );
        ensure!(
            self.classes <= 256,
            "classes = {}: must be 0 to 256",
            self.classes
        );
        Ok(())
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use crate::config::Config;

    #[test]
    fn only_the_reference_network_looks_at_few_pictures_at_once() {
        let small = Config::preset("digits").unwrap().network;
        assert_eq!(small.at_once(200), 200);
        let reference = Config::preset("reference").unwrap().network;
        let at_once = reference.at_once(200);
        assert!((10..100).contains(&at_once), "{at_once}");
        assert_eq!(reference.at_once(3), 3);
        assert_eq!(reference.at_once(0), 1);
        assert!(small.small().is_ok() && reference.small().is_err());
    }
}
