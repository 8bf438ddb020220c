//! Observing and replacing the activations of a forward pass.

use std::fmt;

use burn::tensor::Tensor;
use tiny_ddpm::graph::LayerId;

use crate::network::layers::Conv;

/// Sees every activation of a forward pass, and may replace it. May also
/// compute layers in another way.
pub trait Taps {
    /// Given the activation of `layer`, `[n, channels, h, w]`; what it returns
    /// is what the network goes on with.
    fn tap(&mut self, layer: LayerId, x: Tensor<4>) -> Tensor<4>;

    /// The output of a convolution for `x`. Its channels are those of `layers`,
    /// one after the other: more than one where layers are computed at once.
    fn conv(&mut self, layers: &[LayerId], conv: &Conv, x: Tensor<4>) -> Tensor<4> {
        let _ = layers;
        conv.forward(x)
    }

    /// Given what the embedding adds to the output of the convolution `layer`,
    /// `[n, channels]`.
    fn shift(&mut self, layer: LayerId, shift: Tensor<2>) -> Tensor<2> {
        let _ = layer;
        shift
    }

    /// Given what a normalisation computes, before SiLU.
    fn normal(&mut self, u: Tensor<4>) -> Tensor<4> {
        u
    }

    /// Given what the softmax of an attention is taken of,
    /// `[n, heads, query, key]`.
    fn logits(&mut self, logits: Tensor<4>) -> Tensor<4> {
        logits
    }
}

/// Sees nothing: the taps of training.
#[derive(Clone, Copy, Debug)]
pub struct NoTaps;

impl Taps for NoTaps {
    fn tap(&mut self, _: LayerId, x: Tensor<4>) -> Tensor<4> {
        x
    }
}

/// Calls a function with each activation and leaves it as it is.
pub struct Observe<F>(pub F);

impl<F> fmt::Debug for Observe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observe")
    }
}

impl<F: FnMut(LayerId, &Tensor<4>)> Taps for Observe<F> {
    fn tap(&mut self, layer: LayerId, x: Tensor<4>) -> Tensor<4> {
        (self.0)(layer, &x);
        x
    }
}
