//! Points: numbers without neighbours, where pictures have pixels.

use tiny_ddpm::picture::state_hash;

/// Points of one length, one after the other.
#[derive(Clone, PartialEq)]
pub struct Points {
    /// Values of a point; at least 1.
    pub values: usize,
    /// All values.
    pub x: Vec<f32>,
}

impl std::fmt::Debug for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} points of {} values", self.len(), self.values)
    }
}

impl Points {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.x.len() / self.values.max(1)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each point's values.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.x.chunks_exact(self.values.max(1))
    }

    /// The [`state_hash`] of each, which the chip prints too.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = u32> {
        self.iter().map(state_hash)
    }

    /// That of all of them, one behind the other.
    #[must_use]
    pub fn hash(&self) -> u32 {
        state_hash(&self.x)
    }
}
