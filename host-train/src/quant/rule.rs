//! How a range is chosen.

/// How a range is chosen from the values seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
pub enum RangeRule {
    /// Everything seen fits.
    MinMax,
    /// All but one in a thousand of the values seen fits, half of these at
    /// either end.
    Percentile,
    /// The range whose rounding and clipping errors have the smallest sum of
    /// squares.
    #[default]
    Mse,
}
