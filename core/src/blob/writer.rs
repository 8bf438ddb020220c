//! Puts a blob together in a buffer of the caller's.

use super::header::{HEADER_LEN, arch_hash, seal};
use super::records::{Info, WEIGHT_ALIGN};
use core::fmt;
use serde::Serialize;

/// The buffer is too small for the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteError;

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the buffer is too small for the blob")
    }
}

impl core::error::Error for WriteError {}

/// Writes an [`Info`] and then records, in the order of the network.
///
/// Nothing is checked here: [`Model::load`](crate::Model::load) does that.
#[derive(Debug)]
pub struct Writer<'w> {
    buffer: &'w mut [u8],
    used: usize,
    arch_hash: u32,
}

impl<'w> Writer<'w> {
    /// Begins a blob in `buffer`.
    ///
    /// # Errors
    /// [`WriteError`] if the buffer cannot hold header and info.
    pub fn new(buffer: &'w mut [u8], info: &Info<'_>) -> Result<Self, WriteError> {
        let mut writer = Self {
            buffer,
            used: HEADER_LEN,
            arch_hash: arch_hash(&info.topology),
        };
        writer.record(info)?;
        Ok(writer)
    }

    /// Appends a record without weights.
    ///
    /// # Errors
    /// [`WriteError`] if the buffer is full.
    pub fn record<R: Serialize>(&mut self, record: &R) -> Result<(), WriteError> {
        let free = self.buffer.get_mut(self.used..).ok_or(WriteError)?;
        let written = postcard::to_slice(record, free).map_err(|_| WriteError)?;
        self.used += written.len();
        Ok(())
    }

    /// Appends a record whose first two fields are the padding that `make`
    /// gets and weights of `weights_len` bytes.
    ///
    /// # Errors
    /// [`WriteError`] if the buffer is full.
    pub fn aligned<R: Serialize>(
        &mut self,
        weights_len: usize,
        make: impl FnOnce(&'static [u8]) -> R,
    ) -> Result<(), WriteError> {
        const ZEROS: &[u8] = &[0; WEIGHT_ALIGN];
        // One byte holds the padding's length; the weights' takes 7 bits each.
        let length_bytes = (usize::BITS - weights_len.leading_zeros())
            .div_ceil(7)
            .max(1);
        let unpadded = self.used + 1 + length_bytes as usize;
        let padding = unpadded.next_multiple_of(WEIGHT_ALIGN) - unpadded;
        self.record(&make(ZEROS.get(..padding).unwrap_or_default()))
    }

    /// Completes the blob; returns its length.
    #[must_use]
    pub fn finish(self) -> usize {
        if let Some(blob) = self.buffer.get_mut(..self.used)
            && let Some((header, body)) = blob.split_first_chunk_mut()
        {
            *header = seal(self.arch_hash, body);
        }
        self.used
    }
}
