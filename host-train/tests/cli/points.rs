//! Models of points instead of pictures.

use super::*;

#[test]
fn points_become_a_table_an_array_a_map_and_an_animation() {
    let out = TempDir::new().unwrap();
    let options = ["--count", "30", "--steps", "4", "--gif", "--json"];
    let output = sample_of(&roll(), out.path(), &options);
    succeeded(&output);
    let expected = [
        "denoising.gif",
        "labels.npy",
        "points.csv",
        "points.npy",
        "scatter.png",
    ];
    assert_eq!(names(out.path()), expected);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&report["data"], &report["count"]),
        (&"point".into(), &30.into())
    );
    assert_eq!(labels(out.path()), [-1; 30]);

    // The same points by hand.
    let bytes = fs::read(out.path().join("points.npy")).unwrap();
    let array = NpyFile::new(&bytes[..]).unwrap();
    assert_eq!(array.shape(), [30, 2]);
    let found: Vec<f32> = array.into_vec().unwrap();
    let blob = fs::read(roll()).unwrap();
    let model = Model::load(&blob).unwrap();
    let table = fs::read_to_string(out.path().join("points.csv")).unwrap();
    for (index, row) in table.lines().skip(1).enumerate() {
        let mut workspace = vec![0; model.workspace_words()];
        let mut unet = Unet::new(&model, &mut workspace).unwrap();
        let (mut x, mut x0_hat) = ([0.0; 2], [0.0; 2]);
        let buffers = Buffers {
            x: &mut x,
            x0_hat: &mut x0_hat,
            unconditional: &mut [],
            history: &mut [],
        };
        let settings = Settings::new(Method::Ddim { eta: 0.0 }, 4)
            .seed(1)
            .picture(index as u64)
            .spacing(Spacing::default());
        let mut sampler = Sampler::new(model.schedule(), settings, buffers).unwrap();
        while sampler.step(&mut unet).unwrap().is_some() {}
        assert_eq!(sampler.x(), &found[2 * index..2 * index + 2]);
        let state = tiny_ddpm::picture::state_hash(sampler.x());
        assert!(
            row.starts_with(&format!("{index},-1,{state:08x},")),
            "{row}"
        );
    }
}

#[test]
fn points_are_drawn_in_the_terminal_and_have_no_classes() {
    let out = TempDir::new().unwrap();
    let ask = |options: &[&str]| sample_of(&roll(), out.path(), options);
    let output = ask(&["--count", "500"]);
    succeeded(&output);
    let text = stdout(&output);
    assert!(text.contains("500 points"), "{text}");
    assert!(
        text.chars().filter(|c| "▀▄█".contains(*c)).count() > 60,
        "{text}"
    );
    refused(&ask(&["--class", "1"]), &["no classes", "none"]);
    refused(&ask(&["--guidance", "1"]), &["guidance"]);
    let roll = roll();
    let roll = roll.to_str().unwrap();
    let output = run(&["inspect", roll, "--json"]);
    succeeded(&output);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["topology"]["points"], 2);
}
