//! What the tool does with a blob that was accepted: `inspect` describes it,
//! and `repack` makes one that draws the same.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tiny_ddpm::graph::Cost;
use tiny_ddpm::{Denoiser, Model, Unet};
use tiny_ddpm_fuzz::blob::{MOST_MACS, sealed};
use tiny_ddpm_train::inspect::Report;
use tiny_ddpm_train::quant::{Target, repack};

/// What a model predicts, bit by bit; any NaN is as good as another.
fn prediction(model: &Model<'_>) -> Vec<u32> {
    let pixels = model.topology().pixels();
    let x: Vec<f32> = (0..pixels).map(|i| (i as f32).sin()).collect();
    let mut out = vec![0.0_f32; pixels];
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(model, &mut workspace).expect("as much as asked for");
    unet.predict(&x, 1, None, &mut out).expect("was accepted");
    let bits = |x: &f32| if x.is_nan() { u32::MAX } else { x.to_bits() };
    out.iter().map(bits).collect()
}

fuzz_target!(|body: &[u8]| {
    let blob = sealed(body);
    let Ok(model) = Model::load(&blob) else {
        return;
    };
    if Cost::of(model.topology()).macs > MOST_MACS {
        return;
    }
    let report = Report::new(Path::new("a.tddpm"), &blob, &model);
    assert!(
        report
            .to_text()
            .contains(model.topology().image_size.to_string().as_str())
    );
    serde_json::to_string(&report).expect("every number is one");

    let picture = prediction(&model);
    for (target, flash) in [
        (Target::Portable, 0),
        (Target::CortexM4, usize::MAX),
        (Target::CortexM4, 2 * blob.len()),
    ] {
        // Refused where the weights are none that the other layout can hold.
        let Ok(other) = repack(&blob, target, flash) else {
            continue;
        };
        let other = Model::load(&other).expect("what was repacked loads");
        assert_eq!(other.topology(), model.topology());
        assert_eq!(prediction(&other), picture, "{target:?}, {flash} bytes");
    }
});
