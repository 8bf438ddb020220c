//! What an evaluation found: `evaluation.json` is these structures.

use serde::Serialize;

pub use super::warnings::Warning;
use crate::metrics::Manifold;

/// Raised when a field changes its meaning.
pub const FORMAT: u32 = 1;

/// Everything that was measured, and on what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// [`FORMAT`].
    pub format: u32,
    /// The real pictures.
    pub data: DataFacts,
    /// Share of real test pictures that the judge reads right.
    pub judge_test_accuracy: f64,
    /// How pictures were generated.
    pub settings: Settings,
    /// One model, or a float one and its int8 counterpart.
    pub models: Vec<ModelFacts>,
    /// What real pictures get in place of generated ones.
    pub real: Real,
    /// A set of pictures for each model and number of steps.
    pub sets: Vec<SetResult>,
    /// Of each model's pictures in [`Settings::shown_steps`] steps.
    pub neighbours: Vec<Neighbours>,
    /// Of float models, for each choice of the reverse variance.
    pub bounds: Vec<BoundResult>,
    /// Two models on the same noise, for each number of steps.
    pub differences: Vec<Difference>,
    /// What a reader should not miss; empty is good.
    pub warnings: Vec<Warning>,
}

/// The real pictures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataFacts {
    /// Training pictures.
    pub train: usize,
    /// Test pictures.
    pub test: usize,
    /// Of the training pictures and their labels.
    pub train_sha256: String,
    /// The names of the classes, by number, where the data have some: those of
    /// the sub-folders of pictures, or EMNIST's letters.
    pub class_names: Vec<String>,
}

impl DataFacts {
    /// A class's number, and its name where it has one.
    #[must_use]
    pub fn class(&self, number: usize) -> String {
        match self.class_names.get(number) {
            Some(name) => format!("{number} {name}"),
            None => number.to_string(),
        }
    }
}

/// How pictures were generated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Pictures in a set; classes in turn.
    pub count: usize,
    /// Seed of all noise.
    pub seed: u64,
    /// The sampler's name.
    pub sampler: &'static str,
    /// The timesteps' rule.
    pub spacing: &'static str,
    /// Classifier-free guidance.
    pub guidance: f32,
    /// DDIM's noise; of another sampler none.
    pub eta: Option<f32>,
    /// The numbers of steps, as they were asked for.
    pub steps: Vec<u16>,
    /// Whose pictures are shown: the recommended steps, if they are among
    /// `steps`.
    pub shown_steps: u16,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelFacts {
    /// `int8` or `f32`; tells the models of an evaluation apart.
    pub numbers: &'static str,
    /// The blob, or the folder of the run.
    pub path: String,
    /// Its name in the blob.
    pub name: Option<String>,
    /// Of the blob.
    pub sha256: Option<String>,
}

/// Two halves of real training pictures, one in place of the generated ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Real {
    /// Pictures in each half: as many as a set has, if there are enough.
    pub count: usize,
    /// The floor: what N pictures can differ by chance alone.
    pub frechet: f64,
    /// The one half against the other.
    pub manifold: Manifold,
    /// Test pictures in place of generated ones, which neither the judge nor
    /// any model was trained on. The distance between the floor and theirs is
    /// what the judge knows of its training pictures by heart.
    pub test: TestPictures,
}

/// What test pictures get in place of generated ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TestPictures {
    /// How many: as many as a set has, if there are enough.
    pub count: usize,
    /// From the same half of training pictures as every set.
    pub frechet: f64,
    /// Likewise.
    pub manifold: Manifold,
    /// How often pictures have near twins among themselves: see
    /// [`SetResult::twins`].
    pub twins: f64,
}

/// A set of generated pictures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetResult {
    /// [`ModelFacts::numbers`].
    pub model: &'static str,
    /// Timesteps that each picture visited.
    pub steps: u16,
    /// Runs of the network for a picture, with guidance two at a time.
    pub evaluations: u32,
    /// What generating took.
    pub seconds: f64,
    /// Of models with classes.
    pub accuracy: Option<Accuracy>,
    /// Frechet distance from real training pictures.
    pub frechet: f64,
    /// Fidelity and variety.
    pub manifold: Manifold,
    /// Coverage of each class's real pictures alone: near 0 where a class is
    /// not drawn at all.
    pub class_coverage: Vec<Option<f64>>,
    /// Share of the first pictures with another one nearer to them than 99% of
    /// as many real pictures have: 1% in expectation.
    pub twins: f64,
}

/// How often the judge reads the class that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Of all pictures.
    pub overall: f64,
    /// By class asked for; `None` where none was.
    pub classes: Vec<Option<f64>>,
}

/// Whether pictures are copies: distances to the nearest training pictures,
/// as root mean square over the pixels, in grey values of 255.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Neighbours {
    /// [`ModelFacts::numbers`].
    pub model: &'static str,
    /// The first generated pictures.
    pub generated: Vec<Neighbour>,
    /// Over more pictures than those.
    pub generated_distances: Spread,
    /// As many real test pictures.
    pub test_distances: Spread,
    /// Share of the generated ones that are nearer to a training picture than
    /// 99% of the test pictures are: 1% in expectation.
    pub nearer: f64,
}

/// A generated picture and the training picture nearest to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Neighbour {
    /// The generated one's number.
    pub picture: usize,
    /// The training picture's number.
    pub nearest: usize,
    /// How far apart.
    pub distance: f64,
}

/// Some distances in three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// The smallest.
    pub least: f64,
    /// As many are smaller as larger.
    pub median: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of these values; `None` where there is none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (count, upper) = (sorted.len(), sorted.len() / 2);
        let lower = count.checked_sub(1)? / 2;
        Some(Self {
            count,
            least: sorted[0],
            median: f64::midpoint(sorted[lower], sorted[upper]),
            most: sorted[count - 1],
        })
    }
}

/// The variational bound on test pictures given their class, in bits per
/// dimension.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BoundResult {
    /// [`ModelFacts::numbers`].
    pub model: &'static str,
    /// The reverse variance: `beta` or `posterior`.
    pub variance: &'static str,
    /// Test pictures.
    pub pictures: usize,
    /// L_T: what is left of the picture in x_T.
    pub prior: f64,
    /// The sum of L_{t-1} for t of 2 to T.
    pub diffusion: f64,
    /// L_0: the bytes, given x_1.
    pub decoder: f64,
    /// The sum of the three.
    pub total: f64,
    /// Standard error of `total` over the pictures; one alone does not tell how
    /// they vary.
    pub standard_error: Option<f64>,
}

/// The same noise through two models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Steps that each picture took.
    pub steps: u16,
    /// Mean absolute difference of a pixel, in grey values of 255.
    pub mean: f64,
    /// The same for the picture that differs most.
    pub worst: f64,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An evaluation of two models at two numbers of steps.
    pub fn example() -> Evaluation {
        let manifold = Manifold {
            precision: 0.9,
            recall: 0.8,
            density: 1.1,
            coverage: 0.95,
        };
        let set = |model, steps, frechet| SetResult {
            model,
            steps,
            evaluations: 2 * u32::from(steps),
            seconds: 1.5,
            accuracy: Some(Accuracy {
                overall: 0.987,
                classes: vec![Some(1.0), Some(0.974), None],
            }),
            frechet,
            manifold,
            class_coverage: vec![Some(0.75), Some(0.5), None],
            twins: 0.015,
        };
        let spread = Spread::of(&[30.0, 40.0, 20.0]).unwrap();
        Evaluation {
            format: FORMAT,
            data: DataFacts {
                train: 60_000,
                test: 10_000,
                train_sha256: "abc".to_owned(),
                class_names: Vec::new(),
            },
            judge_test_accuracy: 0.9941,
            settings: Settings {
                count: 20,
                seed: 1,
                sampler: "ddim",
                spacing: "trailing",
                guidance: 0.5,
                eta: Some(0.0),
                steps: vec![50, 20],
                shown_steps: 20,
            },
            models: ["f32", "int8"]
                .map(|numbers| ModelFacts {
                    numbers,
                    path: format!("models/<{numbers}>"),
                    name: None,
                    sha256: None,
                })
                .into(),
            real: Real {
                count: 20,
                frechet: 0.25,
                manifold,
                test: TestPictures {
                    count: 20,
                    frechet: 0.375,
                    manifold,
                    twins: 0.01,
                },
            },
            sets: vec![
                set("f32", 50, 3.0),
                set("f32", 20, 4.0),
                set("int8", 50, 3.5),
                set("int8", 20, 4.5),
            ],
            neighbours: vec![Neighbours {
                model: "int8",
                generated: vec![Neighbour {
                    picture: 0,
                    nearest: 123,
                    distance: 31.5,
                }],
                generated_distances: spread,
                test_distances: spread,
                nearer: 0.02,
            }],
            bounds: vec![BoundResult {
                model: "f32",
                variance: "posterior",
                pictures: 10,
                prior: 0.0004,
                diffusion: 1.2,
                decoder: 0.1,
                total: 1.3004,
                standard_error: Some(0.02),
            }],
            differences: vec![Difference {
                steps: 20,
                mean: 1.25,
                worst: 3.5,
            }],
            warnings: vec![Warning {
                model: "int8",
                steps: 20,
                text: "too <good>".to_owned(),
            }],
        }
    }

    /// The same of pictures from folders with names.
    pub fn named() -> Evaluation {
        let mut evaluation = example();
        evaluation.data.class_names = ["cat", "<dog>", "fish"].map(str::to_owned).into();
        evaluation
    }

    #[test]
    fn names_of_classes_are_in_the_json() {
        let json = serde_json::to_value(named()).unwrap();
        assert_eq!(json["data"]["class_names"][1], "<dog>");
        let json = serde_json::to_value(example()).unwrap();
        assert_eq!(json["data"]["class_names"].as_array().unwrap().len(), 0);
        assert_eq!(named().data.class(2), "2 fish");
        assert_eq!(example().data.class(2), "2");
    }

    #[test]
    fn a_spread_has_the_middle_of_an_even_number() {
        assert_eq!(Spread::of(&[]), None);
        let spread = Spread::of(&[4.0, 1.0, 2.0, 8.0]).unwrap();
        assert_eq!((spread.count, spread.least), (4, 1.0));
        assert_eq!((spread.median, spread.most), (3.0, 8.0));
        assert_eq!(Spread::of(&[5.0]).unwrap().median, 5.0);
    }
}
