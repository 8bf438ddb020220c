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
#[cfg(all(test, feature = "explain"))]
#[path = "../../tests/common/page.rs"]
mod page;
mod scatter;
mod staged;
mod terminal;
mod unfinished;

pub use self::gif::encode_gif;
pub use destination::{check_file, check_folder};
pub use error::message;
pub use grid::Grid;
pub use map::{MAP_STYLE, Map};
#[cfg(feature = "explain")]
pub use math::typeset;
pub use npy::encode_npy;
#[cfg(all(test, feature = "explain"))]
pub(crate) use page::well_set;
pub use scatter::{scatter, scatter_png};
pub use staged::Staged;
pub(crate) use staged::{PUBLIC, beside};
pub use terminal::{Drawing, Style, print};
pub use unfinished::{UNFINISHED, refuse_taken, remove_unfinished};

use std::path::Path;

use anyhow::Result;

/// A path as a shell reads it again: in quotes where it needs them.
#[must_use]
pub fn in_shell(path: &Path) -> String {
    let text = path.to_string_lossy();
    // It refuses but a NUL, which no path has.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), Into::into)
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
}
