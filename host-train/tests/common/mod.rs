//! What the tests of training share.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tiny_ddpm_train::config::Config;
use tiny_ddpm_train::data::{Dataset, Split};
use tiny_ddpm_train::train::UNet;

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
    UNet::new(&config.network, 7, device).map(&mut Stir(ChaCha8Rng::seed_from_u64(8)))
}

/// What a network predicts for noise at several timesteps and classes.
pub fn predict(model: &UNet, config: &Config, device: &Device) -> Vec<f32> {
    let timesteps = [1, 10, 300, 999, 1000];
    let classes = [Some(0), None, Some(3), Some(9), Some(4)];
    let n = timesteps.len();
    let pixels = config.network.pixels();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let x: Vec<f32> = (0..n * pixels)
        .map(|_| StandardNormal.sample(&mut rng))
        .collect();
    let x = Tensor::from_data(TensorData::new(x, [n, pixels]), device);
    let output = model.forward(x, &timesteps, &classes);
    output.into_data().try_to_vec().unwrap()
}

/// A network with every kind of layer, small enough for a GPU in software.
pub fn every_layer() -> Config {
    let mut config = Config::preset("smoke").unwrap();
    // 14 x 14 positions, of which 7 x 7 are left at the second level.
    config.network.patch = 2;
    let level = |channels, attention| tiny_ddpm::Level {
        channels,
        attention,
    };
    config.network.levels = [level(8, false), level(12, true)].into_iter().collect();
    config.validate().unwrap();
    config
}
