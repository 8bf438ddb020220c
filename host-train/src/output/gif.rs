//! Animations.

use anyhow::{Context, Result, ensure};
use gif::{Encoder, Frame, Repeat};

/// Levels of grey. Noise does not compress, so more would only make the file
/// larger.
const GREYS: u8 = 32;

/// How long frames stay, in hundredths of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Each but the last.
    pub each: u16,
    /// The last.
    pub last: u16,
}

impl Pace {
    /// Of a picture's denoising, which ends with the picture.
    pub const DENOISING: Self = Self {
        each: 10,
        last: 250,
    };
}

/// An endless animation of frames of `width` x `height` grey values.
///
/// # Errors
/// Where there is no frame, or one does not have the size.
pub fn encode_gif(width: usize, height: usize, frames: &[Vec<u8>], pace: Pace) -> Result<Vec<u8>> {
    ensure!(!frames.is_empty(), "an animation without frames");
    let context = || format!("{width} x {height} pixels are too many for a GIF");
    let columns = u16::try_from(width).with_context(context)?;
    let lines = u16::try_from(height).with_context(context)?;
    let palette: Vec<u8> = (0..GREYS)
        .flat_map(|level| [(u16::from(level) * 255 / u16::from(GREYS - 1)) as u8; 3])
        .collect();
    let mut encoder = Encoder::new(Vec::new(), columns, lines, &palette)?;
    encoder.set_repeat(Repeat::Infinite)?;
    for (index, frame) in frames.iter().enumerate() {
        ensure!(
            frame.len() == width * height,
            "frame {index} has {} pixels, not {width} x {height}",
            frame.len()
        );
        let levels: Vec<u8> = frame.iter().map(|&grey| level(grey)).collect();
        let mut frame = Frame::from_indexed_pixels(columns, lines, levels, None);
        frame.delay = if index + 1 == frames.len() {
            pace.last
        } else {
            pace.each
        };
        encoder.write_frame(&frame)?;
    }
    Ok(encoder.into_inner()?)
}

/// The nearest of the palette's greys.
fn level(grey: u8) -> u8 {
    ((u16::from(grey) * u16::from(GREYS - 1) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_to_what_was_encoded() {
        let frames = vec![vec![0, 255, 128, 64, 32, 1], vec![255; 6]];
        let bytes = encode_gif(3, 2, &frames, Pace::DENOISING).unwrap();
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(&bytes[..]).unwrap();
        assert_eq!((decoder.width(), decoder.height()), (3, 2));
        let mut delays = Vec::new();
        for expected in &frames {
            let frame = decoder.read_next_frame().unwrap().unwrap();
            delays.push(frame.delay);
            for (rgba, &grey) in frame.buffer.chunks(4).zip(expected) {
                assert!(rgba[0].abs_diff(grey) <= 255 / (GREYS - 1) / 2 + 1);
            }
        }
        assert!(decoder.read_next_frame().unwrap().is_none());
        assert_eq!(delays, [Pace::DENOISING.each, Pace::DENOISING.last]);
    }

    #[test]
    fn refuses_what_is_no_animation() {
        assert!(encode_gif(3, 2, &[], Pace::DENOISING).is_err());
        assert!(encode_gif(3, 2, &[vec![0; 5]], Pace::DENOISING).is_err());
        assert!(encode_gif(70_000, 1, &[vec![0; 70_000]], Pace::DENOISING).is_err());
    }
}
