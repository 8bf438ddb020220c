//! Nothing is lost: a training that is killed at any moment, that cannot write,
//! or whose loss is no number, goes on from its last good state, and its user is
//! told how.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use common::{arg, losses, stderr, tool, train};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use tiny_ddpm::Level;
use tiny_ddpm_train::config::Config;
use tiny_ddpm_train::network::optimizer::Optimizer;
use tiny_ddpm_train::network::{Network, Parameter};
use tiny_ddpm_train::train::checkpoint::State;
use tiny_ddpm_train::train::{Checkpoint, Ema, load_any_ema};

/// A perceptron for points that takes about a millisecond a step, saved after
/// each.
fn tiny(folder: &Path, name: &str, change: impl FnOnce(&mut Config)) -> PathBuf {
    let mut config = Config::preset("swiss-roll").unwrap();
    let mut topology = config.network.small().unwrap().clone();
    let level = Level {
        channels: 16,
        attention: false,
    };
    topology.levels = std::iter::once(level).collect();
    topology.embedding = 16;
    config.network = topology.into();
    let training = &mut config.training;
    training.steps = 600;
    training.batch = 16;
    training.shards = 1;
    training.log_every = 1;
    training.checkpoint_every = 1;
    training.sample_every = 0;
    change(&mut config);
    config.validate().unwrap();
    let path = folder.join(format!("{name}.toml"));
    fs::write(&path, config.to_toml().unwrap()).unwrap();
    path
}

/// The weights of a run's newest checkpoint, those being trained and the
/// average; all of them numbers.
fn weights(run: &Path) -> [Vec<Parameter>; 2] {
    let device = Device::flex();
    let (config, average) = load_any_ema(run, &device).unwrap();
    let model = Network::new(&config.network, 0, &device);
    let model = Checkpoint::newest(run).unwrap().load_model(model).unwrap();
    let weights = [model.parameters(), average.parameters()];
    for parameter in weights.iter().flatten() {
        assert!(parameter.values.iter().all(|value| value.is_finite()));
    }
    weights
}

/// What is being written in a run's folder.
fn unfinished(run: &Path) -> bool {
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name());
    names.any(|name| name.to_string_lossy().starts_with(".unfinished-"))
}

/// The newest checkpoint's step; 0 before the first.
fn saved(run: &Path) -> u32 {
    match run.is_dir() {
        true => Checkpoint::newest_step(run).unwrap().unwrap_or(0),
        false => 0,
    }
}

/// Waits for something, or for the process to end.
fn wait(child: &mut Child, mut seen: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !seen() && child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing happens");
    }
}

/// The same steps without a break.
fn uninterrupted(folder: &Path, change: impl FnOnce(&mut Config)) -> PathBuf {
    let config = tiny(folder, "whole", |config| {
        config.training.checkpoint_every = 100_000;
        change(config);
    });
    let run = folder.join("whole");
    let output = train(&["--config", arg(&config), "--out", arg(&run)]);
    assert!(output.status.success(), "{}", stderr(&output));
    run
}

/// Goes on to the end without saving after every step, which takes longer.
#[track_caller]
fn finish(run: &Path) {
    let path = run.join("config.toml");
    let mut config = Config::load(&path).unwrap();
    config.training.checkpoint_every = 100_000;
    fs::write(&path, config.to_toml().unwrap()).unwrap();
    let output = train(&["--resume", arg(run)]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn killed_at_many_moments_a_run_ends_in_the_same_bits() {
    const KILLS: u32 = 36;
    let folder = TempDir::new().unwrap();
    let whole = uninterrupted(folder.path(), |_| ());
    let config = tiny(folder.path(), "killed", |_| ());
    let run = folder.path().join("killed");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut kills, mut within, mut before, mut newest) = (0, 0, 0, 0);
    while kills < KILLS && newest < 500 {
        let mut command = tool();
        command.arg("train");
        // Killed before it had a configuration, it has not begun.
        match run.join("config.toml").exists() {
            true => command.arg("--resume").arg(&run),
            false => command.arg("--config").arg(&config).arg("--out").arg(&run),
        };
        let output = Stdio::from(fs::File::create(folder.path().join("said")).unwrap());
        let mut child = command.stderr(output).spawn().unwrap();
        match kills % 3 {
            // While it starts: reads, cleans up, writes its first files.
            0 => std::thread::sleep(Duration::from_micros(rng.random_range(0..60_000))),
            // Some steps later.
            1 => {
                wait(&mut child, || saved(&run) > newest);
                std::thread::sleep(Duration::from_micros(rng.random_range(0..20_000)));
            }
            // While a checkpoint is written.
            _ => {
                wait(&mut child, || saved(&run) > newest);
                wait(&mut child, || unfinished(&run));
                let pause = [0, 50, 300][rng.random_range(0..3)];
                std::thread::sleep(Duration::from_micros(pause));
            }
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let said = fs::read_to_string(folder.path().join("said")).unwrap();
        assert!(status.code().is_none(), "it ended by itself: {said}");
        kills += 1;
        within += u32::from(unfinished(&run));

        // No step that was saved is lost, and what is there is whole.
        let now = saved(&run);
        assert!(now >= newest, "step {newest} was saved, and now {now} is");
        newest = now;
        match newest {
            0 => before += 1,
            _ => drop(weights(&run)),
        }
    }
    println!("{kills} kills, {within} within a write, {before} before a checkpoint; step {newest}");
    assert!(kills >= 12, "only {kills} kills");
    assert!(
        within >= 2,
        "only {within} of {kills} kills were within a write"
    );
    finish(&run);
    assert!(weights(&whole) == weights(&run), "the weights differ");
    assert_eq!(losses(&whole), losses(&run));
    assert!(!unfinished(&run));
}

/// A run that was saved at some steps and then killed.
fn begun(folder: &Path) -> PathBuf {
    let config = tiny(folder, "begun", |config| {
        config.training.checkpoint_every = 20
    });
    let run = folder.join("begun");
    let mut child = tool()
        .args(["train", "--config", arg(&config), "--out", arg(&run)])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait(&mut child, || saved(&run) >= 20);
    child.kill().unwrap();
    child.wait().unwrap();
    run
}

/// Expects an error, these words, and a whole checkpoint of this step or later.
#[track_caller]
fn stopped(output: &Output, run: &Path, step: u32, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "should say {word:?}: {said}");
    }
    assert!(saved(run) >= step, "{said}");
    weights(run);
}

/// A run whose first weights cannot be written must not begin with others when
/// it is resumed.
#[test]
fn a_start_that_fails_leaves_no_run() {
    let folder = TempDir::new().unwrap();
    let (first, second) = (begun(folder.path()), folder.path().join("second"));
    let config = first.join("config.toml");
    let start = |limits: &str| {
        let script =
            format!("{limits} exec \"$0\" train --from \"$1\" --config \"$2\" --out \"$3\"");
        Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_tiny-ddpm")])
            .args([arg(&first), arg(&config), arg(&second)])
            .output()
            .unwrap()
    };
    let failed = start("trap '' XFSZ; ulimit -f 64;");
    let said = stderr(&failed);
    assert!(!failed.status.success() && !second.join("config.toml").exists());
    assert!(said.contains("cannot write the checkpoint"), "{said}");
    assert!(!said.contains("before it"), "{said}");

    let output = tool().args(["train", "--resume", arg(&second)]).output();
    let said = stderr(&output.unwrap());
    assert!(said.contains("is no run folder"), "{said}");

    // Killed a little later, it would have left files.
    fs::write(second.join("teacher.bpk"), "").unwrap();
    let said = stderr(&start(""));
    assert!(
        said.contains("no run that could go on: remove it"),
        "{said}"
    );
    fs::remove_dir_all(&second).unwrap();
    let output = start("");
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A limit on the size of files is to a process what a full disk is.
#[test]
fn what_cannot_be_written_leaves_the_checkpoint_before() {
    let folder = TempDir::new().unwrap();
    let whole = uninterrupted(folder.path(), |_| ());
    let run = begun(folder.path());
    let step = saved(&run);
    // In blocks of 512 bytes: room for the metrics, not for a checkpoint. The
    // signal would end the process; without it the write fails.
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" train --resume \"$1\"";
    let output = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_tiny-ddpm"), arg(&run)])
        .output()
        .unwrap();
    let resume = format!("tiny-ddpm train --resume {}", run.display());
    let kept = format!("saved: step {step}, in {}", run.display());
    let words = ["cannot write the checkpoint", "ulimit", &kept, &resume];
    stopped(&output, &run, step, &words);
    assert_eq!(saved(&run), step);
    assert!(!unfinished(&run), "a half is left");

    // The signal not ignored, it is one more way to be killed.
    let killed = "ulimit -f 64; exec \"$0\" train --resume \"$1\"";
    let output = Command::new("sh")
        .args(["-c", killed, env!("CARGO_BIN_EXE_tiny-ddpm"), arg(&run)])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert_eq!(saved(&run), step);
    finish(&run);
    assert!(weights(&whole) == weights(&run), "the weights differ");
}

#[test]
fn a_folder_that_goes_away_comes_back_whole() {
    let folder = TempDir::new().unwrap();
    let whole = uninterrupted(folder.path(), |_| ());
    let run = begun(folder.path());
    let away = folder.path().join("away");
    let mut child = tool()
        .args(["train", "--resume", arg(&run)])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let step = saved(&run);
    wait(&mut child, || saved(&run) > step);
    let step = saved(&run);
    fs::rename(&run, &away).unwrap();
    let output = child.wait_with_output().unwrap();
    let resume = format!("tiny-ddpm train --resume {}", run.display());
    stopped(&output, &away, step, &["folder is gone", &resume]);
    fs::rename(&away, &run).unwrap();
    finish(&run);
    assert!(weights(&whole) == weights(&run), "the weights differ");
}

#[test]
fn a_place_that_takes_no_folder_is_named() {
    let folder = TempDir::new().unwrap();
    let config = tiny(folder.path(), "tiny", |_| ());
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    for out in [
        file.clone(),
        file.join("run"),
        PathBuf::from("/proc/no/run"),
    ] {
        let output = train(&["--config", arg(&config), "--out", arg(&out)]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let name = format!("cannot write to the folder {}: ", out.display());
        assert!(said.contains(&name) && !said.contains("panicked"), "{said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

/// Multiplies every weight.
struct Times(f32);

impl ModuleMapper for Times {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| value * self.0)
    }
}

/// Puts a checkpoint behind the newest whose weights are numbers still, but so
/// large that the next loss is none; gives its step.
fn run_away(run: &Path) -> u32 {
    let device = Device::flex().autodiff();
    let config = Config::load(&run.join("config.toml")).unwrap();
    let checkpoint = Checkpoint::newest(run).unwrap();
    let model = Network::new(&config.network, 0, &device);
    let model = checkpoint.load_model(model).unwrap().map(&mut Times(1e30));
    let average = Ema::new(&model, config.training.ema_decay);
    let optimizer = Optimizer::new(config.training.weight_decay);
    let optimizer = checkpoint.load_optimizer(optimizer, &average.model);
    let step = checkpoint.state.step + 1;
    let state = State::new(step, checkpoint.state.data_sha256, Vec::new());
    Checkpoint::save(
        run,
        state,
        &model,
        &average,
        &optimizer.unwrap(),
        Vec::new(),
    )
    .unwrap();
    step
}

#[test]
fn a_loss_that_is_no_number_says_what_to_change() {
    let folder = TempDir::new().unwrap();
    let run = begun(folder.path());
    let step = run_away(&run);
    let next = format!("step {}: the loss is ", step + 1);
    let kept = format!("saved: step {step}, in {}", run.display());
    let file = format!("{}/config.toml", run.display());
    let resume = format!("tiny-ddpm train --resume {}", run.display());
    let words = [
        &next,
        &kept,
        "learning_rate (it is 0.003)",
        "grad_clip (it is 1)",
        "warmup_steps (it has 50)",
        &file,
        &resume,
        "--learning-rate 0.00075",
    ];
    // And as it says, resumed it comes to the same.
    for _ in 0..2 {
        let output = train(&["--resume", arg(&run)]);
        stopped(&output, &run, step, &words);
        assert_eq!(saved(&run), step);
        assert!(!unfinished(&run));
    }
}
