//! Pictures and points as activations, and back.

use burn::tensor::Tensor;
use tiny_ddpm::graph::FREQUENCIES;

/// The channels of a point, a single position: its values, and their sines and
/// cosines.
pub(super) fn channels_of(x: Tensor<2>) -> Tensor<4> {
    let mut seen = vec![x.clone()];
    for frequency in FREQUENCIES {
        let angle = x.clone() * frequency;
        seen.extend([angle.clone().sin(), angle.cos()]);
    }
    let seen = Tensor::cat(seen, 1);
    let [n, channels] = seen.dims();
    seen.reshape([n, channels, 1, 1])
}

/// Pixels of each `patch` x `patch` square to channels: channel
/// `py * patch + px` of position (i, j) is pixel (i * patch + py, j * patch + px).
#[must_use]
pub fn patchify(x: Tensor<2>, image_size: usize, patch: usize) -> Tensor<4> {
    let [n, _] = x.dims();
    let side = image_size / patch;
    x.reshape([n, side, patch, side, patch])
        .permute([0, 2, 4, 1, 3])
        .reshape([n, patch * patch, side, side])
}

/// The inverse of [`patchify`].
#[must_use]
pub fn unpatchify(x: Tensor<4>, image_size: usize, patch: usize) -> Tensor<2> {
    let [n, _, side, _] = x.dims();
    x.reshape([n, patch, patch, side, side])
        .permute([0, 3, 1, 4, 2])
        .reshape([n, image_size * image_size])
}

/// Each position to 2 x 2 equal ones.
pub(super) fn upsample(x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h, 1, w, 1])
        .expand([n, c, h, 2, w, 2])
        .reshape([n, c, 2 * h, 2 * w])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn patches_become_channels_and_come_back() {
        let values: Vec<f32> = (0..2 * 36).map(|i| i as f32).collect();
        let x = Tensor::<2>::from_data(TensorData::new(values.clone(), [2, 36]), &Device::flex());
        for patch in [1, 2, 3, 6] {
            let patches = patchify(x.clone(), 6, patch);
            let side = 6 / patch;
            assert_eq!(patches.dims(), [2, patch * patch, side, side]);
            let flat: Vec<f32> = patches.clone().into_data().try_to_vec().unwrap();
            for (index, value) in flat.into_iter().enumerate() {
                let (n, c) = (index / 36, index / (side * side) % (patch * patch));
                let (i, j) = (index / side % side, index % side);
                let (row, column) = (i * patch + c / patch, j * patch + c % patch);
                assert_eq!(value, values[n * 36 + row * 6 + column]);
            }
            let back: Vec<f32> = unpatchify(patches, 6, patch)
                .into_data()
                .try_to_vec()
                .unwrap();
            assert_eq!(back, values);
        }
    }

    #[test]
    fn upsampling_repeats_each_position() {
        let x = Tensor::<4>::from_floats([[[[1.0, 2.0], [3.0, 4.0]]]], &Device::flex());
        let up: Vec<f32> = upsample(x).into_data().try_to_vec().unwrap();
        let rows = [
            [1., 1., 2., 2.],
            [1., 1., 2., 2.],
            [3., 3., 4., 4.],
            [3., 3., 4., 4.],
        ];
        assert_eq!(up, rows.concat());
    }
}
