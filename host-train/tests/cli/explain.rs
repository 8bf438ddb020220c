//! `tiny-ddpm explain`.

use super::*;
use tiny_ddpm_train::output::encode_png;

fn explain(out: &Path, args: &[&str]) -> Output {
    let blob = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano.tddpm");
    let mut command = tool();
    command.arg("explain").arg(blob).arg("--out").arg(out);
    command.args(args).output().unwrap()
}

/// The page, which is well-formed and well set.
fn page(out: &Path) -> String {
    let page = fs::read_to_string(out.join("explain.html")).unwrap();
    page::well_set(&page);
    page
}

#[test]
fn a_png_of_ones_own() {
    let out = TempDir::new().unwrap();
    let png = out.path().join("mine.png");
    let pixels: Vec<u8> = (0..40 * 40).map(|i| (i % 40 * 6) as u8).collect();
    fs::write(&png, encode_png(40, 40, &pixels).unwrap()).unwrap();
    let args = ["--picture", png.to_str().unwrap(), "--steps", "2"];
    let output = explain(out.path(), &args);
    succeeded(&output);
    assert!(stdout(&output).contains("40 x 40 pixels resized to 28 x 28"));
    let page = page(out.path());
    assert!(page.contains("resized to 28 x 28"));
    assert!(page.contains("the network is told no class"));
    // Two symbols that differ in an accent differ in more than a character.
    for accent in ["˜", "¯", "ˆ"] {
        let over = format!("<mo stretchy=\"false\">{accent}</mo></mover>");
        assert!(page.contains(&over), "{accent}");
    }
    assert!(page.contains("<tr><td>forward process</td><td lang=\"zh\">前向过程</td><td>"));
    assert_eq!(names(out.path()), ["explain.html", "mine.png"]);
}

#[test]
fn a_test_picture_of_a_class() {
    let folder = TempDir::new().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    for class in 0..10 {
        let of_class = data.join(class.to_string());
        fs::create_dir_all(&of_class).unwrap();
        for picture in 0..10 {
            let mut pixels = vec![class; 28 * 28];
            pixels[0] = picture;
            let png = encode_png(28, 28, &pixels).unwrap();
            fs::write(of_class.join(format!("{picture}.png")), png).unwrap();
        }
    }
    let data = data.to_str().unwrap();
    let args = ["--data", data, "--class", "4", "--steps", "1", "--quiet"];
    let output = explain(&out, &args);
    succeeded(&output);
    assert_eq!(stdout(&output), "");
    let page = page(&out);
    for words in ["test picture 4 in", "of class 4", "told class 4"] {
        assert!(page.contains(words), "{words}");
    }
    let args = ["--data", data, "--picture", data];
    refused(&explain(&out, &args), &["--data", "--picture"]);
}

#[test]
fn points_and_the_one_that_is_followed() {
    let folder = TempDir::new().unwrap();
    let (blob, out) = (roll(), folder.path().join("out"));
    let roll = |options: &[&str]| {
        let mut command = tool();
        command.arg("explain").arg(&blob).arg("--out").arg(&out);
        command.args(options).output().unwrap()
    };
    for (options, words) in [
        (&["--picture", "mine.png"][..], "--picture are for pictures"),
        (&["--data", "."], "--picture are for pictures"),
        (&["--class", "3"], "no classes"),
        (&["--point", "1000000"], "0 to 999999"),
        (&["--point", "1", "--data", "."], "cannot be used with"),
        (&["--steps", "1001"], "1001 steps"),
    ] {
        refused(&roll(options), &[words]);
        assert!(!out.exists(), "{options:?} left a folder behind");
    }
    refused(&explain(&out, &["--point", "1"]), &["--point", "pictures"]);

    let output = roll(&["--point", "3", "--steps", "2"]);
    succeeded(&output);
    assert!(stdout(&output).contains("number 3 is followed"));
    let page = page(&out);
    for words in ["number 3 is followed", "aria-label=\"trajectories, Heun"] {
        assert!(page.contains(words), "{words}");
    }
    // The end of the followed way is point 0 of a sampling.
    let samples = folder.path().join("samples");
    let mut command = tool();
    command.arg("sample").arg(&blob).arg("--out").arg(&samples);
    succeeded(
        &command
            .args(["--count", "1", "--steps", "2"])
            .output()
            .unwrap(),
    );
    let table = fs::read_to_string(samples.join("points.csv")).unwrap();
    let state = table.lines().nth(1).unwrap().split(',').nth(2).unwrap();
    assert!(page.contains(&format!("<code>{state}</code>")), "{state}");
}

#[test]
fn what_cannot_be_explained() {
    let out = TempDir::new().unwrap();
    let path = out.path().join("page");
    let missing = out.path().join("missing");
    let missing = missing.to_str().unwrap();
    for (args, words) in [
        (&["--class", "10"][..], &["class 10", "0 to 9"][..]),
        (&["--class", "all"], &["one class"]),
        (&["--class", "-1"], &["--class"]),
        (&["--steps", "0"], &["0 steps", "1 to"]),
        (&["--steps", "1001"], &["1001 steps"]),
        (&["--picture", missing], &["missing", "cannot read"]),
        (&["--data", missing], &["no data folder"]),
    ] {
        refused(&explain(&path, args), words);
        assert!(!path.exists(), "{args:?} left a folder behind");
    }
    let blob = out.path().join("empty.tddpm");
    fs::write(&blob, "").unwrap();
    refused(&run(&["explain", blob.to_str().unwrap()]), &["is empty"]);
}
