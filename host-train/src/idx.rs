//! The IDX format: a magic number, sizes (big endian), then numbers.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;

use crate::file_type::FileType;

/// Magic number of pictures: bytes in three dimensions.
const IMAGES: u32 = 0x0803;
/// Magic number of labels: bytes in one dimension.
const BYTE_LABELS: u32 = 0x0801;
/// Magic number of labels in tables: 32-bit integers in two dimensions.
const ROW_LABELS: u32 = 0x0c02;
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

/// The pixels in the bytes of such a file. Its path stands in messages alone:
/// the first bytes say whether it is gzipped.
///
/// # Errors
/// As [`read_images`].
pub fn images(path: &Path, bytes: Vec<u8>, size: usize) -> Result<Vec<u8>> {
    let bytes = unpack(path, bytes)?;
    let (_, dimensions, mut body) = header::<3>(path, &bytes, "pictures", &[IMAGES])?;
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

/// The labels in an IDX file, raw or gzipped: bytes, or rows of 32-bit integers
/// of which the first is the label, like QMNIST's. The file's labels count from
/// `first`, what comes out from 0.
///
/// # Errors
/// Where the file is not a whole IDX file of labels from `first` and, counted
/// from there, below `classes`. A network without classes (0) takes any label.
pub fn read_labels(path: &Path, first: u8, classes: u16) -> Result<Vec<u8>> {
    labels(path, read(path)?, first, classes)
}

/// The labels in the bytes of such a file, whose path is as for [`images`].
///
/// # Errors
/// As [`read_labels`].
pub fn labels(path: &Path, bytes: Vec<u8>, first: u8, classes: u16) -> Result<Vec<u8>> {
    let bytes = unpack(path, bytes)?;
    let magics = [BYTE_LABELS, ROW_LABELS];
    let (magic, [count], mut body) = header::<1>(path, &bytes, "labels", &magics)?;
    if magic == ROW_LABELS {
        return from_zero(path, first_column(path, body, count)?, first, classes);
    }
    exact(path, &mut body, count)?;
    from_zero(path, body.iter().map(|&label| label.into()), first, classes)
}

/// The first column of a table of 32-bit integers.
fn first_column<'a>(
    path: &Path,
    bytes: &'a [u8],
    count: usize,
) -> Result<impl Iterator<Item = i64> + 'a> {
    let Some((columns, mut body)) = bytes.split_first_chunk() else {
        bail!("{}: the IDX header is cut short", path.display());
    };
    let columns = u32::from_be_bytes(*columns) as usize;
    ensure!(
        columns > 0,
        "{}: its table of labels has no column",
        path.display()
    );
    let length = count.saturating_mul(columns).saturating_mul(4);
    exact(path, &mut body, length)?;
    let (numbers, _) = body.as_chunks();
    let labels = numbers.iter().step_by(columns);
    Ok(labels.map(|&label| i32::from_be_bytes(label).into()))
}

/// Checks labels that count from `first`, and counts them from 0.
fn from_zero(
    path: &Path,
    labels: impl Iterator<Item = i64>,
    first: u8,
    classes: u16,
) -> Result<Vec<u8>> {
    let first = i64::from(first);
    let last = match classes {
        0 => 255,
        classes => 255.min(first + i64::from(classes) - 1),
    };
    let checked = labels.enumerate().map(|(index, label)| {
        ensure!(
            (first..=last).contains(&label),
            "{}: label {label} at index {index}; with classes = {classes} only {first} to {last} are allowed",
            path.display(),
        );
        Ok((label - first) as u8)
    });
    checked.collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn unpack(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if FileType::of(&bytes) != FileType::Gzip {
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

/// Checks the magic number, which must be one of `magics`, and reads `D` sizes.
fn header<'a, const D: usize>(
    path: &Path,
    bytes: &'a [u8],
    what: &str,
    magics: &[u32],
) -> Result<(u32, [usize; D], &'a [u8])> {
    let number = |index: usize| -> Option<u32> {
        let bytes = bytes.get(4 * index..4 * index + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let Some(magic) = number(0) else {
        bail!("{}: too short for an IDX file", path.display());
    };
    if !magics.contains(&magic) {
        let expected: Vec<String> = magics.iter().map(|m| format!("{m:#010x}")).collect();
        let expected = expected.join(" or ");
        match FileType::of(bytes) {
            FileType::Idx | FileType::Unknown => bail!(
                "{}: its magic number is {magic:#010x}, but IDX files of {what} start with {expected}",
                path.display()
            ),
            other => bail!(
                "{} is {other}; IDX files of {what} start with the magic number {expected}",
                path.display()
            ),
        }
    }
    let mut sizes = [0; D];
    for (index, size) in sizes.iter_mut().enumerate() {
        let Some(number) = number(index + 1) else {
            bail!("{}: the IDX header is cut short", path.display());
        };
        *size = number as usize;
    }
    Ok((magic, sizes, &bytes[4 * (D + 1)..]))
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
