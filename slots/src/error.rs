//! What can be wrong, and where.

use core::fmt;
use embedded_storage::nor_flash::NorFlashErrorKind;
use serde::{Deserialize, Serialize};

/// Why a flash cannot have such slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum GeometryError {
    /// It writes in units that do not divide a [`BLOCK`](crate::BLOCK).
    WriteSize {
        /// Bytes of a unit.
        size: usize,
    },
    /// It reads in units that do not divide a [`BLOCK`](crate::BLOCK).
    ReadSize {
        /// Bytes of a unit.
        size: usize,
    },
    /// It erases in units that are no multiple of those it writes, or that
    /// are longer than 4 GiB.
    EraseSize {
        /// Bytes of a unit.
        size: usize,
    },
    /// The region does not begin where something that can be erased does.
    Offset {
        /// Where it begins.
        offset: u32,
        /// What this should be a multiple of.
        erase_size: u32,
    },
    /// A slot is shorter than two [`BLOCK`](crate::BLOCK)s, or no multiple of
    /// a block and of what is erased at once.
    SlotLen {
        /// Bytes of the slot.
        slot_len: u32,
        /// What this should be a multiple of.
        erase_size: u32,
    },
    /// The region goes on where the flash has ended.
    End {
        /// Where the region ends.
        end: u64,
        /// Where the flash ends.
        capacity: usize,
    },
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteSize { size } => {
                write!(
                    f,
                    "flash is written in {size} bytes, which do not divide 128"
                )
            }
            Self::ReadSize { size } => {
                write!(f, "flash is read in {size} bytes, which do not divide 128")
            }
            Self::EraseSize { size } => write!(f, "flash cannot be erased in {size} bytes"),
            Self::Offset { offset, erase_size } => write!(
                f,
                "the slots begin at {offset}, which is no multiple of the {erase_size} bytes \
                 that are erased at once"
            ),
            Self::SlotLen {
                slot_len,
                erase_size,
            } => write!(
                f,
                "a slot of {slot_len} bytes must be a multiple of 128 and of the {erase_size} \
                 bytes that are erased at once, and at least 256"
            ),
            Self::End { end, capacity } => {
                write!(f, "the slots end at {end}, but the flash at {capacity}")
            }
        }
    }
}

impl core::error::Error for GeometryError {}

/// What flash was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Action {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Erasing.
    Erase,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "written",
            Self::Erase => "erased",
        })
    }
}

/// Why firmware cannot use a blob that arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Unfit {
    /// It is no valid model.
    Invalid,
    /// It needs more memory than there is.
    Memory {
        /// Bytes it needs.
        needed: u32,
        /// Bytes there are.
        room: u32,
    },
    /// A number whose meaning is the firmware's own.
    Other(u32),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid => f.write_str("its firmware's loader finds it invalid"),
            Self::Memory { needed, room } => write!(
                f,
                "it needs {needed} bytes of buffers, and its firmware has {room}"
            ),
            Self::Other(reason) => write!(f, "its firmware cannot use it, for reason {reason}"),
        }
    }
}

/// Why an update failed. Before [`finish`](crate::Slots::finish) writes the
/// record, what was active still is; when that write itself fails, one of the
/// two is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The flash failed.
    Flash {
        /// What it was to do.
        action: Action,
        /// Where, in bytes from its beginning.
        offset: u32,
        /// What it said.
        kind: NorFlashErrorKind,
    },
    /// A blob of no bytes.
    Empty,
    /// A blob that no slot can hold.
    TooLarge {
        /// Its bytes.
        length: u32,
        /// Those of the largest.
        capacity: u32,
    },
    /// No update has begun, or the last one failed.
    NotBegun,
    /// More bytes than were announced.
    TooMuch {
        /// How many were announced.
        length: u32,
    },
    /// Fewer bytes than were announced.
    TooLittle {
        /// How many came.
        written: u32,
        /// How many were announced.
        length: u32,
    },
    /// What was read back has another checksum than what was announced.
    Damaged {
        /// The announced CRC-32.
        announced: u32,
        /// That of what is in flash.
        found: u32,
    },
    /// The record did not read back as it was written.
    Record,
    /// Firmware has a key, and there is no signature.
    SignatureMissing,
    /// The signature is not that of the firmware's key and this blob.
    SignatureWrong,
    /// The caller's check refused the blob.
    Unfit(Unfit),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash {
                action,
                offset,
                kind,
            } => write!(f, "flash could not be {action} at {offset}: {kind:?}"),
            Self::Empty => f.write_str("the blob is empty"),
            Self::TooLarge { length, capacity } => {
                write!(
                    f,
                    "the blob has {length} bytes, and a slot holds {capacity}"
                )
            }
            Self::NotBegun => f.write_str("no update has begun, or the last one failed"),
            Self::TooMuch { length } => write!(f, "more came than the {length} bytes announced"),
            Self::TooLittle { written, length } => {
                write!(f, "only {written} of {length} bytes came")
            }
            Self::Damaged { announced, found } => write!(
                f,
                "what is in flash has the checksum {found:08x} instead of {announced:08x}"
            ),
            Self::Record => f.write_str("the slot's record reads otherwise than it was written"),
            Self::SignatureMissing => f.write_str("the blob is not signed"),
            Self::SignatureWrong => f.write_str("the signature is wrong"),
            Self::Unfit(unfit) => write!(f, "the blob cannot be used: {unfit}"),
        }
    }
}

impl core::error::Error for Error {}

/// Why a slot is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Flaw {
    /// It does not begin with a record: it is empty, or an update stopped.
    NoRecord,
    /// Its record has another layout.
    Version {
        /// Which.
        found: u16,
    },
    /// Its record is damaged.
    RecordCrc,
    /// Its record tells of a length that the slot cannot hold, or of 0.
    Length {
        /// Which.
        length: u32,
    },
    /// Its blob is damaged.
    BodyCrc {
        /// The CRC-32 in the record.
        recorded: u32,
        /// That of the blob.
        found: u32,
    },
    /// Firmware has a key, and the slot no signature.
    SignatureMissing,
    /// Its signature is not that of the firmware's key and the blob.
    SignatureWrong,
    /// It cannot be read.
    Read {
        /// Where, in bytes from the flash's beginning.
        offset: u32,
        /// What the flash said.
        kind: NorFlashErrorKind,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecord => f.write_str("has no record: it is empty, or an update stopped"),
            Self::Version { found } => write!(f, "has a record of the unknown version {found}"),
            Self::RecordCrc => f.write_str("has a damaged record"),
            Self::Length { length } => write!(f, "cannot hold the {length} bytes it tells of"),
            Self::BodyCrc { recorded, found } => write!(
                f,
                "has a damaged blob: its checksum is {found:08x} instead of {recorded:08x}"
            ),
            Self::SignatureMissing => f.write_str("has no signature"),
            Self::SignatureWrong => f.write_str("has a wrong signature"),
            Self::Read { offset, kind } => write!(f, "cannot be read at {offset}: {kind:?}"),
        }
    }
}

impl core::error::Error for Flaw {}
