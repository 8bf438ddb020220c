//! Puts the blob next to the code, sizes the buffers for it, and finds the
//! linker scripts. The target says which board it is for.
//!
//! - `TINY_DDPM_BLOB`: the blob, relative to this folder; by default the
//!   digits.
//! - `TINY_DDPM_KEY`, for `tiny-ddpm-field`: the public key, from
//!   `tiny-ddpm keygen`, without whose signature no weights are taken.
//! - `TINY_DDPM_WORKSPACE_WORDS`: so much workspace, whatever the blob needs.
//!   The blob is then not looked at, and whether it is sound and fits is
//!   left for the chip to find out.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=TINY_DDPM_BLOB");
    println!("cargo::rerun-if-env-changed=TINY_DDPM_WORKSPACE_WORDS");
    println!("cargo::rerun-if-changed=memory");
    println!("cargo::rustc-check-cfg=cfg(board, values(\"stm32f405\", \"microbit\"))");
    let home = env!("CARGO_MANIFEST_DIR");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    // Every Cortex-M0 counts as the one with the least memory.
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let board = match target.starts_with("thumbv6m") {
        true => Board::Microbit,
        false => Board::Stm32f405,
    };
    println!("cargo::rustc-cfg=board=\"{}\"", board.name());
    let memory = match (cfg!(feature = "field"), cfg!(feature = "rtt")) {
        (false, _) => format!("memory/{}.x", board.name()),
        (true, true) => "memory/stm32f405-field.x".into(),
        (true, false) => "memory/mps2-field.x".into(),
    };
    let memory = Path::new(home).join(memory);
    fs::copy(memory, Path::new(&out).join("memory.x")).expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search={out}");
    // Without `--nmagic` the linker pads sections to pages of 64 KiB.
    for argument in ["--nmagic", "-Tlink.x", "-Tdefmt.x"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }

    #[cfg(feature = "field")]
    match key(home) {
        Ok(key) => {
            let code =
                format!("/// Who signs weights.\npub const KEY: Option<[u8; 32]> = {key:?};\n");
            fs::write(Path::new(&out).join("key.rs"), code).expect("OUT_DIR is writable");
        }
        Err(error) => println!("cargo::error=the key of TINY_DDPM_KEY: {error}"),
    }

    let path = env::var("TINY_DDPM_BLOB").unwrap_or("../models/digits.tddpm".into());
    let path = Path::new(home).join(path);
    println!("cargo::rerun-if-changed={}", path.display());
    let sizes = fs::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|blob| sizes(&blob, board));
    match sizes {
        Ok((workspace_words, pixels)) => {
            let memory_pixels = match board {
                Board::Stm32f405 => pixels,
                Board::Microbit => 0,
            };
            println!("cargo::rustc-env=TINY_DDPM_BLOB_PATH={}", path.display());
            let code = format!(
                "/// Words of workspace.\npub const WORKSPACE_WORDS: usize = {workspace_words};\n\
                 /// Pixels of a picture.\npub const PIXELS: usize = {pixels};\n\
                 /// Pixels of a sampler's memory.\npub const MEMORY_PIXELS: usize = {memory_pixels};\n"
            );
            fs::write(Path::new(&out).join("sizes.rs"), code).expect("OUT_DIR is writable");
        }
        Err(error) => {
            println!("cargo::error=the model {}: {error}", path.display());
            println!("cargo::error=set TINY_DDPM_BLOB to a model that `tiny-ddpm export` wrote");
        }
    }
}

/// The public key in the file of `TINY_DDPM_KEY`.
#[cfg(feature = "field")]
fn key(home: &str) -> Result<Option<[u8; 32]>, String> {
    println!("cargo::rerun-if-env-changed=TINY_DDPM_KEY");
    // Empty is no key, either: a mistake there must not switch checking off.
    let Some(path) = env::var_os("TINY_DDPM_KEY") else {
        return Ok(None);
    };
    let path = Path::new(home).join(path);
    println!("cargo::rerun-if-changed={}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let key = ed25519_compact::PublicKey::from_pem(&text)
        .and_then(|key| key.validate().map(|()| key))
        .map_err(|_| format!("{} is no public key of `tiny-ddpm keygen`", path.display()))?;
    Ok(Some(*key))
}

/// Words of workspace and pixels that the blob needs.
fn sizes(blob: &[u8], board: Board) -> Result<(usize, usize), String> {
    if let Ok(words) = env::var("TINY_DDPM_WORKSPACE_WORDS") {
        let words = words
            .parse()
            .map_err(|error| format!("TINY_DDPM_WORKSPACE_WORDS={words}: {error}"))?;
        return Ok((words, 28 * 28));
    }
    let model = tiny_ddpm::Model::load(blob).map_err(|error| error.to_string())?;
    let plan = model.plan();
    let words = match (board, model.topology().classes) {
        (Board::Stm32f405, 0) => plan.workspace_words(),
        (Board::Stm32f405, _) => plan.guided_workspace_words(),
        (Board::Microbit, 0) => plan.least_workspace_words(),
        (Board::Microbit, _) => plan.least_guided_workspace_words(),
    };
    Ok((words, model.topology().pixels()))
}

#[derive(Clone, Copy)]
enum Board {
    /// Has memory enough for full speed.
    Stm32f405,
    /// Has 16 KiB of RAM.
    Microbit,
}

impl Board {
    fn name(self) -> &'static str {
        match self {
            Self::Stm32f405 => "stm32f405",
            Self::Microbit => "microbit",
        }
    }
}
