//! Evaluation from end to end on a handful of pictures, with a judge that needs
//! no training, and what the command refuses.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::Result;
use burn::tensor::Device;
use common::{arg, every_layer, lively, stderr, subset, subset_data, tool};
use tiny_ddpm::{Method, Model, Spacing};
use tiny_ddpm_train::config::Config;
use tiny_ddpm_train::data::{Dataset, Split};
use tiny_ddpm_train::evaluate::Evaluation;
use tiny_ddpm_train::evaluate::measure::{Judge, Network, Plan, Subject, measure};
use tiny_ddpm_train::evaluate::report::{conclusion, heading, html};
use tiny_ddpm_train::evaluate::results::{ModelFacts, Settings};
use tiny_ddpm_train::generate::Pictures;
use tiny_ddpm_train::metrics::Features;
use tiny_ddpm_train::metrics::classifier::{Classifier, Readings};

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
            sampler: "dpm-solver",
            spacing: "quadratic",
            guidance: 0.5,
            eta: None,
            steps: steps.to_vec(),
            shown_steps: steps[0],
        },
        method: Method::DpmSolver,
        spacing: Spacing::Quadratic,
        class_names: Vec::new(),
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
        network: Network::Float(Box::new(config.clone()), Box::new(network.into())),
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
    common::page::well_set(&page);
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 4);
    assert_eq!(page.matches("<svg").count(), 2);
    let text = heading(&found) + &conclusion(&found);
    assert!(
        text.contains("20 pictures in 4, 2 steps, dpm-solver, quadratic"),
        "{text}"
    );
}

/// Sees how bright and how rough each of 16 squares is, and reads the class
/// whose training pictures are nearest to that on average.
struct Nearest {
    means: Vec<Vec<f32>>,
}

impl Nearest {
    fn new(train: &Dataset) -> Self {
        let mut means = vec![vec![0.0; 32]; 10];
        for index in 0..train.len() {
            let class = usize::from(train.labels[index]);
            let of_class = train.labels.iter().filter(|&&l| usize::from(l) == class);
            let count = of_class.count() as f32;
            let features = squares(train.picture(index));
            for (mean, value) in means[class].iter_mut().zip(features) {
                *mean += value / count;
            }
        }
        Self { means }
    }
}

/// Mean, and mean difference of neighbours, in each square of 7 x 7.
fn squares(picture: &[u8]) -> [f32; 32] {
    let mut values = [0.0; 32];
    for (index, pair) in picture.windows(2).enumerate() {
        let square = index / 28 / 7 * 4 + index % 28 / 7;
        values[square] += f32::from(pair[0]) / 2550.0;
        values[16 + square] += f32::from(pair[0].abs_diff(pair[1])) / 1275.0;
    }
    values
}

impl Judge for Nearest {
    fn test_accuracy(&self) -> f64 {
        0.8
    }

    fn read(&self, pictures: &[u8]) -> Result<Readings> {
        let mut readings = Readings {
            classes: Vec::new(),
            features: Features {
                width: 42,
                values: Vec::new(),
            },
        };
        for picture in pictures.chunks_exact(28 * 28) {
            let values = squares(picture);
            let distance = |mean: &Vec<f32>| -> f32 {
                mean.iter().zip(&values).map(|(a, b)| (a - b).powi(2)).sum()
            };
            let distances: Vec<f32> = self.means.iter().map(distance).collect();
            let nearest = (0..10).min_by(|&a, &b| distances[a].total_cmp(&distances[b]));
            let nearest = nearest.unwrap();
            readings.classes.push(nearest as u8);
            readings.features.values.extend(values);
            // As a network's features do, they keep classes apart.
            let classes = (0..10).map(|class| if class == nearest { 2.0 } else { 0.0 });
            readings.features.values.extend(classes);
        }
        Ok(readings)
    }
}

fn part(data: &Dataset, range: std::ops::Range<usize>) -> Dataset {
    Dataset {
        size: data.size,
        pixels: data.pixels[range.start * 784..range.end * 784].to_vec(),
        labels: data.labels[range].to_vec(),
    }
}

/// Each pixel the mean of those around it.
fn blurred(picture: &[u8]) -> Vec<u8> {
    let at = |row: usize, column: usize| {
        let mut sum = 0;
        for r in row.saturating_sub(2)..(row + 3).min(28) {
            for c in column.saturating_sub(2)..(column + 3).min(28) {
                sum += u32::from(picture[r * 28 + c]);
            }
        }
        (sum / 25) as u8
    };
    (0..784).map(|i| at(i / 28, i % 28)).collect()
}

/// Pictures and the classes that they are said to be of.
type Set = (&'static str, Vec<(Vec<u8>, u8)>);

/// Sets spoiled in ways that single pictures do not show, each with a word of
/// the warning that it must get; the first is not spoiled. `seen` are training
/// pictures, `unseen` others.
fn spoiled(seen: &Dataset, unseen: &Dataset) -> Vec<Set> {
    let count = unseen.len();
    let of = |data: &Dataset, index: usize| {
        let index = index % data.len();
        (data.picture(index).to_vec(), data.labels[index])
    };
    let all = |data: &Dataset| -> Vec<_> { (0..count).map(|i| of(data, i)).collect() };
    let mut noise = tiny_ddpm::diffusion::noise::Noise::new(1, 0);
    let mut grey = || (noise.normal() * 64.0 + 128.0).clamp(0.0, 255.0) as u8;
    let noise = (0..count)
        .map(|i| ((0..784).map(|_| grey()).collect(), (i % 10) as u8))
        .collect();
    let soft = |(picture, label): (Vec<u8>, u8)| (blurred(&picture), label);
    let three = (0..unseen.len()).find(|&i| unseen.labels[i] == 3).unwrap();
    let no_zeros = (0..)
        .map(|i| of(unseen, i))
        .filter(|(_, label)| *label != 0);
    vec![
        ("", all(unseen)),
        ("far from real", noise),
        ("far from real", all(unseen).into_iter().map(soft).collect()),
        ("copied", all(seen)),
        ("far from real", all(seen).into_iter().map(soft).collect()),
        (
            "repeats itself",
            (0..count).map(|i| of(unseen, i % 10)).collect(),
        ),
        ("never drawn", vec![of(unseen, three); count]),
        ("class 0", no_zeros.take(count).collect()),
    ]
}

fn pictures(set: &[(Vec<u8>, u8)]) -> Pictures {
    Pictures {
        size: 28,
        pixels: set
            .iter()
            .flat_map(|(picture, _)| picture)
            .copied()
            .collect(),
        classes: set.iter().map(|&(_, label)| Some(label)).collect(),
        states: vec![0; set.len()],
    }
}

/// What is found of each set, with the text of its warnings.
fn judged(
    train: &Dataset,
    test: &Dataset,
    judge: &impl Judge,
    count: usize,
) -> Vec<(&'static str, Evaluation, String)> {
    let mut plan = plan(&[0]);
    plan.settings.count = count;
    plan.settings.shown_steps = 0;
    let sets = spoiled(train, &part(test, 0..count)).into_iter();
    sets.map(|(word, set)| {
        let subject = Subject {
            facts: facts("pictures"),
            network: Network::Fixed(pictures(&set)),
        };
        let found = measure(&plan, &[subject], train, test, judge, &Device::flex());
        let found = found.unwrap().0;
        let texts: Vec<_> = found.warnings.iter().map(|w| w.text.clone()).collect();
        (word, found, texts.join("\n"))
    })
    .collect()
}

fn all_warned(found: &[(&str, Evaluation, String)]) {
    for (word, evaluation, text) in found {
        let table = conclusion(evaluation);
        if word.is_empty() {
            assert!(text.is_empty(), "real pictures: {table}");
        } else {
            assert!(text.contains(word), "{word} is missing: {table}");
        }
    }
    let score = |index: usize| &found[index].1.sets[0];
    for (word, evaluation, _) in &found[1..] {
        if *word != "copied" {
            assert!(score(0).frechet < evaluation.sets[0].frechet, "{word}");
        }
    }
    // Copies are as real as can be: only looking for them finds them.
    assert!(score(3).manifold.precision > 0.8);
}

#[test]
fn spoiled_sets_are_found_out() {
    let (_, config) = float(&Device::flex());
    let data = subset_data(&config);
    let (train, test) = (part(&data, 0..384), part(&data, 384..512));
    all_warned(&judged(&train, &test, &Nearest::new(&train), 128));
}

/// The same by the judge that the tool trains, on all of MNIST in the folder
/// that the variable MNIST names.
#[test]
#[ignore = "needs all of MNIST, and minutes: MNIST=DIR cargo test --release -p tiny-ddpm-train --features train --test evaluate -- --ignored --nocapture"]
fn spoiled_sets_are_found_out_by_the_real_judge() {
    let folder = std::env::var("MNIST").expect("the variable MNIST names a folder");
    let load = |split| Dataset::load_sized(Path::new(&folder), split, 28, 10).unwrap();
    let (train, test) = (load(Split::Train), load(Split::Test));
    let cache = tiny_ddpm_train::data::default_cache().unwrap();
    let judge = Classifier::load_or_train(&cache, &train, &test, &Device::flex()).unwrap();
    let found = judged(&train, &test, &judge, 1000);
    for (_, evaluation, _) in &found {
        println!("{}", conclusion(evaluation));
    }
    all_warned(&found);
}

#[test]
fn pictures_that_are_there_are_taken_as_they_are() {
    let found = sampled(&["--count", "30"]);
    let out = found.path().join("pictures");
    let data = data();
    let refused = evaluate(&[arg(&out), "--data", arg(data.path()), "--steps", "5"]);
    assert!(
        stderr(&refused).contains("holds pictures"),
        "{}",
        stderr(&refused)
    );
    let refused = evaluate(&[
        arg(&out),
        "--against",
        arg(&out),
        "--data",
        arg(data.path()),
    ]);
    assert!(
        stderr(&refused).contains("not a run and its blob"),
        "{}",
        stderr(&refused)
    );
}

/// All of one class that is not the data's last one: nothing is wrong with that,
/// and there are too few of them.
#[test]
fn pictures_may_lack_classes() {
    let found = sampled(&["--count", "9", "--class", "3"]);
    let (out, data) = (found.path().join("pictures"), data());
    let output = evaluate(&[arg(&out), "--data", arg(data.path())]);
    let message = stderr(&output);
    assert!(message.contains("--count 9: must be 10"), "{message}");
}

/// A folder in which `sample` wrote the folder `pictures`.
fn sampled(args: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let blob = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits.tddpm");
    let mut command = tool();
    command
        .args(["sample", arg(&blob), "--steps", "2", "--quiet"])
        .args(args);
    let output = command
        .arg("--out")
        .arg(folder.path().join("pictures"))
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    folder
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
            ["lacks t10k-images-idx3-ubyte", "raw or .gz"],
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
    let (float, floats) = ([float], plan(&[2]));
    let error = measure(&floats, &float, &few, &data, &Squares, &device).unwrap_err();
    assert!(error.to_string().contains("--count 20"), "{error}");
    let error = measure(&floats, &float, &data, &few, &Squares, &device).unwrap_err();
    assert!(error.to_string().contains("1 test pictures"), "{error}");
}
