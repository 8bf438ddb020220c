//! Points as a picture: a map of where they lie.

use anyhow::Result;

use super::{Grid, encode_png};

/// Pixels a side of the map in a file, and how often each is repeated.
const MAP: usize = 256;
const SCALE: usize = 3;
/// Half the side of what is shown: points of data lie within [-1, 1].
const REACH: f32 = 1.15;
/// Grey value of the ground, and of one point in an otherwise empty pixel.
const GROUND: u8 = 0;
const FAINTEST: u8 = 96;

/// `size` x `size` grey values, row by row, of points of `values` values each:
/// the first goes right and the second up; a point of one value lies on the
/// middle line. The more points in a pixel, the brighter it is, and points
/// beyond the edge are left out.
#[must_use]
pub fn scatter(points: &[f32], values: usize, size: usize) -> Vec<u8> {
    let mut counts = vec![0_u32; size * size];
    let place = |value: f32| -> Option<usize> {
        let at = (value / REACH + 1.0) / 2.0 * size as f32;
        (at >= 0.0 && at < size as f32).then_some(at as usize)
    };
    for point in points.chunks_exact(values.max(1)) {
        let up = point.get(1).copied().unwrap_or(0.0);
        if let (Some(column), Some(row)) = (place(point[0]), place(-up)) {
            counts[row * size + column] += 1;
        }
    }
    // So many are white: more than in most pixels that have any.
    let mut taken: Vec<u32> = counts.iter().copied().filter(|&n| n > 0).collect();
    taken.sort_unstable();
    let full = taken.get(taken.len() * 9 / 10).copied().unwrap_or(1).max(2);
    counts
        .into_iter()
        .map(|count| match count {
            0 => GROUND,
            _ => {
                let share = (count - 1).min(full - 1) as f32 / (full - 1) as f32;
                FAINTEST + (share * f32::from(u8::MAX - FAINTEST)) as u8
            }
        })
        .collect()
}

/// The [`scatter`] map as a PNG: `scatter.png` and the previews of training.
///
/// # Errors
/// If the PNG cannot be encoded.
pub fn scatter_png(points: &[f32], values: usize) -> Result<Vec<u8>> {
    let map = scatter(points, values, MAP);
    let grid = Grid::new(1, MAP, 0).at_scale(SCALE);
    encode_png(grid.width(), grid.height(), &grid.draw([&map[..]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_right_and_up() {
        let size = 23;
        let at = |points: &[f32], values| {
            let grey = scatter(points, values, size);
            let lit: Vec<(usize, usize)> = (0..grey.len())
                .filter(|&i| grey[i] > 0)
                .map(|i| (i % size, i / size))
                .collect();
            lit
        };
        assert_eq!(at(&[0.0, 0.0], 2), [(11, 11)]);
        assert_eq!(at(&[1.0, 1.0], 2), [(21, 1)]);
        assert_eq!(at(&[-1.0, -1.0], 2), [(1, 21)]);
        assert_eq!(at(&[-1.0], 1), [(1, 11)]);
        assert_eq!(at(&[1.0, 0.0, 7.0], 3), [(21, 11)]);
        assert_eq!(at(&[1.3, 0.0, 0.0, f32::NAN, f32::INFINITY, 0.0], 2), []);
    }

    #[test]
    fn more_points_are_brighter() {
        let mut points = vec![0.5, 0.5, -0.5, 0.5, -0.5, 0.5];
        let grey = |points: &[f32]| {
            let mut lit = scatter(points, 2, 10);
            lit.retain(|&value| value > 0);
            lit
        };
        assert_eq!(grey(&points), [255, 96]);
        points.extend([-0.5, 0.5]);
        let three = grey(&points);
        assert!(three[0] > three[1], "{three:?}");
        assert!(grey(&[]).is_empty());
    }
}
