//! Pictures side by side in a PNG file.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

/// Side that a picture is scaled up to, by a whole number, in pixels of the
/// file; a larger one keeps its size.
const SIDE: usize = 112;
/// Pixels of the file around each picture.
const BORDER: usize = 6;
/// Pictures in a row of the sheet.
const COLUMNS: usize = 5;
const BACKGROUND: u8 = 48;

/// Writes square pictures of `side` pixels, in rows of five.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, side: usize, pictures: &[&[u8]]) -> Result<()> {
    let (width, height, pixels) = draw(side, pictures);
    let failed = || format!("{} could not be written", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    let file = BufWriter::new(File::create(path).with_context(failed)?);
    let mut encoder = png::Encoder::new(file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().with_context(failed)?;
    writer.write_image_data(&pixels).with_context(failed)?;
    writer.finish().with_context(failed)
}

/// Width, height and grey values of the sheet.
fn draw(side: usize, pictures: &[&[u8]]) -> (usize, usize, Vec<u8>) {
    let zoom = (SIDE / side.max(1)).max(1);
    let columns = pictures.len().clamp(1, COLUMNS);
    let rows = pictures.len().div_ceil(columns).max(1);
    let cell = side * zoom + BORDER;
    let (width, height) = (columns * cell + BORDER, rows * cell + BORDER);
    let mut sheet = vec![BACKGROUND; width * height];
    for (number, picture) in pictures.iter().enumerate() {
        let left = BORDER + number % columns * cell;
        let top = BORDER + number / columns * cell;
        for y in 0..side * zoom {
            for x in 0..side * zoom {
                let pixel = picture.get(y / zoom * side + x / zoom);
                sheet[(top + y) * width + left + x] = pixel.copied().unwrap_or(BACKGROUND);
            }
        }
    }
    (width, height, sheet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_has_its_place() {
        let pictures = [[1; 4], [2; 4], [3; 4], [4; 4], [5; 4], [6; 4]];
        let pictures: Vec<&[u8]> = pictures.iter().map(|p| &p[..]).collect();
        let (width, height, sheet) = draw(2, &pictures);
        let cell = SIDE + BORDER;
        assert_eq!((width, height), (5 * cell + BORDER, 2 * cell + BORDER));
        assert_eq!(sheet.len(), width * height);
        for grey in 1..=6 {
            let count = sheet.iter().filter(|&&pixel| pixel == grey).count();
            assert_eq!(count, SIDE * SIDE);
        }
        assert_eq!(sheet[(BORDER + cell) * width + BORDER], 6);
        // As in README.md: 28 pixels become 112.
        let digits = [[0; 28 * 28]; 10];
        let digits: Vec<&[u8]> = digits.iter().map(|p| &p[..]).collect();
        let (width, height, _) = draw(28, &digits);
        assert_eq!((width, height), (596, 242));
    }
}
