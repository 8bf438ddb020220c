//! The U-Net in f32: what is trained, and what the int8 network is measured
//! against.
//!
//! The structs here hold its parameters, as checkpoints name them; which layer
//! follows which is `core`'s [`graph`](tiny_ddpm::graph), which
//! the interpreter beside it runs.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tiny_ddpm::graph::{LayerId, Part, Stage};
use tiny_ddpm::{Data, Topology};

use crate::network::layers::{Conv, GroupNorm, Init, Linear};

/// Timestep and class to one vector, which every residual block is given.
#[derive(Module, Debug)]
pub struct TimeEmbedding {
    pub(super) linear1: Linear,
    pub(super) linear2: Linear,
    /// `[classes + 1, embedding]`; the last row means "no class".
    pub(super) classes: Param<Tensor<2>>,
}

impl TimeEmbedding {
    fn new(init: &mut Init, topology: &Topology) -> Self {
        let features = usize::from(topology.time_features);
        let width = usize::from(topology.embedding);
        Self {
            linear1: Linear::new(init, features, width),
            linear2: Linear::new(init, width, width),
            classes: init.table(usize::from(topology.classes) + 1, width),
        }
    }
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
}

/// The order of an attention's layers in [`Attention::qkv`].
pub(super) const QKV: [Part; 3] = [Part::Query, Part::Key, Part::Value];

/// Self-attention over all positions, added to its input.
#[derive(Module, Debug)]
pub struct Attention {
    pub(super) norm: GroupNorm,
    /// Queries, keys and values in this order ([`QKV`]), the heads contiguous in
    /// each: one convolution, of whose output the graph's three layers are
    /// parts.
    pub(super) qkv: Conv,
    pub(super) proj: Conv,
}

impl Attention {
    fn new(init: &mut Init, topology: &Topology, channels: usize) -> Self {
        Self {
            norm: GroupNorm::new(init, channels, usize::from(topology.group_channels)),
            qkv: Conv::new(init, channels, 3 * channels, 1, 1),
            proj: Conv::zero(init, channels, channels, 1),
        }
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
}

/// What happens at one resolution, on the way down or up.
#[derive(Module, Debug)]
pub struct Level {
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
    pub(super) down: Vec<Level>,
    pub(super) mid0: ResBlock,
    pub(super) mid_attn: Option<Attention>,
    pub(super) mid1: ResBlock,
    /// From fine to coarse too: `up[i]` faces `down[i]`.
    pub(super) up: Vec<Level>,
    pub(super) out_norm: GroupNorm,
    pub(super) out_conv: Conv,
    #[module(skip)]
    topology: Topology,
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
                Level {
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
                Level {
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
            topology: topology.clone(),
        }
    }

    /// Channels of [`features`](Self::features).
    #[must_use]
    pub fn feature_channels(&self) -> usize {
        self.mid0.conv2.bias.dims()[0]
    }

    /// The network's shape.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    fn res_block(&self, stage: Stage) -> Option<&ResBlock> {
        match stage {
            Stage::Mid { block: 0 } => Some(&self.mid0),
            Stage::Mid { .. } => Some(&self.mid1),
            Stage::Down { level, block } => Some(&block_of(&self.down, level, block)?.res),
            Stage::Up { level, block } => Some(&block_of(&self.up, level, block)?.res),
            _ => None,
        }
    }

    fn attention(&self, stage: Stage) -> Option<&Attention> {
        match stage {
            Stage::MidAttention => self.mid_attn.as_ref(),
            Stage::DownAttention { level, block } => {
                block_of(&self.down, level, block)?.attn.as_ref()
            }
            Stage::UpAttention { level, block } => block_of(&self.up, level, block)?.attn.as_ref(),
            _ => None,
        }
    }

    /// A fully connected layer of the graph; `None` if this network has none
    /// of that name.
    pub(super) fn linear(&self, id: LayerId) -> Option<&Linear> {
        match id.part {
            Part::Linear1 => Some(&self.time.linear1),
            Part::Linear2 => Some(&self.time.linear2),
            _ => Some(&self.res_block(id.stage)?.emb),
        }
    }

    /// A normalisation, likewise.
    pub(super) fn norm(&self, id: LayerId) -> Option<&GroupNorm> {
        match (id.stage, id.part) {
            (Stage::Output, _) => Some(&self.out_norm),
            (stage, Part::Norm1) => Some(&self.res_block(stage)?.norm1),
            (stage, Part::Norm2) => Some(&self.res_block(stage)?.norm2),
            (stage, _) => Some(&self.attention(stage)?.norm),
        }
    }

    /// A convolution, likewise. Queries, keys and values have one in common.
    pub(crate) fn conv(&self, id: LayerId) -> Option<&Conv> {
        match (id.stage, id.part) {
            (Stage::ConvIn, _) => Some(&self.conv_in),
            (Stage::Output, _) => Some(&self.out_conv),
            (Stage::Downsample { level }, _) => {
                self.down.get(usize::from(level))?.resample.as_ref()
            }
            (Stage::Upsample { level }, _) => self.up.get(usize::from(level))?.resample.as_ref(),
            (stage, Part::Conv1) => Some(&self.res_block(stage)?.conv1),
            (stage, Part::Conv2) => Some(&self.res_block(stage)?.conv2),
            (stage, Part::Shortcut) => self.res_block(stage)?.shortcut.as_ref(),
            (stage, Part::Project) => Some(&self.attention(stage)?.proj),
            (stage, _) => Some(&self.attention(stage)?.qkv),
        }
    }
}

fn block_of(levels: &[Level], level: u8, block: u8) -> Option<&Block> {
    levels
        .get(usize::from(level))?
        .blocks
        .get(usize::from(block))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::taps::Observe;

    #[test]
    fn every_activation_passes_the_taps_once() {
        let config = crate::config::Config::preset("digits").unwrap();
        let device = Device::flex();
        let model = UNet::new(config.network.small().unwrap(), 1, &device);
        let mut seen = Vec::new();
        let mut observe = Observe(|layer: LayerId, x: &Tensor<4>| {
            assert_eq!(x.dims()[0], 2, "{layer}");
            seen.push(layer.to_string());
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
}
