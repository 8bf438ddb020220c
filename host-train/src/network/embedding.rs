//! What the embedding is made of.

use burn::tensor::{Device, Tensor, TensorData};

/// [`time_features`] of each timestep, `[n, count]`.
pub(super) fn sinusoids(timesteps: &[u16], count: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = timesteps
        .iter()
        .flat_map(|&t| time_features(t, count))
        .collect();
    Tensor::from_data(TensorData::new(values, [timesteps.len(), count]), device)
}

/// A row with a single 1 for each class, the last place for "no class":
/// `[n, rows]`. A product with it picks rows of a table, and its gradient needs
/// no scatter, which backends may add up in any order.
pub(super) fn one_hot(classes: &[Option<u8>], rows: usize, device: &Device) -> Tensor<2> {
    let n = classes.len();
    let mut one_hot = vec![0.0f32; n * rows];
    for (row, class) in one_hot.chunks_exact_mut(rows).zip(classes) {
        row[class.map_or(rows - 1, usize::from)] = 1.0;
    }
    Tensor::from_data(TensorData::new(one_hot, [n, rows]), device)
}

/// sin(t f_k) for all k, then cos(t f_k), with f_k = 10000^(-k / (count / 2)).
fn time_features(timestep: u16, count: usize) -> impl Iterator<Item = f32> {
    let half = count / 2;
    (0..count).map(move |i| {
        let k = i % half;
        let angle = f64::from(timestep) * 10_000f64.powf(-(k as f64) / half as f64);
        (if i < half { angle.sin() } else { angle.cos() }) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_features_are_sines_then_cosines() {
        let features: Vec<f32> = time_features(3, 4).collect();
        let expected = [3f32.sin(), 0.03f32.sin(), 3f32.cos(), 0.03f32.cos()];
        for (a, b) in features.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{features:?}");
        }
    }
}
