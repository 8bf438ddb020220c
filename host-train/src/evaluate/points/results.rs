//! What was found of points: `evaluation.json` is [`PointsEvaluation`].

use serde::Serialize;

use super::super::results::ModelFacts;
use crate::points::Points;

/// Raised when a field changes its meaning.
pub const FORMAT: u32 = 1;

/// Everything that was measured, and on what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PointsEvaluation {
    /// [`FORMAT`].
    pub format: u32,
    /// What real points get in place of generated ones, and how they are drawn.
    pub data: Facts,
    /// Seed of all noise.
    pub seed: u64,
    /// One model, or a float one and its int8 counterpart.
    pub models: Vec<ModelFacts>,
    /// A set of points for each model, sampler and number of steps.
    pub sets: Vec<SetResult>,
}

/// What real points get in place of generated ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    /// The data's name.
    pub name: &'static str,
    /// Points in every set.
    pub count: usize,
    /// Energy distance between held-out points and as many training points: the
    /// floor.
    pub energy: f64,
    /// Root mean square distance of held-out points from the curve.
    pub off_curve: f64,
    /// Energy distance between held-out points and noise: what a network that
    /// learned nothing gets.
    pub energy_of_noise: f64,
}

/// A set of generated points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetResult {
    /// [`ModelFacts::numbers`].
    pub model: &'static str,
    /// The sampler's name.
    pub sampler: &'static str,
    /// Steps that each point took.
    pub steps: u16,
    /// Energy distance from held-out points.
    pub energy: f64,
    /// Root mean square distance from the curve.
    pub off_curve: f64,
    /// What generating took.
    pub seconds: f64,
}

/// What the report draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gallery {
    /// Data on its way to noise.
    pub forward: Vec<Panel>,
    /// Of each model, a panel for each sampler.
    pub samples: Vec<(&'static str, Vec<Panel>)>,
    /// From noise to data without any randomness.
    pub trajectories: Option<Trajectories>,
}

/// A map with what stands under it.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Under it.
    pub caption: String,
    /// What lies where.
    pub points: Points,
    /// Each point's colour, 0 to 1.
    pub colours: Vec<f64>,
}

/// The paths of some points.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectories {
    /// [`ModelFacts::numbers`] of the model that drew them.
    pub model: &'static str,
    /// Steps.
    pub steps: u16,
    /// x_t of each point after each step, noise first.
    pub paths: Vec<Points>,
    /// Each path's colour, 0 to 1.
    pub colours: Vec<f64>,
}
