//! `tiny-ddpm repack`.

use super::*;

/// `tiny-ddpm repack`.
fn repack(from: &Path, to: &Path, args: &[&str]) -> Output {
    let mut command = tool();
    command.arg("repack").arg(from).arg("--out").arg(to);
    command.args(args).output().unwrap()
}

/// What `tiny-ddpm inspect --json` says.
fn inspect(path: &Path) -> Value {
    let output = run(&["inspect", path.to_str().unwrap(), "--json"]);
    succeeded(&output);
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// The hash of a picture that a model makes.
fn hash_of(blob: &[u8]) -> u32 {
    let model = Model::load(blob).unwrap();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    let pixels = model.topology().pixels();
    let (mut x, mut x0_hat) = (vec![0.0; pixels], vec![0.0; pixels]);
    let buffers = Buffers {
        x: &mut x,
        x0_hat: &mut x0_hat,
        unconditional: &mut [],
        history: &mut [],
    };
    let settings = Settings::new(Method::Ddim { eta: 0.0 }, 3)
        .class(Some(5))
        .seed(5);
    let mut sampler = Sampler::new(model.schedule(), settings, buffers).unwrap();
    while sampler.step(&mut unet).unwrap().is_some() {}
    let mut grey = vec![0; pixels];
    to_pixels(sampler.x(), &mut grey);
    picture_hash(&grey)
}

/// Another packing is the same model: the same pictures, and the way back
/// gives the same bytes.
#[test]
fn repacking_changes_no_picture() {
    let folder = tempfile::tempdir().unwrap();
    let (fast, back) = (folder.path().join("fast"), folder.path().join("back"));
    let output = repack(&blob(), &fast, &["--target", "cortex-m4"]);
    succeeded(&output);
    assert!(
        stdout(&output).contains("transformed"),
        "{}",
        stdout(&output)
    );
    succeeded(&repack(&fast, &back, &["--target", "portable"]));
    let portable = fs::read(blob()).unwrap();
    assert_eq!(fs::read(&back).unwrap(), portable);
    let transformed = fs::read(&fast).unwrap();
    assert!(transformed.len() > portable.len() && transformed.len() <= 1 << 20);

    assert_eq!(hash_of(&portable), hash_of(&transformed));

    let (small, large) = (inspect(&back), inspect(&fast));
    assert_eq!(small["packing"], "portable");
    assert_eq!(large["packing"], "transformed");
    assert_eq!(small["parameters"], large["parameters"]);
    assert_eq!(small["macs_per_step"], large["macs_per_step"]);

    // As much as fits, and not a byte more.
    let limit = portable.len() + 200_000;
    let words = ["--target", "cortex-m4", "--flash", &limit.to_string()];
    succeeded(&repack(&blob(), &fast, &words));
    let length = fs::read(&fast).unwrap().len();
    assert!(length > portable.len() && length <= limit, "{length}");
    // Elsewhere the size of flash changes nothing.
    refused(
        &repack(&blob(), &fast, &["--flash", "200KiB"]),
        &["--flash", "--target cortex-m4"],
    );
    refused(
        &repack(&blob(), &fast, &["--flash", "lots"]),
        &["lots", "KiB"],
    );
    refused(
        &repack(&blob(), &fast, &["--target", "z80"]),
        &["z80", "cortex-m4"],
    );
}

/// The shipped model with weights that 4 bits hold, the first convolution's
/// apart; still stored in 8.
fn coarse_blob() -> Vec<u8> {
    let mut bytes = fs::read(blob()).unwrap();
    let mut weights = Vec::new();
    Model::load(&bytes).unwrap().for_each_layer(|layer| {
        if let Record::Conv(conv) = layer.record
            && layer.id.stage != Stage::ConvIn
        {
            let start = conv.weights.as_ptr().addr() - bytes.as_ptr().addr();
            weights.push(start..start + conv.weights.len());
        }
    });
    for range in weights {
        for byte in &mut bytes[range] {
            *byte = (*byte as i8 & -16).max(-112) as u8;
        }
    }
    let hash = Model::load(&fs::read(blob()).unwrap()).unwrap().arch_hash();
    let (start, body) = bytes.split_at_mut(header::HEADER_LEN);
    start.copy_from_slice(&header::seal(hash, body));
    bytes
}

/// Weights that 4 bits hold are stored in 4 bits, transformed where a device
/// gains by it, and found again: always the same model.
#[test]
fn repacking_stores_weights_in_four_bits_where_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (wide, small, fast, back) = (path("wide"), path("small"), path("fast"), path("back"));
    fs::write(&wide, coarse_blob()).unwrap();
    let output = repack(&wide, &small, &["--target", "portable"]);
    succeeded(&output);
    assert!(stdout(&output).contains("in 4 bits"), "{}", stdout(&output));
    succeeded(&repack(&small, &fast, &["--target", "cortex-m4"]));
    succeeded(&repack(&fast, &back, &[]));
    let [wide_bytes, small_bytes, fast_bytes] =
        [&wide, &small, &fast].map(|path| fs::read(path).unwrap());
    assert_eq!(fs::read(&back).unwrap(), small_bytes);
    assert!(fast_bytes.len() > small_bytes.len() && fast_bytes.len() <= 1 << 20);
    let hash = hash_of(&wide_bytes);
    assert_eq!([hash_of(&small_bytes), hash_of(&fast_bytes)], [hash; 2]);

    let [wide, small, fast] = [&wide, &small, &fast].map(|path| inspect(path));
    assert_eq!(wide["packing"], "portable");
    for json in [&small, &fast] {
        assert_eq!(json["packing"], "int4");
        assert_eq!(json["parameters"], wide["parameters"]);
        assert_eq!(json["macs_per_step"], wide["macs_per_step"]);
    }
    let layers = |json: &Value| json["layers"].as_array().unwrap().clone();
    let (mut int4, mut transformed) = (0, 0);
    for ((wide, small), fast) in layers(&wide).iter().zip(layers(&small)).zip(layers(&fast)) {
        if small["layout"] != "int4" {
            assert_eq!(wide, &small);
            continue;
        }
        int4 += 1;
        transformed += usize::from(fast["layout"] == "winograd" || fast["layout"] == "phases");
        let weights = wide["weights"].as_array().unwrap();
        let weights: u64 = weights.iter().map(|n| n.as_u64().unwrap()).product();
        let bytes = |layer: &Value| layer["bytes"].as_u64().unwrap();
        assert_eq!(bytes(wide) - bytes(&small), weights / 2, "{small}");
    }
    assert!(
        transformed > 5 && int4 > transformed,
        "{int4}, {transformed}"
    );
}

#[test]
fn a_budget_of_flash_is_kept_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.tddpm");
    let length = fs::metadata(blob()).unwrap().len();
    let below = (length - 1).to_string();
    for flash in ["1", &below] {
        let output = repack(&blob(), &out, &["--target", "cortex-m4", "--flash", flash]);
        refused(&output, &[&format!("--flash {flash}"), &length.to_string()]);
        assert!(!out.exists());
    }
    // Just the blob itself: nothing is transformed, and that is said.
    let exact = length.to_string();
    let output = repack(&blob(), &out, &["--target", "cortex-m4", "--flash", &exact]);
    succeeded(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no convolution was transformed"), "{said}");
    assert_eq!(fs::read(&out).unwrap(), fs::read(blob()).unwrap());
}
