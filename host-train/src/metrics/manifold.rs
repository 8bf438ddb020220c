//! Whether generated pictures look like real ones, and whether they look like
//! all of them.
//!
//! A set of pictures is taken for the union of balls around each, as large as
//! it takes to reach the k-th nearest of the same set. Precision and recall
//! (Kynkäänniemi et al. 2019, arXiv:1904.06991) ask which pictures of one set
//! lie in the other's union; density and coverage (Naeem et al. 2020,
//! arXiv:2002.09797) weaken what outliers with their large balls do to that.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use rayon::prelude::*;
use serde::Serialize;

use crate::metrics::Features;

/// Neighbours that make the balls of precision and recall, as in the paper.
pub const K_PRECISION: usize = 3;
/// Neighbours that make the balls of density and coverage, as in the paper.
pub const K_DENSITY: usize = 5;

/// How two sets of pictures lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Manifold {
    /// Part of the generated pictures that lie in the real ones' union: how
    /// good they are.
    pub precision: f64,
    /// Part of the real pictures that lie in the generated ones' union: how
    /// much of what is real is generated.
    pub recall: f64,
    /// Real pictures' balls that a generated one lies in, as a part of k: 1 in
    /// expectation where both are of one kind, and it may be more.
    pub density: f64,
    /// Part of the real pictures with a generated one in their balls.
    pub coverage: f64,
}

impl Manifold {
    /// Compares generated pictures with real ones. The sets should be equally
    /// large: more pictures make smaller balls.
    ///
    /// # Errors
    /// Where a set is too small for its balls, or the widths are different.
    pub fn new(real: &Features, generated: &Features) -> Result<Self> {
        Ok(Self::with_covered(real, generated)?.0)
    }

    /// The same, and of each real picture whether a generated one lies in its
    /// ball: what coverage counts.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_covered(real: &Features, generated: &Features) -> Result<(Self, Vec<bool>)> {
        ensure!(
            real.width == generated.width,
            "real pictures have {} features, generated ones {}",
            real.width,
            generated.width
        );
        let fewest = real.count().min(generated.count());
        ensure!(
            fewest > K_DENSITY,
            "{fewest} pictures are too few for precision and recall; generate {} or more with --count",
            K_DENSITY + 1
        );
        let balls_real = balls(real);
        let balls_generated = balls(generated);
        let flags = || -> Vec<AtomicBool> {
            let flags = || AtomicBool::new(false);
            std::iter::repeat_with(flags).take(real.count()).collect()
        };
        let (recalled, covered) = (flags(), flags());
        let counts = (0..generated.count()).into_par_iter().map(|index| {
            let row = generated.row(index);
            let (mut inside, mut balls) = (false, 0);
            for (other, real) in real.rows().enumerate() {
                let square = squared_distance(row, real);
                inside |= square <= balls_real[other].precision;
                if square <= balls_real[other].density {
                    balls += 1;
                    covered[other].store(true, Ordering::Relaxed);
                }
                if square <= balls_generated[index].precision {
                    recalled[other].store(true, Ordering::Relaxed);
                }
            }
            (usize::from(inside), balls)
        });
        let (inside, in_balls): (usize, usize) =
            counts.reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let plain = |flags: Vec<AtomicBool>| -> Vec<bool> {
            flags.into_iter().map(AtomicBool::into_inner).collect()
        };
        let (recalled, covered) = (plain(recalled), plain(covered));
        let part = |flags: &[bool]| {
            let set = flags.iter().filter(|&&flag| flag);
            set.count() as f64 / real.count() as f64
        };
        let generated = generated.count() as f64;
        let manifold = Self {
            precision: inside as f64 / generated,
            recall: part(&recalled),
            density: in_balls as f64 / (K_DENSITY as f64 * generated),
            coverage: part(&covered),
        };
        Ok((manifold, covered))
    }
}

/// Squared radii of the balls around a picture.
#[derive(Clone, Copy)]
struct Balls {
    precision: f32,
    density: f32,
}

/// How far the nearest pictures of the same set are, for each.
fn balls(features: &Features) -> Vec<Balls> {
    let around = |index: usize| {
        let row = features.row(index);
        // Squares in rising order.
        let mut nearest = [f32::INFINITY; K_DENSITY];
        for (other, values) in features.rows().enumerate() {
            let square = squared_distance(row, values);
            if other == index || square >= nearest[K_DENSITY - 1] {
                continue;
            }
            let place = nearest.partition_point(|&known| known <= square);
            nearest[place..].rotate_right(1);
            nearest[place] = square;
        }
        Balls {
            precision: nearest[K_PRECISION - 1],
            density: nearest[K_DENSITY - 1],
        }
    };
    (0..features.count()).into_par_iter().map(around).collect()
}

/// The same bits whichever of the two comes first, so that equal distances
/// compare as equal.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    // As many sums as the compiler can keep in vector registers.
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            let difference = a - b;
            *sum += difference * difference;
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b));
    sums.into_iter().sum::<f32>() + rest.sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiny_ddpm::diffusion::noise::Noise;

    fn gaussian(count: usize, width: usize, seed: u64, shift: f32) -> Features {
        let mut values = vec![0.0; width * count];
        Noise::new(seed, 0).fill(&mut values);
        for value in &mut values {
            *value += shift;
        }
        Features { width, values }
    }

    #[test]
    fn a_set_against_itself() {
        let features = gaussian(300, 19, 1, 0.0);
        let manifold = Manifold::new(&features, &features).unwrap();
        let expected = Manifold {
            precision: 1.0,
            recall: 1.0,
            // Every ball holds its five neighbours and its own centre.
            density: 1.2,
            coverage: 1.0,
        };
        assert_eq!(manifold, expected);
    }

    #[test]
    fn sets_that_share_nothing() {
        let (a, b) = (gaussian(200, 8, 1, 0.0), gaussian(200, 8, 2, 100.0));
        let manifold = Manifold::new(&a, &b).unwrap();
        let expected = Manifold {
            precision: 0.0,
            recall: 0.0,
            density: 0.0,
            coverage: 0.0,
        };
        assert_eq!(manifold, expected);
    }

    #[test]
    fn sets_of_one_kind() {
        let (a, b) = (gaussian(2000, 8, 1, 0.0), gaussian(2000, 8, 2, 0.0));
        let manifold = Manifold::new(&a, &b).unwrap();
        assert!((manifold.density - 1.0).abs() < 0.1, "{manifold:?}");
        // 1 - 2⁻⁵ for equally large sets, by the paper's lemma 2.
        assert!((manifold.coverage - 0.969).abs() < 0.02, "{manifold:?}");
    }

    /// Real pictures in two heaps, generated ones in one of them: all good,
    /// half of it missing.
    #[test]
    fn what_is_missing_lowers_recall_not_precision() {
        let mut real = gaussian(200, 4, 1, 0.0);
        let generated = real.clone();
        real.values.extend(gaussian(200, 4, 2, 100.0).values);
        let manifold = Manifold::new(&real, &generated).unwrap();
        assert_eq!((manifold.precision, manifold.recall), (1.0, 0.5));
        assert_eq!(manifold.coverage, 0.5);
        let (_, covered) = Manifold::with_covered(&real, &generated).unwrap();
        let expected = (0..400).map(|index| index < 200);
        assert!(covered.into_iter().eq(expected));
        let manifold = Manifold::new(&generated, &real).unwrap();
        assert_eq!((manifold.precision, manifold.recall), (0.5, 1.0));
        assert_eq!(manifold.coverage, 1.0);
    }

    /// On a line the balls can be told by hand.
    #[test]
    fn balls_reach_the_third_and_the_fifth() {
        let line = |values: &[f32]| Features {
            width: 1,
            values: values.to_vec(),
        };
        let real = line(&[0., 1., 2., 3., 4., 5., 6.]);
        let radii: Vec<(f32, f32)> = balls(&real)
            .iter()
            .map(|balls| (balls.precision.sqrt(), balls.density.sqrt()))
            .collect();
        let expected = [
            (3., 5.),
            (2., 4.),
            (2., 3.),
            (2., 3.),
            (2., 3.),
            (2., 4.),
            (3., 5.),
        ];
        assert_eq!(radii, expected);
        // -4 lies in no ball, -3 in the first's of precision, 20 in none.
        let generated = line(&[-4., -3., 20., 21., 22., 23.]);
        let manifold = Manifold::new(&real, &generated).unwrap();
        assert_eq!(manifold.precision, 1.0 / 6.0);
        // -4 and -3 lie in the balls of density of 0 and -3 in that of 1.
        assert_eq!(manifold.density, 3.0 / 30.0);
        assert_eq!(manifold.coverage, 2.0 / 7.0);
    }

    #[test]
    fn too_few_pictures_are_refused() {
        let (few, enough) = (gaussian(5, 4, 1, 0.0), gaussian(6, 4, 2, 0.0));
        let error = Manifold::new(&enough, &few).unwrap_err().to_string();
        assert!(error.contains("--count"), "{error}");
        Manifold::new(&enough, &enough).unwrap();
        assert!(Manifold::new(&enough, &gaussian(6, 3, 2, 0.0)).is_err());
    }
}
