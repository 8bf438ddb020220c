//! What the tests of training share.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod page;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tempfile::TempDir;
use tiny_ddpm_train::config::Config;
use tiny_ddpm_train::data::{Dataset, Split};
use tiny_ddpm_train::network::{Forward, Network, NoTaps, UNet};
use tiny_ddpm_train::shape::Shape;

/// 512 training pictures of MNIST.
pub fn subset() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mnist-subset")
}

/// The same, read.
pub fn subset_data(config: &Config) -> Dataset {
    Dataset::load(&subset(), Split::Train, &config.network).unwrap()
}

/// The tool.
pub fn tool() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tiny-ddpm"))
}

/// `tiny-ddpm train` with these arguments, to its end.
pub fn train(args: &[&str]) -> Output {
    tool().arg("train").args(args).output().unwrap()
}

/// What it printed to standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The losses in a run's `metrics.csv`.
pub fn losses(run: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| line.split(',').nth(1).unwrap().parse().unwrap())
        .collect()
}

/// A network in which no parameter is zero or one, the same on every device:
/// a fresh one predicts nothing but zeros.
pub fn lively(config: &Config, device: &Device) -> UNet {
    stirred(UNet::new(config.network.small().unwrap(), 7, device))
}

/// The same of whichever network a configuration has.
pub fn lively_network(config: &Config, device: &Device) -> Network {
    stirred(Network::new(&config.network, 7, device))
}

fn stirred<M: Module>(model: M) -> M {
    struct Stir(ChaCha8Rng);
    impl ModuleMapper for Stir {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|value| {
                let shape = value.dims();
                let noise: Vec<f32> = (0..shape.iter().product())
                    .map(|_| 0.1 * Distribution::<f32>::sample(&StandardNormal, &mut self.0))
                    .collect();
                let noise = Tensor::from_data(TensorData::new(noise, shape), &value.device());
                value + noise
            })
        }
    }
    model.map(&mut Stir(ChaCha8Rng::seed_from_u64(8)))
}

/// What a network predicts for noise at several timesteps and classes.
pub fn predict(model: &dyn Forward, config: &Config, device: &Device) -> Vec<f32> {
    let timesteps = [1, 10, 300, 999, 1000];
    let classes = [Some(0), None, Some(3), Some(9), Some(4)];
    let n = timesteps.len();
    let pixels = config.network.pixels();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let x: Vec<f32> = (0..n * pixels)
        .map(|_| StandardNormal.sample(&mut rng))
        .collect();
    let x = Tensor::from_data(TensorData::new(x, [n, pixels]), device);
    let output = model.forward_with(x, &timesteps, &classes, &mut NoTaps);
    output.into_data().try_to_vec().unwrap()
}

/// A reference network of a few channels on pictures of 8 x 8 pixels, with
/// `classes` classes, and a training of it that takes seconds.
pub fn tiny_reference(classes: u16) -> Config {
    let mut config = Config::preset("reference").unwrap();
    let Shape::Reference(shape) = &mut config.network else {
        panic!("the preset is of the reference network");
    };
    shape.image_size = 8;
    shape.down_channels = vec![8, 12, 16];
    shape.down_sample = vec![true, false];
    shape.mid_channels = vec![16, 12];
    shape.layers = 1;
    shape.out_channels = 8;
    (shape.heads, shape.groups) = (2, 4);
    shape.embedding = 16;
    shape.classes = classes;
    let training = &mut config.training;
    training.steps = 60;
    training.batch = 16;
    training.learning_rate = 2e-3;
    training.shards = 2;
    training.log_every = 5;
    training.checkpoint_every = 20;
    training.sample_every = 0;
    config.validate().unwrap();
    config
}

/// The subset at 8 x 8 pixels, as a folder that serves for training and tests.
pub fn small_pictures() -> TempDir {
    let data = Dataset::load_sized(&subset(), Split::Train, 28, 10).unwrap();
    let size = 8;
    let mut images = [0x803, data.len() as u32, size, size]
        .map(u32::to_be_bytes)
        .concat();
    for index in 0..data.len() {
        let picture = data.picture(index);
        for place in 0..64 {
            // A mean over 3 x 3 pixels, two being cut off at each border.
            let (row, column) = (2 + place / 8 * 3, 2 + place % 8 * 3);
            let square = (0..9).map(|i| u16::from(picture[(row + i / 3) * 28 + column + i % 3]));
            images.push((square.sum::<u16>() / 9) as u8);
        }
    }
    let mut labels = [0x801, data.len() as u32].map(u32::to_be_bytes).concat();
    labels.extend(&data.labels);
    let folder = tempfile::tempdir().unwrap();
    for split in [Split::Train, Split::Test] {
        let names = split.file_names();
        for (name, bytes) in names.iter().zip([&images, &labels]) {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
    }
    folder
}

/// A network with every kind of layer, small enough for a GPU in software.
pub fn every_layer() -> Config {
    let mut config = Config::preset("smoke").unwrap();
    let mut topology = config.network.small().unwrap().clone();
    // 14 x 14 positions, of which 7 x 7 are left at the second level.
    topology.patch = 2;
    let level = |channels, attention| tiny_ddpm::Level {
        channels,
        attention,
    };
    topology.levels = [level(8, false), level(12, true)].into_iter().collect();
    config.network = topology.into();
    config.validate().unwrap();
    config
}
