//! One denoising step with any blob that is accepted, whatever it is asked.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use tiny_ddpm::Model;
use tiny_ddpm::graph::Cost;
use tiny_ddpm_fuzz::blob::{MOST_MACS, sealed};
use tiny_ddpm_fuzz::run::{Question, ask};

fuzz_target!(|bytes: &[u8]| {
    // The question in front: what is changed in a body moves nothing there.
    let Some((first, body)) = bytes.split_at_checked(Question::BYTES) else {
        return;
    };
    let Ok(question) = Question::arbitrary(&mut Unstructured::new(first)) else {
        return;
    };
    let blob = sealed(body);
    if let Ok(model) = Model::load(&blob)
        && Cost::of(model.topology()).macs <= MOST_MACS
    {
        ask(&model, &question);
    }
});
