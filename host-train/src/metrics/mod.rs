//! Metrics that compare generated with real pictures.
//!
//! All of it compares two sets of pictures through a classifier's [`Features`],
//! or the pixels themselves; nothing here knows where either came from. The [`classifier`] is trained on
//! real pictures alone.

pub mod accuracy;
#[cfg(feature = "train")]
pub mod classifier;
pub mod energy;
pub mod features;
pub mod frechet;
pub mod manifold;
pub mod neighbours;

pub use accuracy::Accuracy;
pub use energy::energy_distance;
pub use features::Features;
pub use manifold::Manifold;
pub use neighbours::{Neighbour, nearest, siblings};
