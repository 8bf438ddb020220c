//! Reading a blob from disk, and saying what to do where it is none.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use sha2::{Digest, Sha256};
use tiny_ddpm::{BlobError, Model};

/// More than any blob has: the largest network within the limits of
/// [`Topology`](tiny_ddpm::Topology) is far smaller.
const MAX_BYTES: u64 = 256 << 20;

/// The bytes of a blob, for [`load`].
///
/// # Errors
/// Where there is no such file, or it is empty or larger than any blob.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    ensure!(
        !path.is_dir(),
        "{name} is a folder: name a blob in it, like {}",
        path.join("digits.tddpm").display()
    );
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
