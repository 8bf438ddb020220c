//! The best measurement of a run.

use serde::{Deserialize, Serialize};

/// The best measurement so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Finished steps.
    pub step: u32,
    /// Fréchet distance to the training pictures.
    pub distance: f64,
}
