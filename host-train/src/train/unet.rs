//! The U-Net in f32: what is trained, and what the int8 network is measured
//! against. Of points it is a perceptron of the same blocks.
//!
//! Its shape is a [`Topology`]; its layers carry the names that the exported
//! blob and every table and error use (`down0.0.conv1`, `mid.attn.qkv`, ...).
//! Each activation that the int8 network quantises passes through [`Taps`].

use std::fmt::{self, Arguments};

use burn::module::{Module, Param};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tiny_ddpm::graph::FREQUENCIES;
use tiny_ddpm::{Data, Topology};

use super::layers::{Conv, GroupNorm, Init, Linear};

/// Sees every activation of a forward pass, and may replace it. May also
/// compute layers in another way.
///
/// Names arrive unformatted, so a pass that ignores them builds no strings.
pub trait Taps {
    /// Given the activation called `name`, `[n, channels, h, w]`; what it
    /// returns is what the network goes on with.
    fn tap(&mut self, name: Arguments<'_>, x: Tensor<4>) -> Tensor<4>;

    /// What the convolution called `name` makes of `x`.
    fn conv(&mut self, name: Arguments<'_>, conv: &Conv, x: Tensor<4>) -> Tensor<4> {
        let _ = name;
        conv.forward(x)
    }

    /// Given what the embedding adds to the output of the convolution called
    /// `name`, `[n, channels]`.
    fn shift(&mut self, name: Arguments<'_>, shift: Tensor<2>) -> Tensor<2> {
        let _ = name;
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
    fn tap(&mut self, _: Arguments<'_>, x: Tensor<4>) -> Tensor<4> {
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

impl<F: FnMut(&str, &Tensor<4>)> Taps for Observe<F> {
    fn tap(&mut self, name: Arguments<'_>, x: Tensor<4>) -> Tensor<4> {
        (self.0)(&name.to_string(), &x);
        x
    }
}

/// Timestep and class to one vector, which every residual block is given.
#[derive(Module, Debug)]
pub struct TimeEmbedding {
    pub(super) linear1: Linear,
    pub(super) linear2: Linear,
    /// `[classes + 1, embedding]`; the last row means "no class".
    pub(super) classes: Param<Tensor<2>>,
    features: usize,
}

impl TimeEmbedding {
    fn new(init: &mut Init, topology: &Topology) -> Self {
        let features = usize::from(topology.time_features);
        let width = usize::from(topology.embedding);
        Self {
            linear1: Linear::new(init, features, width),
            linear2: Linear::new(init, width, width),
            classes: init.table(usize::from(topology.classes) + 1, width),
            features,
        }
    }

    fn forward(&self, timesteps: &[u16], classes: &[Option<u8>]) -> Tensor<2> {
        let device = self.classes.val().device();
        let features = sinusoids(timesteps, self.features, &device);
        let [rows, _] = self.classes.val().dims();
        let one_hot = one_hot(classes, rows, &device);
        let time = self.linear2.forward(silu(self.linear1.forward(features)));
        silu(time + one_hot.matmul(self.classes.val()))
    }
}

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

/// Two convolutions around the time embedding, beside a shortcut.
#[derive(Module, Debug)]
pub struct ResBlock {
    pub(super) norm1: GroupNorm,
    pub(super) conv1: Conv,
    pub(super) emb: Linear,
    pub(super) norm2: GroupNorm,
    pub(super) conv2: Conv,
    /// Only where the channels change.
    pub(super) shortcut: Option<Conv>,
}

impl ResBlock {
    fn new(init: &mut Init, topology: &Topology, from: usize, to: usize) -> Self {
        let group = usize::from(topology.group_channels);
        let kernel = around(topology);
        Self {
            norm1: GroupNorm::new(init, from, group),
            conv1: Conv::new(init, from, to, kernel, 1),
            emb: Linear::new(init, usize::from(topology.embedding), to),
            norm2: GroupNorm::new(init, to, group),
            conv2: Conv::zero(init, to, to, kernel),
            shortcut: (from != to).then(|| Conv::new(init, from, to, 1, 1)),
        }
    }

    fn forward(
        &self,
        name: Arguments<'_>,
        x: Tensor<4>,
        emb: &Tensor<2>,
        taps: &mut dyn Taps,
    ) -> Tensor<4> {
        let h = silu(taps.normal(self.norm1.forward(x.clone())));
        let h = taps.tap(format_args!("{name}.norm1"), h);
        let shift = self.emb.forward(emb.clone());
        let shift = taps.shift(format_args!("{name}.conv1"), shift);
        let [n, channels] = shift.dims();
        let h = taps.conv(format_args!("{name}.conv1"), &self.conv1, h);
        let h = h + shift.reshape([n, channels, 1, 1]);
        let h = taps.tap(format_args!("{name}.conv1"), h);
        let h = silu(taps.normal(self.norm2.forward(h)));
        let h = taps.tap(format_args!("{name}.norm2"), h);
        let shortcut = match &self.shortcut {
            Some(conv) => {
                let x = taps.conv(format_args!("{name}.shortcut"), conv, x);
                taps.tap(format_args!("{name}.shortcut"), x)
            }
            None => x,
        };
        let h = taps.conv(format_args!("{name}.conv2"), &self.conv2, h);
        taps.tap(format_args!("{name}.conv2"), h + shortcut)
    }
}

/// Self-attention over all positions, added to its input.
#[derive(Module, Debug)]
pub struct Attention {
    pub(super) norm: GroupNorm,
    /// q, k and v in this order, the heads contiguous in each.
    pub(super) qkv: Conv,
    pub(super) proj: Conv,
    heads: usize,
}

impl Attention {
    fn new(init: &mut Init, topology: &Topology, channels: usize) -> Self {
        Self {
            norm: GroupNorm::new(init, channels, usize::from(topology.group_channels)),
            qkv: Conv::new(init, channels, 3 * channels, 1, 1),
            proj: Conv::zero(init, channels, channels, 1),
            heads: usize::from(topology.heads),
        }
    }

    fn forward(&self, name: Arguments<'_>, x: Tensor<4>, taps: &mut dyn Taps) -> Tensor<4> {
        let [n, channels, h, w] = x.dims();
        let width = channels / self.heads;
        let normal = taps.normal(self.norm.forward(x.clone()));
        let normal = taps.tap(format_args!("{name}.norm"), normal);
        let qkv = taps.conv(format_args!("{name}.qkv"), &self.qkv, normal);
        let mut part = |i: usize, letter: char| {
            let part = qkv.clone().narrow(1, i * channels, channels);
            taps.tap(format_args!("{name}.{letter}"), part)
                .reshape([n, self.heads, width, h * w])
        };
        let (q, k, v) = (part(0, 'q'), part(1, 'k'), part(2, 'v'));

        let scale = (width as f64).sqrt().recip();
        // [n, heads, query, key]
        let scores = q.swap_dims(2, 3).matmul(k) * scale;
        let weights = softmax(taps.logits(scores), 3);
        let mix = v.matmul(weights.swap_dims(2, 3));
        let mix = taps.tap(format_args!("{name}.mix"), mix.reshape([n, channels, h, w]));
        let mix = taps.conv(format_args!("{name}.proj"), &self.proj, mix);
        taps.tap(format_args!("{name}.proj"), x + mix)
    }
}

/// A residual block, and the attention that may follow it.
#[derive(Module, Debug)]
pub struct Block {
    pub(super) res: ResBlock,
    pub(super) attn: Option<Attention>,
}

impl Block {
    fn new(init: &mut Init, topology: &Topology, from: usize, to: usize, attention: bool) -> Self {
        Self {
            res: ResBlock::new(init, topology, from, to),
            attn: attention.then(|| Attention::new(init, topology, to)),
        }
    }

    fn forward(
        &self,
        name: Arguments<'_>,
        x: Tensor<4>,
        emb: &Tensor<2>,
        taps: &mut dyn Taps,
    ) -> Tensor<4> {
        let x = self.res.forward(name, x, emb, taps);
        match &self.attn {
            Some(attn) => attn.forward(format_args!("{name}.attn"), x, taps),
            None => x,
        }
    }
}

/// What happens at one resolution, on the way down or up.
#[derive(Module, Debug)]
pub struct Stage {
    pub(super) blocks: Vec<Block>,
    /// The convolution to the next resolution; the last stage has none.
    pub(super) resample: Option<Conv>,
}

/// Side of what a convolution sees that keeps the resolution: 3, or of points,
/// which have no neighbours, 1.
fn around(topology: &Topology) -> usize {
    match topology.data() {
        Data::Picture { .. } => 3,
        Data::Point { .. } => 1,
    }
}

/// The whole network.
#[derive(Module, Debug)]
pub struct UNet {
    pub(super) time: TimeEmbedding,
    pub(super) conv_in: Conv,
    /// From fine to coarse.
    pub(super) down: Vec<Stage>,
    pub(super) mid0: ResBlock,
    pub(super) mid_attn: Option<Attention>,
    pub(super) mid1: ResBlock,
    /// From fine to coarse too: `up[i]` faces `down[i]`.
    pub(super) up: Vec<Stage>,
    pub(super) out_norm: GroupNorm,
    pub(super) out_conv: Conv,
    /// 0 of points, which are not cut into patches.
    image_size: usize,
    patch: usize,
}

impl UNet {
    /// A network with fresh parameters; the same ones for the same seed.
    ///
    /// # Panics
    /// Where `topology` does not pass [`Topology::validate`].
    pub fn new(topology: &Topology, seed: u64, device: &Device) -> Self {
        topology.validate().expect("a validated topology");
        let init = &mut Init {
            device,
            rng: ChaCha8Rng::seed_from_u64(seed),
        };
        let channels = |level: usize| usize::from(topology.levels[level].channels);
        let last = topology.levels.len() - 1;
        let blocks = usize::from(topology.blocks);
        let patch_pixels = topology.patch_pixels();

        let time = TimeEmbedding::new(init, topology);
        let kernel = around(topology);
        let conv_in = Conv::new(init, topology.input_channels(), channels(0), kernel, 1);
        let down = (0..=last)
            .map(|level| {
                let to = channels(level);
                let from = channels(level.saturating_sub(1));
                let attention = topology.levels[level].attention;
                Stage {
                    blocks: (0..blocks)
                        .map(|b| {
                            Block::new(
                                init,
                                topology,
                                if b == 0 { from } else { to },
                                to,
                                attention,
                            )
                        })
                        .collect(),
                    resample: (level < last).then(|| Conv::new(init, to, to, 3, 2)),
                }
            })
            .collect();
        let middle = channels(last);
        let mid0 = ResBlock::new(init, topology, middle, middle);
        let mid_attn = topology
            .mid_attention
            .then(|| Attention::new(init, topology, middle));
        let mid1 = ResBlock::new(init, topology, middle, middle);
        let up = (0..=last)
            .map(|level| {
                let c = channels(level);
                let attention = topology.levels[level].attention;
                Stage {
                    blocks: (0..blocks)
                        .map(|_| Block::new(init, topology, 2 * c, c, attention))
                        .collect(),
                    resample: (level > 0).then(|| Conv::new(init, c, channels(level - 1), 3, 1)),
                }
            })
            .collect();
        Self {
            time,
            conv_in,
            down,
            mid0,
            mid_attn,
            mid1,
            up,
            out_norm: GroupNorm::new(init, channels(0), usize::from(topology.group_channels)),
            out_conv: Conv::zero(init, channels(0), patch_pixels, kernel),
            image_size: usize::from(topology.image_size),
            patch: usize::from(topology.patch),
        }
    }

    /// The prediction for pictures `x` (`[n, pixels]`, row by row) or points
    /// (`[n, values]`) at
    /// `timesteps`; class `None` is "no class".
    pub fn forward(&self, x: Tensor<2>, timesteps: &[u16], classes: &[Option<u8>]) -> Tensor<2> {
        self.forward_with(x, timesteps, classes, &mut NoTaps)
    }

    /// [`forward`](Self::forward) under observation.
    pub fn forward_with(
        &self,
        x: Tensor<2>,
        timesteps: &[u16],
        classes: &[Option<u8>],
        taps: &mut dyn Taps,
    ) -> Tensor<2> {
        let emb = &self.time.forward(timesteps, classes);
        let (h, skips) = self.encode(x, emb, taps);
        self.decode(h, skips, emb, taps)
    }

    /// What the way down and the middle make of pictures before its last
    /// block, `[n, channels, h, w]` of the coarsest level: features for a
    /// network that judges pictures.
    pub fn features(&self, x: Tensor<2>, timesteps: &[u16], classes: &[Option<u8>]) -> Tensor<4> {
        let emb = &self.time.forward(timesteps, classes);
        let (h, _) = self.encode(x, emb, &mut NoTaps);
        h
    }

    /// Channels of [`features`](Self::features).
    #[must_use]
    pub fn feature_channels(&self) -> usize {
        self.mid0.conv2.bias.dims()[0]
    }

    /// Down to the middle's attention, with what the way up will want.
    fn encode(
        &self,
        x: Tensor<2>,
        emb: &Tensor<2>,
        taps: &mut dyn Taps,
    ) -> (Tensor<4>, Vec<Tensor<4>>) {
        let x = match self.image_size {
            0 => channels_of(x),
            size => patchify(x, size, self.patch),
        };
        let x = taps.tap(format_args!("x"), x);
        let h = taps.conv(format_args!("conv_in"), &self.conv_in, x);
        let mut h = taps.tap(format_args!("conv_in"), h);
        let mut skips = Vec::new();
        for (level, stage) in self.down.iter().enumerate() {
            for (b, block) in stage.blocks.iter().enumerate() {
                h = block.forward(format_args!("down{level}.{b}"), h, emb, taps);
                skips.push(h.clone());
            }
            if let Some(conv) = &stage.resample {
                let name = format_args!("downsample{level}.conv");
                h = taps.conv(name, conv, h);
                h = taps.tap(name, h);
            }
        }
        h = self.mid0.forward(format_args!("mid0"), h, emb, taps);
        if let Some(attn) = &self.mid_attn {
            h = attn.forward(format_args!("mid.attn"), h, taps);
        }
        (h, skips)
    }

    /// From there to the prediction.
    fn decode(
        &self,
        h: Tensor<4>,
        mut skips: Vec<Tensor<4>>,
        emb: &Tensor<2>,
        taps: &mut dyn Taps,
    ) -> Tensor<2> {
        let mut h = self.mid1.forward(format_args!("mid1"), h, emb, taps);
        for (level, stage) in self.up.iter().enumerate().rev() {
            for (b, block) in stage.blocks.iter().enumerate() {
                let skip = skips.pop().expect("as many skips as blocks on the way up");
                let both = Tensor::cat(vec![h, skip], 1);
                h = block.forward(format_args!("up{level}.{b}"), both, emb, taps);
            }
            if let Some(conv) = &stage.resample {
                let name = format_args!("upsample{level}.conv");
                h = taps.conv(name, conv, upsample(h));
                h = taps.tap(name, h);
            }
        }
        let h = silu(taps.normal(self.out_norm.forward(h)));
        let h = taps.tap(format_args!("out.norm"), h);
        let out = taps.conv(format_args!("out.conv"), &self.out_conv, h);
        let out = taps.tap(format_args!("out.conv"), out);
        match self.image_size {
            0 => out.flatten(1, 3),
            size => unpatchify(out, size, self.patch),
        }
    }
}

/// What is seen of a point, as channels of a single position: its values, and
/// sines and cosines of them.
fn channels_of(x: Tensor<2>) -> Tensor<4> {
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
fn upsample(x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h, 1, w, 1])
        .expand([n, c, h, 2, w, 2])
        .reshape([n, c, 2 * h, 2 * w])
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn every_activation_passes_the_taps_once() {
        let config = crate::config::Config::preset("digits").unwrap();
        let device = Device::flex();
        let model = UNet::new(config.network.small().unwrap(), 1, &device);
        let mut seen = Vec::new();
        let mut observe = Observe(|name: &str, x: &Tensor<4>| {
            assert_eq!(x.dims()[0], 2, "{name}");
            seen.push(name.to_owned());
        });
        let x = Tensor::zeros([2, 784], &device);
        model.forward_with(x, &[1, 1000], &[Some(9), None], &mut observe);
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "{seen:?}");
        for name in [
            "x",
            "conv_in",
            "down1.0.shortcut",
            "mid.attn.mix",
            "up0.0.conv2",
            "out.conv",
        ] {
            assert!(seen.iter().any(|tap| tap == name), "no {name} in {seen:?}");
        }
        // x, conv_in, downsample, upsample, out.norm, out.conv; four to a
        // residual block and a shortcut in three of six; six of attention.
        assert_eq!(seen.len(), 6 + 6 * 4 + 3 + 6);
    }

    #[test]
    fn parameters_are_all_named() {
        let config = crate::config::Config::preset("digits").unwrap();
        let model = UNet::new(config.network.small().unwrap(), 1, &Device::flex());
        let parameters = model.parameters();
        let count: usize = parameters.iter().map(|p| p.values.len()).sum();
        assert_eq!(count, model.num_params());
        for p in &parameters {
            assert_eq!(
                p.shape.iter().product::<usize>(),
                p.values.len(),
                "{}",
                p.name
            );
        }
        let shape = |name: &str| &parameters.iter().find(|p| p.name == name).unwrap().shape;
        assert_eq!(*shape("time.linear1.weight"), [96, 32]);
        assert_eq!(*shape("down1.0.emb.weight"), [48, 96]);
        assert_eq!(*shape("up0.0.conv1.weight"), [24, 48, 3, 3]);
        assert_eq!(*shape("time.classes.weight"), [11, 96]);
    }

    #[test]
    fn time_features_are_sines_then_cosines() {
        let features: Vec<f32> = time_features(3, 4).collect();
        let expected = [3f32.sin(), 0.03f32.sin(), 3f32.cos(), 0.03f32.cos()];
        for (a, b) in features.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{features:?}");
        }
    }
}
