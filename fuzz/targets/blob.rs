//! Any body as a blob whose checksums are right: a typed error or a model, the
//! same wherever the bytes lie; and a model's blob is the one that the writer
//! makes of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tiny_ddpm_fuzz::blob::{loaded, sealed};

fuzz_target!(|body: &[u8]| {
    let blob = sealed(body);
    let _ = loaded(&blob);
    // And as it came, where there is a header to be looked at.
    if body.starts_with(b"tinyddpm") {
        let _ = loaded(body);
    }
});
