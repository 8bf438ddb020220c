//! Sizes that all engines share.

/// Positions that a direct convolution computes at once.
pub const LANES: usize = 4;
/// Positions, or Winograd tiles, that the other layouts compute at once.
pub const WIDE_LANES: usize = 2;

/// Sums of four outputs for both lanes, for each of Winograd's frequencies.
pub type WinogradSums = [[[i32; WIDE_LANES]; 4]; 16];

/// From one position's values to the next one's: at most a quarter of all
/// addresses, so that four positions can be counted off without an overflow.
/// More than that no slice has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stride(usize);

impl Stride {
    /// So many values, or as many as there can be.
    #[must_use]
    pub fn new(values: usize) -> Self {
        Self(values.min(usize::MAX / 4))
    }

    /// Values.
    #[inline(always)]
    #[must_use]
    pub fn get(self) -> usize {
        self.0
    }
}
