//! The last convolution: its sums go to whoever wants the prediction.

use super::destination::Destination;
use super::state::{Forward, Stored, Zeros, disjoint, pixel, plane, split_scratch, words_mut};
use crate::blob::records::OutputRecord;
use crate::graph::Conv;
use crate::kernels::conv::{Task, conv_part};
use crate::kernels::engine::LANES;
use crate::kernels::little_endian::{floats, words};
use crate::kernels::packing::WeightLayout;
use crate::unet::arena::End;
use crate::unet::error::UnetError;
use crate::unet::io::{Io, Observation};
use crate::unet::plan::{conv_words, part_values};
use core::ops::Range;

impl<F: FnMut(&Observation<'_>)> Forward<'_, '_, '_, '_, F> {
    #[inline(never)]
    pub(super) fn predict(&mut self, op: &Conv<Stored>) -> Result<(), UnetError> {
        let record: OutputRecord<'_> = self.records.next_record().ok_or(UnetError::Corrupt)?;
        let (topology, shape) = (self.topology, op.output());
        let index = |position, channel| pixel(topology, shape, position * shape.channels + channel);
        if let Io::Keep { .. } = self.io {
            let last = self.memory.arena.get(self.operand(&op.x));
            let kept = self.memory.kept.iter_mut();
            let last = last.ok_or(UnetError::Corrupt)?;
            kept.zip(last).for_each(|(to, &value)| *to = value);
            return Ok(());
        }
        // Of a guided run the conditional prediction of a few positions.
        let conditional = match self.io {
            Io::Guided { .. } => Some(self.arena.place(End::Low, 4 * part_values(op))),
            _ => None,
        };
        let conditional = conditional.map(|place| place.ok_or(UnetError::Corrupt));
        let conditional = conditional.transpose()?;
        let size = self.memory.arena.len();
        let zeros = self.zeros(Some(&op.x))?;
        let operands = [
            self.operand(&op.x),
            conditional.map_or(0..0, |place| place.range(4 * part_values(op), size)),
            self.scratch(conv_words(op, WeightLayout::Direct)),
        ];
        let [x, conditional, scratch] = disjoint(self.memory.arena, operands)?;
        let conditional: &mut [f32] = words_mut(conditional)?;
        let (initial, scales, scratch) = split_scratch(scratch, op.channels)?;
        for (sum, bias) in initial.iter_mut().zip(words(record.bias)) {
            *sum = bias;
        }
        let scales: &mut [f32] = bytemuck::cast_slice_mut(scales);
        for (scale, value) in scales.iter_mut().zip(floats(record.scales)) {
            *scale = value;
        }
        let positions = shape.side * shape.side;
        let mut conv_of =
            |values: &[i8], positions: Range<usize>, put: &mut dyn FnMut(usize, usize, f32)| {
                let task = Task {
                    geometry: op.geometry,
                    side: op.x.shape.side,
                    x: plane(zeros, values),
                    skip: plane(Zeros::default(), &[]),
                    layout: WeightLayout::Direct,
                    weights: record.weights,
                    initial,
                };
                let mut epilogue = Destination::Pixels { scales, put };
                conv_part(&task, positions, scratch, &mut epilogue);
            };
        match &mut self.io {
            Io::Apart { out, .. } => {
                conv_of(x, 0..positions, &mut |position, channel, value| {
                    if let Some(out) = out.get_mut(index(position, channel)) {
                        *out = value;
                    }
                });
            }
            Io::InPlace { x: x_t, each } => {
                conv_of(x, 0..positions, &mut |position, channel, value| {
                    let at = index(position, channel);
                    if let Some(x_t) = x_t.get_mut(at) {
                        each(at, x_t, value);
                    }
                });
            }
            Io::Guided {
                x: x_t,
                guidance,
                each,
            } => {
                for first in (0..positions).step_by(LANES) {
                    let part = first..positions.min(first + LANES);
                    let at = |position: usize, channel: usize| {
                        position.saturating_sub(first) * shape.channels + channel
                    };
                    let kept = &*self.memory.kept;
                    conv_of(kept, part.clone(), &mut |position, channel, value| {
                        if let Some(to) = conditional.get_mut(at(position, channel)) {
                            *to = value;
                        }
                    });
                    conv_of(x, part, &mut |position, channel, value| {
                        let conditional = conditional.get(at(position, channel)).copied();
                        let conditional = conditional.unwrap_or(value);
                        let pixel = index(position, channel);
                        if let Some(x_t) = x_t.get_mut(pixel) {
                            each(pixel, x_t, conditional + *guidance * (conditional - value));
                        }
                    });
                }
            }
            Io::Keep { .. } => {}
        }
        Ok(())
    }
}
