//! The networks that are trained alongside the student.

use burn::module::Module;

use super::discriminator::Discriminator;
use crate::network::Network;

/// The two networks that are trained alongside the student.
#[derive(Module, Debug)]
pub(super) struct Critics {
    pub(super) fake_score: Network,
    pub(super) discriminator: Discriminator,
}

/// Losses of the critics, averaged over the updates of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CriticLosses {
    /// Mean squared error of the fake score's prediction.
    pub fake_score: f32,
    /// The discriminator's cross-entropy, summed over real and generated
    /// pictures: 2 ln 2 if it cannot tell them apart.
    pub discriminator: f32,
}
