//! Training pictures: grey squares, with a class each or without, from IDX files
//! or from a folder of PNGs, JPEGs and WebPs.

#[cfg(feature = "train")]
mod args;
#[cfg(feature = "train")]
mod download;
mod examples;
mod files;
mod folder;
mod idx_set;
mod known;
mod layout;
mod names;
mod notice;
mod picture;
pub mod swiss_roll;

use std::path::Path;

use anyhow::Result;
use sha2::{Digest, Sha256};

#[cfg(feature = "train")]
pub use args::DataArgs;
#[cfg(feature = "train")]
pub use download::{default_cache, fetch};
pub use examples::Examples;
pub use folder::Folder;
pub use idx_set::IdxSet;
pub use known::{KNOWN, Known, Origin};
pub use layout::Layout;
pub use picture::Square;

pub use crate::idx::{read_images, read_labels};
use crate::shape::Shape;

/// Which half of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// What networks are trained on.
    Train,
    /// What is kept for evaluation.
    Test,
}

impl Split {
    /// MNIST's names of the files with the pictures and with the classes.
    #[must_use]
    pub fn file_names(self) -> [&'static str; 2] {
        match self {
            Self::Train => ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"],
            Self::Test => ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
        }
    }
}

/// Grey pictures of one size, and their classes.
#[derive(Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Side of a picture.
    pub size: usize,
    /// The pictures one after the other, row by row.
    pub pixels: Vec<u8>,
    /// A class for each picture.
    pub labels: Vec<u8>,
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dataset of {} pictures", self.len())
    }
}

impl Dataset {
    /// Reads the pictures in a folder ([`Layout`]) and checks them against the
    /// network that shall learn them. What was done to them is told on standard
    /// error.
    ///
    /// # Errors
    /// Where a file is missing or is not what it should be.
    pub fn load(folder: &Path, split: Split, network: &Shape) -> Result<Self> {
        Self::load_sized(folder, split, network.image_size(), network.classes())
    }

    /// The same for pictures of `size` pixels a side, with classes below
    /// `classes`, or any where that is 0.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_sized(folder: &Path, split: Split, size: usize, classes: u16) -> Result<Self> {
        let (data, notice) = Layout::open(folder)?.read(split, size, classes)?;
        eprint!("{notice}");
        Ok(data)
    }

    /// Number of pictures.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no picture.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of one picture.
    #[must_use]
    pub fn picture(&self, index: usize) -> &[u8] {
        let pixels = self.size * self.size;
        &self.pixels[index * pixels..(index + 1) * pixels]
    }

    /// SHA-256 over pixels and labels, in hexadecimal: tells one data set from
    /// another.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(&self.pixels);
        hash.update(&self.labels);
        hex(&hash.finalize())
    }
}

/// A byte (0 to 255) as the network sees it: -1 to 1.
#[must_use]
pub fn to_unit(pixel: u8) -> f32 {
    f32::from(pixel) / 127.5 - 1.0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
