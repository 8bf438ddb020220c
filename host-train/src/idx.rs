//! The IDX format: a magic number, sizes (big endian), then bytes.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;

/// No IDX file of pictures that this tool trains on is larger than this once
/// unpacked; a small file that unpacks without end stops here.
const MAX_BYTES: u64 = 1 << 31;

/// The pixels of all pictures in an IDX file, raw or gzipped.
///
/// # Errors
/// Where the file is not a whole IDX file of `size` x `size` pictures.
pub fn read_images(path: &Path, size: usize) -> Result<Vec<u8>> {
    images(path, read(path)?, size)
}

/// The pixels in the bytes of such a file. Its name says whether they are
/// gzipped, and stands in messages.
///
/// # Errors
/// As [`read_images`].
pub fn images(path: &Path, bytes: Vec<u8>, size: usize) -> Result<Vec<u8>> {
    let bytes = unpack(path, bytes)?;
    let (dimensions, mut body) = header::<3>(path, &bytes, "pictures")?;
    let [count, height, width] = dimensions;
    ensure!(
        height == size && width == size,
        "{}: the pictures are {width} x {height}, but the network is for {size} x {size}; change image_size in the configuration or the data",
        path.display()
    );
    ensure!(count > 0, "{}: there are no pictures in it", path.display());
    // Beyond what any file has, where 32 bits do not hold the product.
    exact(path, &mut body, count.saturating_mul(size * size))?;
    Ok(body.to_vec())
}

/// The labels in an IDX file, raw or gzipped.
///
/// # Errors
/// Where the file is not a whole IDX file of labels below `classes`. A network
/// without classes (0) takes any label.
pub fn read_labels(path: &Path, classes: u16) -> Result<Vec<u8>> {
    labels(path, read(path)?, classes)
}

/// The labels in the bytes of such a file, whose name is as for [`images`].
///
/// # Errors
/// As [`read_labels`].
pub fn labels(path: &Path, bytes: Vec<u8>, classes: u16) -> Result<Vec<u8>> {
    let bytes = unpack(path, bytes)?;
    let ([count], mut body) = header::<1>(path, &bytes, "labels")?;
    exact(path, &mut body, count)?;
    if classes > 0 {
        for (index, &label) in body.iter().enumerate() {
            ensure!(
                u16::from(label) < classes,
                "{}: label {label} at index {index}; with classes = {classes} only 0 to {} are allowed",
                path.display(),
                classes - 1
            );
        }
    }
    Ok(body.to_vec())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn unpack(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(bytes.as_slice())
        .take(MAX_BYTES)
        .read_to_end(&mut unpacked)
        .with_context(|| {
            format!(
                "{}: cannot be unpacked; it is damaged or cut short, so fetch it again",
                path.display()
            )
        })?;
    Ok(unpacked)
}

/// Checks the magic number and reads `D` sizes.
fn header<'a, const D: usize>(
    path: &Path,
    bytes: &'a [u8],
    what: &str,
) -> Result<([usize; D], &'a [u8])> {
    let number = |index: usize| -> Option<u32> {
        let bytes = bytes.get(4 * index..4 * index + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let Some(magic) = number(0) else {
        bail!("{}: too short for an IDX file", path.display());
    };
    let expected = 0x0800 + D as u32;
    ensure!(
        magic == expected,
        "{}: its magic number is {magic:#010x}, but IDX files of {what} start with {expected:#010x}",
        path.display()
    );
    let mut sizes = [0; D];
    for (index, size) in sizes.iter_mut().enumerate() {
        let Some(number) = number(index + 1) else {
            bail!("{}: the IDX header is cut short", path.display());
        };
        *size = number as usize;
    }
    Ok((sizes, &bytes[4 * (D + 1)..]))
}

fn exact(path: &Path, body: &mut &[u8], expected: usize) -> Result<()> {
    ensure!(
        body.len() == expected,
        "{}: the header announces {expected} bytes but {} follow; the file is {}, so fetch it again",
        path.display(),
        body.len(),
        if body.len() < expected {
            "cut short"
        } else {
            "not IDX or damaged"
        }
    );
    Ok(())
}
