//! How near pictures are to each other and to training pictures, in grey values:
//! what finds copies and repetitions.

use crate::data::Dataset;
use crate::generate::Pictures;
use crate::metrics::{nearest, siblings};

/// Pictures among which twins are sought.
pub(super) const TWINS_SOUGHT: usize = 2000;

/// How far each of the first pictures is from the nearest other of them.
pub(super) fn twin_distances(pictures: &[u8], pixels: usize) -> Vec<f64> {
    let most = pictures.len().min(TWINS_SOUGHT * pixels);
    siblings(&pictures[..most], pixels)
}

/// What 1% of the distances are at most.
pub(super) fn first_percentile(distances: &[f64]) -> f64 {
    let mut sorted = distances.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 100).copied().unwrap_or(0.0)
}

/// The share of distances that are smaller than `limit`, or 0: where real
/// pictures repeat, the limit is 0 itself.
pub(super) fn share_below(distances: &[f64], limit: f64) -> f64 {
    let below = distances.iter();
    let below = below.filter(|&&distance| distance < limit || distance == 0.0);
    below.count() as f64 / distances.len().max(1) as f64
}

/// Those pictures of a set, one after the other.
pub(super) fn gathered(pictures: &Pictures, chosen: &[usize]) -> Vec<u8> {
    let pixels = pictures.size * pictures.size;
    let chosen = chosen
        .iter()
        .flat_map(|&index| &pictures.pixels[index * pixels..][..pixels]);
    chosen.copied().collect()
}

/// How far each picture is from the nearest training picture.
pub(super) fn distances(pictures: &[u8], train: &Dataset) -> Vec<f64> {
    let found = nearest(pictures, &train.pixels, train.size * train.size);
    found.iter().map(|near| near.distance).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_near_even_where_real_pictures_repeat() {
        let real = [0.0, 0.0, 3.0, 4.0];
        let limit = first_percentile(&real);
        assert_eq!(limit, 0.0);
        assert_eq!(share_below(&[0.0, 1.0, 0.0, 2.0], limit), 0.5);
        assert_eq!(share_below(&[0.5, 1.0, 2.0, 3.0], 1.0), 0.25);
        assert_eq!(share_below(&[], 1.0), 0.0);
    }
}
