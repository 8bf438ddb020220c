//! Where the sums of convolutions go: into activations, and of the last one to
//! whoever wants the prediction.

use super::{Forward, Stored, Zeros, disjoint, pixel, plane, split_scratch, words_mut};
use crate::blob::records::OutputRecord;
use crate::kernels::conv::{Task, conv_part};
use crate::kernels::engine::LANES;
use crate::kernels::finish::{Finish, Requantise};
use crate::kernels::packing::Form;
use crate::kernels::{floats, words};
use crate::unet::arena::End;
use crate::unet::error::UnetError;
use crate::unet::plan::{conv_words, part_values};
use crate::unet::run::{Ends, Observation};
use crate::unet::walk::Conv;
use core::ops::Range;

/// Where a convolution's sums go: one type, so that there is one convolution.
pub(super) enum Output<'a> {
    Activation(Requantise<'a>),
    /// The prediction.
    Pixels {
        scales: &'a [f32],
        /// Gets position, channel and value.
        put: &'a mut dyn FnMut(usize, usize, f32),
    },
}

impl Finish for Output<'_> {
    // Compiled anew for each of the processors that x86-64 engines are for.
    #[cfg_attr(target_arch = "x86_64", inline(always))]
    #[cfg_attr(not(target_arch = "x86_64"), inline)]
    fn put(&mut self, channel: usize, at: &[usize; 4], sums: &[i32; 4]) {
        match self {
            Self::Activation(requantise) => requantise.put(channel, at, sums),
            Self::Pixels { .. } => self.put_few(channel, at, sums),
        }
    }

    #[inline]
    fn put_run(&mut self, channel: usize, first: usize, sums: &[[i32; 4]; 2]) {
        match self {
            Self::Activation(requantise) => requantise.put_run(channel, first, sums),
            Self::Pixels { .. } => {
                let at: [usize; 4] = core::array::from_fn(|lane| first + lane);
                for (channel, sums) in (channel..).zip(sums) {
                    self.put_few(channel, &at, sums);
                }
            }
        }
    }

    #[inline]
    fn put_few(&mut self, channel: usize, at: &[usize], sums: &[i32]) {
        match self {
            Self::Activation(requantise) => requantise.put_few(channel, at, sums),
            Self::Pixels { scales, put } => {
                let scale = scales.get(channel).copied().unwrap_or(0.0);
                for (&position, &sum) in at.iter().zip(sums) {
                    put(position, channel, sum as f32 * scale);
                }
            }
        }
    }
}

impl<F: FnMut(&Observation<'_>)> Forward<'_, '_, '_, '_, F> {
    #[inline(never)]
    pub(super) fn predict(&mut self, op: &Conv<Stored>) -> Result<(), UnetError> {
        let record: OutputRecord<'_> = self.records.next_record().ok_or(UnetError::Corrupt)?;
        let (topology, shape) = (self.topology, op.output());
        let index = |position, channel| pixel(topology, shape, position * shape.channels + channel);
        if let Ends::Keep { .. } = self.ends {
            let last = self.memory.arena.get(self.operand(&op.x));
            let kept = self.memory.kept.iter_mut();
            let last = last.ok_or(UnetError::Corrupt)?;
            kept.zip(last).for_each(|(to, &value)| *to = value);
            return Ok(());
        }
        // Of a guided run the conditional prediction of a few positions.
        let conditional = match self.ends {
            Ends::Guided { .. } => Some(self.arena.place(End::Low, 4 * part_values(op))),
            _ => None,
        };
        let conditional = conditional.map(|place| place.ok_or(UnetError::Corrupt));
        let conditional = conditional.transpose()?;
        let size = self.memory.arena.len();
        let zeros = self.zeros(Some(&op.x))?;
        let operands = [
            self.operand(&op.x),
            conditional.map_or(0..0, |place| place.range(4 * part_values(op), size)),
            self.scratch(conv_words(op, Form::Direct)),
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
                    form: Form::Direct,
                    weights: record.weights,
                    initial,
                };
                let mut finish = Output::Pixels { scales, put };
                conv_part(&task, positions, scratch, &mut finish);
            };
        match &mut self.ends {
            Ends::Apart { out, .. } => {
                conv_of(x, 0..positions, &mut |position, channel, value| {
                    if let Some(out) = out.get_mut(index(position, channel)) {
                        *out = value;
                    }
                });
            }
            Ends::InPlace { x: x_t, each } => {
                conv_of(x, 0..positions, &mut |position, channel, value| {
                    let at = index(position, channel);
                    if let Some(x_t) = x_t.get_mut(at) {
                        each(at, x_t, value);
                    }
                });
            }
            Ends::Guided {
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
            Ends::Keep { .. } => {}
        }
        Ok(())
    }
}
