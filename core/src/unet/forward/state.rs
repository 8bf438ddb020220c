//! State of a run of the network, and its memory.

use crate::blob::records::{Channels, ConvRecord, InputRecord, MixRecord, NormRecord, Records};
use crate::graph::{Activation, Conv, Data, Extra, LayerId, Shape, Topology};
use crate::kernels::conv::Plane;
use crate::kernels::epilogue::Requantise;
use crate::kernels::little_endian::words;
use crate::kernels::quant::Scale;
use crate::unet::arena::{Arena, End, Place};
use crate::unet::error::UnetError;
use crate::unet::io::{Io, Observation};
use crate::unet::plan::{Plan, Words};
use core::ops::Range;

/// The workspace, cut as the plan says.
pub(crate) struct Memory<'w> {
    pub quantised: &'w mut [i16],
    pub arena: &'w mut [i8],
    /// The last activation of a guided step's first run.
    pub kept: &'w mut [i8],
}

impl<'w> Memory<'w> {
    /// With all that the workspace has, and `kept` bytes of it to keep.
    pub fn split(workspace: &'w mut [u32], plan: &Plan, kept: usize) -> Option<Self> {
        let (quantised, arena) = workspace.split_at_mut_checked(plan.embedding / 2)?;
        let arena: &mut [i8] = bytemuck::cast_slice_mut(arena);
        let (arena, kept) = arena.split_at_mut_checked(arena.len().checked_sub(kept)?)?;
        Some(Self {
            quantised: bytemuck::cast_slice_mut(quantised),
            arena,
            kept,
        })
    }
}

/// An activation in the workspace: small, because the network's walk hands
/// many of them about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub place: Place,
    pub made_by: MadeBy,
    /// How many bytes of records there were at that layer's.
    pub remaining: usize,
}

/// The layer that made an activation, and whose record says what its integers
/// stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MadeBy {
    Input,
    Norm,
    Conv,
    Attention,
}

/// One run of the network.
pub(crate) struct Forward<'r, 'e, 'b, 'w, F> {
    pub topology: &'r Topology,
    /// From here on, and from the first.
    pub records: Records<'b>,
    pub all: Records<'b>,
    pub timestep: u16,
    /// A row of the class table.
    pub class: u16,
    pub io: Io<'e>,
    pub memory: Memory<'w>,
    /// Scale of `memory.quantised`.
    pub embedding_scale: f32,
    pub arena: Arena,
    pub observe: F,
}

impl<'b, F: FnMut(&Observation<'_>)> Forward<'_, '_, 'b, '_, F> {
    /// A place for the output of the layer whose record had `remaining` bytes
    /// before it was read.
    pub(super) fn place(
        &mut self,
        shape: Shape,
        end: End,
        made_by: MadeBy,
        remaining: usize,
    ) -> Result<Stored, UnetError> {
        let place = self.arena.place(end, shape.values());
        Ok(Stored {
            place: place.ok_or(UnetError::Corrupt)?,
            made_by,
            remaining,
        })
    }

    /// Quantisation of an activation.
    #[inline(never)]
    pub(super) fn quant(&self, data: &Stored) -> Result<Channels<'b>, UnetError> {
        let mut records = self.all.with_remaining(data.remaining);
        let quant = match data.made_by {
            MadeBy::Input => records
                .next_record::<InputRecord>()
                .map(|r| r.output.into()),
            MadeBy::Norm => records
                .next_record::<NormRecord<'b>>()
                .map(|r| r.output.into()),
            MadeBy::Conv => records.next_record::<ConvRecord<'b>>().map(|r| r.output()),
            MadeBy::Attention => records.next_record::<MixRecord>().map(|r| r.output.into()),
        };
        quant.ok_or(UnetError::Corrupt)
    }

    /// The bytes of an activation.
    pub(super) fn range(&self, shape: Shape, data: &Stored) -> Range<usize> {
        data.place.range(shape.values(), self.memory.arena.len())
    }

    /// The bytes of an operand.
    pub(super) fn operand(&self, operand: &Activation<Stored>) -> Range<usize> {
        self.range(operand.shape, &operand.data)
    }

    /// The bytes of an operand that may be absent.
    pub(super) fn optional(&self, operand: Option<&Activation<Stored>>) -> Range<usize> {
        operand.map_or(0..0, |operand| self.operand(operand))
    }

    /// A place for words that nothing needs after this layer: as many as the
    /// workspace has room for.
    pub(super) fn scratch(&self, words: impl Into<Words>) -> Range<usize> {
        let Words { full, least } = words.into();
        let fits = self.arena.needed(4 * full) <= self.memory.arena.len();
        self.arena.scratch(4 * if fits { full } else { least })
    }

    /// Shows an activation to the observer and hands it on.
    pub(super) fn done(
        &mut self,
        layer: LayerId,
        shape: Shape,
        data: Stored,
    ) -> Result<Stored, UnetError> {
        let quant = self.quant(&data)?;
        let values = self.memory.arena.get(self.range(shape, &data));
        (self.observe)(&Observation {
            layer,
            shape,
            quant,
            values: values.ok_or(UnetError::Corrupt)?,
        });
        Ok(data)
    }

    /// Writes initial sums and scales of a convolution to the start
    /// of its scratch.
    #[inline(never)]
    pub(super) fn prepare(
        &mut self,
        op: &Conv<Stored>,
        record: &ConvRecord<'b>,
        scratch: &Range<usize>,
    ) -> Result<(), UnetError> {
        let (mut residual, mut embedding) = (None, false);
        match &op.extra {
            Extra::Residual(x) => residual = Some(self.quant(&x.data)?),
            Extra::Embedding(layer) => {
                self.project_embedding(layer, scratch)?;
                embedding = true;
            }
            Extra::None => {}
        }
        let scratch = self.memory.arena.get_mut(scratch.clone());
        let (initial, scales, _) = split_scratch(scratch.ok_or(UnetError::Corrupt)?, op.channels)?;
        for (sum, bias) in initial.iter_mut().zip(words(record.bias)) {
            *sum = if embedding {
                sum.wrapping_add(bias)
            } else {
                bias
            };
        }
        let output = record.output();
        let multipliers = words(record.multipliers).enumerate();
        let scale_of =
            |(channel, multiplier)| Scale::new(multiplier, &output, residual.as_ref(), channel);
        Requantise::put_scales(multipliers.map(scale_of), scales);
        Ok(())
    }

    /// Zero points of an operand.
    #[inline(never)]
    pub(super) fn zeros(
        &self,
        operand: Option<&Activation<Stored>>,
    ) -> Result<Zeros<'b>, UnetError> {
        let Some(operand) = operand else {
            return Ok(Zeros::default());
        };
        let quant = self.quant(&operand.data)?;
        Ok(Zeros {
            channels: operand.shape.channels,
            zero_point: quant.zero_point,
            zero_points: quant.zero_points,
        })
    }
}

/// A [`Plane`] without its values; the default stands for no plane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Zeros<'b> {
    channels: usize,
    zero_point: i8,
    zero_points: &'b [u8],
}

pub(super) fn plane<'a>(zeros: Zeros<'a>, values: &'a [i8]) -> Plane<'a> {
    Plane {
        values,
        channels: zeros.channels,
        zero_point: zeros.zero_point,
        zero_points: zeros.zero_points,
    }
}

/// Ranges of the arena that do not overlap.
pub(super) fn disjoint<const N: usize>(
    arena: &mut [i8],
    ranges: [Range<usize>; N],
) -> Result<[&mut [i8]; N], UnetError> {
    arena
        .get_disjoint_mut(ranges)
        .map_err(|_| UnetError::Corrupt)
}

/// Scratch as words: the arena aligns all it places.
pub(super) fn words_mut<W: bytemuck::Pod>(scratch: &mut [i8]) -> Result<&mut [W], UnetError> {
    bytemuck::try_cast_slice_mut(scratch).map_err(|_| UnetError::Corrupt)
}

/// Initial sums of a convolution, four words of scales for each channel, and its
/// kernel's scratch.
#[expect(clippy::type_complexity, reason = "three slices need no name")]
pub(super) fn split_scratch(
    scratch: &mut [i8],
    channels: usize,
) -> Result<(&mut [i32], &mut [i32], &mut [u32]), UnetError> {
    let words: &mut [i32] = words_mut(scratch)?;
    let (initial, rest) = words
        .split_at_mut_checked(channels)
        .ok_or(UnetError::Corrupt)?;
    let (scales, rest) = rest
        .split_at_mut_checked(4 * channels)
        .ok_or(UnetError::Corrupt)?;
    Ok((initial, scales, bytemuck::cast_slice_mut(rest)))
}

/// The pixel that lies at index `i` of the picture cut into patches; a point
/// is not cut.
pub(super) fn pixel(topology: &Topology, shape: Shape, i: usize) -> usize {
    let Data::Picture { side } = topology.data() else {
        return i;
    };
    let patch = usize::from(topology.patch).max(1);
    let (position, within) = (i / shape.channels.max(1), i % shape.channels.max(1));
    let (row, column) = (position / shape.side.max(1), position % shape.side.max(1));
    let y = row * patch + within / patch;
    let x = column * patch + within % patch;
    y * usize::from(side) + x
}
