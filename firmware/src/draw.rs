//! A picture as text.

use heapless::String;

/// Columns of the widest picture drawn whole; each takes up to three bytes.
const COLUMNS: usize = 64;

/// Two rows of pixels as one line: a character has an upper and a lower half.
/// A missing row is black.
pub fn line(upper: &[u8], lower: &[u8]) -> String<{ 3 * COLUMNS }> {
    let lower = lower.iter().copied().chain(core::iter::repeat(0));
    upper
        .iter()
        .zip(lower)
        .take(COLUMNS)
        .map(|(&upper, lower)| match (upper >= 128, lower >= 128) {
            (false, false) => ' ',
            (true, false) => '▀',
            (false, true) => '▄',
            (true, true) => '█',
        })
        .collect()
}
