//! How the classifier is trained, and when training ends.

use std::collections::VecDeque;

use crate::data::Dataset;

/// Times that every picture is shown, at least.
const EPOCHS: usize = 5;
/// Times that every picture of a small set is shown, at most.
const MOST_EPOCHS: usize = 100;
/// A training set is small below this many pictures.
const SMALL: usize = 4096;
/// Fewest updates that a small set may take, where it does not converge.
const LEAST_STEPS: usize = 200;
/// The mean loss at which training has converged.
const CONVERGED: f32 = 0.05;
/// Steps, at least, of which the mean is taken.
const WINDOW: usize = 25;

/// How the classifier is trained.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Updates of the weights, at most: training ends before, with the learning
    /// rate falling to 0, once every picture was shown five times and the mean
    /// loss is below 0.05.
    pub steps: u32,
    /// Pictures shown for each; a multiple of 4.
    pub batch: usize,
    /// The highest learning rate; it rises to it and falls to 0.
    pub learning_rate: f64,
    /// Of the weights, the order of the pictures and how they are changed.
    pub seed: u64,
    /// The part of the test pictures that it must read rightly.
    pub least_accuracy: f64,
}

impl Default for Recipe {
    /// Five times through MNIST.
    fn default() -> Self {
        Self {
            steps: 2345,
            batch: 128,
            learning_rate: 3e-3,
            seed: 1,
            least_accuracy: 0.5,
        }
    }
}

/// What a judge of MNIST must reach; other pictures are harder, and nobody can
/// say in advance how much.
const LEAST_OF_MNIST: f64 = 0.993;
/// The fingerprint of MNIST's training set.
const MNIST: &str = "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b";

impl Recipe {
    /// The recipe for a training set: small batches and few steps for a small
    /// one.
    #[must_use]
    pub fn of(train: &Dataset) -> Self {
        let mut recipe = Self::default();
        if train.len() < SMALL {
            recipe.batch = 32;
            let most = MOST_EPOCHS * train.len().div_ceil(recipe.batch);
            recipe.steps = (most.max(LEAST_STEPS) as u32).min(recipe.steps);
        }
        if train.fingerprint() == MNIST {
            recipe.least_accuracy = LEAST_OF_MNIST;
        }
        recipe
    }

    /// The step after which training may end early, or [`steps`](Self::steps)
    /// where it never does: five times through MNIST's 60,000 pictures are all
    /// its steps.
    pub(super) fn earliest_end(&self, pictures: usize) -> u32 {
        let steps = EPOCHS * pictures.div_ceil(self.batch);
        u32::try_from(steps).map_or(self.steps, |steps| steps.min(self.steps))
    }
}

/// Decides when training has converged: a mean over the last epoch.
pub(super) struct Convergence {
    losses: VecDeque<f32>,
    window: usize,
    earliest: u32,
}

impl Convergence {
    pub(super) fn new(recipe: &Recipe, pictures: usize) -> Self {
        Self {
            losses: VecDeque::new(),
            window: pictures.div_ceil(recipe.batch).max(WINDOW),
            earliest: recipe.earliest_end(pictures),
        }
    }

    /// Takes the loss of the step that was made last, and says whether it is
    /// the time to end.
    pub(super) fn reached(&mut self, steps: u32, loss: f32) -> bool {
        self.losses.push_back(loss);
        if self.losses.len() > self.window {
            self.losses.pop_front();
        }
        let mean = self.losses.iter().sum::<f32>() / self.losses.len() as f32;
        steps >= self.earliest && self.losses.len() == self.window && mean < CONVERGED
    }
}

/// Rises over the first tenth of the steps, then falls to 0 like a cosine.
pub(super) fn rate_at(step: u32, recipe: &Recipe) -> f64 {
    let done = (f64::from(step) + 0.5) / f64::from(recipe.steps);
    let part = if done < 0.1 {
        done / 0.1
    } else {
        0.5 + 0.5 * (std::f64::consts::PI * (done - 0.1) / 0.9).cos()
    };
    recipe.learning_rate * part
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures that are all alike: what counts is how many there are.
    fn so_many(count: usize) -> Dataset {
        Dataset {
            size: 4,
            pixels: vec![0; 16 * count],
            labels: vec![0; count],
        }
    }

    #[test]
    fn only_sets_smaller_than_mnist_may_end_early() {
        let large = so_many(60_000);
        let recipe = Recipe::of(&large);
        assert_eq!(format!("{recipe:?}"), format!("{:?}", Recipe::default()));
        // However small the loss: there is no step after which it could end.
        let mut convergence = Convergence::new(&recipe, large.len());
        assert!((1..recipe.steps).all(|step| !convergence.reached(step, 0.0)));

        let middle = so_many(10_000);
        let recipe = Recipe::of(&middle);
        assert_eq!((recipe.steps, recipe.batch), (2345, 128));
        let mut convergence = Convergence::new(&recipe, middle.len());
        let ends = (1..recipe.steps).find(|&step| convergence.reached(step, 0.04));
        assert_eq!(ends, Some(5 * 79));
        let mut convergence = Convergence::new(&recipe, middle.len());
        assert!((1..recipe.steps).all(|step| !convergence.reached(step, 0.06)));

        for (count, steps) in [(10, 200), (108, 400), (1000, 2345)] {
            let recipe = Recipe::of(&so_many(count));
            assert_eq!((recipe.steps, recipe.batch), (steps, 32), "{count}");
        }
    }

    #[test]
    fn the_rate_rises_and_falls_to_nothing() {
        let recipe = Recipe::default();
        let rates: Vec<f64> = (0..recipe.steps)
            .map(|step| rate_at(step, &recipe))
            .collect();
        let highest = rates.iter().copied().fold(0.0, f64::max);
        assert!((0.99..=1.0).contains(&(highest / recipe.learning_rate)));
        assert!(rates[0] < 0.01 * highest && rates[rates.len() - 1] < 0.01 * highest);
    }
}
