//! `tiny-ddpm inspect`.

use super::*;

#[test]
fn inspect_counts_every_byte() {
    let bytes = fs::read(blob()).unwrap();
    let model = Model::load(&bytes).unwrap();
    let path = blob();
    let output = run(&["inspect", path.to_str().unwrap(), "--json"]);
    succeeded(&output);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();

    let layers = json["layers"].as_array().unwrap();
    let sum = |key: &str| {
        layers
            .iter()
            .map(|layer| number(&layer[key]))
            .sum::<usize>()
    };
    assert_eq!(number(&json["flash_bytes"]), bytes.len());
    let other = number(&json["other_bytes"]);
    assert_eq!(sum("bytes") + other, bytes.len());
    assert!(other < bytes.len() / 50, "{other}");
    assert_eq!(sum("macs"), number(&json["macs_per_step"]));
    assert_eq!(sum("parameters"), number(&json["parameters"]));

    let picture = 4 * model.topology().pixels();
    let workspace = 4 * model.workspace_words();
    assert_eq!(number(&json["ram_bytes"]), workspace + 3 * picture);
    assert_eq!(
        number(&json["ram_bytes_without_guidance"]),
        workspace + 2 * picture
    );
    let least = 4 * model.plan().least_guided_workspace_words() + picture;
    assert_eq!(number(&json["ram_bytes_least"]), least);
    assert!(number(&json["ram_bytes_least_without_guidance"]) < least);
    assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(json["arch_hash"], format!("{:08x}", model.arch_hash()));
    assert_eq!(json["name"], model.info().name);
    for layer in layers {
        let lengths = layer["weights"].as_array().unwrap();
        let weights: usize = lengths.iter().map(number).product();
        if !lengths.is_empty() {
            assert!(weights <= number(&layer["bytes"]), "{layer}");
            assert!(weights <= number(&layer["parameters"]), "{layer}");
        }
    }
}

#[test]
fn inspect_shows_every_layer() {
    let path = blob();
    let output = run(&["inspect", path.to_str().unwrap()]);
    succeeded(&output);
    let text = stdout(&output);
    let bytes = fs::read(&path).unwrap();
    Model::load(&bytes).unwrap().for_each_layer(|layer| {
        let name = layer.id.to_string();
        let shown = text
            .lines()
            .any(|line| line.split(' ').next() == Some(&name));
        assert!(shown, "{name} is missing in\n{text}");
    });
    for word in ["SHA-256", "flash", "RAM", "multiply-accumulates"] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
}

/// The first figure is the least RAM, and none without guidance where there
/// are no classes.
#[test]
fn the_least_ram_comes_first_and_is_the_least() {
    for name in ["digits", "nano", "swiss-roll"] {
        let path = models().join(format!("{name}.tddpm"));
        let path = path.to_str().unwrap();
        let json: Value =
            serde_json::from_str(&stdout(&run(&["inspect", path, "--json"]))).unwrap();
        let bytes = |key: &str| json[key].as_u64().unwrap();
        assert!(bytes("ram_bytes_least") <= bytes("ram_bytes"), "{name}");
        assert!(
            bytes("ram_bytes_least_without_guidance") <= bytes("ram_bytes_without_guidance"),
            "{name}"
        );
        let text = stdout(&run(&["inspect", path]));
        let line = text.lines().find(|line| line.starts_with("RAM")).unwrap();
        let first = line.split_whitespace().nth(1).unwrap().replace(',', "");
        assert_eq!(first, bytes("ram_bytes_least").to_string(), "{line}");
        let guided = json["topology"]["classes"] != 0;
        assert_eq!(text.contains("without guidance)"), guided, "{text}");
    }
}

#[test]
fn constants_for_firmware_are_core_s_sizes() {
    for name in ["digits", "nano", "swiss-roll"] {
        let path = models().join(format!("{name}.tddpm"));
        let bytes = fs::read(&path).unwrap();
        let model = Model::load(&bytes).unwrap();
        let output = run(&["inspect", path.to_str().unwrap(), "--rust"]);
        succeeded(&output);
        let text = stdout(&output);
        let value = |constant: &str| -> Option<usize> {
            let head = format!("pub const {constant}: usize = ");
            let line = text.lines().find_map(|line| line.strip_prefix(&head))?;
            line.trim_end_matches(';').replace('_', "").parse().ok()
        };
        let plan = model.plan();
        for (prefix, words) in [
            ("", model.workspace_words()),
            ("LEAST_", plan.least_workspace_words()),
        ] {
            let constant = format!("{prefix}WORKSPACE_BYTES");
            assert_eq!(value(&constant), Some(4 * words), "{name}: {text}");
            assert!(text.contains(&format!("{prefix}WORKSPACE_WORDS: usize = {constant} / 4;")));
        }
        let guided = (model.topology().classes > 0).then_some([
            4 * plan.guided_workspace_words(),
            4 * plan.least_guided_workspace_words(),
        ]);
        let found = value("GUIDED_WORKSPACE_BYTES").zip(value("LEAST_GUIDED_WORKSPACE_BYTES"));
        assert_eq!(found.map(<[usize; 2]>::from), guided, "{name}: {text}");
        match value("SIDE") {
            Some(side) => assert_eq!(side * side, model.topology().pixels()),
            None => assert_eq!(value("PIXELS"), Some(model.topology().pixels())),
        }
    }
}
