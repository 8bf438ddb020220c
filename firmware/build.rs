//! Puts the blob next to the code, sizes the buffers for it, and finds the
//! linker scripts. The target says which board it is for; what cannot be built
//! for it is refused here, in one sentence.
//!
//! - `TINY_DDPM_BLOB`: the blob, relative to this folder; by default the
//!   one that ships for the board.
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
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let board = match board(&target) {
        Ok(board) => board,
        Err(error) => {
            println!("cargo::error={error}");
            return;
        }
    };
    println!("cargo::rustc-cfg=board=\"{}\"", board.name());
    let memory = match (cfg!(feature = "field"), cfg!(feature = "rtt")) {
        (false, _) => format!("memory/{}.x", board.name()),
        (true, true) => "memory/stm32f405-field.x".into(),
        (true, false) => "memory/mps2-field.x".into(),
    };
    let memory = fs::read_to_string(Path::new(home).join(memory)).expect("the script is there");
    fs::write(Path::new(&out).join("memory.x"), &memory).expect("OUT_DIR is writable");
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

    let path = env::var("TINY_DDPM_BLOB").unwrap_or_else(|_| board.blob().into());
    let path = Path::new(home).join(path);
    println!("cargo::rerun-if-changed={}", path.display());
    let sizes = fs::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|blob| {
            let sizes = sizes(&blob, board)?;
            fits(&blob, sizes, &memory)?;
            Ok(sizes)
        });
    match sizes {
        Ok(Sizes {
            workspace_words,
            pixels,
            history_len,
        }) => {
            println!("cargo::rustc-env=TINY_DDPM_BLOB_PATH={}", path.display());
            let code = format!(
                "/// Words of workspace.\npub const WORKSPACE_WORDS: usize = {workspace_words};\n\
                 /// Pixels of a picture.\npub const PIXELS: usize = {pixels};\n\
                 /// Values of a sampler's memory.\npub const HISTORY_LEN: usize = {history_len};\n"
            );
            fs::write(Path::new(&out).join("sizes.rs"), code).expect("OUT_DIR is writable");
        }
        Err(error) => {
            println!(
                "cargo::error=the model {}: {error}; set TINY_DDPM_BLOB to another",
                path.display()
            );
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

/// The board that a target is for.
///
/// # Errors
/// One sentence about a combination of target and features that no firmware
/// here can be.
fn board(target: &str) -> Result<Board, String> {
    let board = match target {
        "thumbv7em-none-eabihf" => Board::Stm32f405,
        "thumbv6m-none-eabi" => Board::Microbit,
        _ => {
            return Err(format!(
                "no board here is a {target}: build for thumbv7em-none-eabihf (STM32F405) or \
                 thumbv6m-none-eabi (micro:bit, in QEMU)"
            ));
        }
    };
    let error = match (board, cfg!(feature = "semihosting"), cfg!(feature = "rtt")) {
        (_, true, true) => {
            "the log goes either to QEMU (feature semihosting, the default) or to a debug probe: \
             for a board add --no-default-features"
        }
        (_, false, false) => {
            "the log has nowhere to go: enable the feature semihosting (QEMU) or rtt (debug probe)"
        }
        (Board::Microbit, _, true) => {
            "the micro:bit firmware runs in QEMU only and has no driver for a debug probe: build \
             it without the feature rtt, or rtt for thumbv7em-none-eabihf (STM32F405)"
        }
        (Board::Microbit, ..) if cfg!(feature = "field") => {
            "the micro:bit's flash has no room for two slots of weights: build the feature field \
             for thumbv7em-none-eabihf (STM32F405)"
        }
        _ => return Ok(board),
    };
    Err(error.into())
}

/// What a model needs of RAM, in words of 4 bytes.
#[derive(Clone, Copy)]
struct Sizes {
    workspace_words: usize,
    pixels: usize,
    /// Values of a sampler's memory.
    history_len: usize,
}

/// What the blob needs.
fn sizes(blob: &[u8], board: Board) -> Result<Sizes, String> {
    let (workspace_words, pixels) = match env::var("TINY_DDPM_WORKSPACE_WORDS") {
        Ok(words) => {
            let words = words
                .parse()
                .map_err(|error| format!("TINY_DDPM_WORKSPACE_WORDS={words}: {error}"))?;
            (words, 28 * 28)
        }
        Err(_) => {
            let model = tiny_ddpm::Model::load(blob).map_err(|error| error.to_string())?;
            let plan = model.plan();
            let words = match (board, model.topology().classes) {
                (Board::Stm32f405, 0) => plan.workspace_words(),
                (Board::Stm32f405, _) => plan.guided_workspace_words(),
                (Board::Microbit, 0) => plan.least_workspace_words(),
                (Board::Microbit, _) => plan.least_guided_workspace_words(),
            };
            (words, model.topology().pixels())
        }
    };
    let history_len = match board {
        // Enough for every sampler.
        Board::Stm32f405 => 2 * pixels,
        Board::Microbit => 0,
    };
    Ok(Sizes {
        workspace_words,
        pixels,
        history_len,
    })
}

/// Refuses what cannot fit, before the linker says it in its own words. Where
/// only the code is too much beside the model, the linker still has to.
fn fits(blob: &[u8], sizes: Sizes, memory: &str) -> Result<(), String> {
    let flash = kib(memory, "FLASH") << 10;
    // Weights that come over a line lie in slots.
    if !cfg!(feature = "field") && blob.len() > flash {
        let needed = blob.len();
        return Err(format!(
            "it takes {needed} bytes of flash, and the board has {flash}"
        ));
    }
    let ram = kib(memory, "RAM ") << 10;
    let buffers = 4 * (sizes.workspace_words + sizes.pixels + sizes.history_len);
    if buffers > ram {
        return Err(format!(
            "it takes {buffers} bytes of RAM for buffers, and the board has {ram} beside the stack"
        ));
    }
    Ok(())
}

/// KiB of a region in a linker script of ours.
fn kib(memory: &str, region: &str) -> usize {
    let line = memory
        .lines()
        .find(|line| line.trim_start().starts_with(region));
    let length = line.and_then(|line| line.rsplit_once("LENGTH = ")?.1.trim().strip_suffix('K'));
    let kib = length.and_then(|kib| kib.parse().ok());
    kib.unwrap_or_else(|| panic!("memory/ states no length of {region}in K"))
}

#[derive(Clone, Copy)]
enum Board {
    /// Has memory enough for full speed.
    Stm32f405,
    /// Has 16 KiB of RAM.
    Microbit,
}

impl Board {
    /// The model that ships for it.
    fn blob(self) -> &'static str {
        match self {
            Self::Stm32f405 => "../models/digits.tddpm",
            Self::Microbit => "../models/nano.tddpm",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Stm32f405 => "stm32f405",
            Self::Microbit => "microbit",
        }
    }
}
