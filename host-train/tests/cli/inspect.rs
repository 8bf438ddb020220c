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
        let name = layer.site.to_string();
        let shown = text
            .lines()
            .any(|line| line.split(' ').next() == Some(&name));
        assert!(shown, "{name} is missing in\n{text}");
    });
    for word in ["SHA-256", "flash", "RAM", "multiply-accumulates"] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
}
