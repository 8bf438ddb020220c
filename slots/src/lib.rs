//! Weights that can be replaced in the field.
//!
//! - [`Slots`]: two places in flash for a blob. The newest valid one is
//!   active; an update goes to the other one, and a record that is written
//!   last makes it valid. Power may fail at any moment: what was active
//!   before still is, or what was sent is.
//! - `Key`, with the feature `ed25519`: what it has not signed never becomes
//!   active.
//! - [`Receiver`] and [`Sender`]: the two ends of a transfer over a line that
//!   may lose and change bytes. Neither does input or output: bytes go in and
//!   come out.
//!
//! No heap, and no memory but what the types hold. No byte that comes in, from
//! the line or from flash, makes anything here panic: it is refused, and the
//! refusal says what and where.
//!
//! ```
//! # use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
//! # struct Flash([u8; 8192]);
//! # #[derive(Debug)] enum Never {}
//! # impl NorFlashError for Never { fn kind(&self) -> NorFlashErrorKind { match *self {} } }
//! # impl ErrorType for Flash { type Error = Never; }
//! # impl ReadNorFlash for Flash {
//! #     const READ_SIZE: usize = 1;
//! #     fn read(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), Never> {
//! #         bytes.copy_from_slice(&self.0[at as usize..][..bytes.len()]); Ok(())
//! #     }
//! #     fn capacity(&self) -> usize { self.0.len() }
//! # }
//! # impl NorFlash for Flash {
//! #     const WRITE_SIZE: usize = 4;
//! #     const ERASE_SIZE: usize = 1024;
//! #     fn erase(&mut self, from: u32, to: u32) -> Result<(), Never> {
//! #         self.0[from as usize..to as usize].fill(0xff); Ok(())
//! #     }
//! #     fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Never> {
//! #         self.0[at as usize..][..bytes.len()].copy_from_slice(bytes); Ok(())
//! #     }
//! # }
//! use tiny_ddpm_slots::{Region, Slots, Offer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let flash = Flash([0xff; 8192]);
//! let region = Region { offset: 0, slot_len: 4096 };
//! let mut slots = Slots::new(flash, region)?;
//! assert!(slots.active().is_none());
//!
//! let blob = b"the bytes of a model";
//! slots.begin(&Offer::new(blob))?;
//! slots.write(blob)?;
//! // Here firmware sees whether it can run what is now in flash.
//! let active = slots.finish(|_place| Ok(()))?;
//! assert_eq!(slots.active(), Some(active));
//! # Ok(())
//! # }
//! ```
//!
//! # Reading in place
//! [`Active::place`] says where the blob lies in the flash. Where flash is
//! mapped into memory, that is a slice, from which `tiny_ddpm::Model::load`
//! borrows; nothing is copied. The blob lies at a multiple of [`BLOCK`] bytes
//! from the region's start, which fast kernels want. While such a slice is in
//! use, updates may go on: they touch the other slot until
//! [`finish`](Slots::finish) has made it active. The *next* update then erases
//! the slot that the slice is in, so let go of it before. An update also erases
//! that slot if it has gone bad in the meantime and the other one is good; who
//! cannot bear a wrong picture then lets go of the slice when an update begins.
//!
//! # A slot, byte by byte
//! A region is two slots of equal length. Everything is little-endian; CRC-32
//! is ISO-HDLC, that of zlib.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0 to 7 | `tddpslot` in ASCII |
//! | 8, 9 | `u16`: version of this layout, 1 |
//! | 10, 11 | `u16`: 1 where there is a signature, else 0 |
//! | 12 to 15 | `u32`: sequence number |
//! | 16 to 19 | `u32`: bytes of the blob |
//! | 20 to 23 | `u32`: CRC-32 of the blob |
//! | 24 to 87 | the ed25519 signature of the blob; without one, bytes 255 |
//! | 88 to 123 | 255; not looked at, but for the checksum |
//! | 124 to 127 | `u32`: CRC-32 of bytes 0 to 123 |
//! | 128 ... | the blob, then bytes 255 up to a multiple of 128 |
//!
//! Bytes 0 to 127 are the record. It is written after everything else, in one
//! call, and no place is ever written twice without being erased between: flash
//! that allows one write of each word will do.
//!
//! Of two valid slots the newer is that whose sequence number is ahead of the
//! other's by less than 2^31, counted modulo 2^32: numbers may wrap. An update
//! gets the number after the active slot's; where none is active, after the
//! newer record's.
//!
//! # What is not guaranteed
//! - A sequence number says what was installed last, not what was made last:
//!   whoever can reach the line can install an older blob again, if its
//!   signature is right. Only a new key in firmware ends that.
//! - A CRC-32 finds damage by accident, not by intent; for the latter there are
//!   signatures. Firmware without a key takes any blob that its check accepts.
//! - Whoever can reach the line can have a slot erased as often as they like,
//!   and flash wears. The active slot stays as it is.
//! - A word whose writing was cut short may read differently each time on some
//!   flash. If that is the last word of a record, and it read well after the
//!   cut, and badly after the next update began, both slots may be lost. The
//!   traits of `embedded-storage` have no means against that.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod error;
mod receiver;
mod record;
mod region;
mod sender;
#[cfg(feature = "ed25519")]
mod signature;
mod slots;
mod trust;
pub mod wire;

pub use error::{Action, Error, Flaw, GeometryError, Unfit};
pub use receiver::{Receiver, State};
pub use record::{BLOCK, SIGNATURE_LEN};
pub use region::{Place, Region};
pub use sender::{Heard, Sender, Stage, Trouble};
#[cfg(feature = "ed25519")]
pub use signature::{Key, KeyError};
pub use slots::{Active, Offer, Slots};

use crc::{CRC_32_ISO_HDLC, Crc};

/// That of zlib, with a table of 1 KiB.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The CRC-32 by which a blob is recognised.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}
