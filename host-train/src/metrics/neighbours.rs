//! The training pictures that others come nearest to, pixel by pixel: a
//! generator that copies is nearer to them than new pictures are.

use rayon::prelude::*;
use serde::Serialize;

/// The training picture that is nearest to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Neighbour {
    /// Its place in the training set.
    pub index: usize,
    /// Root of the mean squared difference of their pixels, in grey values (0
    /// to 255).
    pub distance: f64,
}

/// For each of `pictures` the nearest of `training`, all of them of `pixels`
/// pixels. Empty where there is nothing to be near to.
#[must_use]
pub fn nearest(pictures: &[u8], training: &[u8], pixels: usize) -> Vec<Neighbour> {
    if pixels == 0 || training.len() < pixels {
        return Vec::new();
    }
    let find = |picture: &[u8]| {
        let mut best = (u64::MAX, 0);
        for (index, other) in training.chunks_exact(pixels).enumerate() {
            if let Some(square) = squared_distance(picture, other, best.0) {
                best = (square, index);
            }
        }
        Neighbour {
            index: best.1,
            distance: (best.0 as f64 / pixels as f64).sqrt(),
        }
    };
    pictures.par_chunks_exact(pixels).map(find).collect()
}

/// For each of `pictures` how far the nearest of the others is, as in
/// [`Neighbour::distance`]: a generator that repeats itself has close siblings.
/// Empty where there are not two.
#[must_use]
pub fn siblings(pictures: &[u8], pixels: usize) -> Vec<f64> {
    if pixels == 0 || pictures.len() < 2 * pixels {
        return Vec::new();
    }
    let find = |(index, picture): (usize, &[u8])| {
        let mut best = u64::MAX;
        for (other, values) in pictures.chunks_exact(pixels).enumerate() {
            if other != index
                && let Some(square) = squared_distance(picture, values, best)
            {
                best = square;
            }
        }
        (best as f64 / pixels as f64).sqrt()
    };
    let pictures = pictures.par_chunks_exact(pixels).enumerate();
    pictures.map(find).collect()
}

/// The sum of squared differences where it is below `limit`.
fn squared_distance(a: &[u8], b: &[u8], limit: u64) -> Option<u64> {
    /// Pixels between two looks at the limit; their sum fits an `u32`.
    const PART: usize = 112;
    let mut sum = 0;
    for (a, b) in a.chunks(PART).zip(b.chunks(PART)) {
        let squares = a.iter().zip(b).map(|(&a, &b)| {
            let difference = i32::from(a) - i32::from(b);
            (difference * difference) as u32
        });
        sum += u64::from(squares.sum::<u32>());
        if sum >= limit {
            return None;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_nearest_is_found() {
        let training: Vec<u8> = [10, 250, 100, 100].iter().flat_map(|&v| [v; 300]).collect();
        let pictures: Vec<u8> = [255, 10, 97].iter().flat_map(|&v| [v; 300]).collect();
        let found = nearest(&pictures, &training, 300);
        let expected = [(1, 5.0), (0, 0.0), (2, 3.0)];
        let expected = expected.map(|(index, distance)| Neighbour { index, distance });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_picture_is_no_sibling_of_its_own() {
        let pictures: Vec<u8> = [10, 13, 20].iter().flat_map(|&v| [v; 300]).collect();
        assert_eq!(siblings(&pictures, 300), [3.0, 3.0, 7.0]);
        assert_eq!(siblings(&[5; 600], 300), [0.0, 0.0]);
        assert!(siblings(&[5; 300], 300).is_empty());
    }

    #[test]
    fn far_is_no_overflow() {
        let found = nearest(&[0; 784], &[255; 784], 784);
        assert_eq!(found[0].distance, 255.0);
    }

    #[test]
    fn nothing_is_near_to_nothing() {
        assert!(nearest(&[0; 784], &[], 784).is_empty());
        assert!(nearest(&[], &[0; 784], 784).is_empty());
    }
}
