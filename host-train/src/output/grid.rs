//! Many small pictures side by side as one large one.

/// Widest sheet, in pixels.
const MAX_WIDTH: usize = 1000;
/// Side that a picture is scaled up to where the width allows it, in pixels.
const PICTURE: usize = 320;
/// Most columns, and most of them if classes repeat within a row.
const MAX_COLUMNS: usize = 20;
const REPEATED: usize = 12;
/// Fewest pictures that a sheet has room for.
const SHOWN: usize = 100;
/// Grey value between pictures: tells their black from the border's.
const BORDER: u8 = 72;

/// The layout of a contact sheet: every sheet that the tool writes has it.
///
/// Pictures are scaled up by a whole number, so that the sheet is 256 to 1000
/// pixels wide for any number of pictures with sides of up to 64 pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    count: usize,
    /// Pixels a side of one picture.
    size: usize,
    columns: usize,
    /// Pictures after which a new row starts.
    round: usize,
    /// Each pixel becomes a square of this side.
    scale: usize,
    /// Between pictures and around them.
    border: usize,
}

impl Grid {
    /// A sheet for `count` square pictures whose sides are `size` pixels.
    ///
    /// The pictures show `classes` classes in turn, as `sample` generates them;
    /// `classes` is 0 or 1 if there is nothing to tell apart. A column has
    /// pictures of one class, and a row all classes once or several times. If
    /// there are too many classes for a row, they share a few rows, and the
    /// next round of classes starts a new row.
    #[must_use]
    pub fn new(count: usize, size: usize, classes: usize) -> Self {
        let sheet = Self {
            count,
            size,
            columns: 1,
            round: 1,
            scale: 1,
            border: 0,
        };
        let one = sheet.at_scale(1);
        let fit = MAX_WIDTH.saturating_sub(one.border) / one.pitch();
        let most = fit.clamp(1, MAX_COLUMNS);
        let near_square = count.isqrt() + usize::from(count.isqrt().pow(2) != count);
        let (columns, round) = match classes {
            0 | 1 => (near_square.min(most), None),
            _ if classes <= most => {
                let repeats = near_square.div_ceil(classes);
                let repeats = repeats.clamp(1, (REPEATED.min(most) / classes).max(1));
                (classes * repeats, None)
            }
            _ => {
                let blanks = |columns: &usize| classes.next_multiple_of(*columns);
                let columns = (most / 2 + 1..=most).rev().min_by_key(blanks);
                (columns.unwrap_or(most), Some(classes))
            }
        };
        let columns = columns.clamp(1, count.max(1));
        Self {
            columns,
            round: round.unwrap_or(columns),
            ..sheet
        }
        .scaled()
    }

    /// The same with rows of `columns` pictures, whatever they show.
    #[must_use]
    pub fn with_columns(count: usize, size: usize, columns: usize) -> Self {
        let columns = columns.max(1);
        Self {
            columns,
            round: columns,
            ..Self::new(count, size, 0)
        }
        .scaled()
    }

    /// Most pictures of a sheet: a hundred, or one of each class.
    #[must_use]
    pub fn most(classes: usize) -> usize {
        SHOWN.max(classes)
    }

    fn scaled(self) -> Self {
        let scale = (PICTURE / self.size.max(1)).max(1);
        self.at_scale(scale).within(MAX_WIDTH)
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

    /// How many pictures it shows.
    #[must_use]
    pub fn pictures(&self) -> usize {
        self.count
    }

    /// Whether a column has pictures of one class; many classes share columns.
    #[must_use]
    pub fn is_one_class_a_column(&self) -> bool {
        self.round == self.columns
    }

    /// Pictures in a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Row and column of a picture.
    fn place(&self, picture: usize) -> (usize, usize) {
        let (rounds, within) = (picture / self.round, picture % self.round);
        let rows = self.round.div_ceil(self.columns);
        (rounds * rows + within / self.columns, within % self.columns)
    }

    /// Pixels from left to right.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns * self.pitch() + self.border
    }

    /// Pixels from top to bottom.
    #[must_use]
    pub fn height(&self) -> usize {
        let rows = self
            .count
            .checked_sub(1)
            .map_or(0, |last| self.place(last).0 + 1);
        rows * self.pitch() + self.border
    }

    /// The sheet's grey values. Pictures beyond its count are left out; places
    /// without a picture stay empty.
    #[must_use]
    pub fn draw<'p>(&self, pictures: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
        let width = self.width();
        let mut canvas = vec![BORDER; width * self.height()];
        for (place, picture) in (0..self.count).zip(pictures) {
            let (row, column) = self.place(place);
            let left = self.border + column * self.pitch();
            let top = self.border + row * self.pitch();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_whole_classes() {
        let shape = |count, classes| {
            let grid = Grid::new(count, 28, classes);
            (grid.columns, grid.place(count - 1).0 + 1)
        };
        // Nothing to tell apart: near-square.
        assert_eq!(shape(1, 0), (1, 1));
        assert_eq!(shape(16, 1), (4, 4));
        assert_eq!(shape(17, 0), (5, 4));
        // Few classes repeat within a row.
        assert_eq!(shape(100, 2), (10, 10));
        assert_eq!(shape(100, 3), (12, 9));
        // A column for each class.
        assert_eq!(shape(100, 10), (10, 10));
        assert_eq!(shape(25, 10), (10, 3));
        assert_eq!(shape(3, 10), (3, 1));
        assert_eq!(shape(20, 20), (20, 1));
        // Many classes share rows of one length.
        assert_eq!(shape(104, 26), (13, 8));
        assert_eq!(shape(256, 256), (16, 16));
        // 47 is prime: a place stays empty, and every round starts a row.
        let grid = Grid::new(94, 28, 47);
        assert_eq!(grid.columns, 16);
        assert_eq!(
            [46, 47].map(|picture| grid.place(picture)),
            [(2, 14), (3, 0)]
        );
    }

    #[test]
    fn a_column_has_one_class() {
        for classes in 2..=256 {
            let grid = Grid::new(3 * classes, 28, classes);
            for picture in 0..3 * classes {
                let (column, class) = (grid.place(picture).1, picture % classes);
                match grid.is_one_class_a_column() {
                    true => assert_eq!(column % classes, class),
                    false => assert_eq!(column, class % grid.columns, "{classes}"),
                }
            }
        }
    }

    #[test]
    fn a_sheet_fits_a_screen() {
        for size in 1..=64 {
            for classes in [0, 1, 2, 3, 10, 20, 21, 26, 27, 47, 62, 100, 256] {
                for count in [1, 2, 5, 10, 16, 26, 40, 100, 256] {
                    let width = Grid::new(count, size, classes).width();
                    assert!(
                        (256..=1000).contains(&width),
                        "{count} of {classes} classes, {size} pixels: {width}"
                    );
                }
            }
        }
        let grid = Grid::new(100, 28, 10);
        assert_eq!((grid.width(), grid.scale), (873, 3));
        assert!((500..=600).contains(&grid.within(600).width()));
    }

    #[test]
    fn pictures_stand_in_rows_between_borders() {
        let grid = Grid::with_columns(3, 2, 2).at_scale(1);
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
}
