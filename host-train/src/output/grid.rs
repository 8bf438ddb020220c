//! Many small pictures side by side as one large one.

/// Width that a grid is scaled up to, in pixels.
const TARGET_WIDTH: usize = 1000;
/// Most that a pixel is scaled up by.
const MAX_SCALE: usize = 8;
/// Grey value between pictures: tells their black from the border's.
const BORDER: u8 = 72;

/// Where each picture of a grid stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Pixels a side of one picture.
    size: usize,
    columns: usize,
    rows: usize,
    /// Each pixel becomes a square of this side.
    scale: usize,
    /// Between pictures and around them.
    border: usize,
}

impl Grid {
    /// A grid for `count` square pictures, row by row; near-square where
    /// `columns` is not given.
    #[must_use]
    pub fn new(count: usize, size: usize, columns: Option<usize>) -> Self {
        let columns = columns.unwrap_or_else(|| count.isqrt() + usize::from(!is_square(count)));
        let columns = columns.clamp(1, count.max(1));
        let grid = Self {
            size,
            columns,
            rows: count.div_ceil(columns),
            scale: 1,
            border: 0,
        };
        grid.at_scale((TARGET_WIDTH / (columns * size).max(1)).clamp(1, MAX_SCALE))
    }

    /// The same grid with pixels `scale` wide.
    #[must_use]
    pub fn at_scale(self, scale: usize) -> Self {
        Self {
            scale,
            border: (self.size * scale / 28).max(1),
            ..self
        }
    }

    /// The same grid, scaled up to no more than `width` pixels if it can be.
    #[must_use]
    pub fn within(self, width: usize) -> Self {
        let fits = |scale: &usize| self.at_scale(*scale).width() <= width;
        self.at_scale((1..=self.scale).rev().find(fits).unwrap_or(1))
    }

    /// How many pictures there is room for.
    #[must_use]
    pub fn places(&self) -> usize {
        self.columns * self.rows
    }

    /// Pixels from left to right.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns * self.pitch() + self.border
    }

    /// Pixels from top to bottom.
    #[must_use]
    pub fn height(&self) -> usize {
        self.rows * self.pitch() + self.border
    }

    /// The grid's grey values. Pictures beyond its places are left out; places
    /// beyond the pictures stay empty.
    #[must_use]
    pub fn draw<'p>(&self, pictures: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
        let width = self.width();
        let mut canvas = vec![BORDER; width * self.height()];
        let places = 0..self.places();
        for (place, picture) in places.zip(pictures) {
            let left = self.border + place % self.columns * self.pitch();
            let top = self.border + place / self.columns * self.pitch();
            let rows = picture.chunks_exact(self.size).take(self.size);
            let rows = rows.flat_map(|row| std::iter::repeat_n(row, self.scale));
            for (row, y) in rows.zip(top..) {
                let line = &mut canvas[y * width + left..][..self.size * self.scale];
                for (square, &value) in line.chunks_exact_mut(self.scale).zip(row) {
                    square.fill(value);
                }
            }
        }
        canvas
    }

    /// From one picture's left edge to the next.
    fn pitch(&self) -> usize {
        self.size * self.scale + self.border
    }
}

fn is_square(n: usize) -> bool {
    n.isqrt().pow(2) == n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_square_unless_told() {
        let shape = |count, columns| {
            let grid = Grid::new(count, 28, columns);
            (grid.columns, grid.rows)
        };
        assert_eq!(shape(1, None), (1, 1));
        assert_eq!(shape(16, None), (4, 4));
        assert_eq!(shape(17, None), (5, 4));
        assert_eq!(shape(100, Some(10)), (10, 10));
        assert_eq!(shape(25, Some(10)), (10, 3));
        assert_eq!(shape(3, Some(10)), (3, 1));
    }

    #[test]
    fn pictures_stand_in_rows_between_borders() {
        let grid = Grid::new(3, 2, Some(2)).at_scale(1);
        let pictures: [&[u8]; 3] = [&[1, 2, 3, 4], &[5, 6, 7, 8], &[9, 10, 11, 12]];
        let b = BORDER;
        #[rustfmt::skip]
        let expected = [
            b, b,  b,  b, b, b, b,
            b, 1,  2,  b, 5, 6, b,
            b, 3,  4,  b, 7, 8, b,
            b, b,  b,  b, b, b, b,
            b, 9,  10, b, b, b, b,
            b, 11, 12, b, b, b, b,
            b, b,  b,  b, b, b, b,
        ];
        assert_eq!((grid.width(), grid.height()), (7, 7));
        assert_eq!(grid.draw(pictures), expected);
    }

    #[test]
    fn scaled_to_what_can_be_seen() {
        assert!((600..=1000).contains(&Grid::new(100, 28, Some(10)).width()));
        assert!((200..=400).contains(&Grid::new(1, 28, None).width()));
        let grid = Grid::new(100, 28, Some(10)).within(600);
        assert!((500..=600).contains(&grid.width()));
        assert!(Grid::new(10_000, 28, None).within(100).width() > 2800);
    }
}
