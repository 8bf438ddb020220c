//! Tells generated pictures from real ones.

use burn::module::Module;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::train::UNet;
use crate::train::layers::{Conv, Init, Linear};

/// The teacher's way down, which knows timestep and class, and a small head.
#[derive(Module, Debug)]
pub struct Discriminator {
    /// A whole network, of which the way up is never used nor trained.
    encoder: UNet,
    conv: Conv,
    output: Linear,
}

impl Discriminator {
    /// A discriminator that sees what `encoder` sees; the same for one seed.
    pub fn new(encoder: UNet, seed: u64, device: &Device) -> Self {
        let channels = encoder.feature_channels();
        let init = &mut Init {
            device,
            rng: ChaCha8Rng::seed_from_u64(seed),
        };
        Self {
            encoder,
            conv: Conv::new(init, channels, channels, 3, 1),
            output: Linear::new(init, channels, 1),
        }
    }

    /// A logit for each of the noised pictures `x` (`[n, pixels]`): above 0 for
    /// real ones. `[n, 1]`.
    pub fn forward(&self, x: Tensor<2>, timesteps: &[u16], classes: &[Option<u8>]) -> Tensor<2> {
        let features = self.encoder.features(x, timesteps, classes);
        let features = silu(self.conv.forward(features));
        let [n, channels, _, _] = features.dims();
        let mean = features.flatten::<3>(2, 3).mean_dim(2);
        self.output.forward(mean.reshape([n, channels]))
    }
}
