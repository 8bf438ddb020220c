//! The energy distance (Székely & Rizzo 2013): how far two sets of points are
//! apart as distributions, without a judge.

use rayon::prelude::*;

use crate::points::Points;

/// 2 E‖X − Y‖ − E‖X − X'‖ − E‖Y − Y'‖ of two sets, each expectation the mean
/// over all pairs. It is 0 for equal sets and never negative; of two sets of N
/// points of one distribution it is about 2 E‖X − X'‖ / N, the floor that
/// chance leaves.
#[must_use]
pub fn energy_distance(x: &Points, y: &Points) -> f64 {
    2.0 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y)
}

/// E‖X − Y‖.
fn mean_distance(x: &Points, y: &Points) -> f64 {
    let rows: Vec<f64> =
        x.x.par_chunks_exact(x.values)
            .map(|a| y.iter().map(|b| distance(a, b)).sum())
            .collect();
    // Added in order, whichever thread was first.
    rows.iter().sum::<f64>() / (x.len() as f64 * y.len() as f64)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
    squares.sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiny_ddpm::diffusion::noise::Noise;

    fn points(values: usize, x: Vec<f32>) -> Points {
        Points { values, x }
    }

    fn normal(stream: u64, count: usize, shift: f32) -> Points {
        let mut x = vec![0.0; count];
        Noise::new(1, stream).fill(&mut x);
        points(1, x.iter().map(|x| x + shift).collect())
    }

    #[test]
    fn of_few_points_it_is_counted_by_hand() {
        let x = points(2, vec![0.0, 0.0, 3.0, 4.0]);
        let y = points(2, vec![3.0, 0.0]);
        // Across: 3 and 4; within x: 0, 5, 5, 0; within y: 0.
        let expected = 2.0 * 3.5 - 2.5 - 0.0;
        assert!((energy_distance(&x, &y) - expected).abs() < 1e-12);
        assert_eq!(energy_distance(&x, &x), 0.0);
    }

    /// Of N(0, 1) and N(m, 1) it is 2 E|Z√2 + m| − 2 · 2/√π, with
    /// E|N(m, 2)| = 2/√π exp(−m²/4) + m erf(m/2).
    #[test]
    fn of_two_normal_distributions_it_is_the_closed_form() {
        let floor = energy_distance(&normal(0, 3000, 0.0), &normal(1, 3000, 0.0));
        let roots = 2.0 / std::f64::consts::PI.sqrt();
        assert!((0.0..6.0 * roots / 3000.0).contains(&floor), "{floor}");
        let m = 0.8_f64;
        let across = roots * (-m * m / 4.0).exp() + m * libm::erf(m / 2.0);
        let expected = 2.0 * across - 2.0 * roots;
        let found = energy_distance(&normal(0, 3000, 0.0), &normal(1, 3000, 0.8));
        assert!((found / expected - 1.0).abs() < 0.1, "{found}, {expected}");
    }
}
