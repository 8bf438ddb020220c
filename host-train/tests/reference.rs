//! The network of the course notes: is it that one to the last parameter, and
//! is a run of it used like any other, but for chips?

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use anyhow::Result;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use common::{arg, lively_network, losses, small_pictures, stderr, tiny_reference, tool, train};
use tiny_ddpm::{Method, Spacing};
use tiny_ddpm_train::config::Config;
use tiny_ddpm_train::data::{Dataset, Split};
use tiny_ddpm_train::evaluate::measure::{self, Judge, Plan, Subject, measure};
use tiny_ddpm_train::evaluate::report::{conclusion, heading, html};
use tiny_ddpm_train::evaluate::results::{ModelFacts, Settings};
use tiny_ddpm_train::metrics::Features;
use tiny_ddpm_train::metrics::classifier::Readings;
use tiny_ddpm_train::network::{Forward, Network, Parameter};
use tiny_ddpm_train::shape::{ReferenceShape, Shape};
use tiny_ddpm_train::train::batch::Batches;
use tiny_ddpm_train::train::gradients::loss_and_gradients;

#[test]
fn it_has_the_parameters_of_the_course_notes() {
    let config = Config::preset("reference").unwrap();
    let model = Network::new(&config.network, 1, &Device::flex());
    // As PyTorch counts them: `sum(p.numel() for p in model.parameters())`.
    assert_eq!(model.num_params(), 10_188_081);
    let mut parts: BTreeMap<String, usize> = BTreeMap::new();
    for parameter in model.parameters() {
        let part = parameter.name.split('.').next().unwrap().to_owned();
        *parts.entry(part).or_default() += parameter.values.len();
    }
    let expected = [
        ("conv_in", 320),
        ("down", 3_981_312),
        ("mid", 5_650_176),
        ("out_conv", 145),
        ("out_norm", 32),
        ("time1", 16_512),
        ("time2", 16_512),
        ("up", 523_072),
    ];
    let found: Vec<_> = parts.iter().map(|(part, &n)| (part.as_str(), n)).collect();
    assert_eq!(found, expected);
}

/// An activation: for each channel its values, row by row.
type Planes = Vec<Vec<f64>>;

/// The network in loops over `f64`, from its parameters by name.
struct Plain<'a> {
    shape: &'a ReferenceShape,
    parameters: BTreeMap<String, Parameter>,
}

impl Plain<'_> {
    fn values(&self, name: &str) -> (&[usize], &[f32]) {
        let found = &self.parameters[name];
        (&found.shape, &found.values)
    }

    fn conv(&self, name: &str, x: &Planes, stride: usize, padding: usize) -> Planes {
        let (shape, weight) = self.values(&format!("{name}.weight"));
        let (_, bias) = self.values(&format!("{name}.bias"));
        let &[outputs, inputs, kernel, _] = shape else {
            panic!("{name} has the shape {shape:?}");
        };
        let side = x[0].len().isqrt();
        let out_side = (side + 2 * padding - kernel) / stride + 1;
        let value = |channel: usize, row: usize, column: usize| {
            let row = row.checked_sub(padding).filter(|&row| row < side);
            let column = column.checked_sub(padding).filter(|&column| column < side);
            match (row, column) {
                (Some(row), Some(column)) => x[channel][row * side + column],
                _ => 0.0,
            }
        };
        let mut out = vec![vec![0.0; out_side * out_side]; outputs];
        for (o, plane) in out.iter_mut().enumerate() {
            for (place, out) in plane.iter_mut().enumerate() {
                let (row, column) = (place / out_side * stride, place % out_side * stride);
                *out = f64::from(bias[o]);
                for i in 0..inputs {
                    for k in 0..kernel * kernel {
                        let w = weight[(o * inputs + i) * kernel * kernel + k];
                        *out += f64::from(w) * value(i, row + k / kernel, column + k % kernel);
                    }
                }
            }
        }
        out
    }

    /// Each input value spread over 4 x 4 outputs, two of them apart from the
    /// next one's, a border of one cut off.
    fn conv_up(&self, name: &str, x: &Planes) -> Planes {
        let (shape, weight) = self.values(&format!("{name}.weight"));
        let (_, bias) = self.values(&format!("{name}.bias"));
        let &[_, outputs, 4, 4] = shape else {
            panic!("{name} has the shape {shape:?}");
        };
        let side = x[0].len().isqrt();
        let wide = 2 * side;
        let mut out: Planes = bias.iter().map(|&b| vec![b.into(); wide * wide]).collect();
        for (i, plane) in x.iter().enumerate() {
            for (place, value) in plane.iter().enumerate() {
                for k in 0..16 {
                    let row = (2 * (place / side) + k / 4).checked_sub(1);
                    let column = (2 * (place % side) + k % 4).checked_sub(1);
                    let (Some(row), Some(column)) = (row, column) else {
                        continue;
                    };
                    if row < wide && column < wide {
                        for (o, plane) in out.iter_mut().enumerate() {
                            let w = weight[(i * outputs + o) * 16 + k];
                            plane[row * wide + column] += f64::from(w) * value;
                        }
                    }
                }
            }
        }
        out
    }

    fn norm(&self, name: &str, x: &Planes) -> Planes {
        let (_, gain) = self.values(&format!("{name}.gain"));
        let (_, offset) = self.values(&format!("{name}.offset"));
        let width = x.len() / usize::from(self.shape.groups);
        let mut out = x.clone();
        for (group, planes) in out.chunks_mut(width).enumerate() {
            let count = (width * planes[0].len()) as f64;
            let mean = planes.iter().flatten().sum::<f64>() / count;
            let squares = planes.iter().flatten().map(|v| (v - mean).powi(2));
            let deviation = (squares.sum::<f64>() / count + 1e-5).sqrt();
            for (channel, plane) in planes.iter_mut().enumerate() {
                let channel = group * width + channel;
                for value in plane {
                    let normal = (*value - mean) / deviation;
                    *value = normal * f64::from(gain[channel]) + f64::from(offset[channel]);
                }
            }
        }
        out
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (_, weight) = self.values(&format!("{name}.weight"));
        let (_, bias) = self.values(&format!("{name}.bias"));
        let mut out: Vec<f64> = bias.iter().map(|&b| b.into()).collect();
        for (x, row) in x.iter().zip(weight.chunks_exact(bias.len())) {
            for (out, &w) in out.iter_mut().zip(row) {
                *out += x * f64::from(w);
            }
        }
        out
    }

    fn res(&self, name: &str, x: &Planes, emb: &[f64]) -> Planes {
        let mut h = self.norm(&format!("{name}.norm1"), x);
        silu(&mut h);
        let mut h = self.conv(&format!("{name}.conv1"), &h, 1, 1);
        let shift = self.linear(&format!("{name}.emb"), emb);
        for (plane, shift) in h.iter_mut().zip(shift) {
            plane.iter_mut().for_each(|value| *value += shift);
        }
        let mut h = self.norm(&format!("{name}.norm2"), &h);
        silu(&mut h);
        let h = self.conv(&format!("{name}.conv2"), &h, 1, 1);
        added(h, &self.conv(&format!("{name}.shortcut"), x, 1, 0))
    }

    fn attention(&self, name: &str, x: &Planes) -> Planes {
        let normal = self.norm(&format!("{name}.norm"), x);
        let qkv = self.conv(&format!("{name}.qkv"), &normal, 1, 0);
        let (channels, places) = (x.len(), x[0].len());
        let heads = usize::from(self.shape.heads);
        let width = channels / heads;
        let mut mix = vec![vec![0.0; places]; channels];
        for head in 0..heads {
            let part = |which: usize| &qkv[which * channels + head * width..][..width];
            let (q, k, v) = (part(0), part(1), part(2));
            for query in 0..places {
                let weights: Vec<f64> = (0..places)
                    .map(|key| {
                        let product: f64 = (0..width).map(|c| q[c][query] * k[c][key]).sum();
                        (product / (width as f64).sqrt()).exp()
                    })
                    .collect();
                let sum: f64 = weights.iter().sum();
                for (c, v) in v.iter().enumerate() {
                    let values = v.iter().zip(&weights);
                    let value: f64 = values.map(|(value, weight)| value * weight).sum();
                    mix[head * width + c][query] = value / sum;
                }
            }
        }
        added(self.conv(&format!("{name}.proj"), &mix, 1, 0), x)
    }

    fn layers(&self, name: &str, mut x: Planes, emb: &[f64]) -> Planes {
        for layer in 0..self.shape.layers {
            let name = format!("{name}.layers.{layer}");
            x = self.res(&format!("{name}.res"), &x, emb);
            x = self.attention(&format!("{name}.attn"), &x);
        }
        x
    }

    fn predict(&self, x: &[f32], timestep: u16, class: Option<u8>) -> Vec<f64> {
        let half = usize::from(self.shape.embedding) / 2;
        let angle = |k: usize| {
            let factor = 10_000f64.powf(k as f64 / half as f64);
            f64::from(timestep) / factor
        };
        let sines = (0..half).map(|k| angle(k).sin());
        let features: Vec<f64> = sines.chain((0..half).map(|k| angle(k).cos())).collect();
        let mut emb = vec![self.linear("time1", &features)];
        silu(&mut emb);
        let mut emb = vec![self.linear("time2", &emb[0])];
        if self.shape.classes > 0 {
            let (_, table) = self.values("classes");
            let row = class.map_or(self.shape.classes.into(), usize::from);
            for (emb, &value) in emb[0].iter_mut().zip(&table[row * 2 * half..]) {
                *emb += f64::from(value);
            }
        }
        silu(&mut emb);
        let emb = &emb[0];

        let picture = vec![x.iter().map(|&value| value.into()).collect()];
        let mut h = self.conv("conv_in", &picture, 1, 1);
        let mut skips = Vec::new();
        for (block, &halved) in self.shape.down_sample.iter().enumerate() {
            skips.push(h.clone());
            h = self.layers(&format!("down.{block}"), h, emb);
            if halved {
                h = self.conv(&format!("down.{block}.halve"), &h, 2, 1);
            }
        }
        for block in 0..self.shape.mid_channels.len() - 1 {
            h = self.layers(&format!("mid.{block}"), h, emb);
            h = self.res(&format!("mid.{block}.last"), &h, emb);
        }
        for (block, &doubled) in self.shape.down_sample.iter().rev().enumerate() {
            if doubled {
                h = self.conv_up(&format!("up.{block}.double"), &h);
            }
            h.extend(skips.pop().unwrap());
            h = self.layers(&format!("up.{block}"), h, emb);
        }
        let mut h = self.norm("out_norm", &h);
        silu(&mut h);
        self.conv("out_conv", &h, 1, 1).concat()
    }
}

fn silu(x: &mut Planes) {
    for value in x.iter_mut().flatten() {
        *value /= 1.0 + (-*value).exp();
    }
}

fn added(mut x: Planes, y: &Planes) -> Planes {
    for (x, y) in x.iter_mut().flatten().zip(y.iter().flatten()) {
        *x += y;
    }
    x
}

fn shape(config: &Config) -> &ReferenceShape {
    match &config.network {
        Shape::Reference(shape) => shape,
        Shape::Small(_) => panic!("the small network"),
    }
}

#[test]
fn it_computes_what_loops_compute() {
    let device = Device::flex();
    for classes in [0, 10] {
        let mut config = tiny_reference(classes);
        if let Shape::Reference(shape) = &mut config.network {
            shape.layers = 2;
            shape.mid_channels = vec![16, 16, 12];
        }
        let model = lively_network(&config, &device);
        let plain = Plain {
            shape: shape(&config),
            parameters: model
                .parameters()
                .into_iter()
                .map(|parameter| (parameter.name.clone(), parameter))
                .collect(),
        };
        let (timesteps, asked) = ([1, 400, 1000], [Some(3), None, Some(9)]);
        let x: Vec<f32> = (0..3 * 64).map(|i| (1.7 * i as f32).sin()).collect();
        let input = Tensor::from_data(TensorData::new(x.clone(), [3, 64]), &device);
        let found = model.forward(input, &timesteps, &asked).into_data();
        let found: Vec<f32> = found.try_to_vec().unwrap();
        let mut largest = 0.0_f64;
        let inputs = x.chunks_exact(64).zip(timesteps.into_iter().zip(asked));
        for ((x, (timestep, class)), found) in inputs.zip(found.chunks_exact(64)) {
            let expected = plain.predict(x, timestep, class);
            for (&found, &expected) in found.iter().zip(&expected) {
                let apart = (f64::from(found) - expected).abs();
                assert!(apart < 1e-4, "{found} is not {expected}");
                largest = largest.max(expected.abs());
            }
        }
        assert!(largest > 0.1, "the network predicts next to nothing");
    }
}

/// The names of parameters that a gradient does not reach.
struct Unreached<'g> {
    gradients: &'g GradientsParams,
    path: Vec<String>,
    names: Vec<String>,
}

impl ModuleVisitor for Unreached<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.gradients.get::<D>(param.id);
        let largest = gradient.map_or(0.0, |g| g.abs().max().into_scalar::<f32>());
        if largest < 1e-7 {
            self.names.push(self.path.join("."));
        }
    }
}

#[test]
fn every_parameter_is_trained() {
    let config = tiny_reference(10);
    let device = Device::flex().autodiff();
    let model = lively_network(&config, &device);
    let folder = small_pictures();
    let data = Dataset::load(folder.path(), Split::Train, &config.network).unwrap();
    let batch = Batches::new(&data, &config).unwrap().batch(0);
    let (loss, gradients) = loss_and_gradients(&model, None, None, &batch, 2, &device);
    assert!(loss.is_finite() && loss > 0.0);
    let mut unreached = Unreached {
        gradients: &gradients,
        path: Vec::new(),
        names: Vec::new(),
    };
    model.visit(&mut unreached);
    assert!(unreached.names.is_empty(), "{:?}", unreached.names);
}

/// A run of a few steps in a folder, and the data that it was trained on.
fn trained(folder: &Path, config: &Config, steps: &str) -> (String, tempfile::TempDir) {
    let (file, run) = (folder.join("tiny.toml"), folder.join("run"));
    std::fs::write(&file, config.to_toml().unwrap()).unwrap();
    let data = small_pictures();
    let output = train(&[
        "--config",
        arg(&file),
        "--steps",
        steps,
        "--data",
        arg(data.path()),
        "--out",
        arg(&run),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    (arg(&run).to_owned(), data)
}

/// Expects failure with these words.
fn refused(output: &Output, words: &[&str]) {
    let message = stderr(output);
    assert!(!output.status.success(), "was accepted");
    assert!(!message.contains("panicked"), "{message}");
    for word in words {
        assert!(message.contains(word), "should say {word:?}: {message}");
    }
}

#[test]
fn a_run_is_sampled_but_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny_reference(0);
    config.training.sample_every = 4;
    let (run, data) = trained(folder.path(), &config, "4");
    for file in ["samples-00000004.png", "loss.svg", "checkpoint-00000004"] {
        assert!(folder.path().join("run").join(file).exists(), "no {file}");
    }
    let out = folder.path().join("out");
    let output = tool()
        .args(["sample", &run, "--count", "3", "--sampler", "ddpm"])
        .args(["--steps", "5", "--json", "--out", arg(&out)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\"classes\": 0") && text.contains("\"size\": 8"));
    assert!(out.join("images.npy").is_file() && out.join("grid.png").is_file());
    let output = tool().args(["sample", &run, "--class", "3"]).output();
    refused(&output.unwrap(), &["class 3", "no classes"]);

    let blob = folder.path().join("model.tddpm");
    let output = tool()
        .args(["export", &run, "--out", arg(&blob)])
        .output()
        .unwrap();
    refused(
        &output,
        &["reference network", "bytes of flash", "--preset"],
    );
    assert!(!blob.exists());

    let fine_tune = |more: &[&str]| {
        let out = folder.path().join("tuned");
        let args = ["--from", &run, "--data", arg(data.path()), "--out"];
        let output = train(&[&args[..], &[arg(&out)], more].concat());
        assert!(!out.exists());
        output
    };
    refused(&fine_tune(&["--qat"]), &["[training.qat]", "chip"]);
    refused(
        &fine_tune(&["--distill", "0.5"]),
        &["[training.distill]", "classes = 0"],
    );
}

/// The full one says by how much it is too large.
#[test]
fn export_says_how_many_bytes_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny_reference(0);
    let Shape::Reference(tiny) = &mut config.network else {
        panic!("the small network");
    };
    // Its channels on pictures that are quickly looked at.
    let reference = Config::preset("reference").unwrap();
    *tiny = shape(&reference).clone();
    tiny.image_size = 4;
    config.training.batch = 2;
    config.validate().unwrap();
    let data = Dataset {
        size: 4,
        pixels: vec![0; 8 * 16],
        labels: vec![0; 8],
    };
    config.training.steps = 1;
    let run = folder.path().join("run");
    let started = tiny_ddpm_train::train::run::Run::create(&run, config, &data, Device::flex());
    started.unwrap().train().unwrap();
    let output = tool().args(["export", arg(&run)]).output().unwrap();
    refused(
        &output,
        &[
            "10,188,081 bytes",
            "9,139,505 more",
            "1,048,576",
            "STM32F405",
        ],
    );
}

#[test]
fn with_classes_it_learns_guidance_by_heart() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny_reference(10);
    let (run, data) = trained(folder.path(), &config, "20");
    let out = folder.path().join("guided");
    let output = train(&[
        "--from",
        &run,
        "--distill",
        "1",
        "--steps",
        "40",
        "--learning-rate",
        "2e-3",
        "--data",
        arg(data.path()),
        "--out",
        arg(&out),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let losses = losses(&out);
    assert!(losses[losses.len() - 1] < losses[0], "{losses:?}");
}

/// Sees how bright each of 16 squares is, and takes everything for a 3.
struct Squares;

impl Judge for Squares {
    fn test_accuracy(&self) -> f64 {
        0.5
    }

    fn read(&self, pictures: &[u8]) -> Result<Readings> {
        let mut values = Vec::new();
        for picture in pictures.chunks_exact(64) {
            let mut squares = [0.0; 16];
            for (index, &pixel) in picture.iter().enumerate() {
                squares[index / 16 * 4 + index % 8 / 2] += f32::from(pixel) / 255.0;
            }
            values.extend(squares);
        }
        Ok(Readings {
            classes: vec![3; pictures.len() / 64],
            features: Features { width: 16, values },
        })
    }
}

#[test]
fn without_classes_everything_else_is_measured() {
    let device = Device::flex();
    let mut config = tiny_reference(0);
    config.diffusion.timesteps = 12;
    let network = lively_network(&config, &device);
    let folder = small_pictures();
    let data = Dataset::load(folder.path(), Split::Train, &config.network).unwrap();
    let subject = Subject {
        facts: ModelFacts {
            numbers: "f32",
            path: "run".to_owned(),
            name: None,
            sha256: None,
        },
        network: measure::Network::Float(Box::new(config), Box::new(network)),
    };
    let plan = Plan {
        settings: Settings {
            count: 20,
            seed: 1,
            sampler: "ddim",
            spacing: "trailing",
            guidance: 0.0,
            eta: Some(0.0),
            steps: vec![4, 2],
            shown_steps: 4,
        },
        method: Method::Ddim { eta: 0.0 },
        spacing: Spacing::Trailing,
        class_names: Vec::new(),
        bound_pictures: 3,
        progress: false,
    };
    let (found, gallery) = measure(&plan, &[subject], &data, &data, &Squares, &device).unwrap();
    let set = &found.sets[0];
    assert_eq!(set.accuracy, None);
    assert!(set.frechet > found.real.frechet, "{set:?}");
    assert!((5..=10).contains(&set.class_coverage.len()));
    assert_eq!(found.bounds.len(), 2);
    assert!(found.bounds.iter().all(|bound| bound.total.is_finite()));
    assert_eq!(found.neighbours.len(), 1);
    let read = |warning: &str| warning.contains("read as the class");
    assert!(!found.warnings.iter().any(|warning| read(&warning.text)));
    let text = heading(&found) + &conclusion(&found);
    assert!(text.contains("20 pictures in 4, 2 steps"), "{text}");
    assert!(!text.contains("by class"), "{text}");
    // The curve of distances, and none of readings.
    let page = html(&found, &gallery).unwrap();
    assert_eq!(page.matches("<svg").count(), 1);
}
