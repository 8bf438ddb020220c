//! Pictures of one's own, from a folder of PNGs to a blob that draws them.

mod common;

use std::fs;
use std::path::Path;

use common::{arg, stderr, tool, train};
use tiny_ddpm::Model;
use tiny_ddpm_train::config::Config;
use tiny_ddpm_train::output::encode_png;

/// `count` PNGs of each class: a bar whose height tells the class and whose
/// grey tells the picture.
fn write_folder(path: &Path, names: &[String], count: usize, size: usize) {
    for (class, name) in names.iter().enumerate() {
        let folder = path.join(name);
        fs::create_dir_all(&folder).unwrap();
        let height = 1 + class * (size - 1) / names.len();
        for picture in 0..count {
            let grey = 255 - 2 * picture as u8;
            let pixels: Vec<u8> = (0..size * size)
                .map(|i| if i / size < height { grey } else { 0 })
                .collect();
            let png = encode_png(size, size, &pixels).unwrap();
            fs::write(folder.join(format!("{picture}.png")), png).unwrap();
        }
    }
}

/// Runs the tool to its end and gives what it printed.
#[track_caller]
fn run(args: &[&str]) -> String {
    let output = tool().args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn three_classes_are_learned_resumed_exported_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let [data, out, blob, samples] =
        ["data", "run", "bars.tddpm", "samples"].map(|name| folder.path().join(name));
    let names = ["low", "middle", "top"].map(str::to_owned);
    write_folder(&data, &names, 20, 40);
    let output = train(&[
        "--preset",
        "smoke",
        "--steps",
        "20",
        "--data",
        arg(&data),
        "--out",
        arg(&out),
    ]);
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    for words in [
        "the network is for 3 classes instead of 10",
        "54 pictures for training of 3 classes: 0 low (18), 1 middle (18), 2 top (18)",
        "54 resized to 28 x 28, from 40 x 40",
    ] {
        assert!(told.contains(words), "should say {words:?}: {told}");
    }
    assert_eq!(
        Config::load(&out.join("config.toml"))
            .unwrap()
            .network
            .classes(),
        3
    );
    assert_eq!(
        fs::read_to_string(out.join("classes.txt")).unwrap(),
        "low\nmiddle\ntop\n"
    );

    let resume = ["--resume", arg(&out), "--data", arg(&data)];
    let output = train(&resume);
    assert!(output.status.success(), "{}", stderr(&output));
    run(&["export", arg(&out), "--out", arg(&blob)]);
    run(&["sample", arg(&blob), "--steps", "2", "--out", arg(&samples)]);
    let labels = fs::read(samples.join("labels.npy")).unwrap();
    let labels: Vec<i64> = npyz::NpyFile::new(&labels[..]).unwrap().into_vec().unwrap();
    assert_eq!(labels, [0, 1, 2]);

    // Another picture is another data set, and so is another class.
    fs::remove_file(data.join("top/3.png")).unwrap();
    let told = stderr(&train(&resume));
    assert!(
        told.contains("other data") || told.contains("SHA-256"),
        "{told}"
    );
    write_folder(&data, &["fourth".to_owned()], 2, 28);
    let told = stderr(&train(&resume));
    assert!(
        told.contains("4 classes, but the network is for 3"),
        "{told}"
    );
}

#[test]
fn a_configuration_of_ones_own_says_how_many_classes() {
    let folder = tempfile::tempdir().unwrap();
    let [data, file, out] = ["data", "mine.toml", "run"].map(|name| folder.path().join(name));
    write_folder(&data, &["a".to_owned(), "b".to_owned()], 8, 28);
    let mut config = Config::preset("smoke").unwrap();
    config.training.steps = 2;
    config.training.warmup_steps = 0;
    let args = [
        "--config",
        arg(&file),
        "--data",
        arg(&data),
        "--out",
        arg(&out),
    ];
    fs::write(&file, config.to_toml().unwrap()).unwrap();
    let told = stderr(&train(&args));
    assert!(
        told.contains("2 classes") && told.contains("`classes = 2`"),
        "{told}"
    );
    assert!(!out.exists());
    // None at all is fine: the network then learns without classes.
    config.network.set_classes(0);
    fs::write(&file, config.to_toml().unwrap()).unwrap();
    let output = train(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        Config::load(&out.join("config.toml"))
            .unwrap()
            .network
            .classes(),
        0
    );
}

#[test]
fn two_hundred_and_fifty_six_classes() {
    let folder = tempfile::tempdir().unwrap();
    let [data, out, blob, samples] =
        ["data", "run", "many.tddpm", "samples"].map(|name| folder.path().join(name));
    let names: Vec<String> = (0..256).map(|class| class.to_string()).collect();
    write_folder(&data, &names, 1, 28);
    let mut config = Config::preset("smoke").unwrap();
    config.network.set_classes(256);
    config.training.steps = 4;
    config.training.warmup_steps = 0;
    config.training.sample_every = 4;
    let file = folder.path().join("many.toml");
    fs::write(&file, config.to_toml().unwrap()).unwrap();
    let output = train(&[
        "--config",
        arg(&file),
        "--data",
        arg(&data),
        "--out",
        arg(&out),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    // Sixteen rows of sixteen: a column for each would be 7,168 pixels wide.
    let grid = image::image_dimensions(out.join("samples-00000004.png"));
    assert_eq!(grid.unwrap(), (930, 930));
    run(&["export", arg(&out), "--out", arg(&blob)]);
    let bytes = fs::read(&blob).unwrap();
    assert_eq!(Model::load(&bytes).unwrap().topology().classes, 256);
    run(&["sample", arg(&blob), "--steps", "1", "--out", arg(&samples)]);
    let labels = fs::read(samples.join("labels.npy")).unwrap();
    let labels: Vec<i64> = npyz::NpyFile::new(&labels[..]).unwrap().into_vec().unwrap();
    assert!(labels.into_iter().eq(0..256));
    let last = [
        "sample",
        arg(&blob),
        "--class",
        "255",
        "--count",
        "1",
        "--steps",
        "1",
    ];
    run(&[&last[..], &["--out", arg(&samples)]].concat());
    let output = tool()
        .args(["sample", arg(&blob), "--class", "256", "--steps", "1"])
        .output()
        .unwrap();
    assert!(
        stderr(&output).contains("must be 0 to 255"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn pictures_without_classes_are_learned_evaluated_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let [data, out, blob, page, report] =
        ["data", "run", "flat.tddpm", "page", "report"].map(|name| folder.path().join(name));
    // A folder of one class, whose pictures then lie in its parent.
    write_folder(&data, &["all".to_owned()], 120, 28);
    for entry in fs::read_dir(data.join("all")).unwrap() {
        let path = entry.unwrap().path();
        fs::rename(&path, data.join(path.file_name().unwrap())).unwrap();
    }
    fs::remove_dir(data.join("all")).unwrap();
    let output = train(&[
        "--preset",
        "smoke",
        "--steps",
        "20",
        "--data",
        arg(&data),
        "--out",
        arg(&out),
    ]);
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    for words in [
        "the network is without classes",
        "108 pictures for training, without classes",
    ] {
        assert!(told.contains(words), "should say {words:?}: {told}");
    }
    let config = Config::load(&out.join("config.toml")).unwrap();
    assert_eq!(config.network.classes(), 0);
    assert!(!out.join("classes.txt").exists());
    let output = train(&["--resume", arg(&out), "--data", arg(&data)]);
    assert!(output.status.success(), "{}", stderr(&output));

    run(&["export", arg(&out), "--out", arg(&blob)]);
    let explain = ["explain", arg(&blob), "--data", arg(&data), "--steps", "2"];
    run(&[&explain[..], &["--out", arg(&page)]].concat());
    assert!(page.join("explain.html").is_file());
    let (cache, count) = (
        folder.path().join("cache"),
        ["--count", "10", "--steps", "2"],
    );
    let evaluate = ["evaluate", arg(&blob), "--data", arg(&data), "--quiet"];
    let places = ["--cache", arg(&cache), "--out", arg(&report)];
    let output = tool()
        .args([&evaluate[..], &count, &places].concat())
        .output();
    let told = stderr(&output.unwrap());
    assert!(told.contains("features of an untrained network"), "{told}");
    assert!(report.join("report.html").is_file());
}

#[test]
fn a_preset_has_the_classes_of_emnist_letters() {
    let folder = tempfile::tempdir().unwrap();
    let [data, out] = ["data", "run"].map(|name| folder.path().join(name));
    fs::create_dir(&data).unwrap();
    let mut images = [0x0803u32, 26, 28, 28].map(u32::to_be_bytes).concat();
    images.extend((0..26 * 28 * 28).map(|i| (i / 784 + i % 28) as u8));
    let mut labels = [0x0801u32, 26].map(u32::to_be_bytes).concat();
    labels.extend(1..=26);
    for (name, bytes) in [("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)] {
        fs::write(data.join(format!("emnist-letters-train-{name}")), bytes).unwrap();
    }
    let preset = ["--preset", "smoke", "--steps", "1"];
    let places = ["--data", arg(&data), "--out", arg(&out)];
    let output = train(&[preset, places].concat());
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    for words in [
        "26 classes instead of 10",
        "emnist-letters",
        "turned upright",
    ] {
        assert!(told.contains(words), "should say {words:?}: {told}");
    }
    let names = fs::read_to_string(out.join("classes.txt")).unwrap();
    assert!(
        names.starts_with("a\nb\n") && names.ends_with("\nz\n"),
        "{names}"
    );
}
