//! `tiny-ddpm sample`.

use super::*;

/// Few pictures or many, the sheet fits a screen and its pictures are seen.
#[test]
fn sheets_have_a_sensible_size() {
    for (args, expected) in [
        (&["--count", "1"][..], (330, 330)),
        (&["--class", "7", "--count", "2"], (649, 330)),
        (&["--class", "none", "--count", "16"], (936, 936)),
        (&["--count", "120"], (873, 873)),
    ] {
        let out = TempDir::new().unwrap();
        let mut all = args.to_vec();
        all.extend(["--steps", "1", "--guidance", "0"]);
        succeeded(&sample(out.path(), &all));
        let png = fs::File::open(out.path().join("grid.png")).unwrap();
        let png = png::Decoder::new(std::io::BufReader::new(png));
        let png = png.read_info().unwrap();
        assert_eq!((png.info().width, png.info().height), expected, "{args:?}");
    }
}

#[test]
fn writes_arrays_hashes_a_grid_and_an_animation() {
    let out = TempDir::new().unwrap();
    let output = sample(out.path(), &["--count", "12", "--steps", "2", "--gif"]);
    succeeded(&output);
    let expected = [
        "denoising.gif",
        "grid.png",
        "hashes.csv",
        "images.npy",
        "labels.npy",
    ];
    assert_eq!(names(out.path()), expected);

    let (shape, images) = array(&out.path().join("images.npy"));
    assert_eq!(shape, [12, 28, 28]);
    assert_eq!(labels(out.path()), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    let hashes: Vec<String> = images
        .chunks(28 * 28)
        .map(|picture| format!("{:08x}", picture_hash(picture)))
        .collect();
    let csv = fs::read_to_string(out.path().join("hashes.csv")).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("picture,class,hash,state"));
    for (index, (line, hash)) in lines.zip(&hashes).enumerate() {
        let start = format!("{index},{},{hash},", index % 10);
        assert!(line.starts_with(&start), "{line} should be {start}...");
    }

    let text = stdout(&output);
    let all = format!("{:08x}", picture_hash(&images));
    let drawn = hashes.iter().take(10);
    for word in drawn.chain([&all]).map(String::as_str).chain(expected) {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    assert!(text.contains(['▀', '▄', '█']), "no drawing in\n{text}");

    let png = fs::File::open(out.path().join("grid.png")).unwrap();
    let png = png::Decoder::new(std::io::BufReader::new(png));
    let mut png = png.read_info().unwrap();
    let mut grey = vec![0; png.output_buffer_size().unwrap()];
    let info = png.next_frame(&mut grey).unwrap();
    // Ten columns and two rows.
    assert!(info.width > 4 * info.height && info.width >= 10 * 28);

    assert!((256..=1000).contains(&info.width), "{}", info.width);

    let gif = fs::File::open(out.path().join("denoising.gif")).unwrap();
    let mut gif = gif::DecodeOptions::new().read_info(gif).unwrap();
    let mut delays = Vec::new();
    while let Some(frame) = gif.read_next_frame().unwrap() {
        delays.push(frame.delay);
    }
    // The noise and two steps, the last of which stays.
    assert_eq!(delays.len(), 3);
    assert!(delays[2] > delays[1]);
}

#[test]
fn json_says_the_same_and_nothing_else() {
    let out = TempDir::new().unwrap();
    let args = ["--class", "3", "--count", "2", "--steps", "3", "--json"];
    let output = sample(out.path(), &args);
    succeeded(&output);
    assert!(stderr(&output).is_empty(), "{}", stderr(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (_, images) = array(&out.path().join("images.npy"));
    assert_eq!(json["hash"], format!("{:08x}", picture_hash(&images)));
    assert_eq!(json["steps"], 3);
    assert_eq!(json["sampler"], "ddim");
    assert_eq!(json["spacing"], "trailing");
    assert_eq!(json["evaluations"], 3);
    assert_eq!(json["pictures"].as_array().unwrap().len(), 2);
    for (index, picture) in images.chunks(28 * 28).enumerate() {
        let row = &json["pictures"][index];
        assert_eq!(row["picture"], index);
        assert_eq!(row["class"], 3);
        assert_eq!(row["hash"], format!("{:08x}", picture_hash(picture)));
    }
    for file in json["files"].as_array().unwrap() {
        assert!(Path::new(file.as_str().unwrap()).is_file(), "{file}");
    }
}

/// Heun asks twice but for the last step, and guidance doubles that.
#[test]
fn evaluations_are_runs_of_the_network() {
    let out = TempDir::new().unwrap();
    let words =
        "--class 3 --count 1 --steps 3 --sampler heun --spacing uniform --guidance 0.5 --json";
    let output = sample(out.path(), &words.split(' ').collect::<Vec<_>>());
    succeeded(&output);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["evaluations"], 10);
    assert_eq!(json["steps"], 3);
    assert_eq!(
        (&json["sampler"], &json["spacing"]),
        (&"heun".into(), &"uniform".into())
    );
    assert_eq!(json["eta"], Value::Null);
}

#[test]
fn quiet_prints_nothing() {
    let out = TempDir::new().unwrap();
    let output = sample(out.path(), &["--count", "1", "--steps", "1", "--quiet"]);
    succeeded(&output);
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn neither_threads_nor_count_change_a_picture() {
    let images = |threads: &str, count: &str| {
        let out = TempDir::new().unwrap();
        let mut command = tool();
        command.env("RAYON_NUM_THREADS", threads);
        command.arg("sample").arg(blob()).arg("--out");
        command.arg(out.path()).args(["--count", count]);
        command.args(["--steps", "2", "--eta", "1", "--seed", "5"]);
        succeeded(&command.output().unwrap());
        array(&out.path().join("images.npy")).1
    };
    let one = images("1", "11");
    assert_eq!(one, images("4", "11"));
    let fewer = images("3", "4");
    assert_eq!(fewer, one[..fewer.len()]);
}

#[test]
fn a_picture_is_what_core_makes_of_its_settings() {
    let out = TempDir::new().unwrap();
    let args = ["--seed", "9", "--steps", "3", "--guidance", "0.25"];
    succeeded(&sample(out.path(), &args));
    let (_, images) = array(&out.path().join("images.npy"));

    let bytes = fs::read(blob()).unwrap();
    let model = Model::load(&bytes).unwrap();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    let [mut x, mut x0_hat, mut unconditional] = [[0.0; 28 * 28]; 3];
    let settings = Settings::new(
        Method::Ddim {
            eta: model.info().recommended.eta,
        },
        3,
    )
    .class(Some(7))
    .seed(9)
    .picture(7)
    .guidance(0.25);
    let buffers = Buffers {
        x: &mut x,
        x0_hat: &mut x0_hat,
        unconditional: &mut unconditional,
        history: &mut [],
    };
    let mut sampler = Sampler::new(model.schedule(), settings, buffers).unwrap();
    while sampler.step(&mut unet).unwrap().is_some() {}
    let mut seventh = [0; 28 * 28];
    to_pixels(sampler.x(), &mut seventh);
    assert_eq!(images[7 * 28 * 28..][..28 * 28], seventh);
}

#[test]
fn every_setting_counts() {
    let hash = |args: &[&str]| {
        let out = TempDir::new().unwrap();
        let all = [&["--count", "2", "--json"], args].concat();
        let output = sample(out.path(), &all);
        succeeded(&output);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        json["hash"].as_str().unwrap().to_owned()
    };
    let settings: [&[&str]; 18] = [
        &["--steps", "4"],
        &["--steps", "5"],
        &["--steps", "4", "--seed", "2"],
        &["--steps", "4", "--eta", "0.9"],
        &["--steps", "4", "--guidance", "0.5"],
        &["--steps", "4", "--no-clip"],
        &["--steps", "4", "--class", "8"],
        &["--steps", "4", "--class", "none"],
        &["--steps", "4", "--sampler", "ddpm"],
        &["--steps", "4", "--sampler", "ddpm", "--variance", "beta"],
        &["--steps", "4", "--sampler", "euler-maruyama"],
        &["--steps", "4", "--sampler", "heun"],
        &["--steps", "4", "--sampler", "dpm-solver"],
        &["--steps", "4", "--sampler", "unipc"],
        &["--steps", "4", "--sampler", "unipc-1"],
        &["--steps", "4", "--sampler", "consistency"],
        &["--steps", "4", "--spacing", "quadratic"],
        &["--steps", "4", "--spacing", "log-snr"],
    ];
    let mut hashes: Vec<String> = settings.iter().map(|args| hash(args)).collect();
    assert_eq!(hash(settings[0]), hashes[0]);
    // Another way to say the same.
    assert_eq!(hash(&["--steps", "4", "--sampler", "ddpm-beta"]), hashes[9]);
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), settings.len());
}

#[test]
fn labels_say_what_was_asked_for() {
    let out = TempDir::new().unwrap();
    succeeded(&sample(out.path(), &["--class", "none", "--steps", "1"]));
    assert_eq!(labels(out.path()), [-1; 16]);
    succeeded(&sample(out.path(), &["--class", "7", "--steps", "1"]));
    assert_eq!(labels(out.path()), [7; 16]);
    succeeded(&sample(out.path(), &["--class", "all", "--steps", "1"]));
    assert_eq!(labels(out.path()), (0..10).collect::<Vec<_>>());
}

#[test]
fn replaces_its_own_files_and_no_others() {
    let out = TempDir::new().unwrap();
    fs::write(out.path().join("thesis.txt"), "precious").unwrap();
    succeeded(&sample(out.path(), &["--steps", "1", "--gif"]));
    assert_eq!(names(out.path()).len(), 6);
    succeeded(&sample(out.path(), &["--steps", "1", "--count", "3"]));
    // An animation of other pictures would be misleading.
    assert_eq!(names(out.path()).len(), 5);
    assert_eq!(array(&out.path().join("images.npy")).0, [3, 28, 28]);
    let thesis = fs::read_to_string(out.path().join("thesis.txt")).unwrap();
    assert_eq!(thesis, "precious");
}

#[test]
fn wrong_settings() {
    let cases: [(&[&str], &[&str]); 26] = [
        (&["--class", "12"], &["class 12", "0 to 9"]),
        (&["--class", "300"], &["class 300", "0 to 9"]),
        (&["--class", "seven"], &["seven", "all", "none"]),
        (&["--class", "-1"], &["-1", "all", "none"]),
        (&["--steps", "0"], &["0 steps", "1 to", "1000"]),
        (&["--steps", "1001"], &["1001 steps", "1000"]),
        (&["--steps", "70000"], &["70000", "--steps", "too large"]),
        (&["--steps", "-3"], &["-3", "--steps", "whole number"]),
        (&["--steps", "2.5"], &["2.5", "--steps", "whole number"]),
        (&["--eta", "2"], &["eta 2", "0 to 1"]),
        (&["--eta", "-0.5"], &["eta -0.5", "0 to 1"]),
        (&["--eta", "NaN"], &["eta NaN", "0 to 1"]),
        (&["--guidance", "-1"], &["guidance -1", "0 to 100"]),
        (&["--guidance", "NaN"], &["guidance NaN", "0 to 100"]),
        (&["--guidance", "inf"], &["guidance inf", "0 to 100"]),
        (&["--guidance", "strong"], &["strong", "--guidance"]),
        (
            &["--guidance", "0.5", "--class", "none"],
            &["guidance", "class"],
        ),
        (&["--count", "0"], &["0 pictures", "1 to"]),
        (&["--count", "2000000"], &["2000000 pictures", "1 to"]),
        (&["--count", "some"], &["some", "--count", "whole number"]),
        (&["--sampler", "euler"], &["euler", "ddim", "ddpm"]),
        (&["--sampler", "ddpm", "--eta", "1"], &["--eta", "DDIM"]),
        (&["--variance", "beta"], &["--variance", "DDPM"]),
        (&["--sampler", "heun", "--eta", "1"], &["--eta", "DDIM"]),
        (&["--spacing", "even"], &["even", "uniform", "log-snr"]),
        (&["--colour", "red"], &["--colour"]),
    ];
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    for (args, words) in cases {
        let output = sample(&out, args);
        refused(&output, words);
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!out.exists(), "{args:?} left a folder behind");
    }
}

#[test]
fn wrong_places_to_write_to() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    let args = ["--count", "1", "--steps", "1"];
    refused(&sample(&file, &args), &["file", "folder"]);
    refused(&sample(&file.join("out"), &args), &["out", "folder"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    // One of the files cannot be put in its place: none is left half-written.
    let out = folder.path().join("out");
    fs::create_dir_all(out.join("images.npy/taken")).unwrap();
    refused(&sample(&out, &args), &["images.npy"]);
    assert_eq!(names(&out), ["images.npy"]);
}

/// Both commands, given a file with these bytes.
#[track_caller]
fn refused_blob(bytes: &[u8], words: &[&str]) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("broken.tddpm");
    fs::write(&path, bytes).unwrap();
    let (path, out) = (path.to_str().unwrap(), folder.path().join("out"));
    let words = [&["broken.tddpm"], words].concat();
    for args in [
        &["inspect", path] as &[&str],
        &["inspect", path, "--json"],
        &["sample", path, "--out", out.to_str().unwrap()],
    ] {
        let output = run(args);
        refused(&output, &words);
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    assert!(!out.exists());
}

#[test]
fn broken_blobs() {
    let good = fs::read(blob()).unwrap();
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    refused_blob(&[], &["empty"]);
    refused_blob(&good[..31], &["too short", "31", "copy or export"]);
    refused_blob(&good[..good.len() - 1], &["too short", "copy or export"]);
    let longer = [&good[..], &[0]].concat();
    refused_blob(&longer, &["too long", "copy or export"]);
    refused_blob(b"a letter to a friend, in many words", &["magic", "export"]);
    refused_blob(&changed(8), &["version", "export it again"]);
    refused_blob(&changed(13), &["header damaged", "copy or export"]);
    refused_blob(&changed(good.len() / 2), &["body damaged", "CRC"]);
}

/// Only a tool with Burn in it runs a network of floats.
#[test]
fn a_run_is_sampled_where_burn_is_built_in() {
    let run_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits.run");
    let folder = run_folder.to_str().unwrap();
    let out = TempDir::new().unwrap();
    let args = ["--count", "3", "--steps", "2", "--json", "--out"];
    let output = run(&[
        &["sample", folder],
        &args[..],
        &[out.path().to_str().unwrap()],
    ]
    .concat());
    if cfg!(not(feature = "train")) {
        return refused(
            &output,
            &["folder of a training run", "name a blob", "cargo build"],
        );
    }
    succeeded(&output);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["model"], "digits");
    assert_eq!(json["sha256"], Value::Null);
    let (shape, floats) = array(&out.path().join("images.npy"));
    assert_eq!(shape, [3, 28, 28]);
    assert_eq!(json["hash"], format!("{:08x}", picture_hash(&floats)));
    assert_eq!(labels(out.path()), [0, 1, 2]);

    // From the same noise the blob draws the same pictures, up to rounding.
    let same = sample(out.path(), &["--count", "3", "--steps", "2"]);
    succeeded(&same);
    let (_, integers) = array(&out.path().join("images.npy"));
    let apart = floats.iter().zip(&integers);
    let apart: u32 = apart.map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    let mean = f64::from(apart) / floats.len() as f64;
    assert!(mean > 0.0 && mean < 10.0, "{mean} grey values apart");

    refused(&run(&["sample", folder, "--gif"]), &["--gif", "blob"]);
    refused(
        &run(&["sample", folder, "--class", "11"]),
        &["class 11", "0 to 9"],
    );
}

#[test]
fn blobs_that_are_no_files() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().to_str().unwrap();
    for command in ["inspect", "sample"] {
        refused(&run(&[command, folder]), &[folder, "is a folder"]);
        refused(
            &run(&[command, "no/such.tddpm"]),
            &["no/such.tddpm", "open"],
        );
        refused(&run(&[command]), &["BLOB"]);
    }
}

/// A picture's number fixes it, however many are drawn.
#[test]
fn a_picture_is_drawn_alone() {
    let (all, one) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    succeeded(&sample(all.path(), &["--count", "13", "--steps", "2"]));
    let rows = |folder: &Path| -> Vec<String> {
        let csv = fs::read_to_string(folder.join("hashes.csv")).unwrap();
        csv.lines().skip(1).map(str::to_owned).collect()
    };
    let expected = rows(all.path());
    succeeded(&sample(
        one.path(),
        &["--first", "12", "--steps", "2", "--gif"],
    ));
    assert_eq!(rows(one.path()), expected[12..]);
    assert!(expected[12].starts_with("12,2,"), "{}", expected[12]);
    let args = [
        "--first", "7", "--count", "3", "--steps", "2", "--json", "--quiet",
    ];
    let output = sample(one.path(), &args);
    succeeded(&output);
    assert_eq!(rows(one.path()), expected[7..10]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&report["first"], &report["pictures"][2]["picture"]),
        (&7.into(), &9.into())
    );
    let last = u64::MAX.to_string();
    refused(&sample(one.path(), &["--first", &last]), &[&last]);
}

/// A walk's stops are the pictures themselves, and what is between them is not.
#[test]
fn a_walk_leads_from_picture_to_picture() {
    let (walk, stops) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let args = ["--count", "3", "--first", "2", "--steps", "2"];
    succeeded(&sample(stops.path(), &args));
    let output = sample(walk.path(), &[&args[..], &["--walk", "4"]].concat());
    succeeded(&output);
    let expected = [
        "grid.png",
        "hashes.csv",
        "images.npy",
        "labels.npy",
        "walk.gif",
    ];
    assert_eq!(names(walk.path()), expected);
    assert_eq!(labels(walk.path()), [2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 2, 2]);
    let pictures = |folder: &Path| -> Vec<Vec<u8>> {
        let (_, images) = array(&folder.join("images.npy"));
        images.chunks(28 * 28).map(<[u8]>::to_vec).collect()
    };
    let (frames, stops) = (pictures(walk.path()), pictures(stops.path()));
    for (index, frame) in frames.iter().enumerate() {
        let stop = (index % 4 == 0).then(|| &stops[index / 4]);
        assert!(stop.is_none_or(|stop| stop == frame), "frame {index}");
        assert!(frames[..index].iter().all(|other| other != frame));
    }
    let gif = fs::File::open(walk.path().join("walk.gif")).unwrap();
    let mut gif = gif::DecodeOptions::new().read_info(gif).unwrap();
    let mut count = 0;
    while gif.read_next_frame().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 12);

    // Without it there is no animation, and an older one is taken away.
    succeeded(&sample(walk.path(), &args));
    assert_eq!(names(walk.path()), expected[..4]);
    refused(&sample(walk.path(), &["--walk", "0"]), &["--walk"]);
    refused(
        &sample(walk.path(), &["--walk", "--gif"]),
        &["--walk", "--gif"],
    );
}

#[test]
fn a_sheet_of_some_pictures_says_so() {
    let out = TempDir::new().unwrap();
    let output = sample(out.path(), &["--count", "110", "--steps", "1"]);
    succeeded(&output);
    let text = stdout(&output);
    assert!(text.contains("grid.png  the first 100 of 110"), "{text}");
    let output = sample(out.path(), &["--count", "100", "--steps", "1"]);
    assert!(
        !stdout(&output).contains("the first"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_folder_in_place_of_a_blob_leads_to_one() {
    let run_folder = models().join("digits.run");
    let blob = models().join("digits.tddpm");
    for command in ["inspect", "repack"] {
        let out = TempDir::new().unwrap();
        let out = out.path().join("x");
        let mut args = vec![command, run_folder.to_str().unwrap()];
        if command == "repack" {
            args.extend(["--out", out.to_str().unwrap()]);
        }
        refused(&run(&args), &["training run", blob.to_str().unwrap()]);
    }
}
