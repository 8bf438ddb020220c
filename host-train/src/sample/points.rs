//! Points in place of pictures: a map, a table and an array.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use super::film::is_shown;
use super::publish::publish;
use crate::generate::Progress;
use crate::output::{Drawing, Grid, Pace, Style, encode_gif, encode_npy, scatter, scatter_png};
use crate::points::Points;

/// Cells a side of the animation's map, and pixels a side of a cell: a single
/// point must be visible.
const FRAME: usize = 160;
const FRAME_SCALE: usize = 2;
/// Of the drawing in the terminal.
const DRAWING: usize = 56;

/// Where all points are after some of the steps.
#[derive(Debug)]
pub struct Drift {
    values: usize,
    /// Of each frame its step, and x_t of all points.
    frames: Vec<(u16, Mutex<Vec<f32>>)>,
}

impl Drift {
    /// Frames for `count` points of `values` values, over `of` steps.
    #[must_use]
    pub fn new(count: usize, values: usize, of: u16) -> Self {
        let shown = (0..=of).filter(|&step| is_shown(step, of));
        Self {
            values,
            frames: shown
                .map(|step| (step, Mutex::new(vec![0.0; count * values])))
                .collect(),
        }
    }

    /// Keeps x_t where it is shown.
    pub fn record(&self, progress: &Progress<'_>) {
        let found = self
            .frames
            .binary_search_by_key(&progress.step, |(step, _)| *step);
        if let Ok(index) = found {
            let mut frame = self.frames[index]
                .1
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let start = progress.picture * self.values;
            frame[start..start + self.values].copy_from_slice(progress.x);
        }
    }

    /// The GIF.
    ///
    /// # Errors
    /// Where it cannot be encoded.
    pub fn encode(self) -> Result<Vec<u8>> {
        let grid = Grid::new(1, FRAME, 0).at_scale(FRAME_SCALE);
        let frames: Vec<Vec<u8>> = self
            .frames
            .into_iter()
            .map(|(_, frame)| {
                let frame = frame.into_inner().unwrap_or_else(PoisonError::into_inner);
                grid.draw([&scatter(&frame, self.values, FRAME)[..]])
            })
            .collect();
        encode_gif(grid.width(), grid.height(), &frames, Pace::DENOISING)
    }
}

/// Writes everything into a folder, all files together, and gives their names.
///
/// # Errors
/// Where one cannot be written; then all stand as before.
pub fn write_files(
    folder: &Path,
    points: &Points,
    classes: &[Option<u8>],
    animation: Option<(&'static str, Vec<u8>)>,
) -> Result<Vec<PathBuf>> {
    let labels: Vec<i64> = classes
        .iter()
        .map(|class| class.map_or(-1, i64::from))
        .collect();
    let files = vec![
        (
            "points.npy",
            encode_npy(&[points.len(), points.values], &points.x)?,
        ),
        ("labels.npy", encode_npy(&[labels.len()], &labels)?),
        ("points.csv", table(points, &labels).into_bytes()),
        ("scatter.png", scatter_png(&points.x, points.values)?),
    ];
    publish(folder, files, animation)
}

/// One row a point; its values are written so that reading them gives the same
/// bits.
fn table(points: &Points, labels: &[i64]) -> String {
    let mut text = String::from("point,class,state");
    for value in 0..points.values {
        let _ = write!(text, ",x{value}");
    }
    text.push('\n');
    let rows = points.iter().zip(points.hashes()).zip(labels);
    for (index, ((point, hash), label)) in rows.enumerate() {
        let _ = write!(text, "{index},{label},{hash:08x}");
        for value in point {
            let _ = write!(text, ",{value}");
        }
        text.push('\n');
    }
    text
}

/// The map for the terminal.
#[must_use]
pub fn drawing(points: &Points) -> String {
    let map = scatter(&points.x, points.values, DRAWING);
    let drawing = Drawing {
        pixels: &map,
        caption: String::new(),
    };
    Drawing::draw_all(&[drawing], DRAWING, Style::of_stdout())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_gives_the_bits_back() {
        let points = Points {
            values: 2,
            x: vec![0.1, -0.25, 1.0e-7, 0.333_333_34],
        };
        let text = table(&points, &[-1, 3]);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("point,class,state,x0,x1"));
        let back: Vec<f32> = lines
            .flat_map(|line| line.split(',').skip(3))
            .map(|value| value.parse().unwrap())
            .collect();
        assert_eq!(back, points.x);
        assert!(text.contains("\n1,3,"), "{text}");
    }

    #[test]
    fn a_drift_has_the_noise_and_the_end() {
        let drift = Drift::new(2, 1, 3);
        for step in 0..=3 {
            for (picture, x) in [[0.5], [-0.5]].iter().enumerate() {
                drift.record(&Progress {
                    picture,
                    step,
                    of: 3,
                    x,
                });
            }
        }
        assert_eq!(drift.frames.len(), 4);
        for (_, frame) in &drift.frames {
            assert_eq!(*frame.lock().unwrap(), [0.5, -0.5]);
        }
        assert!(drift.encode().unwrap().starts_with(b"GIF89a"));
    }
}
