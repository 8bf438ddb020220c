//! What the tool leaves for people and scripts: arrays, pictures, animations
//! and drawings in the terminal.
//!
//! Encoders return bytes and touch no disk; [`Staged`] puts them there, each
//! file whole or not at all, and [`generations`] does so with folders.

mod destination;
mod error;
pub mod generations;
mod gif;
mod grid;
mod map;
#[cfg(feature = "explain")]
mod math;
mod npy;
mod number;
#[cfg(all(test, feature = "explain"))]
#[path = "../../tests/common/page.rs"]
mod page;
mod scatter;
mod staged;
mod terminal;
mod unfinished;

pub use self::gif::{Pace, encode_gif};
pub use destination::{check_file, check_folder};
pub use error::message;
pub use grid::Grid;
pub use map::{MAP_STYLE, Map};
#[cfg(feature = "explain")]
pub use math::typeset;
pub use npy::encode_npy;
pub use number::{counted, grouped};
#[cfg(all(test, feature = "explain"))]
pub(crate) use page::well_set;
pub use scatter::{scatter, scatter_png};
pub use staged::Staged;
pub(crate) use staged::{PUBLIC, beside};
pub use terminal::{Drawing, Style, draw_whole, print};
pub use unfinished::{UNFINISHED, refuse_taken, remove_unfinished};

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

/// A path as a shell reads it again: in quotes where it needs them.
#[must_use]
pub fn in_shell(path: &Path) -> String {
    match path.to_str() {
        // It refuses but a NUL, which no path has.
        Some(text) => shlex::try_quote(text).map_or_else(|_| text.to_owned(), Into::into),
        // The quotes of bash and zsh in which bytes have numbers.
        None => {
            let text = escaped_with(path.as_os_str(), |c| matches!(c, '\\' | '\''));
            format!("$'{text}'")
        }
    }
}

/// A file's name or path for messages: Unicode as it is, control characters and
/// bytes that are not Unicode as `\xe8`. Different names give different texts.
#[must_use]
pub fn escaped(name: &OsStr) -> String {
    // Where it separates folders it is in no name.
    escaped_with(name, |c| c == '\\' && !std::path::is_separator(c))
}

fn escaped_with(name: &OsStr, with_backslash: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    let escape = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(text, "\\x{byte:02x}");
        }
    };
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                escape(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            if with_backslash(c) {
                text.push('\\');
            }
            text.push(c);
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// A PNG of `width` x `height` grey values.
///
/// # Errors
/// Where the values are not as many as the size says, or the size is 0.
pub fn encode_png(width: usize, height: usize, grey: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width.try_into()?, height.try_into()?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(grey)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_would_part_them() {
        for (path, quoted) in [
            ("runs/mine-2", "runs/mine-2"),
            ("my runs/a", "'my runs/a'"),
            ("it's", "\"it's\""),
            ("", "''"),
        ] {
            assert_eq!(in_shell(Path::new(path)), quoted);
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_unicode_stay_apart() {
        use std::os::unix::ffi::OsStrExt;

        let names: [(&[u8], &str, &str); 5] = [
            (b"caf\xe8", r"caf\xe8", r"$'caf\xe8'"),
            (b"caf\xe9's", r"caf\xe9's", r"$'caf\xe9\'s'"),
            (br"caf\xe8", r"caf\\xe8", r#""caf\\xe8""#),
            ("café".as_bytes(), "café", "'café'"),
            (b"a\nb", r"a\x0ab", "'a\nb'"),
        ];
        for (name, message, quoted) in names {
            let name = OsStr::from_bytes(name);
            assert_eq!(escaped(name), message);
            assert_eq!(in_shell(Path::new(name)), quoted);
        }
    }
}
