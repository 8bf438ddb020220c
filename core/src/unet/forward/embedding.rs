//! The embedding of timestep and class, in floats between its integer layers.

use super::state::{Forward, Memory, words_mut};
use crate::blob::records::{LinearRecord, TableRecord};
use crate::graph::Linear;
use crate::kernels::limits::MAX_BIAS;
use crate::kernels::linear;
use crate::kernels::little_endian::halfwords;
use crate::unet::error::UnetError;
use crate::unet::io::Observation;
use core::ops::Range;

impl Memory<'_> {
    /// The embedding as floats, and as it is quantised: before the first
    /// activation has its place.
    fn embedding(&mut self) -> Result<(&mut [f32], &mut [i16]), UnetError> {
        let len = 4 * self.quantised.len();
        let floats = self.arena.get_mut(..len).ok_or(UnetError::Corrupt)?;
        Ok((words_mut(floats)?, self.quantised))
    }
}

impl<F: FnMut(&Observation<'_>)> Forward<'_, '_, '_, '_, F> {
    /// Sines and cosines of the timestep.
    #[inline(never)]
    pub(super) fn embed_timestep(&mut self, features: usize) -> Result<(), UnetError> {
        let (embedding, _) = self.memory.embedding()?;
        let values = embedding.get_mut(..features).ok_or(UnetError::Corrupt)?;
        linear::time_features(self.timestep, values);
        self.quantise_embedding(features)
    }

    /// `embedding` = layer(`quantised`), and SiLU of it where that follows.
    #[inline(never)]
    pub(super) fn embedding_layer(&mut self, layer: &Linear) -> Result<(), UnetError> {
        let record: LinearRecord<'_> = self.records.next_record().ok_or(UnetError::Corrupt)?;
        let (embedding, quantised) = self.memory.embedding()?;
        let x = quantised.get(..layer.inputs).ok_or(UnetError::Corrupt)?;
        linear::layer(
            record.weights,
            record.scales,
            record.bias,
            x,
            self.embedding_scale,
            |output, y| {
                if let Some(value) = embedding.get_mut(output) {
                    *value = y;
                }
            },
        );
        match layer.silu {
            true => self.silu_embedding(layer.outputs),
            false => Ok(()),
        }
    }

    /// Adds the class's row; then SiLU.
    #[inline(never)]
    pub(super) fn embed_class(&mut self, width: usize) -> Result<(), UnetError> {
        let classes: TableRecord<'_> = self.records.next_record().ok_or(UnetError::Corrupt)?;
        let row = halfwords(classes.values).skip(usize::from(self.class) * width);
        let (embedding, _) = self.memory.embedding()?;
        for (value, class) in embedding.iter_mut().take(width).zip(row) {
            *value += f32::from(class) * classes.scale;
        }
        self.silu_embedding(width)
    }

    /// Writes the projected embedding as the initial sum of each output channel.
    pub(super) fn project_embedding(
        &mut self,
        layer: &Linear,
        scratch: &Range<usize>,
    ) -> Result<(), UnetError> {
        let record: LinearRecord<'_> = self.records.next_record().ok_or(UnetError::Corrupt)?;
        let Memory {
            quantised, arena, ..
        } = &mut self.memory;
        let x = quantised.get(..layer.inputs).ok_or(UnetError::Corrupt)?;
        let scratch = arena.get_mut(scratch.clone()).ok_or(UnetError::Corrupt)?;
        let sums = scratch.as_chunks_mut::<4>().0;
        linear::layer(
            record.weights,
            record.scales,
            record.bias,
            x,
            self.embedding_scale,
            |output, added| {
                if let Some(sum) = sums.get_mut(output) {
                    // A power of 2, which a float holds.
                    let limit = MAX_BIAS as f32;
                    let added = added.clamp(-limit, limit);
                    let added = libm::roundf(added) as i32;
                    *sum = added.to_ne_bytes().map(|byte| byte as i8);
                }
            },
        );
        Ok(())
    }

    /// `quantised` = `embedding`, the first `len` values.
    fn quantise_embedding(&mut self, len: usize) -> Result<(), UnetError> {
        let (embedding, quantised) = self.memory.embedding()?;
        let values = embedding.get(..len).ok_or(UnetError::Corrupt)?;
        self.embedding_scale = linear::quantise(values, quantised);
        Ok(())
    }

    /// SiLU of the first `width` values, also into `quantised`.
    fn silu_embedding(&mut self, width: usize) -> Result<(), UnetError> {
        let (embedding, _) = self.memory.embedding()?;
        linear::silu(embedding.get_mut(..width).ok_or(UnetError::Corrupt)?);
        self.quantise_embedding(width)
    }
}
