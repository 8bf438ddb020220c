//! Puts the blob next to the code, sizes the buffers for it, and finds the
//! linker scripts.
//!
//! - `TINY_DDPM_BLOB`: the blob, relative to this folder; by default the
//!   digits.
//! - `TINY_DDPM_WORKSPACE_WORDS`: so much workspace, whatever the blob needs.
//!   The blob is then not looked at, and whether it is sound and fits is
//!   left for the chip to find out.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=TINY_DDPM_BLOB");
    println!("cargo::rerun-if-env-changed=TINY_DDPM_WORKSPACE_WORDS");
    println!("cargo::rerun-if-changed=memory.x");
    let home = env!("CARGO_MANIFEST_DIR");
    println!("cargo::rustc-link-search={home}");
    // Without `--nmagic` the linker pads sections to pages of 64 KiB.
    for argument in ["--nmagic", "-Tlink.x", "-Tdefmt.x"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }

    let path = env::var("TINY_DDPM_BLOB").unwrap_or("../models/digits.tddpm".into());
    let path = Path::new(home).join(path);
    println!("cargo::rerun-if-changed={}", path.display());
    let sizes = fs::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|blob| sizes(&blob));
    match sizes {
        Ok((workspace_words, pixels)) => {
            println!("cargo::rustc-env=TINY_DDPM_BLOB_PATH={}", path.display());
            let code = format!(
                "/// Words of workspace.\npub const WORKSPACE_WORDS: usize = {workspace_words};\n\
                 /// Pixels of a picture.\npub const PIXELS: usize = {pixels};\n"
            );
            let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
            fs::write(Path::new(&out).join("sizes.rs"), code).expect("OUT_DIR is writable");
        }
        Err(error) => {
            println!("cargo::error=the model {}: {error}", path.display());
            println!("cargo::error=set TINY_DDPM_BLOB to a model that `tiny-ddpm export` wrote");
        }
    }
}

/// Words of workspace and pixels that the blob needs.
fn sizes(blob: &[u8]) -> Result<(usize, usize), String> {
    if let Ok(words) = env::var("TINY_DDPM_WORKSPACE_WORDS") {
        let words = words
            .parse()
            .map_err(|error| format!("TINY_DDPM_WORKSPACE_WORDS={words}: {error}"))?;
        return Ok((words, 28 * 28));
    }
    let model = tiny_ddpm::Model::load(blob).map_err(|error| error.to_string())?;
    Ok((model.workspace_words(), model.topology().pixels()))
}
