//! Training from end to end, through the tool: does it learn, and is nothing
//! lost when it is stopped?

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use common::{arg, losses, stderr, subset, subset_data, tool, train};
use tiny_ddpm::blob::records::{Packing, Record, WeightLayout};
use tiny_ddpm::{Denoiser, Model, Unet};
use tiny_ddpm_train::config::{Config, DistillConfig};
use tiny_ddpm_train::network::{Network, Parameter};
use tiny_ddpm_train::train::batch::Batch;
use tiny_ddpm_train::train::run::Run;
use tiny_ddpm_train::train::teacher::Teacher;
use tiny_ddpm_train::train::{Checkpoint, load_any_ema};

/// The weights of a run's newest checkpoint: those being trained and the
/// average.
fn weights(run: &Path) -> (Vec<Parameter>, Vec<Parameter>) {
    let device = Device::flex();
    let (config, ema) = load_any_ema(run, &device).unwrap();
    let model = Network::new(&config.network, 0, &device);
    let model = Checkpoint::newest(run).unwrap().load_model(model).unwrap();
    (model.parameters(), ema.parameters())
}

/// Starts a run and waits for a file or folder to appear in it.
fn start_and_wait_for(run: &Path, data: &Path, args: &[&str], name: &str) -> Child {
    let mut child = tool()
        .args(["train", "--data", arg(data), "--out", arg(run)])
        .args(args)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while !run.join(name).exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended early");
        assert!(begin.elapsed() < Duration::from_secs(120), "no {name}");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

#[test]
fn the_loss_falls() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = train(&[
        "--preset",
        "smoke",
        "--data",
        arg(&subset()),
        "--out",
        arg(&run),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let losses = losses(&run);
    assert_eq!(losses.len(), 12);
    assert!(losses[11] < 0.8 * losses[0], "{losses:?}");
    assert!(run.join("loss.svg").is_file());
    // The preview is what `sample` draws of the run, whose seed is 1.
    let drawn = folder.path().join("drawn");
    let sampled = tool()
        .args(["sample", arg(&run), "--count", "40", "--seed", "1"])
        .args(["--out", arg(&drawn)])
        .output()
        .unwrap();
    assert!(sampled.status.success(), "{}", stderr(&sampled));
    let preview = std::fs::read(run.join("samples-00000060.png")).unwrap();
    assert!(preview == std::fs::read(drawn.join("grid.png")).unwrap());
    let message = stderr(&output);
    for words in [
        " parameters, 60 steps of 32 examples",
        "step 30 of 60: loss ",
        " steps/s, ",
        " s left",
        "finished after ",
        "tiny-ddpm export ",
    ] {
        assert!(message.contains(words), "{words:?}: {message}");
    }
    assert!(!message.contains("min left"), "{message}");
    // The average moves away from the start, too.
    let (model, ema) = weights(&run);
    assert_ne!(model, ema);
    let start = Network::new(
        &Config::preset("smoke").unwrap().network,
        1,
        &Device::flex(),
    );
    assert_ne!(ema, start.parameters());
}

#[cfg(unix)]
#[test]
fn a_run_stopped_by_ctrl_c_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--preset", "smoke", "--steps", "150"];
    stop_and_resume(folder.path(), &subset(), &args);
}

#[cfg(unix)]
#[test]
fn so_does_the_reference_network() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tiny.toml");
    std::fs::write(&config, common::tiny_reference(10).to_toml().unwrap()).unwrap();
    let args = ["--config", arg(&config), "--steps", "150"];
    stop_and_resume(folder.path(), common::small_pictures().path(), &args);
    let losses = losses(&folder.path().join("whole"));
    assert_eq!(losses.len(), 30);
    assert!(losses[29] < 0.5 * losses[0], "{losses:?}");
}

#[cfg(unix)]
#[test]
fn so_does_a_fine_tuning_with_its_ranges_and_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let output = train(&[
        "--preset",
        "smoke",
        "--steps",
        "20",
        "--data",
        arg(&subset()),
        "--out",
        arg(&first),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let args = [
        "--from",
        arg(&first),
        "--qat",
        "4",
        "--distill",
        "2",
        "--steps",
        "100",
    ];
    stop_and_resume(folder.path(), &subset(), &args);
    // It learned: the teacher's predictions have no noise in them.
    let losses = losses(&folder.path().join("whole"));
    let (first_loss, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.9 * first_loss, "{losses:?}");

    // What has learned guidance is not guided again, and does not forget it.
    let from_it = |out: &str, more: &[&str]| {
        let (whole, out) = (folder.path().join("whole"), folder.path().join(out));
        let data = subset();
        let args = ["--from", arg(&whole), "--steps", "1", "--data", arg(&data)];
        let output = train(&[&args[..], &["--out", arg(&out)], more].concat());
        (output, out)
    };
    let (output, out) = from_it("twice", &["--distill", "1"]);
    let message = stderr(&output);
    assert!(message.contains("guided a second time"), "{message}");
    assert!(!output.status.success() && !out.exists());
    let (output, out) = from_it("rounded", &["--qat"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let config = Config::load(&out.join("config.toml")).unwrap();
    let distill = config.training.distill.unwrap();
    assert_eq!(
        (distill.guidance, config.recommended_guidance()),
        (0.0, 0.0)
    );

    let ranges = |name: &str| std::fs::read(folder.path().join(name).join("ranges.json"));
    assert_eq!(ranges("whole").unwrap(), ranges("stopped").unwrap());
    let run = folder.path().join("whole");
    std::fs::remove_file(run.join("ranges.json")).unwrap();
    let output = train(&["--resume", arg(&run), "--data", arg(&subset())]);
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("ranges.json"),
        "{}",
        stderr(&output)
    );

    // Nor is the teacher forgotten.
    let run = folder.path().join("stopped");
    std::fs::remove_file(run.join("teacher.bpk")).unwrap();
    let output = train(&["--resume", arg(&run), "--data", arg(&subset())]);
    assert!(!output.status.success());
    let message = stderr(&output);
    assert!(message.contains("teacher"), "{message}");
}

#[cfg(unix)]
#[test]
fn so_does_a_distillation_to_few_steps() {
    let folder = tempfile::tempdir().unwrap();
    let teacher = smoke(folder.path(), "20");
    let mut config = Config::load(&teacher.join("config.toml")).unwrap();
    config.training.distil_to(2);
    config.training.few_step.as_mut().unwrap().measure_every = 0;
    config.training.batch = 16;
    config.training.checkpoint_every = 20;
    let path = folder.path().join("few.toml");
    std::fs::write(&path, config.to_toml().unwrap()).unwrap();
    let args = [
        "--from",
        arg(&teacher),
        "--config",
        arg(&path),
        "--few-step",
        "2",
    ];
    let steps = ["--steps", "60"];
    stop_and_resume(folder.path(), &subset(), &[&args[..], &steps].concat());
    let table = |run: &str| std::fs::read(folder.path().join(run).join("critics.csv"));
    assert_eq!(table("whole").unwrap(), table("stopped").unwrap());
    let text = String::from_utf8(table("whole").unwrap()).unwrap();
    assert_eq!(text.lines().count(), 1 + 60 / 5, "{text}");

    // It says how it is sampled, and goes on with rounding.
    let run = folder.path().join("whole");
    let config = Config::load(&run.join("config.toml")).unwrap();
    let recommended = config.recommended();
    assert_eq!((recommended.steps, recommended.guidance), (2, 0.0));
    let rounded = folder.path().join("rounded");
    let args = ["--from", arg(&run), "--qat", "--steps", "2", "--data"];
    let output = train(&[&args[..], &[arg(&subset()), "--out", arg(&rounded)]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let config = Config::load(&rounded.join("config.toml")).unwrap();
    assert_eq!(config.training.few_step.unwrap().steps, 2);
    assert!(config.training.learning_rate < 2e-4 && config.training.qat.is_some());
    let teacher = |run: &Path| std::fs::read(run.join("teacher.bpk")).unwrap();
    assert!(
        teacher(&run) == teacher(&rounded),
        "the teacher is another one"
    );

    for (from, more, words) in [
        (&run, &["--few-step", "1"][..], "draws in 2 steps"),
        (
            &folder.path().join("smoke"),
            &["--few-step", "1", "--qat"],
            "distil it first",
        ),
        (
            &folder.path().join("smoke"),
            &["--few-step", "3"],
            "must be 1, 2 or 4",
        ),
        (
            &folder.path().join("smoke"),
            &["--few-step", "1", "--distill", "1"],
            "cannot be used",
        ),
    ] {
        let out = folder.path().join("refused");
        let output = train(&[&["--from", arg(from), "--out", arg(&out)], more].concat());
        let message = stderr(&output);
        assert!(message.contains(words), "{more:?}: {message}");
        assert!(!output.status.success() && !out.exists(), "{more:?}");
    }
}

/// The average that is used is the one whose pictures were nearest.
#[test]
fn a_distillation_keeps_its_best_average() {
    let folder = tempfile::tempdir().unwrap();
    let teacher = smoke(folder.path(), "20");
    let mut config = Config::load(&teacher.join("config.toml")).unwrap();
    config.training.distil_to(1);
    config.training.few_step.as_mut().unwrap().measure_every = 2;
    config.training.steps = 8;
    config.training.batch = 4;
    // So high that some step makes it worse.
    config.training.learning_rate = 0.05;
    config.training.ema_decay = 0.0;
    let path = folder.path().join("few.toml");
    std::fs::write(&path, config.to_toml().unwrap()).unwrap();
    let run = folder.path().join("run");
    let output = tool()
        .args(["train", "--from", arg(&teacher), "--config", arg(&path)])
        .args([
            "--data",
            arg(&few_pictures(folder.path())),
            "--out",
            arg(&run),
        ])
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("Frechet distance"),
        "{}",
        stderr(&output)
    );
    let text = std::fs::read_to_string(run.join("distances.csv")).unwrap();
    let mut rows = text.lines().skip(1).map(|line| {
        let (step, distance) = line.split_once(',').unwrap();
        (
            step.parse::<u32>().unwrap(),
            distance.parse::<f64>().unwrap(),
        )
    });
    let rows: Vec<(u32, f64)> = rows.by_ref().collect();
    assert_eq!(
        rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        [2, 4, 6, 8]
    );
    let best = rows.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
    let (_, last) = weights_by(&run, Checkpoint::load_ema);
    let (_, used) = weights_by(&run, Checkpoint::load_best);
    assert_eq!(used == last, best == 8, "{rows:?}");
    let (_, network) = load_any_ema(&run, &Device::flex()).unwrap();
    assert!(network.parameters() == used);
}

/// A run of the preset "smoke" in a folder.
fn smoke(folder: &Path, steps: &str) -> PathBuf {
    let run = folder.join("smoke");
    let args = ["--preset", "smoke", "--steps", steps, "--data"];
    let output = train(&[&args[..], &[arg(&subset()), "--out", arg(&run)]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    run
}

/// The first 32 pictures of the subset, as a folder.
fn few_pictures(folder: &Path) -> PathBuf {
    let data = subset_data(&Config::preset("smoke").unwrap());
    let few = folder.join("few");
    for index in 0..32 {
        let class = few.join(format!("train/{}", data.labels[index]));
        std::fs::create_dir_all(&class).unwrap();
        let picture = image::GrayImage::from_raw(28, 28, data.picture(index).to_vec());
        picture
            .unwrap()
            .save(class.join(format!("{index}.png")))
            .unwrap();
    }
    few
}

/// Weights of a run's newest checkpoint, as one of its functions loads them.
fn weights_by(
    run: &Path,
    load: fn(&Checkpoint, Network) -> anyhow::Result<Network>,
) -> (Config, Vec<Parameter>) {
    let config = Config::load(&run.join("config.toml")).unwrap();
    let model = Network::new(&config.network, 0, &Device::flex());
    let model = load(&Checkpoint::newest(run).unwrap(), model).unwrap();
    (config, model.parameters())
}

/// Makes two runs in a folder, one of which is stopped on its way.
#[cfg(unix)]
fn stop_and_resume(folder: &Path, data: &Path, args: &[&str]) {
    let (whole, stopped) = (folder.join("whole"), folder.join("stopped"));
    let steps = args[args.len() - 1].parse().unwrap();
    let output = tool()
        .args(["train", "--data", arg(data), "--out", arg(&whole)])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));

    let child = start_and_wait_for(&stopped, data, args, "checkpoint-00000020");
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("--resume"), "{}", stderr(&output));
    let at = Checkpoint::newest(&stopped).unwrap().state.step;
    assert!((20..steps).contains(&at), "{at}");

    // It remembers its data, and checks that it is the same.
    assert!(!stderr(&output).contains("--data"), "{}", stderr(&output));
    let output = train(&["--resume", arg(&stopped)]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(weights(&whole) == weights(&stopped), "the weights differ");
    assert_eq!(losses(&whole), losses(&stopped));
}

#[cfg(unix)]
#[test]
fn a_killed_run_leaves_a_whole_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    // A checkpoint at every step, so that most kills fall into one.
    let path = folder.path().join("often.toml");
    let mut config = Config::preset("smoke").unwrap();
    config.training.steps = 100_000;
    config.training.checkpoint_every = 1;
    std::fs::write(&path, config.to_toml().unwrap()).unwrap();
    let data = subset_data(&config);
    for attempt in 0..6 {
        let run = folder.path().join(format!("run{attempt}"));
        let args = ["--config", arg(&path)];
        let mut child = start_and_wait_for(&run, &subset(), &args, "checkpoint-00000001");
        std::thread::sleep(Duration::from_millis(50 + 37 * attempt));
        child.kill().unwrap();
        child.wait().unwrap();

        let step = Checkpoint::newest(&run).unwrap().state.step;
        assert!(step >= 1);
        let (model, ema) = weights(&run);
        for parameter in model.iter().chain(&ema) {
            assert!(parameter.values.iter().all(|value| value.is_finite()));
        }
        let resumed = Run::resume(&run, config.clone(), &data, Device::flex()).unwrap();
        assert_eq!(resumed.step(), step);
        // What the kill left unfinished is gone.
        let names = std::fs::read_dir(&run)
            .unwrap()
            .map(|e| e.unwrap().file_name());
        assert!(
            !names
                .into_iter()
                .any(|name| name.to_str().unwrap().starts_with('.'))
        );
    }
}

#[test]
fn resuming_a_finished_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let data = subset();
    let output = train(&[
        "--preset",
        "smoke",
        "--steps",
        "3",
        "--data",
        arg(&data),
        "--out",
        arg(&run),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let before = weights(&run);
    let output = train(&["--resume", arg(&run), "--data", arg(&data)]);
    let message = stderr(&output);
    assert!(output.status.success(), "{message}");
    for words in ["nothing to resume", "tiny-ddpm export "] {
        assert!(message.contains(words), "{words:?}: {message}");
    }
    assert!(before == weights(&run));
}

#[test]
fn a_run_remembers_where_its_data_is() {
    let folder = tempfile::tempdir().unwrap();
    let (run, data, moved) = (
        folder.path().join("run"),
        folder.path().join("data"),
        folder.path().join("moved"),
    );
    let copy = |to: &Path| {
        std::fs::create_dir(to).unwrap();
        for entry in std::fs::read_dir(subset()).unwrap() {
            let from = entry.unwrap().path();
            std::fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
        }
    };
    copy(&data);
    // From a relative path: the run is resumed in another working folder.
    let args = ["train", "--preset", "smoke", "--steps", "2", "--out", "run"];
    let output = tool()
        .current_dir(folder.path())
        .args(args)
        .args(["--data", "data"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(!config.contains("data"), "{config}");
    let output = train(&["--resume", arg(&run)]);
    assert!(output.status.success(), "{}", stderr(&output));
    // So does what is fine-tuned from it.
    let tuned = folder.path().join("tuned");
    let args = ["--from", arg(&run), "--qat", "--steps", "1", "--out"];
    let output = train(&[&args[..], &[arg(&tuned)]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let of = |run: &Path| std::fs::read(run.join("data.json")).unwrap();
    assert_eq!(of(&run), of(&tuned));

    std::fs::rename(&data, &moved).unwrap();
    let output = train(&["--resume", arg(&run)]);
    let message = stderr(&output);
    assert!(!output.status.success());
    for words in [arg(&data), "not there any more", "--data DIR"] {
        assert!(message.contains(words), "{words:?}: {message}");
    }
    let output = train(&["--resume", arg(&run), "--data", arg(&moved)]);
    assert!(output.status.success(), "{}", stderr(&output));
    let output = train(&["--resume", arg(&run)]);
    assert!(output.status.success(), "{}", stderr(&output));

    // Other pictures in the same place are not trained on.
    let labels = moved.join("train-labels-idx1-ubyte");
    let mut bytes = [0x801u32, 512].map(u32::to_be_bytes).concat();
    bytes.extend((0..512).map(|index| (index % 10) as u8));
    std::fs::write(labels, bytes).unwrap();
    let output = train(&["--resume", arg(&run)]);
    let message = stderr(&output);
    assert!(
        !output.status.success() && message.contains("other data"),
        "{message}"
    );
}

/// With `class_dropout = 0` the class table's row for no class is never
/// trained: nothing may read it.
#[test]
fn a_network_never_trained_without_a_class_draws_with_one_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (run, blob, samples) = (path("run"), path("m.tddpm"), path("samples"));
    let data = common::small_pictures();
    let mut config = common::every_layer();
    let mut topology = config.network.small().unwrap().clone();
    (topology.image_size, topology.patch) = (8, 2);
    topology.levels = topology.levels.iter().take(1).copied().collect();
    config.network = topology.into();
    config.training.class_dropout = 0.0;
    let toml = path("none.toml");
    std::fs::write(&toml, config.to_toml().unwrap()).unwrap();
    let train =
        |args: &[&str]| train(&[&["--data", arg(data.path()), "--steps", "4"], args].concat());
    let output = train(&["--config", arg(&toml), "--out", arg(&run)]);
    let message = stderr(&output);
    assert!(output.status.success(), "{message}");
    assert!(
        message.contains("warning: [training] class_dropout = 0"),
        "{message}"
    );

    let out = ["--out", arg(&blob)];
    let export = |args: &[&str]| {
        let mut command = tool();
        command.args(["export", arg(&run), "--pictures", "2"]);
        command.args(out).args(args).output().unwrap()
    };
    let refused = |output: Output, words: &[&str]| {
        let message = stderr(&output);
        assert!(!output.status.success(), "{words:?} was accepted");
        assert!(!message.contains("panicked"), "{message}");
        for word in words {
            assert!(message.contains(word), "{word:?}: {message}");
        }
    };
    refused(
        export(&["--guidance", "0.5"]),
        &["--guidance 0.5", "class_dropout = 0"],
    );
    assert!(!blob.exists());
    assert!(export(&[]).status.success());
    let bytes = std::fs::read(&blob).unwrap();
    let model = Model::load(&bytes).unwrap();
    assert!(model.is_conditional_only());
    assert_eq!(model.info().recommended.guidance, 0.0);
    model.for_each_layer(|layer| {
        if let Record::Table(classes) = layer.record {
            let row = 2 * usize::from(model.topology().embedding);
            let (known, null) = classes.values.split_at(classes.values.len() - row);
            assert!(
                known
                    .chunks(row)
                    .all(|row| row.iter().any(|&byte| byte != 0))
            );
            assert!(null.iter().all(|&byte| byte == 0));
        }
    });

    for model in [arg(&blob), arg(&run)] {
        let sample = |args: &[&str]| {
            let mut command = tool();
            command.args(["sample", model, "--steps", "2", "--quiet"]);
            command
                .args(args)
                .args(["--out", arg(&samples)])
                .output()
                .unwrap()
        };
        for args in [["--class", "none"], ["--guidance", "0.5"]] {
            refused(
                sample(&args),
                &["only trained with a class", "guidance to 0"],
            );
            assert!(!samples.exists());
        }
        let output = sample(&[]);
        assert!(output.status.success(), "{}", stderr(&output));
        std::fs::remove_dir_all(&samples).unwrap();
        let (cache, pictures) = (path("cache"), arg(data.path()));
        let args = ["evaluate", model, "--data", pictures, "--count", "20"];
        let output = tool()
            .args(args)
            .args(["--guidance", "0.5", "--cache", arg(&cache)])
            .output();
        refused(output.unwrap(), &["only trained with a class"]);
    }
    let explain = |args: &[&str]| {
        let mut command = tool();
        command.args([
            "explain",
            arg(&blob),
            "--steps",
            "2",
            "--out",
            arg(&samples),
        ]);
        command.args(args).output().unwrap()
    };
    refused(
        explain(&["--class", "none"]),
        &["only trained with a class"],
    );
    assert!(explain(&[]).status.success());
    let tuned = path("tuned");
    let args = [
        "--from",
        arg(&run),
        "--distill",
        "0.5",
        "--out",
        arg(&tuned),
    ];
    refused(train(&args), &["class_dropout = 0", "none to learn"]);
    assert!(!tuned.exists());
}

/// After a few seconds a training says how long all of it will take.
#[test]
fn the_duration_is_estimated() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = tool()
        .args(["train", "--preset", "smoke", "--steps", "100000"])
        .args(["--data", arg(&subset())])
        .args(["--out", arg(&folder.path().join("run"))])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begin = Instant::now();
    let found = lines
        .map_while(Result::ok)
        .take_while(|_| begin.elapsed() < Duration::from_secs(120))
        .find(|line| line.starts_with("about ") && line.contains(" steps left"));
    child.kill().unwrap();
    child.wait().unwrap();
    // 100,000 steps take minutes at least.
    let line = found.expect("an estimate");
    assert!(
        [" min", " h ", " d "]
            .iter()
            .any(|unit| line.contains(unit)),
        "{line}"
    );
}

#[test]
fn the_seed_decides() {
    let folder = tempfile::tempdir().unwrap();
    let weights_of = |name: &str, seed: &str| {
        let run = folder.path().join(name);
        let output = train(&[
            "--preset",
            "smoke",
            "--steps",
            "3",
            "--seed",
            seed,
            "--data",
            arg(&subset()),
            "--out",
            arg(&run),
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        weights(&run)
    };
    let first = weights_of("a", "5");
    assert!(first == weights_of("b", "5"));
    assert!(first != weights_of("c", "6"));
}

#[test]
fn a_run_starts_from_another_s_averaged_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let smoke = |out: &Path, more: &[&str]| {
        let mut args = vec![
            "--preset",
            "smoke",
            "--data",
            arg(&subset()),
            "--out",
            arg(out),
        ]
        .into_iter()
        .map(String::from)
        .collect::<Vec<_>>();
        args.extend(more.iter().map(ToString::to_string));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        train(&args)
    };
    let output = smoke(&first, &["--steps", "40"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let output = smoke(&second, &["--steps", "20", "--from", arg(&first)]);
    assert!(output.status.success(), "{}", stderr(&output));
    // It goes on where the other stopped, far below where a new one starts.
    let (before, after) = (losses(&first), losses(&second));
    assert!(after[0] < 0.9 * before[0], "{before:?}, then {after:?}");

    let third = folder.path().join("third");
    let other = train(&[
        "--preset",
        "digits-small",
        "--data",
        arg(&subset()),
        "--out",
        arg(&third),
        "--from",
        arg(&first),
    ]);
    assert!(!other.status.success());
    assert!(
        stderr(&other).contains("the network in"),
        "{}",
        stderr(&other)
    );
    assert!(!third.exists());
}

/// Weights of 4 bits take half the flash, wherever they are, and the model is
/// still the same one, more coarsely.
#[test]
fn weights_are_exported_in_8_bits_or_in_4() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let args = ["--preset", "smoke", "--steps", "40", "--data"];
    let output = train(&[&args[..], &[arg(&subset()), "--out", arg(&run)]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let export = |bits: &str| {
        let out = folder.path().join(format!("{bits}.tddpm"));
        let output = tool()
            .args(["export", arg(&run), "--out", arg(&out), "--weights", bits])
            .args(["--pictures", "4", "--steps", "4"])
            .output()
            .unwrap();
        (output, out)
    };
    let [wide, narrow] = ["8", "4"].map(|bits| {
        let (output, out) = export(bits);
        assert!(output.status.success(), "{}", stderr(&output));
        std::fs::read(out).unwrap()
    });
    let [wide, narrow] = [&wide, &narrow].map(|blob| Model::load(blob).unwrap());
    assert_eq!(wide.info().packing, Packing::Portable);
    assert_eq!(narrow.info().packing, Packing::Int4);
    let layouts = |model: &Model<'_>| {
        let mut layouts = Vec::new();
        model.for_each_layer(|layer| {
            if let Record::Conv(conv) = layer.record {
                layouts.push((layer.id.to_string(), conv.layout, conv.weights.len()));
            }
        });
        layouts
    };
    let mut saved = 0;
    for ((name, layout, bytes), (_, narrow, halved)) in layouts(&wide).iter().zip(layouts(&narrow))
    {
        assert_eq!(*layout, WeightLayout::Direct, "{name}");
        let fine = ["conv_in", "down0", "up0"].iter();
        let kept = name.ends_with("shortcut") || fine.clone().any(|fine| name.starts_with(fine));
        let expected = match kept {
            true => (WeightLayout::Direct, *bytes),
            false => (WeightLayout::Int4, bytes / 2),
        };
        assert_eq!((narrow, halved), expected, "{name}");
        saved += bytes - halved;
    }
    assert!(saved > 0);
    // Alignment may take a little back.
    assert!(wide.blob_len() - narrow.blob_len() > saved / 2);

    let predict = |model: &Model<'_>| {
        let mut workspace = vec![0; model.workspace_words()];
        let pixels = model.topology().pixels();
        let x_t: Vec<f32> = (0..pixels).map(|i| (i as f32).sin()).collect();
        let mut out = vec![0.0; pixels];
        let mut unet = Unet::new(model, &mut workspace).unwrap();
        unet.predict(&x_t, 500, Some(3), &mut out).unwrap();
        out
    };
    let (exact, found) = (predict(&wide), predict(&narrow));
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
    let error = square(&mut exact.iter().zip(&found).map(|(a, b)| a - b));
    let share = (error / square(&mut exact.iter().copied())).sqrt();
    assert!(
        share > 0.0 && share < 0.3,
        "the predictions are {share} apart"
    );

    let (output, _) = export("5");
    assert!(!output.status.success());
    let message = stderr(&output);
    assert!(
        message.contains("--weights") && message.contains("4, 8"),
        "{message}"
    );
}

#[test]
fn a_teacher_guides_where_there_is_a_class() {
    let config = common::every_layer();
    let model = common::lively_network(&config, &Device::flex().autodiff());
    let pixels = config.network.pixels();
    let batch = Batch {
        x_t: (0..2 * pixels)
            .map(|i| (i % 17) as f32 / 8.0 - 1.0)
            .collect(),
        target: vec![0.0; 2 * pixels],
        timesteps: vec![700, 300],
        classes: vec![Some(3), None],
        weights: Vec::new(),
    };
    let teacher = |guidance, up_to| Teacher::new(&model, DistillConfig { guidance, up_to });
    let target = |guidance| teacher(guidance, None).target(&batch, 0..2);
    let (plain, half, guided) = (target(0.0), target(1.0), target(2.0));
    assert!(plain[..pixels] != guided[..pixels]);
    assert!(plain[pixels..] == guided[pixels..]);
    // Linear in w.
    let size = guided.iter().fold(1.0_f32, |most, v| most.max(v.abs()));
    for ((plain, guided), half) in plain.iter().zip(&guided).zip(&half) {
        assert!(((plain + guided) / 2.0 - half).abs() < 1e-4 * size);
    }
    // And where there is not too much noise.
    let late = |up_to| teacher(2.0, Some(up_to)).target(&batch, 0..2);
    assert!(late(699) == plain);
    assert!(late(700) == guided);
    let second = teacher(2.0, None).target(&batch, 1..2);
    let far = second
        .iter()
        .zip(&guided[pixels..])
        .map(|(a, b)| (a - b).abs());
    assert!(far.fold(0.0, f32::max) < 1e-4 * size);
}
