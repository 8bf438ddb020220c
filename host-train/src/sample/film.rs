//! The denoising of some pictures, as an animation.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use tiny_ddpm::picture::to_pixels;

use crate::generate::Progress;
use crate::output::{Grid, Pace, encode_gif};

/// Most frames of an animation; of a longer chain only some steps are shown.
const MAX_FRAMES: u16 = 61;
/// Widest animation, in pixels.
const MAX_WIDTH: usize = 640;

/// Records x_t of the first pictures while they are generated.
#[derive(Debug)]
pub struct Film {
    /// For each picture its frames so far.
    reels: Vec<Mutex<Vec<Vec<u8>>>>,
}

impl Film {
    /// The file's name.
    pub const GIF: &'static str = "denoising.gif";

    /// A film of the first `pictures` pictures.
    #[must_use]
    pub fn new(pictures: usize) -> Self {
        Self {
            reels: (0..pictures).map(|_| Mutex::default()).collect(),
        }
    }

    /// Keeps x_t if it belongs into the film.
    pub fn record(&self, progress: &Progress<'_>) {
        let Some(reel) = self.reels.get(progress.picture) else {
            return;
        };
        if is_shown(progress.step, progress.of) {
            let mut frame = vec![0; progress.x.len()];
            to_pixels(progress.x, &mut frame);
            let mut reel = reel.lock().unwrap_or_else(PoisonError::into_inner);
            reel.push(frame);
        }
    }

    /// The GIF, its pictures placed as in `grid`.
    ///
    /// # Errors
    /// Where nothing was recorded, or the grid is too large for a GIF.
    pub fn encode(self, grid: Grid) -> Result<Vec<u8>> {
        let grid = grid.within(MAX_WIDTH);
        let reels: Vec<Vec<Vec<u8>>> = self
            .reels
            .into_iter()
            .map(|reel| reel.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect();
        let length = reels.iter().map(Vec::len).min().unwrap_or(0);
        let frames: Vec<Vec<u8>> = (0..length)
            .map(|index| grid.draw(reels.iter().map(|reel| reel[index].as_slice())))
            .collect();
        encode_gif(grid.width(), grid.height(), &frames, Pace::DENOISING)
    }
}

/// Whether the picture after `step` of `of` steps is a frame: the noise and the
/// last always are, and between them the rest is spread evenly.
pub(super) fn is_shown(step: u16, of: u16) -> bool {
    let gaps = u32::from(of.min(MAX_FRAMES - 1)).max(1);
    let frames_until = |steps: u32| steps * gaps / u32::from(of).max(1);
    let step = u32::from(step);
    step == 0 || frames_until(step) != frames_until(step - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_are_always_shown() {
        for of in [1, 2, 20, 59, 60, 61, 62, 100, 999, 1000] {
            let shown: Vec<u16> = (0..=of).filter(|&step| is_shown(step, of)).collect();
            assert_eq!(shown.first(), Some(&0));
            assert_eq!(shown.last(), Some(&of));
            assert_eq!(shown.len(), usize::from((of + 1).min(MAX_FRAMES)));
        }
    }
}
