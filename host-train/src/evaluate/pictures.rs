//! Pictures from NumPy files: what `sample` writes, or any other generator.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use npyz::{Deserialize, NpyFile};
use tiny_ddpm::picture::picture_hash;

use crate::generate::Pictures;

/// `u8`, pictures x rows x columns.
pub const IMAGES: &str = "images.npy";
/// `i64` for each picture: its class, or -1 for none.
const LABELS: &str = "labels.npy";

/// The pictures in a folder. Without labels none has a class.
///
/// # Errors
/// Where a file is not what it should be.
pub fn read_pictures(folder: &Path) -> Result<Pictures> {
    let (shape, pixels) = array::<u8>(&folder.join(IMAGES))?;
    let &[count, rows, columns] = shape.as_slice() else {
        anyhow::bail!(
            "{}: an array of shape {shape:?}; pictures x rows x columns is wanted",
            folder.join(IMAGES).display()
        );
    };
    ensure!(
        rows == columns && count > 0,
        "{}: {count} pictures of {rows} x {columns} pixels; squares are wanted",
        folder.join(IMAGES).display()
    );
    let (count, size) = (usize::try_from(count)?, usize::try_from(rows)?);
    let labels = folder.join(LABELS);
    let classes = match labels.is_file() {
        true => array::<i64>(&labels)?
            .1
            .into_iter()
            .map(|label| match label {
                -1 => Ok(None),
                _ => u8::try_from(label).map(Some).with_context(|| {
                    format!(
                        "{}: {label} is no class (0 to 255, or -1)",
                        labels.display()
                    )
                }),
            })
            .collect::<Result<_>>()?,
        false => vec![None; count],
    };
    ensure!(
        classes.len() == count,
        "{} has {} labels for {count} pictures",
        labels.display(),
        classes.len()
    );
    let states = pixels.chunks_exact((size * size).max(1));
    Ok(Pictures {
        size,
        classes,
        // Of pictures alone there is no x_0.
        states: states.map(picture_hash).collect(),
        pixels,
    })
}

fn array<T: Deserialize>(path: &Path) -> Result<(Vec<u64>, Vec<T>)> {
    let read = || -> Result<_> {
        let file = NpyFile::new(BufReader::new(File::open(path)?))?;
        ensure!(
            file.order() == npyz::Order::C,
            "its order is not C: save a copy made by numpy.ascontiguousarray"
        );
        let shape = file.shape().to_vec();
        Ok((shape, file.into_vec::<T>()?))
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::encode_npy;

    fn folder(shape: &[usize], labels: &[i64]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..shape.iter().product())
            .map(|i: usize| i as u8)
            .collect();
        let images = encode_npy(shape, &pixels).unwrap();
        std::fs::write(folder.path().join(IMAGES), images).unwrap();
        let labels = encode_npy(&[labels.len()], labels).unwrap();
        std::fs::write(folder.path().join(LABELS), labels).unwrap();
        folder
    }

    #[test]
    fn what_sample_writes_is_read() {
        let folder = folder(&[2, 3, 3], &[7, -1]);
        let found = read_pictures(folder.path()).unwrap();
        assert_eq!((found.size, found.len()), (3, 2));
        assert_eq!(found.classes, [Some(7), None]);
        assert!(found.pixels.iter().copied().eq(0..18));
        std::fs::remove_file(folder.path().join(LABELS)).unwrap();
        let found = read_pictures(folder.path()).unwrap();
        assert_eq!(found.classes, [None, None]);
    }

    #[test]
    fn what_is_no_set_of_pictures_is_refused() {
        for (shape, labels, words) in [
            (&[2, 9][..], &[1, 2][..], "shape [2, 9]"),
            (&[2, 3, 4], &[1, 2], "3 x 4"),
            (&[2, 3, 3], &[1], "1 labels for 2"),
            (&[2, 3, 3], &[1, 256], "256 is no class"),
            (&[2, 3, 3], &[1, -2], "-2 is no class"),
        ] {
            let folder = folder(shape, labels);
            let error = format!("{:#}", read_pictures(folder.path()).unwrap_err());
            assert!(error.contains(words), "{words}: {error}");
        }
        let folder = folder(&[2, 3, 3], &[1, 2]);
        std::fs::write(folder.path().join(IMAGES), b"no array").unwrap();
        let error = format!("{:#}", read_pictures(folder.path()).unwrap_err());
        assert!(error.contains("images.npy"), "{error}");
    }
}
