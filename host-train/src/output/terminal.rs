//! Pictures in the terminal: a character stands for two pixels, one above the
//! other.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::ops::Range;

use anyhow::{Context, Result};

/// Columns between two drawings.
const GAP: usize = 2;
/// Columns of a terminal whose width is not known.
const DEFAULT_WIDTH: usize = 120;
/// Pixels from this on are seen as grey.
const VISIBLE: u8 = 40;
/// Pixels from this on are bright, and those below [`VISIBLE`] dark.
const BRIGHT: u8 = 128;

/// Writes to standard output. A reader who has seen enough, like `head`, is no
/// error.
///
/// # Errors
/// Where standard output cannot be written for another reason.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// How a drawing is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns there are.
    pub width: usize,
    /// Whether greys can be shown as colours; else they are shades of characters.
    pub greys: bool,
}

impl Style {
    /// What standard output can show.
    #[must_use]
    pub fn of_stdout() -> Self {
        let (_, columns) = console::Term::stdout()
            .size_checked()
            .unwrap_or((0, DEFAULT_WIDTH as u16));
        Self {
            width: columns.into(),
            greys: io::stdout().is_terminal() && console::colors_enabled(),
        }
    }
}

/// A picture and the line under it.
#[derive(Clone, Debug)]
pub struct Drawing<'p> {
    /// Grey values, row by row.
    pub pixels: &'p [u8],
    /// What stands under it.
    pub caption: String,
}

impl Drawing<'_> {
    /// Square pictures of `size` pixels a side, as many side by side as the
    /// terminal is wide. Margins that are dark in all of them are left out.
    #[must_use]
    pub fn draw_all(drawings: &[Self], size: usize, style: Style) -> String {
        let (rows, columns) = visible(drawings, size, VISIBLE);
        let captions = drawings.iter().map(|d| d.caption.chars().count());
        let width = captions.max().unwrap_or(0).max(columns.len());
        let side_by_side = ((style.width + GAP) / (width + GAP)).max(1);
        let mut text = String::new();
        for line in drawings.chunks(side_by_side) {
            for row in rows.clone().step_by(2) {
                for (index, drawing) in line.iter().enumerate() {
                    let pixel = |y: usize, x: usize| match rows.contains(&y) {
                        true => drawing.pixels.get(y * size + x).copied().unwrap_or(0),
                        false => 0,
                    };
                    let halves = columns.clone().map(|x| (pixel(row, x), pixel(row + 1, x)));
                    if index > 0 {
                        text.extend(std::iter::repeat_n(' ', GAP));
                    }
                    draw_line(&mut text, halves, style.greys);
                    text.extend(std::iter::repeat_n(' ', width - columns.len()));
                }
                end_line(&mut text);
            }
            for (index, drawing) in line.iter().enumerate() {
                let gap = if index > 0 { GAP } else { 0 };
                let _ = write!(text, "{:gap$}{:<width$}", "", drawing.caption);
            }
            end_line(&mut text);
            text.push('\n');
        }
        text
    }
}

/// One picture with its margins, so that each of a series has the same lines.
#[must_use]
pub fn draw_whole(pixels: &[u8], size: usize, style: Style) -> String {
    let mut text = String::new();
    for row in (0..size).step_by(2) {
        let pixel = |y: usize, x: usize| pixels.get(y * size + x).copied().unwrap_or(0);
        let halves = (0..size).map(|x| (pixel(row, x), pixel(row + 1, x)));
        draw_line(&mut text, halves, style.greys);
        text.push('\n');
    }
    text
}

/// Rows and columns that show something in any of the pictures.
fn visible(drawings: &[Drawing<'_>], size: usize, seen: u8) -> (Range<usize>, Range<usize>) {
    let mut bright = vec![false; size * size];
    for drawing in drawings {
        for (bright, &pixel) in bright.iter_mut().zip(drawing.pixels) {
            *bright |= pixel >= seen;
        }
    }
    let span = |any: &dyn Fn(usize) -> bool| {
        let first = (0..size).find(|&i| any(i)).unwrap_or(0);
        let last = (0..size)
            .rev()
            .find(|&i| any(i))
            .unwrap_or(size.saturating_sub(1));
        first..last + 1
    };
    let rows = span(&|y| (0..size).any(|x| bright[y * size + x]));
    let columns = span(&|x| (0..size).any(|y| bright[y * size + x]));
    (rows, columns)
}

/// The upper and lower pixels of a line.
fn draw_line(text: &mut String, halves: impl Iterator<Item = (u8, u8)>, greys: bool) {
    let mut colours = None;
    for (upper, lower) in halves {
        if greys {
            let next = (grey(upper), grey(lower));
            if colours != Some(next) {
                let _ = write!(text, "\x1b[38;5;{};48;5;{}m", next.0, next.1);
                colours = Some(next);
            }
            text.push('▀');
        } else {
            text.push(shade(upper, lower));
        }
    }
    if colours.is_some() {
        text.push_str("\x1b[0m");
    }
}

/// The character for two pixels where there are no colours: a half block where
/// one is bright and the other dark, or else a shade of their mean.
fn shade(upper: u8, lower: u8) -> char {
    match (upper, lower) {
        (BRIGHT.., ..VISIBLE) => '▀',
        (..VISIBLE, BRIGHT..) => '▄',
        _ => match upper.midpoint(lower) {
            ..VISIBLE => ' ',
            VISIBLE..104 => '░',
            104..152 => '▒',
            152..208 => '▓',
            _ => '█',
        },
    }
}

/// Colour of the terminals' 256 that comes nearest: black, the 24 greys, white.
fn grey(value: u8) -> u8 {
    match value {
        0..4 => 16,
        247.. => 231,
        _ => 232 + (u16::from(value).saturating_sub(3) / 10).min(23) as u8,
    }
}

/// Ends a line without trailing spaces.
fn end_line(text: &mut String) {
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(pixels: &[u8]) -> Drawing<'_> {
        Drawing {
            pixels,
            caption: "7".to_owned(),
        }
    }

    #[test]
    fn half_blocks_without_dark_margins() {
        #[rustfmt::skip]
        let pixels = [
            0,   0,   0, 0,
            0, 255, 200, 0,
            0,   0, 255, 0,
            0, 255,   0, 0,
        ];
        let style = Style {
            width: 7,
            greys: false,
        };
        let two = [drawing(&pixels), drawing(&pixels)];
        let expected = "▀█  ▀█\n▀   ▀\n7   7\n\n";
        assert_eq!(Drawing::draw_all(&two, 4, style), expected);
        let narrow = Style { width: 3, ..style };
        let expected = "▀█\n▀\n7\n\n▀█\n▀\n7\n\n";
        assert_eq!(Drawing::draw_all(&two, 4, narrow), expected);
    }

    #[test]
    fn greys_are_shades_without_a_terminal() {
        let style = Style {
            width: 80,
            greys: false,
        };
        let pixels = [
            [60, 90, 130, 170, 250, 200, 0, 255],
            [60, 90, 130, 170, 250, 0, 200, 0],
        ];
        let mut square = vec![0; 64];
        square[..16].copy_from_slice(pixels.as_flattened());
        let text = Drawing::draw_all(&[drawing(&square)], 8, style);
        assert_eq!(text, "░░▒▓█▀▄▀\n7\n\n");
    }

    #[test]
    fn greys_where_the_terminal_has_them() {
        let style = Style {
            width: 80,
            greys: true,
        };
        let text = Drawing::draw_all(&[drawing(&[0, 255, 128, 255])], 2, style);
        let line = "\x1b[38;5;16;48;5;244m▀\x1b[38;5;231;48;5;231m▀\x1b[0m\n7\n\n";
        assert_eq!(text, line);
    }

    #[test]
    fn nothing_to_see_is_drawn_too() {
        let style = Style {
            width: 0,
            greys: false,
        };
        assert_eq!(Drawing::draw_all(&[drawing(&[0; 4])], 2, style), "\n7\n\n");
        assert_eq!(Drawing::draw_all(&[], 2, style), "");
    }
}
