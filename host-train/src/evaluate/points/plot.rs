//! The maps of a report.

use super::results::{Panel, Trajectories};
use crate::output::Map;

/// Half the side of a map; noise rarely reaches further.
const REACH: f64 = 3.2;
/// The same of maps that show data alone.
const NEAR: f64 = 1.15;

/// A map of its points; wide enough for noise where `wide`.
#[must_use]
pub fn map(panel: &Panel, wide: bool) -> String {
    let map = Map::new(&panel.caption, if wide { REACH } else { NEAR });
    map.dots(&panel.points, &panel.colours, 1.8).finish()
}

/// The paths, with a dot where each ends.
#[must_use]
pub fn paths(trajectories: &Trajectories) -> String {
    let mut map = Map::new("trajectories", REACH);
    for (path, &colour) in trajectories.paths.iter().zip(&trajectories.colours) {
        map = map.path(path, colour, 0.6);
    }
    map.finish()
}
