//! The judge: a small convolutional network that reads digits.
//!
//! It is trained once on real training pictures, never on generated ones, and
//! kept in a folder for caches. What it was not taught well enough to read it
//! refuses to judge: [`Classifier::load_or_train`] measures it on the test
//! pictures each time.

mod recipe;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::store::ModuleRecord;
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Bytes, Device, Tensor, TensorData};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

pub use recipe::Recipe;
use recipe::{Convergence, rate_at};

use crate::data::Dataset;
use crate::metrics::Features;
use crate::model_file;
use crate::network::layers::{Conv, GroupNorm, Init, Linear};
use crate::network::optimizer::Optimizer;
use crate::network::shards::in_shards;
use crate::output::{Staged, check_folder};
use crate::progress::Phase;

/// Raised when the network or its training changes: older files are then not
/// looked at any more.
const FORMAT: u32 = 1;
/// The same of those whose training may end early.
const FORMAT_EARLY: u32 = 2;
/// Pieces of a batch, each for a thread. Always as many, so that the sums do
/// not depend on the machine.
const SHARDS: usize = 4;
/// Pictures read at once by a thread.
const READ_AT_ONCE: usize = 250;
/// Numbers that the last hidden layer has.
const WIDTH: usize = 64;
/// Channels in groups of which activations are normalised.
const GROUP: usize = 8;

/// What a classifier makes of pictures.
#[derive(Clone, Debug)]
pub struct Readings {
    /// The most likely class of each.
    pub classes: Vec<u8>,
    /// What its last hidden layer gives.
    pub features: Features,
}

/// A trained classifier.
#[derive(Debug)]
pub struct Classifier {
    network: Network,
    device: Device,
    test_accuracy: f64,
}

impl Classifier {
    /// The classifier for a training set: from `cache` or, where it is not
    /// there, trained and put there.
    ///
    /// # Errors
    /// Where it reads too few test pictures rightly, the data are not fit to
    /// learn from, or the cache cannot be written.
    pub fn load_or_train(
        cache: &Path,
        train: &Dataset,
        test: &Dataset,
        device: &Device,
    ) -> Result<Self> {
        Self::load_or_train_with(&Recipe::of(train), cache, train, test, device)
    }

    /// The same by another recipe. Classifiers of different recipes do not
    /// replace each other in the cache.
    ///
    /// # Errors
    /// As [`load_or_train`](Self::load_or_train).
    pub fn load_or_train_with(
        recipe: &Recipe,
        cache: &Path,
        train: &Dataset,
        test: &Dataset,
        device: &Device,
    ) -> Result<Self> {
        ensure!(
            train.size == test.size && train.size >= 4 && train.size.is_multiple_of(4),
            "the classifier is for pictures whose side is a multiple of 4, but they are {0} x {0} for training and {1} x {1} for tests",
            train.size,
            test.size
        );
        ensure!(
            !train.is_empty() && !test.is_empty(),
            "the classifier needs pictures both to be trained on and to be tested on"
        );
        ensure!(
            recipe.batch >= SHARDS && recipe.batch.is_multiple_of(SHARDS),
            "the classifier's batch of {} pictures cannot be cut into {SHARDS}",
            recipe.batch
        );
        let path = path_in(cache, train, recipe);
        let fresh = Network::new(train.size, classes(train), recipe.seed, device);
        let known = load(&path, fresh.clone());
        let one_class = classes(train) == 1;
        let trained = known.is_none() && !one_class;
        let network = match known {
            Some(network) => network,
            // Any network reads a single class rightly, so there is nothing to learn.
            None if one_class => {
                eprintln!(
                    "the real pictures have a single class, which a judge cannot learn from: distances compare features of an untrained network and say little"
                );
                fresh
            }
            None => {
                check_folder(path.parent().unwrap_or(Path::new(".")))?;
                learn(fresh, train, recipe, device)?.0
            }
        };
        let readings = read(&network, &test.pixels, device)?;
        let right = readings.classes.iter().zip(&test.labels);
        let right = right.filter(|(read, label)| read == label).count();
        let classifier = Self {
            network,
            device: device.clone(),
            test_accuracy: right as f64 / test.len() as f64,
        };
        ensure!(
            classifier.test_accuracy >= recipe.least_accuracy,
            "the classifier reads only {:.2}% of the test pictures rightly; below {:.1}% it cannot judge others. \
             It is made for small grey pictures of a few classes: name a folder with the whole of a data set with --data",
            100.0 * classifier.test_accuracy,
            100.0 * recipe.least_accuracy
        );
        if trained {
            classifier.save(&path)?;
        }
        Ok(classifier)
    }

    /// The part of the test pictures that it reads rightly.
    #[must_use]
    pub fn test_accuracy(&self) -> f64 {
        self.test_accuracy
    }

    /// Reads pictures, given as the grey bytes of one after the other.
    ///
    /// # Errors
    /// Where the bytes are no whole number of pictures.
    pub fn read(&self, pictures: &[u8]) -> Result<Readings> {
        read(&self.network, pictures, &self.device)
    }

    fn save(&self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
        let bytes = self.network.clone().into_record().into_bytes()?;
        let mut staged = Staged::default();
        staged.add(path, &bytes)?;
        staged.publish()
    }
}

/// Where the classifier of these data lies.
fn path_in(cache: &Path, train: &Dataset, recipe: &Recipe) -> PathBuf {
    // What is asked of it does not change what it is.
    let taught = Recipe {
        least_accuracy: 0.0,
        ..recipe.clone()
    };
    let format = match recipe.earliest_end(train.len()) < recipe.steps {
        true => FORMAT_EARLY,
        false => FORMAT,
    };
    let made_of = format!("{format} {} {taught:?}", train.fingerprint());
    let name = model_file::sha256(made_of.as_bytes());
    cache
        .join("classifiers")
        .join(format!("{}.bpk", &name[..16]))
}

/// The network from a file, where there is one that can be read.
fn load(path: &Path, fresh: Network) -> Option<Network> {
    let bytes = std::fs::read(path).ok()?;
    let loaded = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes))
        .and_then(|record| fresh.try_load_record(record));
    match loaded {
        Ok(network) => Some(network),
        Err(error) => {
            eprintln!(
                "{} is damaged ({error}); the classifier is trained again",
                path.display()
            );
            None
        }
    }
}

/// One more than the highest label.
fn classes(data: &Dataset) -> usize {
    data.labels
        .iter()
        .max()
        .map_or(1, |&label| usize::from(label) + 1)
}

/// Two convolutions, a pool and two more, then two full layers. The features
/// are what comes out of the first of these.
#[derive(Module, Debug)]
struct Network {
    conv1: Conv,
    norm1: GroupNorm,
    conv2: Conv,
    norm2: GroupNorm,
    conv3: Conv,
    norm3: GroupNorm,
    conv4: Conv,
    norm4: GroupNorm,
    hidden: Linear,
    output: Linear,
    size: usize,
}

impl Network {
    fn new(size: usize, classes: usize, seed: u64, device: &Device) -> Self {
        let init = &mut Init {
            device,
            rng: ChaCha8Rng::seed_from_u64(seed),
        };
        let positions = (size / 4) * (size / 4);
        Self {
            conv1: Conv::new(init, 1, 24, 5, 2),
            norm1: GroupNorm::new(init, 24, GROUP),
            conv2: Conv::new(init, 24, 32, 3, 1),
            norm2: GroupNorm::new(init, 32, GROUP),
            conv3: Conv::new(init, 32, 48, 3, 1),
            norm3: GroupNorm::new(init, 48, GROUP),
            conv4: Conv::new(init, 48, 48, 3, 1),
            norm4: GroupNorm::new(init, 48, GROUP),
            hidden: Linear::new(init, 48 * positions, WIDTH),
            output: Linear::new(init, WIDTH, classes),
            size,
        }
    }

    /// Features and logits of pictures with pixels from 0 to 1.
    fn forward(&self, pixels: Vec<f32>, device: &Device) -> (Tensor<2>, Tensor<2>) {
        let count = pixels.len() / (self.size * self.size);
        let shape = [count, 1, self.size, self.size];
        let x = Tensor::<4>::from_data(TensorData::new(pixels, shape), device);
        let x = relu(self.norm1.forward(self.conv1.forward(x)));
        let x = self.norm2.forward(self.conv2.forward(x));
        let x = relu(max_pool2d(x, MaxPoolOptions::new([2, 2])));
        let x = relu(self.norm3.forward(self.conv3.forward(x)));
        let x = relu(self.norm4.forward(self.conv4.forward(x)));
        let features = self.hidden.forward(x.flatten(1, 3));
        let logits = self.output.forward(relu(features.clone()));
        (features, logits)
    }
}

fn read(network: &Network, pictures: &[u8], device: &Device) -> Result<Readings> {
    let pixels = network.size * network.size;
    ensure!(
        pictures.len().is_multiple_of(pixels),
        "{} bytes are no whole number of {1} x {1} pictures",
        pictures.len(),
        network.size
    );
    let chunks = pictures.par_chunks(READ_AT_ONCE * pixels);
    let parts = chunks.map(|chunk| -> Result<(Vec<f32>, Vec<u8>)> {
        let grey = chunk.iter().map(|&pixel| f32::from(pixel) / 255.0);
        let (features, logits) = network.forward(grey.collect(), device);
        let [_, classes] = logits.dims();
        let logits = values(logits)?;
        let rows = logits.chunks_exact(classes);
        Ok((values(features)?, rows.map(highest).collect()))
    });
    let parts: Vec<(Vec<f32>, Vec<u8>)> = parts.collect::<Result<_>>()?;
    let mut readings = Readings {
        classes: Vec::with_capacity(pictures.len() / pixels),
        features: Features {
            width: WIDTH,
            values: Vec::with_capacity(pictures.len() / pixels * WIDTH),
        },
    };
    for (features, classes) in parts {
        readings.features.values.extend(features);
        readings.classes.extend(classes);
    }
    Ok(readings)
}

fn values(tensor: Tensor<2>) -> Result<Vec<f32>> {
    let values = tensor.into_data().try_to_vec();
    values.map_err(|error| anyhow!("{error:?}"))
}

/// The index of the highest value.
fn highest(values: &[f32]) -> u8 {
    let values = values.iter().enumerate();
    let highest = values.max_by(|a, b| a.1.total_cmp(b.1));
    highest.map_or(0, |(index, _)| index as u8)
}

/// Trains the network, and gives it with the steps that were made; says so, since
/// a large set takes minutes.
fn learn(
    fresh: Network,
    data: &Dataset,
    recipe: &Recipe,
    device: &Device,
) -> Result<(Network, u32)> {
    eprintln!(
        "the classifier is trained on {} real pictures: once, then it is kept",
        data.len()
    );
    let phase = Phase::begin("training the classifier", recipe.steps.into(), true)?;
    let device = device.clone().autodiff();
    let mut network = fresh.train();
    let mut optimizer = Optimizer::new(0.01);
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed);
    let mut order = Vec::new();
    let classes = classes(data);
    let mut smooth = f32::NAN;
    let mut convergence = Convergence::new(recipe, data.len());
    let (mut step, mut end) = (0, recipe.steps);
    // The step and the learning rate at which it had converged.
    let mut converged: Option<(u32, f64)> = None;
    while step < end {
        let mut pieces = vec![Piece::default(); SHARDS];
        for piece in &mut pieces {
            for _ in 0..recipe.batch / SHARDS {
                if order.is_empty() {
                    order = (0..data.len()).collect();
                    order.shuffle(&mut rng);
                }
                let index = order.pop().unwrap_or(0);
                let picture = data.picture(index);
                piece.pixels.extend(changed(picture, data.size, &mut rng));
                let label = usize::from(data.labels[index]);
                let one_hot = (0..classes).map(|class| f32::from(class == label));
                piece.targets.extend(one_hot);
            }
        }
        let ([loss], gradients) = in_shards(&network, SHARDS, |shard| {
            let piece = pieces[shard].clone();
            loss_and_gradients(&network, piece, classes, &device)
        });
        ensure!(
            loss.is_finite(),
            "the classifier's loss is {loss} at step {step}; this is a defect of the tool, please report it"
        );
        let rate = match converged {
            None => rate_at(step, recipe),
            Some((from, rate)) => rate * f64::from(end - step) / f64::from(end - from + 1),
        };
        network = optimizer.step(rate, network, gradients);
        step += 1;
        if converged.is_none() && step < end && convergence.reached(step, loss) {
            converged = Some((step, rate));
            end = end.min(step + step / 4 + 1);
        }
        smooth = if smooth.is_nan() {
            loss
        } else {
            0.98 * smooth + 0.02 * loss
        };
        phase.set_message(format!("training the classifier, loss {smooth:.3}"));
        phase.inc(1);
    }
    phase.finish();
    Ok((network.valid(), step))
}

/// What one thread works on.
#[derive(Clone, Default)]
struct Piece {
    pixels: Vec<f32>,
    targets: Vec<f32>,
}

/// The mean cross-entropy and its gradients.
fn loss_and_gradients(
    network: &Network,
    piece: Piece,
    classes: usize,
    device: &Device,
) -> ([f32; 1], GradientsParams) {
    // As in training's own: leaves of a graph of their own.
    let network = network.clone().no_grad().set_require_grad(true);
    let count = piece.targets.len() / classes;
    let targets = TensorData::new(piece.targets, [count, classes]);
    let (_, logits) = network.forward(piece.pixels, device);
    let likelihood = log_softmax(logits, 1) * Tensor::<2>::from_data(targets, device);
    let loss = likelihood.sum() / -(count as f64);
    let value = loss.clone().into_scalar::<f32>();
    (
        [value],
        GradientsParams::from_grads(loss.backward(), &network),
    )
}

/// A picture as someone else might have written it: turned by up to ten
/// degrees and moved by up to two pixels. Pixels are from 0 to 1.
fn changed(picture: &[u8], size: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let angle = rng.random_range(-0.17..0.17);
    let shift = [rng.random_range(-2.0..2.0), rng.random_range(-2.0..2.0)];
    moved(picture, size, angle, shift)
}

/// A picture turned around its middle, then moved right and down, by linear
/// interpolation.
fn moved(picture: &[u8], size: usize, angle: f32, [right, down]: [f32; 2]) -> Vec<f32> {
    let pixel = |x: isize, y: isize| -> f32 {
        let inside = 0..size as isize;
        if inside.contains(&x) && inside.contains(&y) {
            f32::from(picture[y as usize * size + x as usize]) / 255.0
        } else {
            0.0
        }
    };
    let middle = (size as f32 - 1.0) / 2.0;
    let (sin, cos) = angle.sin_cos();
    let mut result = Vec::with_capacity(size * size);
    for row in 0..size {
        for column in 0..size {
            let x = column as f32 - middle - right;
            let y = row as f32 - middle - down;
            let (from_x, from_y) = (cos * x + sin * y + middle, cos * y - sin * x + middle);
            let (left, top) = (from_x.floor(), from_y.floor());
            let (along, below) = (from_x - left, from_y - top);
            let (left, top) = (left as isize, top as isize);
            let upper = pixel(left, top) * (1.0 - along) + pixel(left + 1, top) * along;
            let lower = pixel(left, top + 1) * (1.0 - along) + pixel(left + 1, top + 1) * along;
            result.push(upper * (1.0 - below) + lower * below);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{read_images, read_labels};

    fn subset() -> Dataset {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mnist-subset");
        Dataset {
            size: 28,
            pixels: read_images(&folder.join("train-images-idx3-ubyte.gz"), 28).unwrap(),
            labels: read_labels(&folder.join("train-labels-idx1-ubyte.gz"), 0, 10).unwrap(),
        }
    }

    fn part(data: &Dataset, range: std::ops::Range<usize>) -> Dataset {
        Dataset {
            size: data.size,
            pixels: data.pixels[range.start * 784..range.end * 784].to_vec(),
            labels: data.labels[range].to_vec(),
        }
    }

    #[test]
    fn learns_and_is_kept() {
        let (data, device) = (subset(), Device::flex());
        let (train, test) = (part(&data, 0..384), part(&data, 384..512));
        let cache = tempfile::tempdir().unwrap();
        let recipe = Recipe {
            steps: 60,
            batch: 32,
            least_accuracy: 0.7,
            ..Recipe::default()
        };
        let get = |recipe: &Recipe| {
            Classifier::load_or_train_with(recipe, cache.path(), &train, &test, &device)
        };
        let first = get(&recipe).unwrap();
        assert!(first.test_accuracy() >= 0.7);
        let readings = first.read(&test.pixels).unwrap();
        assert_eq!(readings.classes.len(), 128);
        assert_eq!(readings.features.count(), 128);
        assert!(first.read(&test.pixels[1..]).is_err());
        assert!(first.read(&[]).unwrap().classes.is_empty());

        // The second time it is the one that was kept, to the bit.
        let path = path_in(cache.path(), &train, &recipe);
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        let again = get(&recipe).unwrap().read(&test.pixels).unwrap();
        assert_eq!(again.features, readings.features);
        assert_eq!(again.classes, readings.classes);
        assert_eq!(
            std::fs::metadata(&path).unwrap().modified().unwrap(),
            written
        );

        // Damaged, it is made anew, and the same.
        std::fs::write(&path, b"no network").unwrap();
        let again = get(&recipe).unwrap().read(&test.pixels).unwrap();
        assert_eq!(again.features, readings.features);

        // What cannot read does not judge, and is not kept.
        let hasty = Recipe { steps: 1, ..recipe };
        let error = get(&hasty).unwrap_err().to_string();
        assert!(
            error.contains("70.0%") && error.contains("--data"),
            "{error}"
        );
        assert!(!path_in(cache.path(), &train, &hasty).exists());
    }

    /// 54 pictures with a bright left half and 54 with a bright right one.
    fn halves() -> Dataset {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut data = Dataset {
            size: 16,
            pixels: Vec::new(),
            labels: (0..108).map(|index| index % 2).collect(),
        };
        for &label in &data.labels {
            data.pixels.extend((0..256).map(|place| {
                let bright = (place % 16 < 8) == (label == 0);
                rng.random_range(0..56) + 200 * u8::from(bright)
            }));
        }
        data
    }

    #[test]
    fn training_ends_when_it_has_converged() {
        let (data, device) = (halves(), Device::flex());
        let recipe = Recipe::of(&data);
        let fresh = Network::new(data.size, 2, recipe.seed, &device);
        let (network, steps) = learn(fresh, &data, &recipe, &device).unwrap();
        assert!(steps < recipe.steps / 2, "{steps} of {}", recipe.steps);
        let classes = read(&network, &data.pixels, &device).unwrap().classes;
        assert_eq!(classes, data.labels);
    }

    #[test]
    fn pictures_move_right_and_down() {
        let mut picture = [0; 64];
        picture[2 * 8 + 3] = 255;
        let place = |picture: Vec<f32>| {
            let sum: f32 = picture.iter().sum();
            assert!((sum - 1.0).abs() < 1e-4, "{sum}");
            let mut place = [0.0, 0.0];
            for (index, value) in picture.into_iter().enumerate() {
                place[0] += value * (index % 8) as f32;
                place[1] += value * (index / 8) as f32;
            }
            place
        };
        let close = |a: [f32; 2], b: [f32; 2]| {
            assert!(
                (a[0] - b[0]).abs() + (a[1] - b[1]).abs() < 1e-4,
                "{a:?} {b:?}"
            );
        };
        close(place(moved(&picture, 8, 0.0, [0.0, 0.0])), [3.0, 2.0]);
        close(place(moved(&picture, 8, 0.0, [1.5, 2.0])), [4.5, 4.0]);
        // A quarter clockwise around (3.5, 3.5).
        let quarter = std::f32::consts::FRAC_PI_2;
        close(place(moved(&picture, 8, quarter, [0.0, 0.0])), [5.0, 3.0]);
        assert_eq!(moved(&picture, 8, 0.0, [20.0, 0.0]), [0.0; 64]);
    }

    /// The file of a classifier of 60,000 pictures must not change: the one in
    /// users' caches stays in use.
    #[test]
    fn the_classifier_of_a_large_set_keeps_its_file() {
        let data = Dataset {
            size: 4,
            pixels: vec![0; 16 * 60_000],
            labels: vec![0; 60_000],
        };
        let made_of = format!(
            "1 {} Recipe {{ steps: 2345, batch: 128, learning_rate: 0.003, seed: 1, least_accuracy: 0.0 }}",
            data.fingerprint()
        );
        let name = model_file::sha256(made_of.as_bytes());
        let path = path_in(Path::new("cache"), &data, &Recipe::of(&data));
        assert!(path.ends_with(format!("{}.bpk", &name[..16])), "{path:?}");
    }

    #[test]
    fn sides_that_cannot_be_halved_twice_are_refused() {
        let data = Dataset {
            size: 6,
            pixels: vec![0; 36],
            labels: vec![0],
        };
        let error = Classifier::load_or_train(Path::new("unused"), &data, &data, &Device::flex());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("multiple of 4"), "{error}");
    }
}
