//! The U-Net of the DDPM course notes, for a GPU: what the small network grew
//! from, and what it can be compared with.
//!
//! Pictures are not cut into patches, and every layer attends from each position
//! to each other. Down by convolutions (kernel 4, stride 2, padding 1), up by
//! their transposes, after which what went into the block on the way down is
//! put beside. With the numbers of the preset `reference` it is the network of
//! the notes to the last parameter: see `docs/reference.md`. No chip holds it.

use burn::module::{Module, Param};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::network::embedding::{one_hot, sinusoids};
use crate::network::layers::{Conv, ConvUp, GroupNorm, Init, Linear};
use crate::shape::ReferenceShape;

/// Draws layers of one network.
struct Builder<'a> {
    init: Init<'a>,
    shape: &'a ReferenceShape,
}

impl Builder<'_> {
    fn norm(&mut self, channels: usize) -> GroupNorm {
        let groups = usize::from(self.shape.groups);
        GroupNorm::new(&mut self.init, channels, channels / groups)
    }

    fn conv(&mut self, from: usize, to: usize, kernel: usize, stride: usize) -> Conv {
        Conv::new(&mut self.init, from, to, kernel, stride)
    }

    fn linear(&mut self, from: usize, to: usize) -> Linear {
        Linear::new(&mut self.init, from, to)
    }

    fn layers(&mut self, from: usize, to: usize) -> Vec<Layer> {
        (0..self.shape.layers)
            .map(|layer| Layer {
                res: ResBlock::new(self, if layer == 0 { from } else { to }, to),
                attn: Attention::new(self, to),
            })
            .collect()
    }
}

/// Two convolutions around the embedding, beside one of kernel 1.
#[derive(Module, Debug)]
struct ResBlock {
    norm1: GroupNorm,
    conv1: Conv,
    emb: Linear,
    norm2: GroupNorm,
    conv2: Conv,
    shortcut: Conv,
}

impl ResBlock {
    fn new(build: &mut Builder<'_>, from: usize, to: usize) -> Self {
        Self {
            norm1: build.norm(from),
            conv1: build.conv(from, to, 3, 1),
            emb: build.linear(build.shape.embedding.into(), to),
            norm2: build.norm(to),
            conv2: build.conv(to, to, 3, 1),
            shortcut: build.conv(from, to, 1, 1),
        }
    }

    /// `emb` has passed SiLU already.
    fn forward(&self, x: Tensor<4>, emb: &Tensor<2>) -> Tensor<4> {
        let h = self.conv1.forward(silu(self.norm1.forward(x.clone())));
        let shift = self.emb.forward(emb.clone());
        let [n, channels] = shift.dims();
        let h = h + shift.reshape([n, channels, 1, 1]);
        let h = self.conv2.forward(silu(self.norm2.forward(h)));
        h + self.shortcut.forward(x)
    }
}

/// Self-attention over all positions, added to its input.
#[derive(Module, Debug)]
struct Attention {
    norm: GroupNorm,
    /// q, k and v in this order, the heads contiguous in each.
    qkv: Conv,
    proj: Conv,
    heads: usize,
}

impl Attention {
    fn new(build: &mut Builder<'_>, channels: usize) -> Self {
        Self {
            norm: build.norm(channels),
            qkv: build.conv(channels, 3 * channels, 1, 1),
            proj: build.conv(channels, channels, 1, 1),
            heads: build.shape.heads.into(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, channels, h, w] = x.dims();
        let width = channels / self.heads;
        let qkv = self.qkv.forward(self.norm.forward(x.clone()));
        // [n, heads, position, width]
        let part = |i: usize| {
            qkv.clone()
                .narrow(1, i * channels, channels)
                .reshape([n, self.heads, width, h * w])
                .swap_dims(2, 3)
        };
        // Of all tensors here the weights are by far the largest.
        let q = part(0) * (width as f64).sqrt().recip();
        let weights = softmax(q.matmul(part(1).swap_dims(2, 3)), 3);
        let mix = weights.matmul(part(2)).swap_dims(2, 3);
        x + self.proj.forward(mix.reshape([n, channels, h, w]))
    }
}

/// A residual block and attention.
#[derive(Module, Debug)]
struct Layer {
    res: ResBlock,
    attn: Attention,
}

/// One layer after the other.
fn run(layers: &[Layer], x: Tensor<4>, emb: &Tensor<2>) -> Tensor<4> {
    let step = |x, layer: &Layer| layer.attn.forward(layer.res.forward(x, emb));
    layers.iter().fold(x, step)
}

/// A block on the way down.
#[derive(Module, Debug)]
struct Down {
    layers: Vec<Layer>,
    halve: Option<Conv>,
}

/// A block in the middle.
#[derive(Module, Debug)]
struct Middle {
    layers: Vec<Layer>,
    last: ResBlock,
}

/// A block on the way up.
#[derive(Module, Debug)]
struct Up {
    double: Option<ConvUp>,
    layers: Vec<Layer>,
}

/// The whole network.
#[derive(Module, Debug)]
pub struct ReferenceUNet {
    time1: Linear,
    time2: Linear,
    /// `[classes + 1, embedding]`; the last row means "no class". None where
    /// there are no classes.
    classes: Option<Param<Tensor<2>>>,
    conv_in: Conv,
    /// From fine to coarse.
    down: Vec<Down>,
    mid: Vec<Middle>,
    /// From coarse to fine: the order in which they are used.
    up: Vec<Up>,
    out_norm: GroupNorm,
    out_conv: Conv,
    image_size: usize,
    embedding: usize,
}

impl ReferenceUNet {
    /// A network with fresh parameters; the same ones for the same seed. `shape`
    /// has passed [`Shape::validate`](crate::shape::Shape::validate).
    pub fn new(shape: &ReferenceShape, seed: u64, device: &Device) -> Self {
        let build = &mut Builder {
            init: Init {
                device,
                rng: ChaCha8Rng::seed_from_u64(seed),
            },
            shape,
        };
        let embedding = usize::from(shape.embedding);
        let levels: Vec<[usize; 2]> = pairs(&shape.down_channels);
        Self {
            time1: build.linear(embedding, embedding),
            time2: build.linear(embedding, embedding),
            classes: (shape.classes > 0)
                .then(|| build.init.table(usize::from(shape.classes) + 1, embedding)),
            conv_in: build.conv(1, shape.down_channels[0].into(), 3, 1),
            down: levels
                .iter()
                .zip(&shape.down_sample)
                .map(|(&[from, to], halved)| Down {
                    layers: build.layers(from, to),
                    halve: halved.then(|| build.conv(to, to, 4, 2)),
                })
                .collect(),
            mid: pairs(&shape.mid_channels)
                .into_iter()
                .map(|[from, to]| Middle {
                    layers: build.layers(from, to),
                    last: ResBlock::new(build, to, to),
                })
                .collect(),
            up: levels
                .iter()
                .zip(&shape.down_sample)
                .enumerate()
                .rev()
                .map(|(level, (&[channels, _], halved))| Up {
                    double: halved.then(|| ConvUp::new(&mut build.init, channels, channels)),
                    layers: build.layers(2 * channels, shape.up_channels(level).into()),
                })
                .collect(),
            out_norm: build.norm(shape.out_channels.into()),
            out_conv: build.conv(shape.out_channels.into(), 1, 3, 1),
            image_size: shape.image_size.into(),
            embedding,
        }
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.conv_in.weight.val().device()
    }

    /// The prediction for pictures `x` (`[n, pixels]`, row by row) at
    /// `timesteps`; class `None` is "no class".
    pub fn forward(&self, x: Tensor<2>, timesteps: &[u16], classes: &[Option<u8>]) -> Tensor<2> {
        let (n, side) = (timesteps.len(), self.image_size);
        let emb = &self.embed(timesteps, classes);
        let mut h = self.conv_in.forward(x.reshape([n, 1, side, side]));
        let mut skips = Vec::new();
        for block in &self.down {
            skips.push(h.clone());
            h = run(&block.layers, h, emb);
            if let Some(conv) = &block.halve {
                h = conv.forward(h);
            }
        }
        for block in &self.mid {
            h = block.last.forward(run(&block.layers, h, emb), emb);
        }
        for block in &self.up {
            if let Some(conv) = &block.double {
                h = conv.forward(h);
            }
            let skip = skips.pop().expect("a block down for each block up");
            h = run(&block.layers, Tensor::cat(vec![h, skip], 1), emb);
        }
        let out = self.out_conv.forward(silu(self.out_norm.forward(h)));
        out.reshape([n, side * side])
    }

    /// Timestep and class as every residual block is given them.
    fn embed(&self, timesteps: &[u16], classes: &[Option<u8>]) -> Tensor<2> {
        let device = self.device();
        let features = sinusoids(timesteps, self.embedding, &device);
        let mut emb = self.time2.forward(silu(self.time1.forward(features)));
        if let Some(table) = &self.classes {
            let [rows, _] = table.val().dims();
            emb = emb + one_hot(classes, rows, &device).matmul(table.val());
        }
        silu(emb)
    }
}

/// Each number and the one after it.
fn pairs(channels: &[u16]) -> Vec<[usize; 2]> {
    let pairs = channels.windows(2);
    pairs.map(|pair| [pair[0].into(), pair[1].into()]).collect()
}
