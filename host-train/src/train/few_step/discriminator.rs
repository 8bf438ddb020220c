//! The discriminator: separates generated from real pictures.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::network::UNet;
use crate::network::layers::{Conv, Init, Linear};

/// Gives every parameter an identity of its own.
struct NewIdentity;

impl ModuleMapper for NewIdentity {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::from_tensor(param.val().detach())
    }
}

/// The teacher's encoder, conditional on timestep and class, with a small head.
#[derive(Module, Debug)]
pub struct Discriminator {
    /// A complete U-Net; its decoder is neither used nor trained.
    encoder: UNet,
    conv: Conv,
    output: Linear,
}

impl Discriminator {
    /// A discriminator on the features of `encoder`. The head is random but
    /// determined by `seed`.
    pub fn new(encoder: UNet, seed: u64, device: &Device) -> Self {
        let channels = encoder.feature_channels();
        let init = &mut Init {
            device,
            rng: ChaCha8Rng::seed_from_u64(seed),
        };
        Self {
            // Gradients and moments are found by a parameter's identity, and the
            // fake score's weights are copies of the same.
            encoder: encoder.map(&mut NewIdentity),
            conv: Conv::new(init, channels, channels, 3, 1),
            output: Linear::new(init, channels, 1),
        }
    }

    /// Logits `[n, 1]` for noised pictures `x` (`[n, pixels]`); positive means
    /// real.
    pub fn forward(&self, x: Tensor<2>, timesteps: &[u16], classes: &[Option<u8>]) -> Tensor<2> {
        let features = self.encoder.features(x, timesteps, classes);
        let features = silu(self.conv.forward(features));
        let [n, channels, _, _] = features.dims();
        let mean = features.flatten::<3>(2, 3).mean_dim(2);
        self.output.forward(mean.reshape([n, channels]))
    }
}
