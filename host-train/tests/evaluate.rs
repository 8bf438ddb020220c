//! Evaluation from end to end on a handful of pictures, with a judge that needs
//! no training, and what the command refuses.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::Result;
use burn::tensor::Device;
use common::{arg, every_layer, lively, stderr, subset, subset_data, tool};
use tiny_ddpm::Model;
use tiny_ddpm_train::config::Config;
use tiny_ddpm_train::data::Dataset;
use tiny_ddpm_train::evaluate::classifier::Readings;
use tiny_ddpm_train::evaluate::measure::{Judge, Network, Plan, Subject, measure};
use tiny_ddpm_train::evaluate::metrics::Features;
use tiny_ddpm_train::evaluate::report::{conclusion, heading, html};
use tiny_ddpm_train::evaluate::results::{ModelFacts, Settings};

/// Sees how bright each of 16 squares is, and takes everything for a 3.
struct Squares;

impl Judge for Squares {
    fn test_accuracy(&self) -> f64 {
        0.5
    }

    fn read(&self, pictures: &[u8]) -> Result<Readings> {
        let mut values = Vec::new();
        for picture in pictures.chunks_exact(28 * 28) {
            let mut squares = [0.0; 16];
            for (index, &pixel) in picture.iter().enumerate() {
                squares[index / 28 / 7 * 4 + index % 28 / 7] += f32::from(pixel) / 255.0;
            }
            values.extend(squares);
        }
        Ok(Readings {
            classes: vec![3; pictures.len() / (28 * 28)],
            features: Features { width: 16, values },
        })
    }
}

fn plan(steps: &[u16]) -> Plan {
    Plan {
        settings: Settings {
            count: 20,
            seed: 1,
            guidance: 0.5,
            eta: 0.0,
            steps: steps.to_vec(),
            shown_steps: steps[0],
        },
        bound_pictures: 3,
        progress: false,
    }
}

fn facts(numbers: &'static str) -> ModelFacts {
    ModelFacts {
        numbers,
        path: numbers.to_owned(),
        name: None,
        sha256: None,
    }
}

/// A float network that draws nothing worth looking at, over a short chain.
fn float(device: &Device) -> (Subject<'static>, Config) {
    let mut config = every_layer();
    config.diffusion.timesteps = 12;
    let network = lively(&config, device);
    let subject = Subject {
        facts: facts("f32"),
        network: Network::Float(Box::new(config.clone()), Box::new(network)),
    };
    (subject, config)
}

#[test]
fn everything_is_measured_and_shown() {
    let device = Device::flex();
    let (float, config) = float(&device);
    let blob = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits.tddpm"));
    let blob = blob.unwrap();
    let int8 = Subject {
        facts: facts("int8"),
        network: Network::Int8(Box::new(Model::load(&blob).unwrap())),
    };
    let data = subset_data(&config);
    let subjects = [float, int8];
    let (found, gallery) =
        measure(&plan(&[4, 2]), &subjects, &data, &data, &Squares, &device).unwrap();

    let sets: Vec<_> = found
        .sets
        .iter()
        .map(|set| (set.model, set.steps))
        .collect();
    assert_eq!(sets, [("f32", 4), ("f32", 2), ("int8", 4), ("int8", 2)]);
    for set in &found.sets {
        // Two of twenty were to be a 3.
        let accuracy = set.accuracy.as_ref().unwrap();
        assert_eq!(accuracy.overall, 0.1);
        assert_eq!(accuracy.classes[3], Some(1.0));
        assert_eq!(accuracy.classes[4], Some(0.0));
        assert!(set.frechet.is_finite() && set.frechet > 0.0, "{set:?}");
    }
    // Digits are nearer to digits than noise is, and digits nearest of all.
    assert!(found.sets[0].frechet > found.real.frechet);
    assert!(found.sets[2].frechet < found.sets[0].frechet);
    assert!(found.real.manifold.precision > 0.3, "{:?}", found.real);

    // The test pictures are the training pictures here.
    for neighbours in &found.neighbours {
        assert_eq!(neighbours.test_distances.most, 0.0);
        assert!(neighbours.generated_distances.least > 0.0);
        assert_eq!(neighbours.generated.len(), 10);
    }
    let steps: Vec<u16> = found.differences.iter().map(|d| d.steps).collect();
    assert_eq!(steps, [4, 2]);
    assert!(found.differences[0].worst >= found.differences[0].mean);

    assert_eq!(found.bounds.len(), 2);
    for bound in &found.bounds {
        assert_eq!((bound.model, bound.pictures), ("f32", 3));
        let parts = bound.prior + bound.diffusion + bound.decoder;
        assert!((bound.total - parts).abs() < 1e-9 && bound.total.is_finite());
        assert!(bound.prior > 0.0 && bound.diffusion > 0.0 && bound.decoder > 0.0);
    }

    let page = html(&found, &gallery).unwrap();
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 4);
    assert_eq!(page.matches("<svg").count(), 2);
    let text = heading(&found) + &conclusion(&found);
    assert!(text.contains("20 pictures in 4, 2 DDIM steps"), "{text}");
}

#[test]
fn the_same_twice_is_the_same() {
    let device = Device::flex();
    let run = || {
        let (float, config) = float(&device);
        let data = subset_data(&config);
        let found = measure(&plan(&[2]), &[float], &data, &data, &Squares, &device);
        let mut found = found.unwrap().0;
        found.sets[0].seconds = 0.0;
        found
    };
    assert_eq!(run(), run());
}

/// `tiny-ddpm evaluate` with these arguments, to its end.
fn evaluate(args: &[&str]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut command = tool();
    command.args(["evaluate", "--cache", arg(cache.path()), "--out"]);
    command.arg(cache.path().join("out")).args(args);
    command.output().unwrap()
}

/// The subset, which is the test set, too.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"),
        ("train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    ] {
        for name in [from, to] {
            fs::copy(subset().join(from), folder.path().join(name)).unwrap();
        }
    }
    folder
}

#[test]
fn what_is_wrong_is_said_before_anything_is_computed() {
    let blob = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits.tddpm");
    let run = blob.with_extension("run");
    let (blob, run) = (arg(&blob), arg(&run));
    let data = data();
    let data = arg(data.path());
    let subset = subset();
    for (args, words) in [
        (
            vec!["nothing.tddpm", "--data", data],
            ["nothing.tddpm", "cannot open"],
        ),
        (vec![data, "--data", data], ["holds no checkpoint", ""]),
        (
            vec![blob, "--data", arg(&subset)],
            ["t10k-images-idx3-ubyte", "neither"],
        ),
        (
            vec![blob, "--data", data, "--count", "1"],
            ["--count 1", "10 to 256"],
        ),
        (vec![blob, "--data", data], ["--count 10000", "10 to 256"]),
        (
            vec![blob, "--data", data, "--count", "20", "--steps", "20,0"],
            ["0 steps", "1 to the schedule's 1000"],
        ),
        (
            vec![run, "--data", data, "--count", "20", "--steps", "1001"],
            ["1001 steps", ""],
        ),
        (
            vec![blob, "--data", data, "--count", "20", "--eta", "2"],
            ["eta 2", "0 to 1"],
        ),
        (
            vec![blob, "--data", data, "--steps", "5,5"],
            ["--steps", "5 twice"],
        ),
        (
            vec![blob, "--against", blob, "--data", data],
            ["both int8", "--against"],
        ),
    ] {
        let output = evaluate(&args);
        let message = stderr(&output);
        assert!(!output.status.success(), "{args:?} was accepted");
        assert!(!message.contains("panicked"), "{message}");
        for word in words {
            assert!(
                message.contains(word),
                "{args:?} should say {word:?}: {message}"
            );
        }
    }
}

#[test]
fn another_run_is_no_counterpart() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let data = data();
    let trained = common::train(&[
        "--preset",
        "smoke",
        "--steps",
        "1",
        "--data",
        arg(data.path()),
        "--out",
        arg(&run),
    ]);
    assert!(trained.status.success(), "{}", stderr(&trained));
    let blob = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits.tddpm");
    let output = evaluate(&[
        arg(&run),
        "--against",
        arg(&blob),
        "--data",
        arg(data.path()),
    ]);
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("not the same network"),
        "{}",
        stderr(&output)
    );
}

/// A training set of one picture is no set.
#[test]
fn too_little_data_is_refused() {
    let device = Device::flex();
    let (float, config) = float(&device);
    let data = subset_data(&config);
    let few = Dataset {
        size: 28,
        pixels: data.picture(0).to_vec(),
        labels: vec![data.labels[0]],
    };
    let error = measure(&plan(&[2]), &[float], &few, &data, &Squares, &device).unwrap_err();
    assert!(error.to_string().contains("--count 20"), "{error}");
}
