//! The layers of the network, each with parameters in a public, plain layout.
//!
//! Every parameter is drawn from the run's own generator, so a network with one
//! seed starts from the same values on every backend. (Burn's generator is one
//! per process and differs between backends.)

use burn::module::{Module, Param};
use burn::tensor::module::{conv_transpose2d, conv2d, linear};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Uniform};

/// Draws initial parameters onto one device.
#[derive(Debug)]
pub struct Init<'a> {
    /// Where the parameters go.
    pub device: &'a Device,
    /// Where the values come from.
    pub rng: ChaCha8Rng,
}

impl Init<'_> {
    fn draw<const D: usize>(
        &mut self,
        shape: [usize; D],
        mut value: impl FnMut(&mut ChaCha8Rng) -> f32,
    ) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| value(&mut self.rng)).collect();
        Param::from_tensor(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }

    /// U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's choice for both kinds of
    /// layer.
    fn uniform<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        let bound = (fan_in as f32).sqrt().recip();
        let uniform = Uniform::new(-bound, bound).expect("a positive bound");
        self.draw(shape, |rng| uniform.sample(rng))
    }

    fn normal<const D: usize>(&mut self, shape: [usize; D], std: f32) -> Param<Tensor<D>> {
        let normal = Normal::new(0.0, std).expect("a finite deviation");
        self.draw(shape, |rng| normal.sample(rng))
    }

    fn constant<const D: usize>(&mut self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        self.draw(shape, |_| value)
    }

    /// `classes + 1` rows of the class table; the last one means "no class".
    pub fn table(&mut self, rows: usize, width: usize) -> Param<Tensor<2>> {
        self.normal([rows, width], 0.3)
    }
}

/// A square convolution with bias. Zero padding keeps the side at stride 1 with
/// an odd kernel, and halves it at stride 2 with an even one.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[out, in, k, k]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
    kernel: usize,
    stride: usize,
}

impl Conv {
    /// A randomly initialised convolution.
    pub fn new(init: &mut Init, from: usize, to: usize, kernel: usize, stride: usize) -> Self {
        let fan_in = from * kernel * kernel;
        Self {
            weight: init.uniform([to, from, kernel, kernel], fan_in),
            bias: init.uniform([to], fan_in),
            kernel,
            stride,
        }
    }

    /// One that gives zeros: a residual branch that starts as the identity.
    pub fn zero(init: &mut Init, from: usize, to: usize, kernel: usize) -> Self {
        Self {
            weight: init.constant([to, from, kernel, kernel], 0.0),
            bias: init.constant([to], 0.0),
            kernel,
            stride: 1,
        }
    }

    /// `[n, in, h, w]` to `[n, out, h / stride, w / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_with(x, self.weight.val(), self.bias.val())
    }

    /// [`forward`](Self::forward) with other values for the parameters.
    pub fn forward_with(&self, x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
        let [n, inputs, height, width] = x.dims();
        if (self.kernel, self.stride, height, width) == (1, 1, 1, 1) {
            // Of a single position a convolution is a fully connected layer,
            // and a product of matrices is several times as fast.
            let outputs = bias.dims()[0];
            let weight = weight.reshape([outputs, inputs]).transpose();
            return linear(x.reshape([n, inputs]), weight, Some(bias)).reshape([n, outputs, 1, 1]);
        }
        let padding = (self.kernel - 1) / 2;
        conv2d(
            x,
            weight,
            Some(bias),
            ConvOptions::new([self.stride; 2], [padding; 2], [1, 1], 1),
        )
    }
}

/// A transposed convolution with bias that doubles the side: kernel 4, stride 2,
/// padding 1.
#[derive(Module, Debug)]
pub struct ConvUp {
    /// `[in, out, 4, 4]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl ConvUp {
    /// A randomly initialised one.
    pub fn new(init: &mut Init, from: usize, to: usize) -> Self {
        // PyTorch takes the outputs for what it calls inputs here.
        let fan_in = to * 16;
        Self {
            weight: init.uniform([from, to, 4, 4], fan_in),
            bias: init.uniform([to], fan_in),
        }
    }

    /// `[n, in, h, w]` to `[n, out, 2 * h, 2 * w]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
        conv_transpose2d(x, self.weight.val(), Some(self.bias.val()), options)
    }
}

/// A fully connected layer with bias.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[in, out]`, as Burn multiplies.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// A randomly initialised layer.
    pub fn new(init: &mut Init, from: usize, to: usize) -> Self {
        Self {
            weight: init.uniform([from, to], from),
            bias: init.uniform([to], from),
        }
    }

    /// `[n, in]` to `[n, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        linear(x, self.weight.val(), Some(self.bias.val()))
    }
}

/// Group normalisation with a gain and an offset for each channel.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[channels]`.
    pub gain: Param<Tensor<1>>,
    /// `[channels]`.
    pub offset: Param<Tensor<1>>,
    group_channels: usize,
}

/// Added to the variance.
pub const NORM_EPSILON: f64 = 1e-5;

impl GroupNorm {
    /// One that starts with gain 1 and offset 0.
    pub fn new(init: &mut Init, channels: usize, group_channels: usize) -> Self {
        Self {
            gain: init.constant([channels], 1.0),
            offset: init.constant([channels], 0.0),
            group_channels,
        }
    }

    /// `[n, channels, h, w]` to the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, channels, h, w] = x.dims();
        let groups = channels / self.group_channels;
        let x = x.reshape([n, groups, self.group_channels * h * w]);
        let centred = x.clone() - x.mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        let normal = centred * (variance + NORM_EPSILON).sqrt().recip();
        let affine = [1, channels, 1, 1];
        normal.reshape([n, channels, h, w]) * self.gain.val().reshape(affine)
            + self.offset.val().reshape(affine)
    }
}
