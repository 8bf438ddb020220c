//! Runs the network's graph on float tensors.

use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Device, Tensor};
use tiny_ddpm::graph::{
    Activation, Attention, Conv, Extra, Geometry, Interpreter, LayerId, Linear, Norm, Part, Shape,
    Stage, Table, walk,
};
use tiny_ddpm::{Data, Topology};

use crate::network::embedding::{one_hot, sinusoids};
use crate::network::patches::{channels_of, patchify, unpatchify, upsample};
use crate::network::taps::{NoTaps, Taps};
use crate::network::unet::{QKV, UNet};

/// Why a parameter cannot be missing.
pub(super) const SAME: &str = "the network was made for this topology";

impl UNet {
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
        Run::new(self, x, timesteps, classes, taps).prediction()
    }

    /// The middle's activation before its last block, `[n, channels, h, w]` of
    /// the coarsest level: features for a discriminator.
    pub fn features(&self, x: Tensor<2>, timesteps: &[u16], classes: &[Option<u8>]) -> Tensor<4> {
        let last = LayerId::new(Stage::Mid { block: 1 }, Part::Norm1);
        Run::new(self, x, timesteps, classes, &mut NoTaps).input_of(last)
    }
}

/// One forward pass over a batch.
pub(super) struct Run<'r> {
    net: &'r UNet,
    taps: &'r mut dyn Taps,
    x: Tensor<2>,
    timesteps: &'r [u16],
    classes: &'r [Option<u8>],
    /// Of each example, `[n, width]`.
    embedding: Option<Tensor<2>>,
    /// Activations, `[n, channels, h, w]`; none where it was released.
    activations: Vec<Option<Tensor<4>>>,
    /// The last concatenation with a skip connection: a block reads it twice.
    concatenation: Option<((usize, usize), Tensor<4>)>,
    /// Queries, keys and values, until all three were asked for.
    qkv: Option<Tensor<4>>,
    /// The normalisation at which to stop, for its input.
    stop: Option<LayerId>,
    prediction: Option<Tensor<2>>,
}

/// A run that was stopped, with the input of the layer where it was.
pub(super) struct Stopped(Tensor<4>);

impl<'r> Run<'r> {
    pub fn new(
        net: &'r UNet,
        x: Tensor<2>,
        timesteps: &'r [u16],
        classes: &'r [Option<u8>],
        taps: &'r mut dyn Taps,
    ) -> Self {
        Self {
            net,
            taps,
            x,
            timesteps,
            classes,
            embedding: None,
            activations: Vec::new(),
            concatenation: None,
            qkv: None,
            stop: None,
            prediction: None,
        }
    }

    /// The prediction, `[n, pixels]`.
    pub fn prediction(mut self) -> Tensor<2> {
        let net = self.net;
        assert!(walk(&mut self, net.topology()).is_ok(), "nothing stops it");
        self.prediction.expect("a walk ends with its output")
    }

    /// The input of a normalisation, `[n, channels, h, w]`; what follows is not
    /// computed.
    pub fn input_of(mut self, norm: LayerId) -> Tensor<4> {
        let net = self.net;
        self.stop = Some(norm);
        match walk(&mut self, net.topology()) {
            Err(Stopped(x)) => x,
            Ok(()) => unreachable!("every network has a {norm}"),
        }
    }

    fn topology(&self) -> &'r Topology {
        self.net.topology()
    }

    fn device(&self) -> Device {
        self.x.device()
    }

    fn embedding(&self) -> Tensor<2> {
        self.embedding.clone().expect("made before it is read")
    }

    fn keep(&mut self, x: Tensor<4>) -> usize {
        self.activations.push(Some(x));
        self.activations.len() - 1
    }

    fn get(&self, x: &Activation<usize>) -> Tensor<4> {
        let kept = &self.activations[x.data];
        kept.clone().expect("released by its last reader")
    }

    /// An operand, with the channels of a skip connection behind its own.
    fn operand(&mut self, x: &Activation<usize>, skip: Option<&Activation<usize>>) -> Tensor<4> {
        let Some(skip) = skip else {
            return self.get(x);
        };
        let key = (x.data, skip.data);
        match &self.concatenation {
            Some((known, both)) if *known == key => both.clone(),
            _ => {
                let both = Tensor::cat(vec![self.get(x), self.get(skip)], 1);
                self.concatenation = Some((key, both.clone()));
                both
            }
        }
    }

    /// A convolution's output, before anything is added.
    fn convolve(&mut self, id: LayerId, x: Tensor<4>) -> Tensor<4> {
        let conv = self.net.conv(id).expect(SAME);
        let Some(part) = QKV.iter().position(|part| *part == id.part) else {
            return self.taps.conv(&[id], conv, x);
        };
        let all = match self.qkv.take() {
            Some(all) if part > 0 => all,
            _ => {
                let layers = QKV.map(|part| LayerId::new(id.stage, part));
                self.taps.conv(&layers, conv, x)
            }
        };
        let channels = all.dims()[1] / QKV.len();
        if part + 1 < QKV.len() {
            self.qkv = Some(all.clone());
        }
        all.narrow(1, part * channels, channels)
    }
}

impl Interpreter for Run<'_> {
    /// An index into `activations`.
    type Data = usize;
    type Error = Stopped;

    fn timestep(&mut self, features: usize) -> Result<(), Stopped> {
        self.embedding = Some(sinusoids(self.timesteps, features, &self.device()));
        Ok(())
    }

    fn linear(&mut self, linear: &Linear) -> Result<(), Stopped> {
        let y = self.net.linear(linear.id).expect(SAME);
        let y = y.forward(self.embedding());
        self.embedding = Some(if linear.silu { silu(y) } else { y });
        Ok(())
    }

    fn classes(&mut self, table: &Table) -> Result<(), Stopped> {
        let one_hot = one_hot(self.classes, table.rows, &self.device());
        let rows = one_hot.matmul(self.net.time.classes.val());
        self.embedding = Some(silu(self.embedding() + rows));
        Ok(())
    }

    fn projection(&mut self, _: &Linear) -> Result<(), Stopped> {
        Ok(())
    }

    fn input(&mut self, _: Shape) -> Result<usize, Stopped> {
        let x = match self.topology().data() {
            Data::Picture { side } => {
                patchify(self.x.clone(), side.into(), self.topology().patch.into())
            }
            Data::Point { .. } => channels_of(self.x.clone()),
        };
        let x = self.taps.tap(LayerId::new(Stage::Input, Part::Whole), x);
        Ok(self.keep(x))
    }

    fn norm(&mut self, norm: &Norm<usize>) -> Result<usize, Stopped> {
        let x = self.operand(&norm.x, norm.skip.as_ref());
        if self.stop == Some(norm.id) {
            return Err(Stopped(x));
        }
        let u = self.net.norm(norm.id).expect(SAME).forward(x);
        let u = self.taps.normal(u);
        let y = if norm.silu { silu(u) } else { u };
        let y = self.taps.tap(norm.id, y);
        Ok(self.keep(y))
    }

    fn conv(&mut self, conv: &Conv<usize>) -> Result<usize, Stopped> {
        let x = self.operand(&conv.x, conv.skip.as_ref());
        let x = match conv.geometry {
            Geometry::Up => upsample(x),
            Geometry::Pointwise | Geometry::Same | Geometry::Down => x,
        };
        let y = self.convolve(conv.id, x);
        let y = match &conv.extra {
            Extra::None => y,
            Extra::Residual(residual) => y + self.get(residual),
            Extra::Embedding(linear) => {
                let projection = self.net.linear(linear.id).expect(SAME);
                let shift = projection.forward(self.embedding());
                let shift = self.taps.shift(conv.id, shift);
                let [n, channels] = shift.dims();
                y + shift.reshape([n, channels, 1, 1])
            }
        };
        let y = self.taps.tap(conv.id, y);
        Ok(self.keep(y))
    }

    fn attention(&mut self, attention: &Attention<usize>) -> Result<usize, Stopped> {
        let heads = usize::from(self.topology().heads);
        let operands = [&attention.query, &attention.key, &attention.value];
        let [n, channels, h, w] = self.get(operands[0]).dims();
        let width = channels / heads;
        let [q, k, v] = operands.map(|x| self.get(x).reshape([n, heads, width, h * w]));
        let scale = (width as f64).sqrt().recip();
        // [n, heads, query, key]
        let scores = q.swap_dims(2, 3).matmul(k) * scale;
        let weights = softmax(self.taps.logits(scores), 3);
        let mix = v.matmul(weights.swap_dims(2, 3));
        let mix = self
            .taps
            .tap(attention.id, mix.reshape([n, channels, h, w]));
        Ok(self.keep(mix))
    }

    fn output(&mut self, conv: &Conv<usize>) -> Result<(), Stopped> {
        let x = self.get(&conv.x);
        let y = self.convolve(conv.id, x);
        let y = self.taps.tap(conv.id, y);
        self.prediction = Some(match self.topology().data() {
            Data::Picture { side } => unpatchify(y, side.into(), self.topology().patch.into()),
            Data::Point { .. } => y.flatten(1, 3),
        });
        Ok(())
    }

    fn release(&mut self, index: usize) {
        self.activations[index] = None;
        let is_half = |((x, skip), _): &((usize, usize), _)| [*x, *skip].contains(&index);
        if self.concatenation.as_ref().is_some_and(is_half) {
            self.concatenation = None;
        }
    }
}
