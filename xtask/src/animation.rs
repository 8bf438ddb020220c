//! Pictures one after the other in a GIF file.

use anyhow::{Context, Result};
use gif::{Encoder, Frame, Repeat};
use std::fs;
use std::path::Path;

/// Side that a picture is scaled up to, by a whole number, in pixels.
const SIDE: usize = 224;
/// Hundredths of a second that a picture stays.
const DELAY: u16 = 4;
/// Shades of grey.
const GREYS: u8 = 32;

/// Writes square pictures of `side` pixels as an endless animation.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, side: usize, pictures: &[&[u8]]) -> Result<()> {
    let failed = || format!("{} could not be written", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::write(path, encode(side, pictures)?).with_context(failed)
}

fn encode(side: usize, pictures: &[&[u8]]) -> Result<Vec<u8>> {
    let zoom = (SIDE / side.max(1)).max(1);
    let width = u16::try_from(side * zoom).context("the pictures are too large for a GIF")?;
    let palette: Vec<u8> = (0..GREYS)
        .flat_map(|level| [(u16::from(level) * 255 / u16::from(GREYS - 1)) as u8; 3])
        .collect();
    let mut encoder = Encoder::new(Vec::new(), width, width, &palette)?;
    encoder.set_repeat(Repeat::Infinite)?;
    for picture in pictures {
        let level = |grey: u8| ((u16::from(grey) * u16::from(GREYS - 1) + 127) / 255) as u8;
        let levels: Vec<u8> = (0..side * zoom)
            .flat_map(|y| (0..side * zoom).map(move |x| y / zoom * side + x / zoom))
            .map(|at| level(picture.get(at).copied().unwrap_or(0)))
            .collect();
        let mut frame = Frame::from_indexed_pixels(width, width, levels, None);
        frame.delay = DELAY;
        encoder.write_frame(&frame)?;
    }
    Ok(encoder.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_to_the_pictures() {
        let pictures: [&[u8]; 2] = [&[0, 255, 255, 0], &[255, 0, 0, 0]];
        let bytes = encode(2, &pictures).unwrap();
        let mut decoder = gif::DecodeOptions::new().read_info(&bytes[..]).unwrap();
        for picture in pictures {
            let frame = decoder.read_next_frame().unwrap().unwrap();
            assert_eq!((frame.width, frame.delay), (224, DELAY));
            // The first pixel of each quarter.
            let quarters = [(0, 0), (112, 0), (0, 112), (112, 112)];
            let levels = quarters.map(|(x, y)| frame.buffer[y * 224 + x]);
            let expected: Vec<u8> = picture.iter().map(|grey| grey / 255 * 31).collect();
            assert_eq!(levels, *expected);
        }
        assert!(decoder.read_next_frame().unwrap().is_none());
    }
}
