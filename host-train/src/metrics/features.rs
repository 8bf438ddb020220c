//! Pictures as a classifier sees them: a row of numbers for each.

/// What a classifier's last hidden layer gives, picture after picture.
#[derive(Clone, Default, PartialEq)]
pub struct Features {
    /// Numbers for each picture.
    pub width: usize,
    /// The rows one after the other.
    pub values: Vec<f32>,
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} features of {} pictures", self.width, self.count())
    }
}

impl Features {
    /// Number of pictures.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// The features of one picture.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..(index + 1) * self.width]
    }

    /// All rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        // Chunks of 0 are not allowed, and without width there are no values.
        self.values.chunks_exact(self.width.max(1))
    }
}

/// `count` different indices below `of`, in random order; the same ones for the
/// same seed.
#[must_use]
pub fn draw(of: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut indices: Vec<usize> = (0..of).collect();
    // Fisher and Yates, as far as needed.
    for place in 0..count.min(of) {
        let left = (of - place) as u128;
        let other = (u128::from(split_mix(&mut state)) * left) >> 64;
        indices.swap(place, place + other as usize);
    }
    indices.truncate(count);
    indices
}

/// SplitMix64 (Steele, Lea and Flood 2014): enough to shuffle by.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_rows_are_different_and_follow_from_the_seed() {
        let mut drawn = draw(1000, 1000, 3);
        assert!(!drawn.is_sorted());
        assert_eq!(draw(1000, 10, 3), drawn[..10]);
        assert_ne!(draw(1000, 10, 4), drawn[..10]);
        drawn.sort_unstable();
        assert!(drawn.into_iter().eq(0..1000));
    }

    #[test]
    fn rows_are_what_was_put_in() {
        let features = Features {
            width: 2,
            values: vec![0., 1., 2., 3., 4., 5.],
        };
        assert_eq!(features.count(), 3);
        assert_eq!(features.row(1), [2., 3.]);
        assert_eq!(features.rows().len(), 3);
        assert_eq!(Features::default().count(), 0);
        assert_eq!(Features::default().rows().len(), 0);
    }
}
