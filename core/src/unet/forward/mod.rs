//! The meaning of the network's operations on int8 activations.

mod destination;
mod embedding;
mod output;
mod state;

use self::destination::Destination;
pub(super) use self::state::{Forward, Memory};
use self::state::{MadeBy, Stored, disjoint, pixel, plane, split_scratch, words_mut};
use super::arena::End;
use super::error::UnetError;
use super::io::Observation;
use super::plan::{attention_words, conv_words, norm_words};
use crate::blob::records::{ConvRecord, InputRecord, MixRecord, NormRecord};
use crate::graph::{
    Attention, Conv, Data, Extra, FREQUENCIES, Interpreter, LayerId, Linear, Norm, Part, Shape,
    Stage, Table,
};
use crate::kernels::conv::{Task, conv};
use crate::kernels::epilogue::{Requantise, Residual};
use crate::kernels::little_endian::words;
use crate::kernels::norm::{FINE_BITS, Fine, Statistics, Sums, Target};
use crate::kernels::rounding::saturate;
use crate::kernels::{attention, norm};

/// Added to the variance by a normalisation.
const NORM_EPSILON: f32 = 1e-5;

impl<'b, F: FnMut(&Observation<'_>)> Interpreter for Forward<'_, '_, 'b, '_, F> {
    type Data = Stored;
    type Error = UnetError;

    // Never inlined, nor are those of `embedding` and `output`: what each has on the stack,
    // it has alone.

    fn timestep(&mut self, features: usize) -> Result<(), UnetError> {
        self.embed_timestep(features)
    }

    fn linear(&mut self, linear: &Linear) -> Result<(), UnetError> {
        self.embedding_layer(linear)
    }

    fn classes(&mut self, table: &Table) -> Result<(), UnetError> {
        self.embed_class(table.width)
    }

    fn projection(&mut self, _: &Linear) -> Result<(), UnetError> {
        Ok(())
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
        let x_t = self.io.x_t();
        let picture = matches!(self.topology.data(), Data::Picture { .. });
        for (i, value) in patches.iter_mut().enumerate() {
            let x = match picture {
                true => x_t.get(pixel(self.topology, shape, i)).copied(),
                false => feature(x_t, i),
            };
            let q = libm::roundf(x.unwrap_or(0.0) * inverse) as i32;
            *value = saturate(q.saturating_add(i32::from(quant.zero_point)));
        }
        self.done(LayerId::new(Stage::Input, Part::Whole), shape, data)
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
        self.done(op.id, shape, data)
    }

    #[inline(never)]
    fn conv(&mut self, op: &Conv<Stored>) -> Result<Stored, UnetError> {
        let remaining = self.records.remaining();
        let record: ConvRecord<'b> = self.records.next_record().ok_or(UnetError::Corrupt)?;
        let shape = op.output();
        let data = self.place(shape, End::of(op), MadeBy::Conv, remaining)?;
        let scratch = self.scratch(conv_words(op, record.layout));
        self.prepare(op, &record, &scratch)?;
        let residual = match &op.extra {
            Extra::Residual(residual) => Some(residual),
            Extra::None | Extra::Embedding(_) => None,
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
        let mut epilogue =
            Destination::Activation(Requantise::with_scales(scales, residual, out, op.channels));
        let [x_zeros, skip_zeros] = zeros;
        let task = Task {
            geometry: op.geometry,
            side: op.x.shape.side,
            x: plane(x_zeros?, x),
            skip: plane(skip_zeros?, skip),
            layout: record.layout,
            weights: record.weights,
            initial,
        };
        conv(&task, scratch, &mut epilogue);
        self.done(op.id, shape, data)
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
        self.done(op.id, shape, data)
    }

    fn output(&mut self, op: &Conv<Stored>) -> Result<(), UnetError> {
        self.predict(op)
    }

    fn release(&mut self, data: Stored) {
        self.arena.release(data.place);
    }
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
