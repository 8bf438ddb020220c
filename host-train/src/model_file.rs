//! Reading a blob from disk, and saying what to do where it is none.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use sha2::{Digest, Sha256};
use tiny_ddpm::{BlobError, Model};

use crate::output::in_shell;

/// More than any blob has: the largest network within the limits of
/// [`Topology`](tiny_ddpm::Topology) is far smaller.
const MAX_BYTES: u64 = 256 << 20;

/// The bytes of a blob, for [`load`].
///
/// # Errors
/// Where there is no such file, or it is empty or larger than any blob.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    ensure!(!path.is_dir(), "{name} is {}", folder_instead(path));
    let file = File::open(path).with_context(|| format!("cannot open the blob {name}"))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read the blob {name}"))?;
    ensure!(
        !bytes.is_empty(),
        "{name} is empty: copy or export it again"
    );
    ensure!(
        bytes.len() as u64 <= MAX_BYTES,
        "{name} is larger than any blob: more than {} MiB",
        MAX_BYTES >> 20
    );
    Ok(bytes)
}

/// Says what a folder is that stands where a blob should, and which blob there
/// is to name.
fn folder_instead(path: &Path) -> String {
    let is_blob = |path: &PathBuf| path.extension().is_some_and(|e| e == "tddpm") && path.is_file();
    let mut inside: Vec<PathBuf> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_blob)
        .collect();
    inside.sort();
    let beside = path.with_extension("tddpm");
    let found = inside.into_iter().next().or(Some(beside).filter(is_blob));
    let run = path.join("config.toml").is_file();
    match (run, found) {
        (true, Some(blob)) => format!(
            "the folder of a training run: name its blob {}",
            blob.display()
        ),
        (true, None) => format!(
            "the folder of a training run: make a blob of it by `tiny-ddpm export {}`",
            in_shell(path)
        ),
        (false, Some(blob)) => format!("a folder: name a blob, like {}", blob.display()),
        (false, None) => {
            "a folder without a blob: name a file that `tiny-ddpm export` wrote".to_owned()
        }
    }
}

/// The model in the bytes of the file `path`.
///
/// # Errors
/// What [`Model::load`] found wrong, with the file's name and what to do.
pub fn load<'b>(path: &Path, bytes: &'b [u8]) -> Result<Model<'b>> {
    Model::load(bytes).map_err(|error| {
        anyhow!(
            "{} is no valid blob: {error}\n  {}",
            path.display(),
            advice(&error)
        )
    })
}

fn advice(error: &BlobError) -> &'static str {
    match error {
        BlobError::TooShort { .. } => "it was cut short: copy or export it again",
        BlobError::TooLong { .. }
        | BlobError::HeaderCrc { .. }
        | BlobError::Crc { .. }
        | BlobError::ArchMismatch { .. } => {
            "it changed after it was written: copy or export it again"
        }
        BlobError::BadMagic => {
            "blobs are what `tiny-ddpm export` writes; did you mean another file?"
        }
        BlobError::Version { .. } => {
            "use the tiny-ddpm that wrote it, or export it again with this one"
        }
        _ => "its checksum is right, so it was written wrong: export it again",
    }
}

/// The SHA-256 of a file's bytes, in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
