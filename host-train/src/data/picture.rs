//! A picture from a file as the network sees pictures: a small grey square.
//!
//! Whatever a PNG, JPEG or WebP may hold is taken: any bit depth, palettes, grey
//! or colour, with alpha or without. A picture that is grey, opaque and of the
//! right size keeps its grey values to the last.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use image::imageops::{FilterType, resize};
use image::{
    DynamicImage, ImageBuffer, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Luma,
    Rgba,
};

use super::names::shown;
use crate::file_type::FileType;

/// Largest side of a picture: a few hundred bytes can claim to be a billion
/// pixels.
const MAX_SIDE: u32 = 8192;
/// Shares of red, green and blue in the brightness (ITU-R BT.709), of values as
/// they are stored.
const BRIGHTNESS: [f32; 3] = [0.2126, 0.7152, 0.0722];

/// A picture made small, and what was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Square {
    /// Grey values, row by row.
    pub pixels: Vec<u8>,
    /// Width and height in the file.
    pub sides: (u32, u32),
    /// Whether any of its pixels was not grey.
    pub coloured: bool,
    /// Whether any of its pixels was not opaque.
    pub transparent: bool,
}

impl Square {
    /// The middle square of a PNG, JPEG or WebP, which its first bytes tell
    /// apart: turned as its orientation says, laid on white, grey and resized
    /// to `size` pixels a side.
    ///
    /// White is what a browser or a printer lays it on. The resizing is bicubic
    /// (Catmull-Rom) and takes the mean over what becomes one pixel, so that
    /// fine lines get fainter but do not vanish.
    ///
    /// # Errors
    /// Where the file cannot be read, is no whole picture or is too large.
    pub fn read(path: &Path, size: u32) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", shown(path)))?;
        let picture = decode(&bytes).with_context(|| shown(path))?;
        let deep = picture.color().bytes_per_pixel() > picture.color().channel_count();
        Ok(match deep {
            true => Self::of(&picture.into_rgba16(), size, |v| f32::from(v) / 65_535.0),
            false => Self::of(&picture.into_rgba8(), size, |v| f32::from(v) / 255.0),
        })
    }

    /// The same from pixels, whose values `unit` brings to 0 to 1.
    fn of<T: image::Primitive>(
        picture: &ImageBuffer<Rgba<T>, Vec<T>>,
        size: u32,
        unit: impl Fn(T) -> f32,
    ) -> Self
    where
        Rgba<T>: image::Pixel<Subpixel = T>,
    {
        let (width, height) = picture.dimensions();
        let side = width.min(height);
        let (left, top) = ((width - side) / 2, (height - side) / 2);
        let (mut coloured, mut transparent) = (false, false);
        let grey = ImageBuffer::from_fn(side, side, |x, y| {
            let Rgba([red, green, blue, alpha]) = *picture.get_pixel(left + x, top + y);
            coloured |= red != green || green != blue;
            let alpha = unit(alpha);
            transparent |= alpha < 1.0;
            let colours = [red, green, blue].map(&unit);
            let brightness: f32 = colours.iter().zip(BRIGHTNESS).map(|(c, b)| c * b).sum();
            Luma([brightness * alpha + (1.0 - alpha)])
        });
        let grey = match side == size {
            true => grey,
            false => resize(&grey, size, size, FilterType::CatmullRom),
        };
        let byte = |value: &f32| (value * 255.0).round().clamp(0.0, 255.0) as u8;
        Self {
            pixels: grey.as_raw().iter().map(byte).collect(),
            sides: (width, height),
            coloured,
            transparent,
        }
    }

    /// Whether it shows nothing at all.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.pixels.windows(2).all(|pair| pair[0] == pair[1])
    }
}

fn decode(bytes: &[u8]) -> Result<DynamicImage> {
    let found = FileType::of(bytes);
    let format = match found {
        FileType::Png => ImageFormat::Png,
        FileType::Jpeg => ImageFormat::Jpeg,
        FileType::Webp => ImageFormat::WebP,
        other => bail!("is {other}, not a PNG, JPEG or WebP: convert, replace or remove it"),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    reader.limits(limits);
    let decoded = || -> Result<DynamicImage, ImageError> {
        let mut decoder = reader.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut picture = DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok(picture)
    };
    // Its text has that of its cause.
    decoded().map_err(|error| match error {
        ImageError::Limits(_) => anyhow!(
            "is {found} of more than {MAX_SIDE} pixels a side: make it smaller or remove it"
        ),
        error => {
            // Some decoders break lines.
            let text = error.to_string();
            let text: Vec<&str> = text.split_whitespace().collect();
            anyhow!(
                "is {found} that is damaged or cut short ({}): replace or remove it",
                text.join(" ")
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageEncoder;
    use png::{BitDepth, ColorType};

    /// A PNG of these bytes, read at `size` pixels a side.
    fn read(
        colour: ColorType,
        depth: BitDepth,
        sides: (u32, u32),
        bytes: &[u8],
        size: u32,
    ) -> Square {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let file = std::fs::File::create(&path).unwrap();
        let mut encoder = png::Encoder::new(file, sides.0, sides.1);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        if colour == ColorType::Indexed {
            encoder.set_palette(vec![0, 0, 0, 255, 0, 0, 0, 255, 0, 255, 255, 255]);
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(bytes).unwrap();
        writer.finish().unwrap();
        Square::read(&path, size).unwrap()
    }

    #[test]
    fn grey_of_the_right_size_stays_as_it_is() {
        let bytes: Vec<u8> = (0..=255).collect();
        let square = read(ColorType::Grayscale, BitDepth::Eight, (16, 16), &bytes, 16);
        assert_eq!(square.pixels, bytes);
        assert!(!square.coloured && !square.transparent && !square.is_blank());
        // The same as RGB, and as 16 bits.
        let rgb: Vec<u8> = bytes.iter().flat_map(|&v| [v; 3]).collect();
        let square = read(ColorType::Rgb, BitDepth::Eight, (16, 16), &rgb, 16);
        assert_eq!(square.pixels, bytes);
        assert!(!square.coloured);
        let wide: Vec<u8> = bytes.iter().flat_map(|&v| [v; 2]).collect();
        let square = read(ColorType::Grayscale, BitDepth::Sixteen, (16, 16), &wide, 16);
        assert_eq!(square.pixels, bytes);
    }

    #[test]
    fn every_depth_and_palettes() {
        let grey = ColorType::Grayscale;
        let one = read(grey, BitDepth::One, (2, 2), &[0b0100_0000, 0b1000_0000], 2);
        assert_eq!(one.pixels, [0, 255, 255, 0]);
        let two = read(grey, BitDepth::Two, (2, 2), &[0b0001_0000, 0b1011_0000], 2);
        assert_eq!(two.pixels, [0, 85, 170, 255]);
        let four = read(grey, BitDepth::Four, (2, 2), &[0x0f, 0x3c], 2);
        assert_eq!(four.pixels, [0, 255, 51, 204]);
        let indexed = read(
            ColorType::Indexed,
            BitDepth::Eight,
            (2, 2),
            &[0, 1, 2, 3],
            2,
        );
        assert_eq!(indexed.pixels, [0, 54, 182, 255]);
        assert!(indexed.coloured);
    }

    #[test]
    fn transparent_pixels_are_laid_on_white() {
        let bytes = [0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 51];
        let square = read(ColorType::Rgba, BitDepth::Eight, (2, 2), &bytes, 2);
        assert_eq!(square.pixels, [255, 0, 255, 204]);
        assert!(square.transparent && !square.coloured);
        let square = read(
            ColorType::GrayscaleAlpha,
            BitDepth::Eight,
            (1, 1),
            &[255, 0],
            4,
        );
        assert!(square.is_blank() && square.transparent);
    }

    #[test]
    fn the_middle_is_taken_and_resized() {
        // Black, a white square in the middle, black.
        let wide: Vec<u8> = (0..8 * 24)
            .map(|i| if (8..16).contains(&(i % 24)) { 255 } else { 0 })
            .collect();
        let square = read(ColorType::Grayscale, BitDepth::Eight, (24, 8), &wide, 8);
        assert_eq!((square.sides, square.pixels), ((24, 8), vec![255; 64]));
        let tall: Vec<u8> = (0..24 * 8).map(|i| (i / 64 == 1) as u8 * 255).collect();
        let square = read(ColorType::Grayscale, BitDepth::Eight, (8, 24), &tall, 8);
        assert_eq!(square.pixels, vec![255; 64]);

        // Stripes of one pixel become grey all over, not black or white.
        let stripes: Vec<u8> = (0..64 * 64).map(|i| (i % 2) as u8 * 255).collect();
        let square = read(ColorType::Grayscale, BitDepth::Eight, (64, 64), &stripes, 8);
        assert!(square.pixels.iter().all(|&v| (120..136).contains(&v)));
        // And a small picture is enlarged: halves stay halves.
        let halves = [0, 0, 255, 255].repeat(4);
        let square = read(ColorType::Grayscale, BitDepth::Eight, (4, 4), &halves, 16);
        assert_eq!(square.pixels.len(), 256);
        assert!(
            square
                .pixels
                .chunks(16)
                .all(|row| row[0] == 0 && row[15] == 255)
        );
    }

    #[test]
    fn a_photograph_is_turned_as_its_orientation_says() {
        // Exif, big-endian, with one entry: orientation 6, a quarter clockwise.
        let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut bytes);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        // White above, black below.
        let halves: Vec<u8> = (0..256).map(|i| if i < 128 { 255 } else { 0 }).collect();
        encoder
            .encode(&halves, 16, 16, image::ExtendedColorType::L8)
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.jpg");
        std::fs::write(&path, bytes).unwrap();
        let square = Square::read(&path, 2).unwrap();
        let white: Vec<bool> = square.pixels.iter().map(|&v| v > 128).collect();
        assert_eq!(white, [false, true, false, true]);
    }

    #[test]
    fn a_file_that_is_no_whole_picture_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.png");
        let whole = crate::output::encode_png(8, 8, &[7; 64]).unwrap();
        // As wide as it claims to be, it would fill gigabytes.
        let mut claims = whole.clone();
        claims[16..20].copy_from_slice(&1_000_000u32.to_be_bytes());
        let crc = crc(&claims[12..29]);
        claims[29..33].copy_from_slice(&crc.to_be_bytes());
        for (bytes, words) in [
            (&b""[..], "is empty, not a PNG"),
            (
                b"\xff\xd8\xff\xe0 JPEG",
                "is a JPEG that is damaged or cut short",
            ),
            (
                &whole[..whole.len() / 2],
                "is a PNG that is damaged or cut short",
            ),
            (&claims, "8192 pixels a side"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = format!("{:#}", Square::read(&path, 8).unwrap_err());
            assert!(
                error.contains("broken.png: ") && error.contains(words),
                "{error}"
            );
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    fn crc(bytes: &[u8]) -> u32 {
        tiny_ddpm::picture::picture_hash(bytes)
    }
}
