//! A walk from picture to picture: as an animation, and live in the terminal.

use std::io::{IsTerminal, stdout};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::generate::Pictures;
use crate::output::{Grid, Pace, Style, draw_whole, encode_gif, print};

/// The animation's name.
pub(super) const GIF: &str = "walk.gif";
/// Its pixels for each of a picture.
const SCALE: usize = 8;
/// The time that a frame is seen: as GIFs count it, in hundredths of a second.
const DELAY: u16 = 4;

/// The animation of all frames.
///
/// # Errors
/// Where it is too large for a GIF.
pub(super) fn gif(frames: &Pictures) -> Result<Vec<u8>> {
    let grid = Grid::new(1, frames.size, 0).at_scale(SCALE);
    let frames: Vec<Vec<u8>> = frames.iter().map(|frame| grid.draw([frame])).collect();
    let pace = Pace {
        each: DELAY,
        last: DELAY,
    };
    encode_gif(grid.width(), grid.height(), &frames, pace)
}

/// Shows the frames once, where somebody looks, until `stop`.
///
/// # Errors
/// Where standard output cannot be written.
pub(super) fn play(frames: &Pictures, stop: impl Fn() -> bool) -> Result<()> {
    if !stdout().is_terminal() {
        return Ok(());
    }
    let style = Style::of_stdout();
    let term = console::Term::stdout();
    let delay = Duration::from_millis(10 * u64::from(DELAY));
    for (index, frame) in frames.iter().enumerate() {
        if stop() {
            break;
        }
        let start = Instant::now();
        let text = draw_whole(frame, frames.size, style);
        if index > 0 {
            term.move_cursor_up(text.lines().count())?;
        }
        print(&text)?;
        sleep(delay.saturating_sub(start.elapsed()));
    }
    Ok(())
}
