//! How a row of weights becomes integers.

/// Clips that are tried at 4 bits, from the largest weight downwards.
const CLIPS: u32 = 32;
/// What each takes off the one before, as a share of the largest weight.
const CLIP_STEP: f64 = 0.02;

/// The unit of an output channel and its weights in that unit, rounded to
/// `bits` bits, 8 or 4. The unit is at least `least`.
///
/// With 8 bits the largest weight becomes 127. With 4 that would waste levels
/// on it: the largest level is 7, and where it lies is chosen for the smallest
/// squared error.
pub(crate) fn quantise_row(contributions: &[f64], bits: u8, least: f64) -> (f64, Vec<i8>) {
    let largest = contributions
        .iter()
        .fold(0.0_f64, |max, c| max.max(c.abs()));
    let top = if bits == 4 { 7.0 } else { 127.0 };
    let full = (largest / top).max(least);
    let level = |contribution: f64, unit: f64| (contribution / unit).round().clamp(-top, top);
    let error = |unit: f64| -> f64 {
        let of = |&c: &f64| (level(c, unit) * unit - c).powi(2);
        contributions.iter().map(of).sum()
    };
    let unit = if bits == 4 {
        (0..CLIPS)
            .map(|i| (full * (1.0 - CLIP_STEP * f64::from(i))).max(least))
            .map(|unit| (error(unit), unit))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(full, |(_, unit)| unit)
    } else {
        full
    };
    let levels = contributions.iter().map(|&c| level(c, unit) as i8);
    (unit, levels.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_8_bits_is_127() {
        let (unit, levels) = quantise_row(&[0.5, -1.0, 0.1, 0.0], 8, 1e-9);
        assert_eq!(levels, [64, -127, 13, 0]);
        assert_eq!(unit, 1.0 / 127.0);
    }

    #[test]
    fn four_bits_clip_where_that_is_nearer() {
        let mut noise = tiny_ddpm::noise::Noise::new(4, 0);
        let row: Vec<f64> = (0..400).map(|_| f64::from(noise.normal())).collect();
        let error = |unit: f64, levels: &[i8]| -> f64 {
            let pairs = row.iter().zip(levels);
            pairs.map(|(w, &q)| (f64::from(q) * unit - w).powi(2)).sum()
        };
        let (unit, levels) = quantise_row(&row, 4, 1e-9);
        assert!(levels.iter().all(|level| level.abs() <= 7));
        let largest = row.iter().fold(0.0_f64, |max, w| max.max(w.abs()));
        let plain: Vec<i8> = row
            .iter()
            .map(|w| (w * 7.0 / largest).round() as i8)
            .collect();
        assert!(error(unit, &levels) < 0.8 * error(largest / 7.0, &plain));
    }

    #[test]
    fn nothing_is_nothing_in_the_least_unit() {
        for bits in [8, 4] {
            assert_eq!(quantise_row(&[0.0; 3], bits, 0.25), (0.25, vec![0; 3]));
        }
    }
}
