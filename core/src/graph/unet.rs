//! The U-Net.
//!
//! The picture is cut into patches. At each level stand residual blocks of
//! two 3x3 convolutions, each behind a group normalisation and SiLU; the
//! embedding of timestep and class is added between them. Convolutions of
//! stride 2 lead down, nearest-neighbour doubling and a convolution lead up,
//! and every block on the way up sees its counterpart on the way down.
//!
//! A network for points ([`Data::Point`]) is the same text on a single
//! position, where every convolution is pointwise: a multilayer perceptron of
//! residual blocks.

use super::layer::{LayerId, Part, Stage};
use super::op::{
    Activation, Attention, Conv, Extra, Geometry, Interpreter, Linear, Norm, Readers, Shape, Table,
};
use super::topology::{Data, Level, MAX_BLOCKS, Topology};

/// Runs the network of `topology` in the meaning that `net` gives it.
///
/// # Errors
/// The first error of an operation.
pub fn walk<I: Interpreter>(net: &mut I, topology: &Topology) -> Result<(), I::Error> {
    let finest = topology.levels.first().map_or(0, channels);
    embedding(net, topology)?;
    let mut flow = Flow::start(net, topology)?;
    flow.conv(Stage::ConvIn, Part::Whole, flow.around, finest)?;
    flow.blocks(topology, 0, 0)?;
    flow.output(topology.patch_pixels())
}

/// silu(W2 silu(W1 features + b1) + b2 + class row).
fn embedding<I: Interpreter>(net: &mut I, topology: &Topology) -> Result<(), I::Error> {
    let features = usize::from(topology.time_features);
    let width = usize::from(topology.embedding);
    let id = |part| LayerId::new(Stage::Time, part);
    net.timestep(features)?;
    net.linear(&Linear {
        id: id(Part::Linear1),
        inputs: features,
        outputs: width,
        silu: true,
    })?;
    net.linear(&Linear {
        id: id(Part::Linear2),
        inputs: width,
        outputs: width,
        silu: false,
    })?;
    net.classes(&Table {
        id: id(Part::Classes),
        rows: usize::from(topology.classes) + 1,
        width,
    })
}

fn channels(level: &Level) -> usize {
    usize::from(level.channels)
}

/// The main path through the network: an activation `h` that each layer
/// replaces.
struct Flow<'n, I: Interpreter> {
    net: &'n mut I,
    h: Activation<I::Data>,
    /// Taps of convolutions that keep the resolution: a 3x3 neighbourhood,
    /// or of a point, which has none, itself.
    around: Geometry,
    /// Width of the embedding.
    embedding: usize,
    /// Whether `h` is also a skip connection, and so outlives its replacement.
    lent: bool,
}

impl<'n, I: Interpreter> Flow<'n, I> {
    #[inline(never)]
    fn start(net: &'n mut I, topology: &Topology) -> Result<Self, I::Error> {
        let shape = Shape {
            side: topology.side(),
            channels: topology.input_channels(),
        };
        let data = net.input(shape)?;
        Ok(Self {
            net,
            h: Activation { shape, data },
            around: match topology.data() {
                Data::Picture { .. } => Geometry::Same,
                Data::Point { .. } => Geometry::Pointwise,
            },
            embedding: topology.embedding.into(),
            lent: false,
        })
    }

    /// `h` as a skip connection.
    fn lend(&mut self) -> Activation<I::Data> {
        self.lent = true;
        self.h
    }

    /// Makes `h` something new; the old one is forgotten unless it is lent.
    fn replace(&mut self, h: Activation<I::Data>) {
        let old = core::mem::replace(&mut self.h, h);
        if !core::mem::take(&mut self.lent) {
            self.net.release(old.data);
        }
    }

    /// From block `block` of level `index` on the way down to its counterpart
    /// on the way up. What lies between them is the same from the next block
    /// on, so that each skip connection waits where it will be needed.
    fn blocks(&mut self, topology: &Topology, index: u8, block: u8) -> Result<(), I::Error> {
        let blocks = topology.blocks.min(MAX_BLOCKS);
        let Some(level) = topology.levels.get(usize::from(index)) else {
            return self.middle(topology);
        };
        if block >= blocks {
            let next = index + 1;
            if usize::from(next) >= topology.levels.len() {
                return self.middle(topology);
            }
            let stage = Stage::Downsample { level: index };
            self.conv(stage, Part::Conv, Geometry::Down, channels(level))?;
            self.blocks(topology, next, 0)?;
            let stage = Stage::Upsample { level: next };
            return self.conv(stage, Part::Conv, Geometry::Up, channels(level));
        }

        self.down_block(topology, index, block)?;
        let skip = self.lend();
        self.blocks(topology, index, block + 1)?;
        self.up_block(topology, index, block, &skip)
    }

    // Another resolution's convolution reads the last block of a level, on the
    // way down and on the way up. Neither function is on the stack while what
    // lies between them runs.

    #[inline(never)]
    fn down_block(&mut self, topology: &Topology, level: u8, block: u8) -> Result<(), I::Error> {
        let last = block + 1 >= topology.blocks.min(MAX_BLOCKS);
        let readers = Readers {
            skip: true,
            padded: last && usize::from(level) + 1 < topology.levels.len(),
        };
        let (stage, attention) = (
            Stage::Down { level, block },
            Stage::DownAttention { level, block },
        );
        self.block(topology, level, [stage, attention], None, readers)
    }

    /// The counterpart of block `block`, which gave `skip`.
    #[inline(never)]
    fn up_block(
        &mut self,
        topology: &Topology,
        level: u8,
        block: u8,
        skip: &Activation<I::Data>,
    ) -> Result<(), I::Error> {
        let readers = Readers {
            skip: false,
            padded: block == 0 && level > 0,
        };
        let block = topology.blocks.min(MAX_BLOCKS).saturating_sub(block + 1);
        let (stage, attention) = (
            Stage::Up { level, block },
            Stage::UpAttention { level, block },
        );
        self.block(topology, level, [stage, attention], Some(*skip), readers)
    }

    /// A residual block, and the attention that may follow it.
    #[inline(always)]
    fn block(
        &mut self,
        topology: &Topology,
        level: u8,
        [stage, attention]: [Stage; 2],
        skip: Option<Activation<I::Data>>,
        readers: Readers,
    ) -> Result<(), I::Error> {
        let Some(level) = topology.levels.get(usize::from(level)) else {
            return Ok(());
        };
        if !level.attention {
            return self.res_block(stage, skip, channels(level), readers);
        }
        self.res_block(stage, skip, channels(level), Readers::default())?;
        self.attention(attention, readers)
    }

    fn middle(&mut self, topology: &Topology) -> Result<(), I::Error> {
        let coarsest = topology.levels.last().map_or(0, channels);
        let none = Readers::default();
        self.res_block(Stage::Mid { block: 0 }, None, coarsest, none)?;
        if topology.mid_attention {
            self.attention(Stage::MidAttention, none)?;
        }
        self.res_block(Stage::Mid { block: 1 }, None, coarsest, none)
    }

    fn run_conv(&mut self, conv: &Conv<I::Data>) -> Result<Activation<I::Data>, I::Error> {
        let data = self.net.conv(conv)?;
        if let Extra::Embedding(linear) = &conv.extra {
            self.net.projection(linear)?;
        }
        Ok(Activation {
            shape: conv.output(),
            data,
        })
    }

    fn run_norm(&mut self, norm: &Norm<I::Data>) -> Result<Activation<I::Data>, I::Error> {
        Ok(Activation {
            shape: norm.output(),
            data: self.net.norm(norm)?,
        })
    }

    fn conv(
        &mut self,
        stage: Stage,
        part: Part,
        geometry: Geometry,
        channels: usize,
    ) -> Result<(), I::Error> {
        let h = self.run_conv(&Conv {
            id: LayerId::new(stage, part),
            x: self.h,
            skip: None,
            geometry,
            channels,
            extra: Extra::None,
            symmetric: false,
            readers: Readers::default(),
        })?;
        self.replace(h);
        Ok(())
    }

    /// y = conv2(silu(norm2(conv1(silu(norm1(x))) + emb))) + shortcut(x),
    /// where x is `h` with the skip's channels behind its own.
    // Once in the program, and its memory on the stack only while it runs.
    #[inline(never)]
    fn res_block(
        &mut self,
        stage: Stage,
        skip: Option<Activation<I::Data>>,
        channels: usize,
        readers: Readers,
    ) -> Result<(), I::Error> {
        let around = self.around;
        let conv = |part, x, extra| Conv {
            id: LayerId::new(stage, part),
            x,
            skip: None,
            geometry: around,
            channels,
            extra,
            symmetric: false,
            readers: Readers::default(),
        };
        let first = Norm {
            id: LayerId::new(stage, Part::Norm1),
            x: self.h,
            skip,
            silu: true,
        };
        let norm1 = self.run_norm(&first)?;
        if first.output().channels != channels {
            let shortcut = self.run_conv(&Conv {
                skip,
                geometry: Geometry::Pointwise,
                ..conv(Part::Shortcut, self.h, Extra::None)
            })?;
            self.replace(shortcut);
            if let Some(skip) = skip {
                self.net.release(skip.data);
            }
        }
        let projection = Extra::Embedding(Linear {
            id: LayerId::new(stage, Part::Embedding),
            inputs: self.embedding,
            outputs: channels,
            silu: false,
        });
        let conv1 = self.run_conv(&conv(Part::Conv1, norm1, projection))?;
        self.net.release(norm1.data);
        let norm2 = self.run_norm(&Norm {
            id: LayerId::new(stage, Part::Norm2),
            x: conv1,
            skip: None,
            silu: true,
        })?;
        self.net.release(conv1.data);
        let residual = Extra::Residual(self.h);
        let conv2 = self.run_conv(&Conv {
            readers,
            ..conv(Part::Conv2, norm2, residual)
        })?;
        self.net.release(norm2.data);
        self.replace(conv2);
        Ok(())
    }

    /// y = x + proj(softmax(q k^T / sqrt(d)) v), with q, k, v from norm(x).
    #[inline(never)]
    fn attention(&mut self, stage: Stage, readers: Readers) -> Result<(), I::Error> {
        let channels = self.h.shape.channels;
        let pointwise = |part, x, extra| Conv {
            id: LayerId::new(stage, part),
            x,
            skip: None,
            geometry: Geometry::Pointwise,
            channels,
            extra,
            symmetric: false,
            readers: Readers::default(),
        };
        let norm = self.run_norm(&Norm {
            id: LayerId::new(stage, Part::Norm),
            x: self.h,
            skip: None,
            silu: false,
        })?;
        let operand = |part| Conv {
            symmetric: true,
            ..pointwise(part, norm, Extra::None)
        };
        let query = self.run_conv(&operand(Part::Query))?;
        let key = self.run_conv(&operand(Part::Key))?;
        let value = self.run_conv(&operand(Part::Value))?;
        self.net.release(norm.data);
        let attention = Attention {
            id: LayerId::new(stage, Part::Mix),
            query,
            key,
            value,
        };
        let mix = Activation {
            shape: query.shape,
            data: self.net.attention(&attention)?,
        };
        for operand in [query, key, value] {
            self.net.release(operand.data);
        }
        let residual = Extra::Residual(self.h);
        let project = self.run_conv(&Conv {
            readers,
            ..pointwise(Part::Project, mix, residual)
        })?;
        self.net.release(mix.data);
        self.replace(project);
        Ok(())
    }

    /// The prediction from `h`, one channel for each pixel of a patch or value
    /// of a point.
    #[inline(never)]
    fn output(mut self, channels: usize) -> Result<(), I::Error> {
        let norm = self.run_norm(&Norm {
            id: LayerId::new(Stage::Output, Part::Norm),
            x: self.h,
            skip: None,
            silu: true,
        })?;
        self.replace(norm);
        self.net.output(&Conv {
            id: LayerId::new(Stage::Output, Part::Conv),
            x: self.h,
            skip: None,
            geometry: self.around,
            channels,
            extra: Extra::None,
            symmetric: false,
            readers: Readers::default(),
        })?;
        self.net.release(self.h.data);
        Ok(())
    }
}
