//! The parts of the body: an [`Info`], then one record for each layer in
//! the order in which [`walk`](crate::graph::walk) meets them.
//!
//! Arrays of numbers are little-endian bytes, borrowed from the blob.

use crate::diffusion::prediction::Prediction;
use crate::diffusion::schedule::ScheduleKind;
use crate::graph::{LayerId, Shape, Topology};
pub use crate::kernels::packing::WeightLayout;
pub use crate::kernels::quant::{Channels, MAX_SHIFT, Quant};
use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};

/// Bytes that weights are aligned to, counted from the blob's first byte.
pub const WEIGHT_ALIGN: usize = 16;

/// A channel's zero point, after undoing the halvings of its scale, is nearer
/// to 0 than this.
pub const MAX_ZERO: i16 = 256;

/// Kernels that a device needs to run a model's convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Packing {
    /// All weights are [direct](WeightLayout::Direct): the smallest, for every device.
    Portable,
    /// Some weights are transformed, so that fewer multiplications are needed.
    Transformed,
    /// Some weights have [4 bits](WeightLayout::Int4); others may be transformed.
    Int4,
    /// Something that this build cannot run.
    Unknown(u8),
}

impl From<u8> for Packing {
    fn from(byte: u8) -> Self {
        match byte {
            0 => Self::Portable,
            1 => Self::Transformed,
            2 => Self::Int4,
            other => Self::Unknown(other),
        }
    }
}

impl From<Packing> for u8 {
    fn from(packing: Packing) -> Self {
        match packing {
            Packing::Portable => 0,
            Packing::Transformed => 1,
            Packing::Int4 => 2,
            Packing::Unknown(other) => other,
        }
    }
}

/// Sampling settings that the model's makers found good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommended {
    /// DDIM steps, 1 to T.
    pub steps: u16,
    /// Classifier-free guidance, 0 to 100.
    pub guidance: f32,
    /// DDIM's η, 0 to 1.
    pub eta: f32,
}

/// Description of a model: everything but its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info<'b> {
    /// The model's name.
    pub name: &'b str,
    /// The network's shape.
    pub topology: Topology,
    /// The noise schedule it was trained on.
    pub schedule: ScheduleKind,
    /// T of that schedule.
    pub timesteps: u16,
    /// The quantity that the network predicts.
    pub prediction: Prediction,
    /// Layout of the weights.
    pub packing: Packing,
    /// Good settings.
    pub recommended: Recommended,
}

/// The network's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputRecord {
    /// Of x_t.
    pub output: Quant,
}

/// A layer of the time embedding, or the projection of the embedding into a
/// residual block; then outputs are in units of the convolution's accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearRecord<'b> {
    /// Zeros that align the weights.
    pub padding: &'b [u8],
    /// `i16`, a row for each output.
    pub weights: &'b [u8],
    /// `f32` for each output: what a weight of 1 stands for.
    pub scales: &'b [u8],
    /// `f32` for each output.
    pub bias: &'b [u8],
}

/// The class embeddings, and behind them that of no class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableRecord<'b> {
    /// `i16`, a row for each class and one more.
    pub values: &'b [u8],
    /// Scale of the values.
    pub scale: f32,
}

/// A normalisation; see [`kernels::norm`](crate::kernels::norm).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormRecord<'b> {
    /// `i32` for each channel, 15 fraction bits.
    pub gains: &'b [u8],
    /// `i32` for each channel, 15 fraction bits.
    pub offsets: &'b [u8],
    /// Output steps in 1, times 2^8.
    pub multiplier: i32,
    /// Of the output.
    pub output: Quant,
}

/// A convolution whose output is an activation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvRecord<'b> {
    /// Zeros that align the weights.
    pub padding: &'b [u8],
    /// As [`WeightLayout::pack`] writes them.
    pub weights: &'b [u8],
    /// `i32` for each output channel, in units of its accumulator, with the
    /// input's zero point folded in.
    pub bias: &'b [u8],
    /// `i32` for each output channel: accumulator unit / the channel's scale,
    /// times 2^32.
    pub multipliers: &'b [u8],
    /// Scale of the residual / `scale`, times 2^24; 0 where there is no
    /// residual.
    pub residual: i32,
    /// One step of the output, where a channel does not halve it.
    pub scale: f32,
    /// For each output channel: how often its scale is halved, 0 to
    /// [`MAX_SHIFT`].
    pub shifts: &'b [u8],
    /// `i16` for each output channel.
    pub zero_points: &'b [u8],
    /// How the weights are stored.
    pub layout: WeightLayout,
}

impl<'b> ConvRecord<'b> {
    /// Quantisation of the output.
    #[must_use]
    pub fn output(&self) -> Channels<'b> {
        Channels {
            scale: self.scale,
            zero_point: 0,
            shifts: self.shifts,
            zero_points: self.zero_points,
        }
    }
}

/// The last convolution, whose output stays `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRecord<'b> {
    /// Zeros that align the weights.
    pub padding: &'b [u8],
    /// [Direct](WeightLayout::Direct).
    pub weights: &'b [u8],
    /// `i32` for each output channel, as in [`ConvRecord`].
    pub bias: &'b [u8],
    /// `f32` for each output channel: the accumulator's unit.
    pub scales: &'b [u8],
}

/// The softmax and the weighting of an attention; see
/// [`kernels::attention`](crate::kernels::attention).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixRecord {
    /// [`Factors::logit`](crate::kernels::attention::Factors::logit).
    pub logit: i32,
    /// [`Factors::value`](crate::kernels::attention::Factors::value).
    pub value: i32,
    /// Of the output.
    pub output: Quant,
}

/// Reads records one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Records<'b> {
    rest: &'b [u8],
}

/// The record at the beginning of `bytes`, and what follows it; `None` where
/// they are none, or not the shortest encoding of one.
///
/// Postcard takes lengths of up to ten bytes on 64-bit machines and of up to
/// five on others. Neither takes fewer than there must be, so that whoever
/// insists on the fewest accepts the same everywhere.
pub(super) fn take_shortest<'b, R: Deserialize<'b> + Serialize>(
    bytes: &'b [u8],
) -> Option<(R, &'b [u8])> {
    let (record, rest) = postcard::take_from_bytes(bytes).ok()?;
    let shortest = postcard::serialize_with_flavor(&record, Size::default()).ok()?;
    (bytes.len() - rest.len() == shortest).then_some((record, rest))
}

impl<'b> Records<'b> {
    pub(super) fn new(rest: &'b [u8]) -> Self {
        Self { rest }
    }

    /// The next record, if the bytes there are one of this type. After a
    /// `None` the reader stays where it was.
    pub fn next_record<R: Deserialize<'b>>(&mut self) -> Option<R> {
        let (record, rest) = postcard::take_from_bytes(self.rest).ok()?;
        self.rest = rest;
        Some(record)
    }

    /// The same where the bytes come from a stranger: see [`take_shortest`].
    pub(super) fn next_checked<R>(&mut self) -> Option<R>
    where
        R: Deserialize<'b> + Serialize,
    {
        let (record, rest) = take_shortest(self.rest)?;
        self.rest = rest;
        Some(record)
    }

    /// The same records from where so many bytes remain.
    pub(crate) fn with_remaining(&self, remaining: usize) -> Self {
        let start = self.rest.len().saturating_sub(remaining);
        Self::new(self.rest.get(start..).unwrap_or_default())
    }

    /// Bytes that were not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }
}

/// A layer's record with its name, as
/// [`Model::for_each_layer`](crate::Model::for_each_layer) shows them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Record<'b> {
    /// A layer of the embedding.
    Linear(LinearRecord<'b>),
    /// The class embeddings.
    Table(TableRecord<'b>),
    /// The network's input.
    Input(InputRecord),
    /// A normalisation.
    Norm(NormRecord<'b>),
    /// A convolution.
    Conv(ConvRecord<'b>),
    /// A softmax.
    Mix(MixRecord),
    /// The last convolution.
    Output(OutputRecord<'b>),
}

/// A layer, as described by blob and topology together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerInfo<'b> {
    /// Its name.
    pub id: LayerId,
    /// Shape of its output.
    pub output: Shape,
    /// Weights of one output channel; 0 where it has none.
    pub fan_in: usize,
    /// Multiply-accumulates of one run.
    pub macs: u64,
    /// Its numbers.
    pub record: Record<'b>,
}
