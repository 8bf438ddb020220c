//! Points from end to end through the tool: trained, stopped and resumed,
//! exported, fine-tuned, and refused where something does not fit.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use common::{arg, losses, stderr, tool, train};
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::diffusion::prediction::signal_and_noise;
use tiny_ddpm::{Data, Denoiser, Model, Prediction};
use tiny_ddpm_train::config::Config;
use tiny_ddpm_train::data::{Split, swiss_roll};
use tiny_ddpm_train::loss::Loss;
use tiny_ddpm_train::network::denoiser::FloatDenoiser;
use tiny_ddpm_train::network::{Network, NoTaps};
use tiny_ddpm_train::train::{Checkpoint, load_any_ema};

/// The preset with something changed, as a file.
fn configuration(folder: &Path, name: &str, change: impl FnOnce(&mut Config)) -> PathBuf {
    let mut config = Config::preset("swiss-roll").unwrap();
    config.training.batch = 128;
    config.training.steps = 150;
    config.training.checkpoint_every = 40;
    config.training.sample_every = 0;
    change(&mut config);
    config.validate().unwrap();
    let path = folder.join(format!("{name}.toml"));
    fs::write(&path, config.to_toml().unwrap()).unwrap();
    path
}

#[track_caller]
fn trained(config: &Path, out: &Path, more: &[&str]) {
    let mut args = vec!["--config", arg(config), "--out", arg(out)];
    args.extend(more);
    let output = train(&args);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[track_caller]
fn run(args: &[&str]) -> String {
    let output = tool().args(args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_preset_is_the_swiss_roll() {
    let config = Config::preset("swiss-roll").unwrap();
    assert_eq!(config.network.data(), Data::Point { values: 2 });
    assert!(config.to_toml().unwrap().contains("points = 2"));
}

/// The mean squared error of x̂_0 for points in much noise: that of the network
/// which a run began with, and of the one which it ended with.
fn errors(run: &Path) -> (f64, f64) {
    let device = Device::flex();
    let config = Config::load(&run.join("config.toml")).unwrap();
    let fresh = Network::new(&config.network, config.training.seed, &device);
    let trained = Network::new(&config.network, 0, &device);
    let trained = Checkpoint::newest(run)
        .unwrap()
        .load_model(trained)
        .unwrap();
    let schedule = config.schedule().unwrap();
    let points = swiss_roll::draw(Split::Test, 256);
    let error = |network: &Network| {
        let mut noise = Noise::new(1, 0);
        let mut sum = 0.0;
        for timestep in [100, 250, 400] {
            let alpha_bar = schedule.alpha_bar(timestep);
            let (signal, level) = signal_and_noise(alpha_bar);
            let x_t: Vec<f32> = points
                .x
                .iter()
                .map(|x_0| signal * x_0 + level * noise.normal())
                .collect();
            let prediction = config.diffusion.prediction;
            let classes = vec![None; points.len()];
            let mut denoiser = FloatDenoiser::new(network, prediction, classes, &device, NoTaps);
            let mut x0_hat = vec![0.0; x_t.len()];
            denoiser.predict(&x_t, timestep, None, &mut x0_hat).unwrap();
            prediction.to_x0_hat(alpha_bar, &x_t, &mut x0_hat);
            let pairs = points.x.iter().zip(&x0_hat);
            sum += pairs
                .map(|(x_0, x0_hat)| f64::from(x_0 - x0_hat).powi(2))
                .sum::<f64>();
        }
        sum / (3 * points.x.len()) as f64
    };
    (error(&fresh), error(&trained))
}

/// Whatever the network predicts and whatever errors count, it learns: the loss
/// falls, or x̂_0 gets better. Both need not be. Most of the weighted loss is
/// noise so weak that nobody could tell it from the data, which ε and v cannot
/// help, and in terms of x_0 little else is learned in so few steps.
#[test]
fn every_parametrisation_and_every_loss_learns() {
    let folder = tempfile::tempdir().unwrap();
    for prediction in [Prediction::Epsilon, Prediction::X0, Prediction::V] {
        for loss in [Loss::Simple, Loss::Weighted, Loss::MinSnr] {
            let name = format!("{prediction:?}-{loss:?}");
            let config = configuration(folder.path(), &name, |config| {
                config.diffusion.prediction = prediction;
                config.training.loss = loss;
            });
            let out = folder.path().join(&name);
            trained(&config, &out, &[]);
            let (before, after) = errors(&out);
            let losses = losses(&out);
            let fell = losses[losses.len() - 1] < 0.9 * losses[0];
            assert!(
                fell || after < 0.8 * before,
                "{name}: from {before} to {after}, {losses:?}"
            );
            // The blob says what is predicted, and the samplers know.
            let blob = folder.path().join(format!("{name}.tddpm"));
            run(&["export", arg(&out), "--out", arg(&blob), "--steps", "20"]);
            let bytes = fs::read(&blob).unwrap();
            let model = Model::load(&bytes).unwrap();
            assert_eq!(model.info().prediction, prediction);
            assert_eq!(model.topology().data(), Data::Point { values: 2 });
        }
    }
}

/// A run that is stopped and resumed is the run that was not.
#[test]
fn a_run_of_points_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path(), "whole", |_| ());
    let whole = folder.path().join("whole");
    trained(&config, &whole, &[]);
    // As a run looks that was killed after step 40: its configuration is that
    // of the whole.
    let part = folder.path().join("part");
    let short = configuration(folder.path(), "part", |config| {
        config.training.checkpoint_every = 40;
    });
    let mut child = tool()
        .args(["train", "--config", arg(&short), "--out", arg(&part)])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begin = std::time::Instant::now();
    let saved = |name: std::ffi::OsString| name.to_string_lossy().starts_with("checkpoint-");
    let any = || {
        let mut entries = fs::read_dir(&part).into_iter().flatten().flatten();
        entries.any(|entry| saved(entry.file_name()))
    };
    while !any() {
        assert!(begin.elapsed().as_secs() < 120, "no checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = train(&["--resume", arg(&part)]);
    assert!(output.status.success(), "{}", stderr(&output));
    let weights = |run: &Path| {
        let (_, average) = load_any_ema(run, &Device::flex()).unwrap();
        average.parameters()
    };
    assert_eq!(losses(&whole), losses(&part));
    assert_eq!(weights(&whole), weights(&part));
}

#[test]
fn points_are_fine_tuned_evaluated_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let config = configuration(path, "roll", |config| config.training.sample_every = 150);
    let out = path.join("roll");
    trained(&config, &out, &[]);
    // The preview is what `sample` draws of the run, whose seed is 1.
    let drawn = path.join("drawn");
    run(&["sample", arg(&out), "--seed", "1", "--out", arg(&drawn)]);
    let preview = fs::read(out.join("samples-00000150.png")).unwrap();
    assert!(preview == fs::read(drawn.join("scatter.png")).unwrap());

    let tuned = path.join("tuned");
    let output = train(&[
        "--from",
        arg(&out),
        "--qat",
        "8",
        "--steps",
        "20",
        "--out",
        arg(&tuned),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let blob = path.join("tuned.tddpm");
    run(&["export", arg(&tuned), "--out", arg(&blob), "--steps", "10"]);
    let text = run(&["inspect", arg(&blob)]);
    assert!(text.contains("points of 2 values"), "{text}");

    let report = path.join("report");
    let json = run(&[
        "evaluate",
        arg(&tuned),
        "--against",
        arg(&blob),
        "--count",
        "300",
        "--steps",
        "5,10",
        "--json",
        "--out",
        arg(&report),
    ]);
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    let sets = found["sets"].as_array().unwrap();
    assert!(sets.len() >= 2 * 2 * 4, "{json}");
    for set in sets {
        assert!(set["energy"].as_f64().unwrap() > 0.0);
    }
    assert!(found["data"]["energy"].as_f64().unwrap() > 0.0);
    let page = fs::read_to_string(report.join("report.html")).unwrap();
    common::page::well_set(&page);
    for words in ["From data to noise", "The probability flow", "int8", "f32"] {
        assert!(page.contains(words), "{words}");
    }
    assert_eq!(
        json,
        fs::read_to_string(report.join("evaluation.json")).unwrap()
    );
}

/// A configuration says how to sample, and blob, `sample` and `evaluate` follow.
#[test]
fn recommended_settings_come_from_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let [out, blob, samples, report] =
        ["run", "m.tddpm", "samples", "report"].map(|name| folder.path().join(name));
    assert_eq!(
        Config::preset("swiss-roll").unwrap().recommended().steps,
        100
    );
    let config = configuration(folder.path(), "seven", |config| {
        (config.training.steps, config.training.warmup_steps) = (2, 0);
        config.sampling.steps = Some(7);
        config.sampling.eta = Some(0.25);
    });
    trained(&config, &out, &[]);
    let recommended = |args: &[&str]| {
        run(&[&["export", arg(&out), "--out", arg(&blob)], args].concat());
        let bytes = fs::read(&blob).unwrap();
        let recommended = Model::load(&bytes).unwrap().info().recommended;
        (recommended.steps, recommended.eta, recommended.guidance)
    };
    assert_eq!(recommended(&["--steps", "9", "--eta", "0"]), (9, 0.0, 0.0));
    assert_eq!(recommended(&[]), (7, 0.25, 0.0));
    for model in [arg(&blob), arg(&out)] {
        let args = ["sample", model, "--count", "5", "--json", "--out"];
        let found = run(&[&args[..], &[arg(&samples)]].concat());
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found["steps"], 7, "{found}");
        assert_eq!(found["eta"], 0.25, "{found}");
        let args = ["evaluate", model, "--count", "20", "--json", "--out"];
        let found = run(&[&args[..], &[arg(&report)]].concat());
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        for set in found["sets"].as_array().unwrap() {
            assert_eq!(set["steps"], 7, "{set}");
        }
    }
}

/// Without a terminal, a long command says what it does.
#[test]
fn an_evaluation_without_a_terminal_says_what_it_does() {
    let blob = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/swiss-roll.tddpm");
    let out = tempfile::tempdir().unwrap();
    let told = |more: &[&str]| {
        let args = ["evaluate", arg(&blob), "--count", "20", "--steps", "2"];
        let output = tool()
            .args(args)
            .args(["--out", arg(out.path())])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    assert_eq!(told(&[]), "sampling\n");
    assert_eq!(told(&["--quiet"]), "");
}

#[test]
fn what_is_for_pictures_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |args: &[&str], words: &str| {
        let output = tool().args(args).output().unwrap();
        let message = stderr(&output);
        assert!(!output.status.success(), "{args:?}");
        assert!(
            message.contains(words) && !message.contains("panicked"),
            "{message}"
        );
    };
    let out = folder.path().join("out");
    for data in [["--data", "."], ["--dataset", "mnist"]] {
        let args = ["train", "--preset", "swiss-roll", "--out", arg(&out)];
        let words = "--data and --dataset are for pictures";
        refused(&[&args[..], &data].concat(), words);
    }
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/swiss-roll.run");
    let args = ["export", arg(&run), "--guidance", "2", "--out", arg(&out)];
    refused(&args, "knows no classes");
    let three = configuration(folder.path(), "three", |config| {
        let mut topology = config.network.small().unwrap().clone();
        topology.patch = 3;
        config.network = topology.into();
    });
    refused(
        &["train", "--config", arg(&three), "--out", arg(&out)],
        "points = 3",
    );
    let text = fs::read_to_string(&three).unwrap();
    let both = folder.path().join("both.toml");
    fs::write(
        &both,
        text.replace("points = 3", "points = 2\nimage_size = 28"),
    )
    .unwrap();
    refused(
        &["train", "--config", arg(&both), "--out", arg(&out)],
        "neither `image_size` nor `patch`",
    );
    assert!(!out.exists());
}
