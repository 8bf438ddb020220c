//! Pictures in memory.

use sha2::{Digest, Sha256};

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

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
