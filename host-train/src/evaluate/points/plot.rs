//! Maps of points and their paths, as SVG that is read on black and on white.

use std::fmt::Write;

use super::results::{Panel, Trajectories};

/// Half the side of a map; noise rarely reaches further.
const REACH: f64 = 3.2;
/// The same of maps that show data alone.
const NEAR: f64 = 1.15;
/// Units a side.
const SIZE: f64 = 240.0;
/// Colours of a map: neighbours blend, and a path serves for each.
const COLOURS: usize = 24;
/// Most points of a map.
const SHOWN: usize = 3000;

fn at(reach: f64, value: f32) -> f64 {
    (f64::from(value) / reach + 1.0) / 2.0 * SIZE
}

fn place(reach: f64, point: &[f32]) -> (f64, f64) {
    let up = point.get(1).copied().unwrap_or(0.0);
    (at(reach, point[0]), at(reach, -up))
}

/// From violet at the inner end to orange at the outer.
fn colour(index: usize) -> String {
    let share = index as f64 / (COLOURS - 1) as f64;
    format!("hsl({:.0} 75% 50%)", 280.0 - 255.0 * share)
}

fn bucket(colour: f64) -> usize {
    (colour.clamp(0.0, 1.0) * (COLOURS - 1) as f64).round() as usize
}

fn open(title: &str) -> String {
    format!(
        "<svg class=\"map\" viewBox=\"0 0 {SIZE} {SIZE}\" role=\"img\" aria-label=\"{title}\"><rect width=\"{SIZE}\" height=\"{SIZE}\" fill=\"none\" stroke=\"#8886\"/>"
    )
}

/// A map of its points; wide enough for noise where `wide`.
#[must_use]
pub fn map(panel: &Panel, wide: bool) -> String {
    let reach = if wide { REACH } else { NEAR };
    let mut dots = vec![String::new(); COLOURS];
    for (point, &colour) in panel.points.iter().zip(&panel.colours).take(SHOWN) {
        let (x, y) = place(reach, point);
        if (0.0..=SIZE).contains(&x) && (0.0..=SIZE).contains(&y) {
            let _ = write!(dots[bucket(colour)], "M{x:.1} {y:.1}h0");
        }
    }
    let mut svg = open(&panel.caption);
    svg += "<g stroke-width=\"1.8\" stroke-linecap=\"round\" fill=\"none\">";
    for (index, dots) in dots.iter().enumerate().filter(|(_, dots)| !dots.is_empty()) {
        let _ = write!(svg, "<path stroke=\"{}\" d=\"{dots}\"/>", colour(index));
    }
    svg + "</g></svg>"
}

/// The paths, with a dot where each ends.
#[must_use]
pub fn paths(trajectories: &Trajectories) -> String {
    let mut svg = open("trajectories");
    svg += "<g stroke-width=\"0.6\" fill=\"none\" stroke-linejoin=\"round\">";
    for (path, &hue) in trajectories.paths.iter().zip(&trajectories.colours) {
        let (mut line, mut end) = (String::new(), (0.0, 0.0));
        for point in path.iter() {
            end = place(REACH, point);
            let command = if line.is_empty() { 'M' } else { 'L' };
            let _ = write!(line, "{command}{:.1} {:.1}", end.0, end.1);
        }
        let colour = colour(bucket(hue));
        let _ = write!(
            svg,
            "<path stroke=\"{colour}\" d=\"{line}\"/><circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"1.6\" fill=\"{colour}\" stroke=\"none\"/>",
            end.0, end.1
        );
    }
    svg + "</g></svg>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::Points;

    #[test]
    fn every_point_in_reach_is_drawn() {
        let panel = Panel {
            caption: "t = 7".to_owned(),
            points: Points {
                values: 2,
                x: vec![0.0, 0.0, 1.0, 1.0, 3.0, 0.0],
            },
            colours: vec![0.0, 1.0, 1.0],
        };
        let dots = |wide| map(&panel, wide).matches('M').count();
        assert_eq!((dots(false), dots(true)), (2, 3));
        let svg = map(&panel, false);
        assert!(
            svg.contains("M120.0 120.0h0") && svg.contains("t = 7"),
            "{svg}"
        );
        assert_eq!(svg.matches("<path").count(), 2);
    }

    #[test]
    fn a_path_has_all_its_places_and_an_end() {
        let trajectories = Trajectories {
            model: "f32",
            steps: 2,
            paths: vec![Points {
                values: 2,
                x: vec![1.0, 1.0, 0.5, 0.5, 0.0, 0.0],
            }],
            colours: vec![0.5],
        };
        let svg = paths(&trajectories);
        assert_eq!(svg.matches('L').count(), 2, "{svg}");
        assert!(svg.contains("<circle cx=\"120.0\" cy=\"120.0\""), "{svg}");
    }
}
