//! The meaning of the network's operations on int8 activations.

mod embedding;
mod output;

use self::output::Output;
use super::arena::{Arena, End, Place};
use super::error::UnetError;
use super::plan::{Plan, Words, attention_words, conv_words, norm_words};
use super::run::{Ends, Observation};
use super::site::{Part, Site, Stage};
use super::walk::{Activation, Attention, Conv, Extra, Interpreter, Norm, Shape};
use crate::blob::records::{Channels, ConvRecord, InputRecord, MixRecord, NormRecord, Records};
use crate::kernels::conv::{Plane, Task, conv};
use crate::kernels::finish::{Requantise, Residual, Scale};
use crate::kernels::norm::{FINE_BITS, Fine, Statistics, Sums, Target};
use crate::kernels::{attention, norm, saturate, words};
use crate::topology::FREQUENCIES;
use crate::{Data, Topology};
use core::ops::Range;

/// What a normalisation adds to the variance.
const NORM_EPSILON: f32 = 1e-5;

/// The workspace, cut as the plan says.
pub(super) struct Memory<'w> {
    quantised: &'w mut [i16],
    arena: &'w mut [i8],
    /// The last activation of a guided step's first run.
    kept: &'w mut [i8],
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
pub(super) struct Stored {
    place: Place,
    made_by: MadeBy,
    /// How many bytes of records there were at that layer's.
    remaining: usize,
}

/// The layer that made an activation, and whose record says what its integers
/// stand for.
#[derive(Clone, Copy, Debug)]
pub(super) enum MadeBy {
    Input,
    Norm,
    Conv,
    Attention,
}

/// One run of the network.
pub(super) struct Forward<'r, 'e, 'b, 'w, F> {
    pub topology: &'r Topology,
    /// From here on, and from the first.
    pub records: Records<'b>,
    pub all: Records<'b>,
    pub timestep: u16,
    /// A row of the class table.
    pub class: u16,
    pub ends: Ends<'e>,
    pub memory: Memory<'w>,
    /// What 1 stands for in `memory.quantised`.
    pub embedding_scale: f32,
    pub arena: Arena,
    pub observe: F,
}

impl<'b, F: FnMut(&Observation<'_>)> Forward<'_, '_, 'b, '_, F> {
    /// A place for the output of the layer whose record had `remaining` bytes
    /// before it was read.
    fn place(
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

    /// What an activation's integers stand for.
    #[inline(never)]
    fn quant(&self, data: &Stored) -> Result<Channels<'b>, UnetError> {
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
    fn range(&self, shape: Shape, data: &Stored) -> Range<usize> {
        data.place.range(shape.values(), self.memory.arena.len())
    }

    /// The bytes of an operand.
    fn operand(&self, operand: &Activation<Stored>) -> Range<usize> {
        self.range(operand.shape, &operand.data)
    }

    /// The bytes of an operand that may be absent.
    fn optional(&self, operand: Option<&Activation<Stored>>) -> Range<usize> {
        operand.map_or(0..0, |operand| self.operand(operand))
    }

    /// A place for words that nothing needs after this layer: as many as the
    /// workspace has room for.
    fn scratch(&self, words: impl Into<Words>) -> Range<usize> {
        let Words { full, least } = words.into();
        let fits = self.arena.needed(4 * full) <= self.memory.arena.len();
        self.arena.scratch(4 * if fits { full } else { least })
    }

    /// Shows an activation to the observer and hands it on.
    fn done(&mut self, site: Site, shape: Shape, data: Stored) -> Result<Stored, UnetError> {
        let quant = self.quant(&data)?;
        let values = self.memory.arena.get(self.range(shape, &data));
        (self.observe)(&Observation {
            site,
            shape,
            quant,
            values: values.ok_or(UnetError::Corrupt)?,
        });
        Ok(data)
    }

    /// What a convolution's sums start from and what they become, at the start
    /// of its scratch.
    #[inline(never)]
    fn prepare(
        &mut self,
        op: &Conv<Stored>,
        record: &ConvRecord<'b>,
        scratch: &Range<usize>,
    ) -> Result<(), UnetError> {
        let embedding = matches!(op.extra, Extra::Embedding);
        if embedding {
            self.project_embedding(scratch)?;
        }
        let residual = match &op.extra {
            Extra::Residual(residual) => Some(self.quant(&residual.data)?),
            Extra::None | Extra::Embedding => None,
        };
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

    /// What stands for 0 in an operand.
    #[inline(never)]
    fn zeros(&self, operand: Option<&Activation<Stored>>) -> Result<Zeros<'b>, UnetError> {
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

impl<'b, F: FnMut(&Observation<'_>)> Interpreter for Forward<'_, '_, 'b, '_, F> {
    type Data = Stored;
    type Error = UnetError;

    // Never inlined, nor are `embed` and `predict`: what each has on the stack,
    // it has alone.

    fn time(&mut self) -> Result<(), UnetError> {
        self.embed()
    }

    #[inline(never)]
    fn input(&mut self, shape: Shape) -> Result<Stored, UnetError> {
        let remaining = self.records.remaining();
        let record: InputRecord = self.records.next_record().ok_or(UnetError::Corrupt)?;
        let quant = record.output;
        let data = self.place(shape, End::Low, MadeBy::Input, remaining)?;
        let inverse = 1.0 / quant.scale;
        let range = self.range(shape, &data);
        let activations = self.memory.arena.get_mut(range);
        let patches = activations.ok_or(UnetError::Corrupt)?;
        let x_t = self.ends.x_t();
        let picture = matches!(self.topology.data(), Data::Picture { .. });
        for (i, value) in patches.iter_mut().enumerate() {
            let x = match picture {
                true => x_t.get(pixel(self.topology, shape, i)).copied(),
                false => feature(x_t, i),
            };
            let q = libm::roundf(x.unwrap_or(0.0) * inverse) as i32;
            *value = saturate(q.saturating_add(i32::from(quant.zero_point)));
        }
        self.done(Site::new(Stage::Input, Part::Whole), shape, data)
    }

    #[inline(never)]
    fn norm(&mut self, op: &Norm<Stored>) -> Result<Stored, UnetError> {
        let remaining = self.records.remaining();
        let record: NormRecord<'_> = self.records.next_record().ok_or(UnetError::Corrupt)?;
        let shape = op.output();
        let data = self.place(shape, End::Low, MadeBy::Norm, remaining)?;
        let quants = [Some(&op.x), op.skip.as_ref()].map(|x| x.map(|x| self.quant(&x.data)));
        let operands = [
            self.operand(&op.x),
            self.optional(op.skip.as_ref()),
            self.range(shape, &data),
            self.scratch(norm_words(op)),
        ];
        let arena = &mut self.memory.arena;
        let [x, skip, out, lines] = disjoint(arena, operands)?;
        let lines: &mut [i32] = words_mut(lines)?;
        let target = Target {
            multiplier: record.multiplier,
            zero_point: record.output.zero_point,
            silu: op.silu,
        };

        let mut affine = words(record.gains).zip(words(record.offsets));
        let group = usize::from(self.topology.group_channels).max(1);
        let mut first_output = 0;
        let channels = [op.x.shape.channels, shape.channels - op.x.shape.channels];
        let halves = quants.into_iter().zip([x, skip]).zip(channels);
        for ((quant, values), channels) in halves {
            let Some(quant) = quant.transpose()? else {
                continue;
            };
            let (slopes, rest) = lines
                .split_at_mut_checked(channels)
                .ok_or(UnetError::Corrupt)?;
            let intercepts = rest.get_mut(..channels).ok_or(UnetError::Corrupt)?;
            let fine = |channel| Fine {
                zero_point: quant.zero_point(channel),
                shift: quant.shift(channel),
            };
            let epsilon = norm_epsilon(quant.scale);
            let lines = slopes
                .chunks_mut(group)
                .zip(intercepts.chunks_mut(group))
                .enumerate();
            for (index, (slopes, intercepts)) in lines {
                let first = index * group;
                let mut sums = Sums::default();
                sums.add_group(values, channels, first..first + slopes.len(), fine);
                let statistics = Statistics::new(sums, epsilon);
                let lines = slopes.iter_mut().zip(intercepts).enumerate();
                for ((i, (slope, intercept)), (gain, offset)) in lines.zip(affine.by_ref()) {
                    (*slope, *intercept) = statistics.line(gain, offset, fine(first + i));
                }
            }
            norm::apply(
                values,
                slopes,
                intercepts,
                target,
                out,
                shape.channels,
                first_output,
            );
            first_output += channels;
        }
        self.done(op.site, shape, data)
    }

    #[inline(never)]
    fn conv(&mut self, op: &Conv<Stored>) -> Result<Stored, UnetError> {
        let remaining = self.records.remaining();
        let record: ConvRecord<'b> = self.records.next_record().ok_or(UnetError::Corrupt)?;
        let shape = op.output();
        let data = self.place(shape, End::of(op), MadeBy::Conv, remaining)?;
        let scratch = self.scratch(conv_words(op, record.form));
        self.prepare(op, &record, &scratch)?;
        let residual = match &op.extra {
            Extra::Residual(residual) => Some(residual),
            Extra::None | Extra::Embedding => None,
        };
        let zeros = [Some(&op.x), op.skip.as_ref()].map(|x| self.zeros(x));
        let operands = [
            self.operand(&op.x),
            self.optional(op.skip.as_ref()),
            self.optional(residual),
            self.range(shape, &data),
            scratch,
        ];
        let arena = &mut self.memory.arena;
        let [x, skip, residual_values, out, scratch] = disjoint(arena, operands)?;
        let (initial, scales, scratch) = split_scratch(scratch, op.channels)?;
        let residual = residual.map(|_| Residual {
            values: residual_values,
            factor: record.residual,
        });
        let mut finish =
            Output::Activation(Requantise::with_scales(scales, residual, out, op.channels));
        let [x_zeros, skip_zeros] = zeros;
        let task = Task {
            geometry: op.geometry,
            side: op.x.shape.side,
            x: plane(x_zeros?, x),
            skip: plane(skip_zeros?, skip),
            form: record.form,
            weights: record.weights,
            initial,
        };
        conv(&task, scratch, &mut finish);
        self.done(op.site, shape, data)
    }

    #[inline(never)]
    fn attention(&mut self, op: &Attention<Stored>) -> Result<Stored, UnetError> {
        let remaining = self.records.remaining();
        let record: MixRecord = self.records.next_record().ok_or(UnetError::Corrupt)?;
        let shape = op.query.shape;
        let data = self.place(shape, End::Low, MadeBy::Attention, remaining)?;
        let operands = [
            self.operand(&op.query),
            self.operand(&op.key),
            self.operand(&op.value),
            self.range(shape, &data),
            self.scratch(attention_words(op)),
        ];
        let arena = &mut self.memory.arena;
        let [queries, keys, values, out, weights] = disjoint(arena, operands)?;
        let weights: &mut [i32] = words_mut(weights)?;
        let heads = usize::from(self.topology.heads).max(1);
        let width = shape.channels / heads;
        let factors = attention::Factors {
            logit: record.logit,
            value: record.value,
            zero_point: record.output.zero_point,
        };
        for index in 0..heads {
            let head = attention::Head {
                channels: shape.channels,
                first: index * width,
                width,
            };
            attention::head(head, queries, keys, values, factors, weights, out);
        }
        self.done(op.site, shape, data)
    }

    fn output(&mut self, op: &Conv<Stored>) -> Result<(), UnetError> {
        self.predict(op)
    }

    fn release(&mut self, data: Stored) {
        self.arena.release(data.place);
    }
}

/// What a [`Plane`] is, but for its values; of no plane the default.
#[derive(Clone, Copy, Debug, Default)]
struct Zeros<'b> {
    channels: usize,
    zero_point: i8,
    zero_points: &'b [u8],
}

fn plane<'a>(zeros: Zeros<'a>, values: &'a [i8]) -> Plane<'a> {
    Plane {
        values,
        channels: zeros.channels,
        zero_point: zeros.zero_point,
        zero_points: zeros.zero_points,
    }
}

/// Ranges of the arena that do not overlap.
fn disjoint<const N: usize>(
    arena: &mut [i8],
    ranges: [Range<usize>; N],
) -> Result<[&mut [i8]; N], UnetError> {
    arena
        .get_disjoint_mut(ranges)
        .map_err(|_| UnetError::Corrupt)
}

/// Scratch as words: the arena aligns all it places.
fn words_mut<W: bytemuck::Pod>(scratch: &mut [i8]) -> Result<&mut [W], UnetError> {
    bytemuck::try_cast_slice_mut(scratch).map_err(|_| UnetError::Corrupt)
}

/// What a convolution's sums start from, four words for each channel, and its
/// kernel's scratch.
#[expect(clippy::type_complexity, reason = "three slices need no name")]
fn split_scratch(
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

/// A normalisation's epsilon in fine units squared.
fn norm_epsilon(scale: f32) -> f32 {
    let fine = scale / (1 << FINE_BITS) as f32;
    NORM_EPSILON / (fine * fine)
}

/// Channel `i` of what is seen of a point; see
/// [`FREQUENCIES`](crate::topology::FREQUENCIES).
#[inline(never)]
fn feature(point: &[f32], i: usize) -> Option<f32> {
    let values = point.len().max(1);
    let x = *point.get(i % values)?;
    let Some(wave) = (i / values).checked_sub(1) else {
        return Some(x);
    };
    let angle = FREQUENCIES.get(wave / 2)? * x;
    Some(match wave % 2 {
        0 => libm::sinf(angle),
        _ => libm::cosf(angle),
    })
}

/// The pixel that lies at index `i` of the picture cut into patches; a point
/// is not cut.
fn pixel(topology: &Topology, shape: Shape, i: usize) -> usize {
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
