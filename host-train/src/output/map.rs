//! Points and their paths as SVG: a map of the plane that is read on black and on
//! white.
//!
//! The first value of a point goes right and the second up; a point of one value
//! lies on the middle line.

use std::fmt::Write;

use crate::points::Points;

/// What a page's style sheet says of maps.
pub const MAP_STYLE: &str = "
.map { width: 15rem; max-width: 100%; display: block; }
.map.large { width: 40rem; }
";

/// Units a side.
const SIZE: f64 = 240.0;
/// Colours of a map: neighbours blend, and a path serves for each.
const COLOURS: usize = 24;

/// A map in the making.
#[derive(Clone, Debug)]
pub struct Map {
    /// What is half a side away from the middle.
    reach: f64,
    svg: String,
}

/// From violet at 0 to orange at 1.
fn colour(index: usize) -> String {
    let share = index as f64 / (COLOURS - 1) as f64;
    format!("hsl({:.0} 75% 50%)", 280.0 - 255.0 * share)
}

fn bucket(colour: f64) -> usize {
    (colour.clamp(0.0, 1.0) * (COLOURS - 1) as f64).round() as usize
}

impl Map {
    /// An empty map of values from `-reach` to `reach`, with a text (not HTML)
    /// for those who do not see it.
    #[must_use]
    pub fn new(title: &str, reach: f64) -> Self {
        let title = title.replace('&', "&amp;").replace('"', "&quot;");
        let title = title.replace('<', "&lt;");
        Self {
            reach,
            svg: format!(
                "<svg class=\"map\" viewBox=\"0 0 {SIZE} {SIZE}\" role=\"img\" aria-label=\"{title}\"><rect width=\"{SIZE}\" height=\"{SIZE}\" fill=\"none\" stroke=\"#8886\"/>"
            ),
        }
    }

    fn place(&self, point: &[f32]) -> (f64, f64) {
        let at = |value: f32| (f64::from(value) / self.reach + 1.0) / 2.0 * SIZE;
        (at(point[0]), at(-point.get(1).copied().unwrap_or(0.0)))
    }

    /// Dots `width` units wide, each of a colour from 0 to 1; what is out of
    /// reach is left out.
    #[must_use]
    pub fn dots(mut self, points: &Points, colours: &[f64], width: f64) -> Self {
        let mut dots = vec![String::new(); COLOURS];
        for (point, &colour) in points.iter().zip(colours) {
            let (x, y) = self.place(point);
            if (0.0..=SIZE).contains(&x) && (0.0..=SIZE).contains(&y) {
                let _ = write!(dots[bucket(colour)], "M{x:.1} {y:.1}h0");
            }
        }
        let _ = write!(
            self.svg,
            "<g stroke-width=\"{width}\" stroke-linecap=\"round\" fill=\"none\">"
        );
        for (index, dots) in dots.iter().enumerate().filter(|(_, dots)| !dots.is_empty()) {
            let colour = colour(index);
            let _ = write!(self.svg, "<path stroke=\"{colour}\" d=\"{dots}\"/>");
        }
        self.svg += "</g>";
        self
    }

    /// A path `width` units wide of a colour from 0 to 1, with a dot where it
    /// ends.
    #[must_use]
    pub fn path(self, path: &Points, of: f64, width: f64) -> Self {
        self.line(path, &colour(bucket(of)), width)
    }

    /// The same in the colour of text.
    #[must_use]
    pub fn plain_path(self, path: &Points, width: f64) -> Self {
        self.line(path, "currentColor", width)
    }

    fn line(mut self, path: &Points, colour: &str, width: f64) -> Self {
        let (mut line, mut end) = (String::new(), (0.0, 0.0));
        for point in path.iter() {
            end = self.place(point);
            let command = if line.is_empty() { 'M' } else { 'L' };
            let _ = write!(line, "{command}{:.1} {:.1}", end.0, end.1);
        }
        let _ = write!(
            self.svg,
            "<path stroke=\"{colour}\" stroke-width=\"{width}\" fill=\"none\" stroke-linejoin=\"round\" d=\"{line}\"/><circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"1.6\" fill=\"{colour}\"/>",
            end.0, end.1
        );
        self
    }

    /// A ring around a point, in the colour of text.
    #[must_use]
    pub fn ring(mut self, point: &[f32], radius: f64) -> Self {
        let (x, y) = self.place(point);
        let _ = write!(
            self.svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"{:.1}\"/>",
            radius / 3.0
        );
        self
    }

    /// Arrows in the colour of text, each from a place to another.
    #[must_use]
    pub fn arrows(mut self, arrows: &[[[f32; 2]; 2]], width: f64) -> Self {
        let mut lines = String::new();
        for [from, to] in arrows {
            let ((x, y), (right, down)) = (self.place(from), self.place(to));
            let (dx, dy) = (right - x, down - y);
            let _ = write!(lines, "M{x:.1} {y:.1}l{dx:.1} {dy:.1}");
            // Two strokes back from the tip, half a right angle off.
            let head = 0.3;
            let (back_x, back_y) = (-head * dx, -head * dy);
            let _ = write!(
                lines,
                "m{:.1} {:.1}L{right:.1} {down:.1}l{:.1} {:.1}",
                back_x - back_y,
                back_y + back_x,
                back_x + back_y,
                back_y - back_x
            );
        }
        let _ = write!(
            self.svg,
            "<path stroke=\"currentColor\" stroke-width=\"{width}\" fill=\"none\" d=\"{lines}\"/>"
        );
        self
    }

    /// The SVG.
    #[must_use]
    pub fn finish(self) -> String {
        self.svg + "</svg>"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(x: &[f32]) -> Points {
        Points {
            values: 2,
            x: x.to_vec(),
        }
    }

    #[test]
    fn every_point_in_reach_is_drawn() {
        let three = points(&[0.0, 0.0, 1.0, 1.0, 3.0, 0.0]);
        let map = |reach| {
            let map = Map::new("a < \"b\"", reach);
            map.dots(&three, &[0.0, 1.0, 1.0], 1.8).finish()
        };
        let dots = |reach| map(reach).matches('M').count();
        assert_eq!((dots(1.15), dots(3.2)), (2, 3));
        let svg = map(1.15);
        for words in ["M120.0 120.0h0", "M224.3 15.7h0", "a &lt; &quot;b&quot;"] {
            assert!(svg.contains(words), "{words}: {svg}");
        }
        assert_eq!(svg.matches("<path").count(), 2);
    }

    #[test]
    fn a_path_has_all_its_places_and_an_end() {
        let path = points(&[1.0, 1.0, 0.5, 0.5, 0.0, 0.0]);
        let svg = Map::new("", 2.0).path(&path, 0.5, 0.6).finish();
        assert_eq!(svg.matches('L').count(), 2, "{svg}");
        assert!(svg.contains("<circle cx=\"120.0\" cy=\"120.0\""), "{svg}");
    }

    #[test]
    fn an_arrow_s_head_is_at_its_tip() {
        let arrow = [[0.0, 0.0], [1.0, 0.0]];
        let svg = Map::new("", 1.2).arrows(&[arrow], 1.0).finish();
        // 100 units to the right; both strokes meet the tip from behind.
        assert!(
            svg.contains("M120.0 120.0l100.0 0.0m-30.0 -30.0L220.0 120.0l-30.0 30.0"),
            "{svg}"
        );
    }

    #[test]
    fn a_ring_is_around_its_point() {
        let svg = Map::new("", 1.0).ring(&[0.5, 0.5], 6.0).finish();
        assert!(svg.contains("cx=\"180.0\" cy=\"60.0\" r=\"6\""), "{svg}");
    }
}
