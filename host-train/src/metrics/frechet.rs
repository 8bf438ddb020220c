//! The Fréchet distance between two sets of features, each taken for a
//! Gaussian (Dowson and Landau 1982; Heusel et al. 2017, arXiv:1706.08500).
//!
//! Two sets of pictures of one kind are not at distance 0: the fewer there
//! are, the further apart they seem. A distance means something only beside
//! that of two sets of real pictures of the same size.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use crate::metrics::Features;

/// |m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁ C₂)^½) for means m and covariances C.
///
/// Not a number where a set has fewer than two pictures, or the sets have not
/// the same width.
#[must_use]
pub fn distance(a: &Features, b: &Features) -> f64 {
    if a.width != b.width || a.count() < 2 || b.count() < 2 {
        return f64::NAN;
    }
    let (mean_a, covariance_a) = moments(a);
    let (mean_b, covariance_b) = moments(b);
    // (C₁ C₂)^½ has the trace of (C₁^½ C₂ C₁^½)^½, which is symmetric.
    let root = square_root(covariance_a.clone());
    let product = &root * &covariance_b * &root;
    let product = (&product + product.transpose()) * 0.5;
    let roots: f64 = product
        .symmetric_eigenvalues()
        .iter()
        .map(|value| value.max(0.0).sqrt())
        .sum();
    let means = (mean_a - mean_b).norm_squared();
    let distance = means + covariance_a.trace() + covariance_b.trace() - 2.0 * roots;
    // Rounding may take what is 0 below it. What is no number must stay so,
    // which `max` would not see to.
    if distance < 0.0 { 0.0 } else { distance }
}

/// Mean and covariance, the latter without bias.
fn moments(features: &Features) -> (DVector<f64>, DMatrix<f64>) {
    let (count, width) = (features.count(), features.width);
    let values = features.values.iter().map(|&value| f64::from(value));
    // Rows of features are columns here: nalgebra stores those together.
    let mut centred = DMatrix::from_iterator(width, count, values);
    let mean = centred.column_mean();
    for mut column in centred.column_iter_mut() {
        column -= &mean;
    }
    let covariance = &centred * centred.transpose() / (count - 1) as f64;
    (mean, covariance)
}

/// The symmetric matrix whose square a covariance is.
fn square_root(covariance: DMatrix<f64>) -> DMatrix<f64> {
    let SymmetricEigen {
        eigenvectors,
        eigenvalues,
    } = covariance.symmetric_eigen();
    let roots = eigenvalues.map(|value| value.max(0.0).sqrt());
    &eigenvectors * DMatrix::from_diagonal(&roots) * eigenvectors.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiny_ddpm::diffusion::noise::Noise;

    /// Pairs of points at ±√(n - 1)/√2 along each axis: mean 0, and the
    /// covariance is the unit matrix exactly.
    fn cross(width: usize) -> Vec<Vec<f64>> {
        let reach = ((2 * width - 1) as f64 / 2.0).sqrt();
        let point = |axis: usize, at: f64| {
            let mut point = vec![0.0; width];
            point[axis] = at;
            point
        };
        (0..width)
            .flat_map(|axis| [point(axis, reach), point(axis, -reach)])
            .collect()
    }

    /// The cross after a linear map, given row by row, and a shift.
    fn mapped(map: &[&[f64]], shift: &[f64]) -> Features {
        let width = shift.len();
        let values = cross(width).into_iter().flat_map(|point| {
            let along = |row: &&[f64]| row.iter().zip(&point).map(|(m, x)| m * x).sum::<f64>();
            let image: Vec<f64> = map.iter().map(along).collect();
            let moved = image.iter().zip(shift).map(|(x, s)| (x + s) as f32);
            moved.collect::<Vec<f32>>()
        });
        Features {
            width,
            values: values.collect(),
        }
    }

    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{a} is not {b}");
    }

    #[test]
    fn gaussians_along_the_axes() {
        // Deviations 1, 2, 3 against 3, 2, 0.5, with means (1, -2, 0) apart.
        let a = mapped(&[&[1., 0., 0.], &[0., 2., 0.], &[0., 0., 3.]], &[0.; 3]);
        let b = mapped(
            &[&[3., 0., 0.], &[0., 2., 0.], &[0., 0., 0.5]],
            &[1., -2., 0.],
        );
        // The sum over the axes of squared differences of means and deviations.
        let expected = 1.0 + 4.0 + 4.0 + 0.0 + 6.25;
        assert_close(distance(&a, &b), expected);
        assert_close(distance(&b, &a), expected);
    }

    #[test]
    fn gaussians_that_share_no_axes() {
        // For 2 x 2 matrices tr √M = √(tr M + 2 √det M).
        let a = mapped(&[&[2., 0.], &[1., 1.]], &[0., 0.]);
        let b = mapped(&[&[1., -1.], &[0., 3.]], &[0., 0.]);
        // C₁ = [[4, 2], [2, 2]], C₂ = [[2, -3], [-3, 9]]: tr C₁C₂ = 14 and
        // det C₁C₂ = 4 · 9.
        let expected = 6.0 + 11.0 - 2.0 * (14.0f64 + 2.0 * 6.0).sqrt();
        assert_close(distance(&a, &b), expected);
        assert_close(distance(&b, &a), expected);
    }

    #[test]
    fn a_set_is_at_no_distance_from_itself() {
        let a = mapped(&[&[2., 0.], &[1., 1.]], &[5., -3.]);
        assert!(distance(&a, &a) < 1e-9);
        // Covariances need not have full rank.
        let flat = mapped(&[&[1., 1.], &[1., 1.]], &[0., 0.]);
        assert!(distance(&flat, &flat) < 1e-6);
    }

    #[test]
    fn what_is_no_number_is_not_called_good() {
        let mut a = mapped(&[&[2., 0.], &[1., 1.]], &[0., 0.]);
        let one = Features {
            width: a.width,
            values: a.row(0).to_vec(),
        };
        assert!(distance(&one, &a).is_nan());
        let other = Features {
            width: 1,
            values: vec![0.0; 4],
        };
        assert!(distance(&other, &a).is_nan());
        let good = a.clone();
        a.values[0] = f32::INFINITY;
        assert!(distance(&a, &good).is_nan());
    }

    /// The floor: sets of one kind are the nearer the larger they are.
    #[test]
    fn sets_of_one_kind_draw_near_as_they_grow() {
        let width = 8;
        let distances = [20, 200, 2000].map(|n| {
            let [a, b] = [0, 1].map(|stream| {
                let mut values = vec![0.0; width * n];
                Noise::new(1, stream).fill(&mut values);
                Features { width, values }
            });
            distance(&a, &b)
        });
        assert!(distances[2] > 0.0, "{distances:?}");
        assert!(distances[0] > 5.0 * distances[1], "{distances:?}");
        assert!(distances[1] > 5.0 * distances[2], "{distances:?}");
        // The means alone are 2 · width / n apart, in expectation.
        assert!(
            distances[2] < 10.0 * 2.0 * width as f64 / 2000.0,
            "{distances:?}"
        );
    }
}
