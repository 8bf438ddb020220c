//! Models of any shape with numbers at their limits: accepted exactly where no
//! number is beyond its own, changed in a few places, and run.

#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use tiny_ddpm::graph::Cost;
use tiny_ddpm_fuzz::blob::{MOST_MACS, loaded, sealed};
use tiny_ddpm_fuzz::draw::{draw, edit};
use tiny_ddpm_fuzz::run::{Question, ask};

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Unstructured::new(bytes);
    let Ok(question) = bytes.arbitrary::<Question>() else {
        return;
    };
    let Ok(Some(mut drawn)) = draw(&mut bytes) else {
        return;
    };
    let edited = edit(&mut drawn.body, &mut bytes).unwrap_or(true);
    let blob = sealed(&drawn.body);
    let model = loaded(&blob);
    if !edited {
        assert_eq!(
            model.is_some(),
            drawn.valid,
            "limits are not what is checked"
        );
    }
    if let Some(model) = model
        && Cost::of(model.topology()).macs <= MOST_MACS
    {
        ask(&model, &question);
    }
});
