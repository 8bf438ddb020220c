//! Types of files, found from their first bytes.
//!
//! Names lie: servers unpack on the way, browsers save error pages under the
//! name of the file that was asked for, and photographs are renamed.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

/// What the first bytes of a file say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// No byte at all.
    Empty,
    /// IDX: arrays of numbers, as MNIST's.
    Idx,
    /// Gzip, of whatever.
    Gzip,
    /// A ZIP archive.
    Zip,
    /// XZ, of whatever.
    Xz,
    /// A NumPy array.
    Npy,
    /// A picture.
    Png,
    /// A picture.
    Jpeg,
    /// A picture.
    Webp,
    /// A picture.
    Gif,
    /// A picture.
    Bmp,
    /// A picture.
    Tiff,
    /// A picture: HEIC or AVIF.
    Heif,
    /// A PDF.
    Pdf,
    /// A page for a browser.
    Html,
    /// Another XML document, such as a storage service's refusal.
    Xml,
    /// What Git has in place of a large file.
    LfsPointer,
    /// Other text.
    Text,
    /// None of these.
    Unknown,
}

/// Bytes that are enough to tell.
const ENOUGH: usize = 512;

impl FileType {
    /// The type of a file that starts with these bytes, a few hundred or all.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::Empty,
            [0, 0, 8 | 9 | 0x0b..=0x0e, 1..=4, ..] => Self::Idx,
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Self::Zip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Self::Npy,
            [0x89, b'P', b'N', b'G', ..] => Self::Png,
            [0xff, 0xd8, 0xff, ..] => Self::Jpeg,
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Self::Webp,
            [b'G', b'I', b'F', b'8', ..] => Self::Gif,
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Self::Bmp,
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Self::Tiff,
            [0, 0, 0, _, b'f', b't', b'y', b'p', ..] => Self::Heif,
            [b'%', b'P', b'D', b'F', ..] => Self::Pdf,
            _ => Self::of_text(bytes),
        }
    }

    /// The type of a file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of_file(path: &Path) -> Result<Self> {
        let mut start = Vec::new();
        File::open(path)
            .and_then(|file| file.take(ENOUGH as u64).read_to_end(&mut start))
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::of(&start))
    }

    fn of_text(bytes: &[u8]) -> Self {
        let start = &bytes[..bytes.len().min(ENOUGH)];
        // A character may be cut in two at the end.
        let text = match std::str::from_utf8(start) {
            Ok(text) => text,
            Err(error) if error.error_len().is_none() => {
                std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return Self::Unknown,
        };
        let is_text = |c: char| !c.is_control() || c.is_whitespace();
        if text.is_empty() || !text.chars().all(is_text) {
            return Self::Unknown;
        }
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let text = text.to_ascii_lowercase();
        if text.starts_with("<!doctype html") || text.contains("<html") || text.contains("<head>") {
            Self::Html
        } else if text.starts_with("<?xml") {
            Self::Xml
        } else if text.starts_with("version https://git-lfs") {
            Self::LfsPointer
        } else {
            Self::Text
        }
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Idx => "an IDX file",
            Self::Gzip => "a gzip file",
            Self::Zip => "a ZIP archive, which must be unpacked first",
            Self::Xz => "an XZ file, which must be unpacked first",
            Self::Npy => "a NumPy array",
            Self::Png => "a PNG",
            Self::Jpeg => "a JPEG",
            Self::Webp => "a WebP",
            Self::Gif => "a GIF",
            Self::Bmp => "a BMP",
            Self::Tiff => "a TIFF",
            Self::Heif => "a HEIC or AVIF",
            Self::Pdf => "a PDF",
            Self::Html => "an HTML page, probably a download that failed",
            Self::Xml => "an XML document, probably a download that failed",
            Self::LfsPointer => "a Git LFS pointer, in place of a file that `git lfs pull` fetches",
            Self::Text => "a text file",
            Self::Unknown => "of an unknown type",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_by_first_bytes() {
        for (bytes, expected) in [
            (&b""[..], FileType::Empty),
            (b"\0\0\x08\x03\0\0", FileType::Idx),
            (b"\0\0\x0c\x02\0\0", FileType::Idx),
            (b"\x1f\x8b\x08\0", FileType::Gzip),
            (b"PK\x03\x04rest", FileType::Zip),
            (b"\xfd7zXZ\0", FileType::Xz),
            (b"\x93NUMPY\x01\0", FileType::Npy),
            (b"\x89PNG\r\n\x1a\n", FileType::Png),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", FileType::Jpeg),
            (b"RIFF\x10\0\0\0WEBPVP8 ", FileType::Webp),
            (b"RIFF\x10\0\0\0WAVEfmt ", FileType::Unknown),
            (b"GIF89a", FileType::Gif),
            (b"BM\x46\0\0\0\0\0\0\0\x36", FileType::Bmp),
            (b"BMW 3 Series, and other cars", FileType::Text),
            (b"II*\0", FileType::Tiff),
            (b"\0\0\0\x18ftypheic", FileType::Heif),
            (b"%PDF-1.7", FileType::Pdf),
            (b"\xef\xbb\xbf \n<!DOCTYPE html>", FileType::Html),
            (b"<?xml version=\"1.0\"?><html>", FileType::Html),
            (b"<?xml version=\"1.0\"?><Error>", FileType::Xml),
            (
                b"version https://git-lfs.github.com/spec/v1",
                FileType::LfsPointer,
            ),
            (b"404: Not Found", FileType::Text),
            (b"\x01\x02\x03\x04", FileType::Unknown),
        ] {
            assert_eq!(FileType::of(bytes), expected, "{bytes:?}");
        }
        // Cut within a character of two bytes.
        let umlauts = "ä".repeat(300);
        assert_eq!(FileType::of(&umlauts.as_bytes()[..511]), FileType::Text);
        assert_eq!(FileType::of(&umlauts.as_bytes()[1..]), FileType::Unknown);
    }
}
