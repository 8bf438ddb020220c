//! The Swiss roll in two dimensions: points around a spiral of one and a half
//! turns, which a small network learns in seconds, and which show at a glance
//! whether it learned the distribution or only its spread.
//!
//! As scikit-learn's `make_swiss_roll`, seen along its axis: with u uniform in
//! [0, 1), θ = 1.5π (1 + 2u), a point is θ (cos θ, sin θ) plus normal noise of
//! deviation 0.1, all of it divided by 15. So it lies within [-1, 1], where
//! samplers clip: the outer end is 0.942 from the middle, the noise has a
//! deviation of 0.0067, and neighbouring turns are 0.42 apart.
//!
//! Points follow from the split and their number alone, on every machine.

use std::f64::consts::PI;

use sha2::{Digest, Sha256};
use tiny_ddpm::diffusion::noise::Noise;

use super::dataset::hex;
use super::{Examples, Split};
use crate::points::Points;

/// Values of a point.
pub const VALUES: usize = 2;
/// Points that a run is trained on.
pub const TRAINING_POINTS: usize = 20_000;
/// What coordinates are divided by.
const SCALE: f64 = 15.0;
/// Deviation of the noise, before that.
const NOISE: f64 = 0.1;
/// Seed of all points.
const SEED: u64 = 1;
/// Straight pieces that the curve is cut into, to find the nearest place on it:
/// they leave it by less than 1e-5.
const PIECES: usize = 1000;

impl Examples for Points {
    fn count(&self) -> usize {
        self.len()
    }

    fn each_value(&self, index: usize, show: &mut dyn FnMut(f32)) {
        let point = &self.x[index * self.values..(index + 1) * self.values];
        point.iter().for_each(|&value| show(value));
    }

    fn class(&self, _: usize) -> u8 {
        0
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for value in &self.x {
            hash.update(value.to_le_bytes());
        }
        hex(&hash.finalize())
    }
}

/// The first `count` points of a split; the two have no noise in common.
#[must_use]
pub fn draw(split: Split, count: usize) -> Points {
    let stream = match split {
        Split::Train => 0,
        Split::Test => 1,
    };
    let mut noise = Noise::new(SEED, stream);
    let mut x = Vec::with_capacity(VALUES * count);
    for _ in 0..count {
        // The direction of two independent normal values is uniform.
        let (a, b) = (f64::from(noise.normal()), f64::from(noise.normal()));
        let turn = libm::atan2(a, b) / (2.0 * PI);
        let place = on_curve(turn - libm::floor(turn));
        x.extend(place.map(|value| (value + NOISE / SCALE * f64::from(noise.normal())) as f32));
    }
    Points { values: VALUES, x }
}

/// The place at u = 0 (inner end) to 1 (outer end) of the curve.
#[must_use]
pub fn on_curve(u: f64) -> [f64; VALUES] {
    let angle = 1.5 * PI * (1.0 + 2.0 * u);
    [libm::cos(angle), libm::sin(angle)].map(|direction| angle * direction / SCALE)
}

/// The nearest places on the curve.
#[derive(Clone, Debug)]
pub struct Curve {
    corners: Vec<[f64; VALUES]>,
}

impl Default for Curve {
    fn default() -> Self {
        let corner = |index: usize| on_curve(index as f64 / PIECES as f64);
        Self {
            corners: (0..=PIECES).map(corner).collect(),
        }
    }
}

impl Curve {
    /// How far a point is from the curve, and u of the nearest place on it.
    #[must_use]
    pub fn nearest(&self, point: [f64; VALUES]) -> (f64, f64) {
        let mut best = (f64::INFINITY, 0.0);
        for (index, pair) in self.corners.windows(2).enumerate() {
            let [from, to] = [pair[0], pair[1]];
            let along = [to[0] - from[0], to[1] - from[1]];
            let off = [point[0] - from[0], point[1] - from[1]];
            let length = along[0] * along[0] + along[1] * along[1];
            let share = ((off[0] * along[0] + off[1] * along[1]) / length).clamp(0.0, 1.0);
            let rest = [off[0] - share * along[0], off[1] - share * along[1]];
            let distance = rest[0] * rest[0] + rest[1] * rest[1];
            if distance < best.0 {
                best = (distance, (index as f64 + share) / PIECES as f64);
            }
        }
        (best.0.sqrt(), best.1)
    }
}

/// Deviation of the data from the curve, across it.
#[must_use]
pub fn deviation() -> f64 {
    NOISE / SCALE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_the_same_everywhere() {
        let points = draw(Split::Train, 1000);
        assert_eq!((points.len(), points.iter().len()), (1000, 1000));
        assert_eq!(
            points.fingerprint(),
            "b1b601fc0312480d576ff3a04e3cc193035257169c07ba53b02654c24f4549b1"
        );
        assert_eq!(points.x[..20], draw(Split::Train, 10).x);
        assert_ne!(points.x[..20], draw(Split::Test, 10).x);
    }

    #[test]
    fn they_lie_on_the_curve_and_within_what_samplers_clip() {
        let (points, curve) = (draw(Split::Test, 4000), Curve::default());
        let (mut squares, mut thirds) = (0.0, [0; 3]);
        for point in points.iter() {
            assert!(point.iter().all(|x| x.abs() < 0.99), "{point:?}");
            let (distance, u) = curve.nearest([point[0].into(), point[1].into()]);
            squares += distance * distance;
            thirds[(3.0 * u).min(2.0) as usize] += 1;
        }
        let found = (squares / points.len() as f64).sqrt();
        assert!((found / deviation() - 1.0).abs() < 0.05, "{found}");
        // u is uniform: a third of 4000, give or take four deviations.
        assert!(
            thirds.iter().all(|&n: &i32| (n - 1333).abs() < 120),
            "{thirds:?}"
        );
    }

    #[test]
    fn the_nearest_place_is_found() {
        let curve = Curve::default();
        for u in [0.0, 0.2, 0.777, 1.0] {
            let place = on_curve(u);
            let (distance, found) = curve.nearest(place);
            assert!(distance < 1e-5, "{distance}");
            assert!((found - u).abs() < 1e-3, "{found}");
            // Straight outwards, 0.05 further.
            let radius = place[0].hypot(place[1]);
            let (distance, _) = curve.nearest(place.map(|x| x * (1.0 + 0.05 / radius)));
            assert!((0.045..0.0501).contains(&distance), "{u}: {distance}");
        }
    }
}
