//! Where the slots are, and whether the flash can hold them there.

use crate::error::GeometryError;
use crate::record::BLOCK;
use embedded_storage::nor_flash::NorFlash;

/// [`BLOCK`], as a length in flash.
pub(crate) const BLOCK_LEN: u32 = BLOCK as u32;

/// Two slots, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Region {
    /// Where the first one begins, in bytes from the flash's beginning.
    pub offset: u32,
    /// Bytes of each, a multiple of what the flash erases at once.
    pub slot_len: u32,
}

/// Where a blob lies in the flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Place {
    /// In bytes from the flash's beginning.
    pub offset: u32,
    /// Bytes of the blob.
    pub length: u32,
}

impl Region {
    /// Bytes of the largest blob that fits.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.slot_len.saturating_sub(BLOCK_LEN)
    }

    /// Where the first or (1) the second slot begins.
    pub(crate) fn start(&self, slot: u8) -> u32 {
        // Both ends were checked to lie within the flash.
        self.offset.wrapping_add(match slot {
            0 => 0,
            _ => self.slot_len,
        })
    }

    /// Where the blob of a slot begins.
    pub(crate) fn body(&self, slot: u8) -> u32 {
        self.start(slot).wrapping_add(BLOCK_LEN)
    }

    /// Whether such slots are possible on `flash`.
    pub(crate) fn check<F: NorFlash>(&self, flash: &F) -> Result<(), GeometryError> {
        let divides = |size: usize| size > 0 && BLOCK.is_multiple_of(size);
        if !divides(F::WRITE_SIZE) {
            let size = F::WRITE_SIZE;
            return Err(GeometryError::WriteSize { size });
        }
        if !divides(F::READ_SIZE) {
            let size = F::READ_SIZE;
            return Err(GeometryError::ReadSize { size });
        }
        let erase_size = u32::try_from(F::ERASE_SIZE).unwrap_or(0);
        if erase_size == 0 || !F::ERASE_SIZE.is_multiple_of(F::WRITE_SIZE) {
            let size = F::ERASE_SIZE;
            return Err(GeometryError::EraseSize { size });
        }
        let &Self { offset, slot_len } = self;
        if !offset.is_multiple_of(erase_size) {
            return Err(GeometryError::Offset { offset, erase_size });
        }
        let multiple = slot_len.is_multiple_of(erase_size) && slot_len.is_multiple_of(BLOCK_LEN);
        if slot_len < 2 * BLOCK_LEN || !multiple {
            return Err(GeometryError::SlotLen {
                slot_len,
                erase_size,
            });
        }
        let end = u64::from(offset) + 2 * u64::from(slot_len);
        let capacity = flash.capacity();
        // What lies beyond 4 GiB has no offset.
        if end > capacity as u64 || end > u64::from(u32::MAX) {
            return Err(GeometryError::End { end, capacity });
        }
        Ok(())
    }
}
