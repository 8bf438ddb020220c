//! Quantisation-aware training against the chip's arithmetic: the same
//! integers, layer by layer, and a better int8 network at its end.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use common::{arg, every_layer, lively, stderr, subset, subset_data, tool, train};
use tiny_ddpm::blob::records::{Info, Packing, Recommended};
use tiny_ddpm::graph::LayerId;
use tiny_ddpm::{Denoiser, Model, Unet};
use tiny_ddpm_train::config::{Config, DistillConfig};
use tiny_ddpm_train::network::layers::Conv;
use tiny_ddpm_train::network::{Taps, UNet};
use tiny_ddpm_train::quant::{RangeRule, Ranges, WeightBits, pack, schemes};
use tiny_ddpm_train::train::batch::{Batch, Batches};
use tiny_ddpm_train::train::qat::FakeQuantiser;
use tiny_ddpm_train::train::{CalibrationSettings, Qat, calibrate, load_ema};

/// The run that the shipped model comes from.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits.run")
}

/// Integers of a layer on the chip beside those of training.
#[derive(Clone, Copy, Debug, Default)]
struct Agreement {
    count: usize,
    equal: usize,
    /// Largest difference.
    apart: i32,
}

/// Rounds as training does, compares with the chip, and goes on with what the
/// chip found: each layer is judged by itself.
struct Teacher<'a> {
    rounding: FakeQuantiser<'a>,
    qat: &'a Qat,
    /// The chip's integers, channels innermost.
    chip: &'a BTreeMap<LayerId, Vec<i8>>,
    seen: &'a mut BTreeMap<LayerId, Agreement>,
}

impl Taps for Teacher<'_> {
    fn tap(&mut self, layer: LayerId, x: Tensor<4>) -> Tensor<4> {
        let device = x.device();
        let rounded = self.rounding.tap(layer, x);
        let Some(grid) = self.qat.grid(layer) else {
            return rounded;
        };
        let [_, channels, height, width] = rounded.dims();
        let mut values: Vec<f32> = rounded.into_data().try_to_vec().unwrap();
        let chip = &self.chip[&layer];
        assert_eq!(values.len(), chip.len(), "{layer}");
        let seen = self.seen.entry(layer).or_default();
        for (i, value) in values.iter_mut().enumerate() {
            let (channel, position) = (i / (height * width), i % (height * width));
            let (step, zero) = (grid.steps[channel], grid.zeros[channel]);
            let exact = *value / step + zero;
            let q = exact.round();
            assert!((exact - q).abs() < 0.05, "{value} is not on the grid");
            let expected = chip[position * channels + channel];
            let apart = (q as i32 - i32::from(expected)).abs();
            seen.count += 1;
            seen.equal += usize::from(apart == 0);
            seen.apart = seen.apart.max(apart);
            *value = (f32::from(expected) - zero) * step;
        }
        Tensor::from_data(
            TensorData::new(values, [1, channels, height, width]),
            &device,
        )
    }

    fn conv(&mut self, layers: &[LayerId], conv: &Conv, x: Tensor<4>) -> Tensor<4> {
        self.rounding.conv(layers, conv, x)
    }

    fn shift(&mut self, layer: LayerId, shift: Tensor<2>) -> Tensor<2> {
        self.rounding.shift(layer, shift)
    }

    fn normal(&mut self, u: Tensor<4>) -> Tensor<4> {
        self.rounding.normal(u)
    }

    fn logits(&mut self, logits: Tensor<4>) -> Tensor<4> {
        self.rounding.logits(logits)
    }
}

/// Ranges from a few pictures.
fn ranges(model: &UNet, config: &Config) -> Ranges {
    let settings = CalibrationSettings {
        pictures: 4,
        steps: 6,
        ..CalibrationSettings::default()
    };
    let calibration = calibrate(model, config, &settings, &Device::flex(), |_| ()).unwrap();
    calibration.ranges(RangeRule::default(), &schemes(model.topology()))
}

fn blob(model: &UNet, config: &Config, ranges: &Ranges, weight_bits: WeightBits) -> Vec<u8> {
    let info = Info {
        name: "test",
        topology: config.network.small().unwrap().clone(),
        schedule: config.diffusion.schedule,
        timesteps: config.diffusion.timesteps,
        prediction: config.diffusion.prediction,
        packing: Packing::Portable,
        recommended: Recommended {
            steps: 20,
            guidance: 0.0,
            eta: 0.0,
        },
    };
    pack(&info, &model.weights(), ranges, weight_bits).unwrap()
}

/// Noisy pictures that no run of the same configuration is trained with.
fn unseen(config: &Config, pictures: usize) -> Batch {
    let data = subset_data(config);
    let mut config = config.clone();
    config.training.batch = pictures;
    config.training.seed = 99;
    Batches::new(&data, &config).unwrap().batch(0)
}

fn same_integers(name: &str, model: &UNet, config: &Config, weight_bits: WeightBits) {
    let device = Device::flex();
    let ranges = ranges(model, config);
    let blob = blob(model, config, &ranges, weight_bits);
    let chip = Model::load(&blob).unwrap();
    let mut workspace = vec![0; chip.workspace_words()];
    let mut unet = Unet::new(&chip, &mut workspace).unwrap();
    let qat = Qat::new(config.network.small().unwrap(), ranges, weight_bits).unwrap();
    let rounded = qat.round(model).unwrap();

    let batch = unseen(config, 8);
    let pixels = config.network.pixels();
    let mut seen = BTreeMap::new();
    for (i, x_t) in batch.x_t.chunks_exact(pixels).enumerate() {
        let (timestep, class) = (batch.timesteps[i], batch.classes[i]);
        let mut chip = BTreeMap::new();
        let mut on_chip = vec![0.0; pixels];
        unet.predict_observed(x_t, timestep, class, &mut on_chip, |seen| {
            chip.insert(seen.layer, seen.values.to_vec());
        })
        .unwrap();
        let mut teacher = Teacher {
            rounding: rounded.taps(&device),
            qat: &qat,
            chip: &chip,
            seen: &mut seen,
        };
        let x = Tensor::from_data(TensorData::new(x_t.to_vec(), [1, pixels]), &device);
        let output = model.forward_with(x, &[timestep], &[class], &mut teacher);
        let output: Vec<f32> = output.into_data().try_to_vec().unwrap();
        // The prediction is a sum of products that both know exactly.
        for (found, expected) in output.iter().zip(&on_chip) {
            assert!(
                (found - expected).abs() < 1e-4 * expected.abs().max(1.0),
                "{name}: {found} in training, {expected} on the chip"
            );
        }
        assert_eq!(seen.len(), chip.len());
    }
    let (mut count, mut equal) = (0, 0);
    for (layer, found) in &seen {
        let share = found.equal as f64 / found.count as f64;
        println!(
            "{name} {layer}: {:.3}% of {} equal, at most {} apart",
            100.0 * share,
            found.count,
            found.apart
        );
        count += found.count;
        equal += found.equal;
    }
    println!("{name}: {:.3}%", 100.0 * equal as f64 / count as f64);
    for (layer, found) in &seen {
        let share = found.equal as f64 / found.count as f64;
        assert!(
            share >= 0.995 && found.apart <= 1,
            "{name} {layer}: {found:?}"
        );
    }
}

#[test]
fn a_network_with_every_layer_is_rounded_as_on_the_chip() {
    let config = every_layer();
    let model = lively(&config, &Device::flex());
    for bits in [WeightBits::Eight, WeightBits::Four] {
        same_integers(&format!("every layer, {bits} bits"), &model, &config, bits);
    }
}

#[test]
fn the_shipped_network_is_rounded_as_on_the_chip() {
    let (config, model) = load_ema(&shipped(), &Device::flex()).unwrap();
    for bits in [WeightBits::Eight, WeightBits::Four] {
        same_integers(&format!("digits, {bits} bits"), &model, &config, bits);
    }
}

/// The mean squared error of a blob's predictions.
fn loss(blob: &[u8], batch: &Batch) -> f64 {
    let model = Model::load(blob).unwrap();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    let pixels = model.topology().pixels();
    let mut out = vec![0.0; pixels];
    let mut sum = 0.0;
    for (i, x_t) in batch.x_t.chunks_exact(pixels).enumerate() {
        unet.predict(x_t, batch.timesteps[i], batch.classes[i], &mut out)
            .unwrap();
        let target = &batch.target[i * pixels..];
        let squares = out
            .iter()
            .zip(target)
            .map(|(a, b)| f64::from(a - b).powi(2));
        sum += squares.sum::<f64>();
    }
    sum / batch.x_t.len() as f64
}

#[test]
fn training_with_the_rounding_ends_with_less_error_than_without() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (run, plain, exported) = (path("aware"), path("plain"), path("a.tddpm"));
    let (shipped, data) = (shipped(), subset());
    let fine_tune = |out: &Path, more: &[&str]| {
        let mut args = vec!["--steps", "24", "--batch", "32", "--learning-rate", "5e-4"];
        args.extend([
            "--from",
            arg(&shipped),
            "--data",
            arg(&data),
            "--out",
            arg(out),
        ]);
        args.extend(more);
        let output = train(&args);
        assert!(output.status.success(), "{}", stderr(&output));
    };
    fine_tune(&run, &["--qat", "4"]);
    // As long a training without rounding, so that only rounding differs.
    let path = path("plain.toml");
    let mut config = Config::load(&shipped.join("config.toml")).unwrap();
    config.training.warmup_steps = 0;
    config.training.sample_every = 0;
    config.training.distill = Some(DistillConfig {
        guidance: 0.0,
        up_to: None,
    });
    std::fs::write(&path, config.to_toml().unwrap()).unwrap();
    fine_tune(&plain, &["--config", arg(&path)]);

    let export = |more: &[&str]| {
        let args = ["export", arg(&run), "--out", arg(&exported)];
        tool().args(args).args(more).output().unwrap()
    };
    // The ranges are not chosen anew.
    let output = export(&["--range", "min-max"]);
    assert!(!output.status.success() && !exported.exists());
    let message = stderr(&output);
    assert!(message.contains("leave out --range"), "{message}");
    let output = export(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let aware = std::fs::read(&exported).unwrap();

    let device = Device::flex();
    let (config, model) = load_ema(&run, &device).unwrap();
    let qat = Qat::load(&run, &config).unwrap().unwrap();
    assert_eq!(qat.weight_bits(), WeightBits::Four);
    let batch = unseen(&config, 300);
    // The exporter rounds as the run was trained.
    let own = blob(&model, &config, qat.ranges(), WeightBits::Four);
    let aware = loss(&aware, &batch);
    assert_eq!(loss(&own, &batch), aware);

    let error = |run: &Path, bits| {
        let (config, model) = load_ema(run, &device).unwrap();
        loss(&blob(&model, &config, qat.ranges(), bits), &batch)
    };
    let before = error(&shipped, WeightBits::Four);
    let wide = error(&shipped, WeightBits::Eight);
    let plain = error(&plain, WeightBits::Four);
    println!(
        "8 bits {wide:.4}, 4 bits {before:.4}; trained {aware:.4}, without rounding {plain:.4}"
    );
    assert!(aware < plain, "{aware} with rounding, {plain} without");
}

/// Where the ranges are kept beside the weights, no float is added up on the
/// way to a blob: every processor makes the one that ships.
#[test]
fn shipped_blobs_come_from_their_runs() {
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [("nano", "--steps=10"), ("fashion", "--ranges-from=")] {
        let shipped = shipped().with_file_name(name);
        let (run, out) = (shipped.with_extension("run"), folder.path().join(name));
        let mut more = more.to_owned();
        if more.ends_with('=') {
            more += arg(&run.join("ranges.json"));
        }
        let args = [
            "export",
            arg(&run),
            &more,
            "--name",
            name,
            "--out",
            arg(&out),
        ];
        let output = tool().args(args).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let blob = std::fs::read(shipped.with_extension("tddpm")).unwrap();
        assert!(std::fs::read(&out).unwrap() == blob, "{name} differs");
    }
}
