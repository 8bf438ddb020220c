//! The fixed part before the postcard body.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..8 | magic, `tinyddpm` |
//! | 8..10 | format version |
//! | 10..12 | 0, reserved |
//! | 12..16 | architecture hash: CRC-32 of the encoded topology |
//! | 16..20 | length of the body |
//! | 20..24 | CRC-32 of the body |
//! | 24..28 | 0, reserved |
//! | 28..32 | CRC-32 of bytes 0..28 |
//!
//! All numbers are little-endian; CRC-32 is ISO-HDLC. A CRC finds accidents,
//! not forgery.

use super::checksum::crc32;
use super::error::BlobError;
use crate::graph::Topology;
use core::ops::Range;

/// Bytes of the header. A multiple of 16, so that what is aligned in the
/// body is aligned in the blob.
pub const HEADER_LEN: usize = 32;
/// The format version that this build reads and writes.
///
/// Version 1 had weights in rows.
pub const VERSION: u16 = 2;
/// Bytes that later versions may give a meaning; 0 until then.
const RESERVED: [Range<usize>; 2] = [10..12, 24..28];
const MAGIC: &[u8; 8] = b"tinyddpm";

/// The header's numbers.
struct Header {
    arch_hash: u32,
    body_len: u32,
    body_crc: u32,
}

/// Reads the header at the beginning of `blob` and checks it.
fn read(blob: &[u8]) -> Result<Header, BlobError> {
    let Some(header) = blob.first_chunk::<HEADER_LEN>() else {
        return Err(BlobError::TooShort {
            needed: HEADER_LEN,
            found: blob.len(),
        });
    };
    if !header.starts_with(MAGIC) {
        return Err(BlobError::BadMagic);
    }
    let found = u16::from_le_bytes([header[8], header[9]]);
    if found != VERSION {
        return Err(BlobError::Version {
            found,
            supported: VERSION,
        });
    }
    let word = |at: usize| {
        header
            .get(at..)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |&bytes| u32::from_le_bytes(bytes))
    };
    let (computed, stored) = (crc32(header.get(..28).unwrap_or_default()), word(28));
    if computed != stored {
        return Err(BlobError::HeaderCrc { computed, stored });
    }
    for at in RESERVED.into_iter().flatten() {
        if header.get(at).is_some_and(|&byte| byte != 0) {
            return Err(BlobError::Reserved { at });
        }
    }
    Ok(Header {
        arch_hash: word(12),
        body_len: word(16),
        body_crc: word(20),
    })
}

/// Bytes of the blob that `header` begins, which is its first [`HEADER_LEN`]
/// bytes or more: for a blob in a larger flash partition, since
/// [`Model::load`](crate::Model::load) refuses bytes behind the last. The
/// largest `usize` stands for whatever is larger.
///
/// ```
/// use tiny_ddpm::{BlobError, Model, blob};
///
/// fn load(partition: &[u8]) -> Result<Model<'_>, BlobError> {
///     let len = blob::encoded_len(partition)?;
///     Model::load(partition.get(..len).unwrap_or(partition))
/// }
/// ```
///
/// # Errors
/// [`BlobError`] where these bytes begin no blob that this build reads.
pub fn encoded_len(header: &[u8]) -> Result<usize, BlobError> {
    let Header { body_len, .. } = read(header)?;
    Ok((body_len as usize).saturating_add(HEADER_LEN))
}

/// Splits a blob into its architecture hash and its body, after checking all
/// that the header says.
pub(super) fn open(blob: &[u8]) -> Result<(u32, &[u8]), BlobError> {
    let header = read(blob)?;
    let body = blob.get(HEADER_LEN..).unwrap_or_default();
    let length = header.body_len as usize;
    if body.len() < length {
        // The same number where a `usize` has 64 bits.
        let needed = header.body_len.saturating_add(HEADER_LEN as u32);
        return Err(BlobError::TooShort {
            needed: needed as usize,
            found: blob.len(),
        });
    }
    if body.len() > length {
        return Err(BlobError::TooLong {
            expected: HEADER_LEN + length,
            found: blob.len(),
        });
    }
    let (computed, stored) = (crc32(body), header.body_crc);
    if computed != stored {
        return Err(BlobError::Crc { computed, stored });
    }
    Ok((header.arch_hash, body))
}

/// The header of a body.
#[must_use]
pub fn seal(arch_hash: u32, body: &[u8]) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&arch_hash.to_le_bytes());
    // A longer body than this fits no chip, and its blob would not load.
    header[16..20].copy_from_slice(&(body.len() as u32).to_le_bytes());
    header[20..24].copy_from_slice(&crc32(body).to_le_bytes());
    let crc = crc32(&header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Longest encoding of a topology; generously.
const TOPOLOGY_BYTES: usize = 64;

/// CRC-32 of a topology's postcard encoding.
pub(super) fn arch_hash(topology: &Topology) -> u32 {
    let mut buffer = [0; TOPOLOGY_BYTES];
    postcard::to_slice(topology, &mut buffer).map_or(0, |bytes| crc32(bytes))
}
