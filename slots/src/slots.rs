//! Two slots: which one is active, and how the other one is filled.

use crate::error::{Action, Error, Flaw, GeometryError, Unfit};
use crate::record::{BLOCK, Record, SIGNATURE_LEN};
use crate::region::{BLOCK_LEN, Place, Region};
use crate::trust::{Distrust, Trust};
use crate::{CRC, crc32};
use embedded_storage::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind};

/// Weights that are in flash, whole, and signed where a key asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Active {
    /// 0 or 1.
    pub slot: u8,
    /// The how-manieth update this was, modulo 2^32.
    pub sequence: u32,
    /// Where the blob lies.
    pub place: Place,
    /// The blob's CRC-32.
    pub crc: u32,
    /// Whether it came with a signature; that says nothing where firmware has
    /// no key.
    pub signed: bool,
}

/// What an update is going to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Bytes of the blob.
    pub length: u32,
    /// The blob's CRC-32.
    pub crc: u32,
    /// Its signature.
    pub signature: Option<[u8; SIGNATURE_LEN]>,
}

impl Offer {
    /// Of these bytes, unsigned. Longer than 4 GiB they fit nowhere anyway.
    #[must_use]
    pub fn new(blob: &[u8]) -> Self {
        Self {
            length: u32::try_from(blob.len()).unwrap_or(u32::MAX),
            crc: crc32(blob),
            signature: None,
        }
    }
}

/// An update under way.
#[derive(Debug)]
struct Pending {
    slot: u8,
    sequence: u32,
    offer: Offer,
    /// Bytes that came, of which those in `block` are not yet in flash.
    received: u32,
    block: [u8; BLOCK],
    filled: usize,
}

/// Two slots on a flash. See the crate's description for what they promise.
#[derive(Debug)]
pub struct Slots<F> {
    flash: F,
    region: Region,
    trust: Trust,
    pending: Option<Pending>,
}

impl<F: NorFlash> Slots<F> {
    /// Slots in a region of `flash`. Reads and writes nothing.
    ///
    /// # Errors
    /// If the flash's units or size do not suit the region.
    pub fn new(flash: F, region: Region) -> Result<Self, GeometryError> {
        region.check(&flash)?;
        Ok(Self {
            flash,
            region,
            trust: Trust::default(),
            pending: None,
        })
    }

    /// From now on only what `key` signed is valid, in flash as well as in
    /// updates.
    #[cfg(feature = "ed25519")]
    #[must_use]
    pub fn with_key(mut self, key: crate::Key) -> Self {
        self.trust.key = Some(key);
        self
    }

    /// Whether a key asks for signatures.
    #[must_use]
    pub fn wants_signature(&self) -> bool {
        self.trust.wants_signature()
    }

    /// Bytes of the largest blob that fits.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.region.capacity()
    }

    /// The flash that the slots are on.
    #[must_use]
    pub fn flash(&self) -> &F {
        &self.flash
    }

    /// Where the slots are.
    #[must_use]
    pub fn region(&self) -> Region {
        self.region
    }

    /// The newest valid weights, every byte of which was read for this; `None`
    /// if there are none.
    ///
    /// Flash that cannot be read makes a slot invalid: the other one may do.
    /// Whether firmware can run them is for the caller to see. Where newer
    /// firmware cannot, [`inspect`](Self::inspect) finds what is in the other
    /// slot; the next update would erase that one.
    pub fn active(&mut self) -> Option<Active> {
        let records = [0, 1].map(|slot| self.record(slot).ok());
        let newest = match records {
            [Some(first), Some(second)] => u8::from(second.is_newer(&first)),
            [None, Some(_)] => 1,
            _ => 0,
        };
        [newest, 1 - newest]
            .into_iter()
            .find_map(|slot| self.inspect(slot).ok())
    }

    /// What is in the first slot or (1) the second.
    ///
    /// # Errors
    /// Why it is not valid.
    pub fn inspect(&mut self, slot: u8) -> Result<Active, Flaw> {
        let slot = slot.min(1);
        let record = self.record(slot)?;
        let mut verifier = match self.trust.begin(record.signature.as_ref()) {
            Ok(verifier) => verifier,
            Err(Distrust::Missing) => return Err(Flaw::SignatureMissing),
            Err(Distrust::Wrong) => return Err(Flaw::SignatureWrong),
        };
        let crc = self.read_body(slot, record.length, |bytes| verifier.absorb(bytes));
        let found = crc.map_err(|(offset, kind)| Flaw::Read { offset, kind })?;
        if found != record.crc {
            return Err(Flaw::BodyCrc {
                recorded: record.crc,
                found,
            });
        }
        verifier.finish().map_err(|_| Flaw::SignatureWrong)?;
        Ok(self.describe(slot, &record))
    }

    /// Begins an update: erases the slot that is not active. An update that
    /// was under way is forgotten.
    ///
    /// Where neither is, because flash was misread or another key signed them,
    /// the slot with the newer record is kept; it is valid again when it reads
    /// well again, until the update is active.
    ///
    /// # Errors
    /// If the blob cannot fit, has no signature where a key asks for one, or
    /// flash cannot be erased, or not be read where both records are. What is
    /// active stays so.
    pub fn begin(&mut self, offer: &Offer) -> Result<(), Error> {
        self.pending = None;
        let capacity = self.region.capacity();
        if offer.length == 0 {
            return Err(Error::Empty);
        }
        if offer.length > capacity {
            let length = offer.length;
            return Err(Error::TooLarge { length, capacity });
        }
        // Whether it is right can only be told when all has come.
        self.trust.begin(offer.signature.as_ref())?;
        // Looked for anew: the slot to erase must not be the last good one,
        // whatever became of the other since it was last looked at.
        let (slot, sequence) = self.next()?;
        let start = self.region.start(slot);
        let end = start.wrapping_add(self.region.slot_len);
        (self.flash.erase(start, end)).map_err(|error| failed(Action::Erase, start, &error))?;
        self.pending = Some(Pending {
            slot,
            sequence,
            offer: *offer,
            received: 0,
            block: [0xff; BLOCK],
            filled: 0,
        });
        Ok(())
    }

    /// Bytes that came since the update began, and how many there will be;
    /// `None` where none is under way.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, u32)> {
        let pending = self.pending.as_ref()?;
        Some((pending.received, pending.offer.length))
    }

    /// Takes the next bytes of the blob, however many.
    ///
    /// # Errors
    /// If no update is under way, more comes than was announced, or flash
    /// cannot be written. The update has then failed.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        // Put back unless something fails.
        let mut pending = self.pending.take().ok_or(Error::NotBegun)?;
        let length = pending.offer.length;
        let left = length.saturating_sub(pending.received);
        if bytes.len() as u64 > u64::from(left) {
            return Err(Error::TooMuch { length });
        }
        while !bytes.is_empty() {
            let room = pending.block.get_mut(pending.filled..).unwrap_or_default();
            let (part, rest) = bytes.split_at(bytes.len().min(room.len()));
            for (to, from) in room.iter_mut().zip(part) {
                *to = *from;
            }
            pending.filled += part.len();
            // No more than the length, which is a `u32`.
            pending.received += part.len() as u32;
            bytes = rest;
            if pending.filled == BLOCK {
                self.flush(&mut pending)?;
            }
        }
        self.pending = Some(pending);
        Ok(())
    }

    /// Ends the update: reads everything back, lets `check` look at the blob
    /// in its place, and makes it active.
    ///
    /// # Errors
    /// If bytes are missing, what is in flash is not what was announced or not
    /// what was signed, `check` refuses it, or flash fails. The update has
    /// then failed.
    pub fn finish(
        &mut self,
        check: impl FnOnce(Place) -> Result<(), Unfit>,
    ) -> Result<Active, Error> {
        let mut pending = self.pending.take().ok_or(Error::NotBegun)?;
        let Offer {
            length,
            crc: announced,
            signature,
        } = pending.offer;
        if pending.received < length {
            return Err(Error::TooLittle {
                written: pending.received,
                length,
            });
        }
        if pending.filled > 0 {
            self.flush(&mut pending)?;
        }
        let slot = pending.slot;
        let mut verifier = self.trust.begin(signature.as_ref())?;
        let crc = self.read_body(slot, length, |bytes| verifier.absorb(bytes));
        let found = crc.map_err(|(offset, kind)| Error::Flash {
            action: Action::Read,
            offset,
            kind,
        })?;
        if found != announced {
            return Err(Error::Damaged { announced, found });
        }
        verifier.finish()?;
        let record = Record {
            sequence: pending.sequence,
            length,
            crc: announced,
            signature,
        };
        let active = self.describe(slot, &record);
        check(active.place).map_err(Error::Unfit)?;

        let start = self.region.start(slot);
        let written = (self.flash.write(start, &record.encode()))
            .map_err(|error| failed(Action::Write, start, &error));
        let installed = written.and_then(|()| match self.record(slot) {
            Ok(found) if found == record => Ok(active),
            _ => Err(Error::Record),
        });
        if installed.is_err() {
            // What was called a failure must not read well at the next boot.
            let page = u32::try_from(F::ERASE_SIZE).unwrap_or(self.region.slot_len);
            let _ = self.flash.erase(start, start.wrapping_add(page));
        }
        installed
    }

    /// Forgets an update that is under way.
    pub fn abort(&mut self) {
        self.pending = None;
    }

    /// The slot that an update goes to, and its sequence number.
    fn next(&mut self) -> Result<(u8, u32), Error> {
        if let Some(active) = self.active() {
            return Ok((1 - active.slot, active.sequence.wrapping_add(1)));
        }
        // A slot with a record may only have been misread: it is kept, and what
        // comes now gets the number after it.
        let (slot, last) = match [0, 1].map(|slot| self.record(slot)) {
            [Ok(first), Ok(second)] if second.is_newer(&first) => (0, second.sequence),
            [Ok(first), _] => (1, first.sequence),
            [Err(_), Ok(second)] => (0, second.sequence),
            [Err(Flaw::Read { offset, kind }), Err(Flaw::Read { .. })] => {
                let action = Action::Read;
                return Err(Error::Flash {
                    action,
                    offset,
                    kind,
                });
            }
            [Err(Flaw::Read { .. }), Err(_)] => (1, 0),
            [Err(_), Err(_)] => (0, 0),
        };
        Ok((slot, last.wrapping_add(1)))
    }

    /// Writes the block, which is full or the last, and empties it.
    fn flush(&mut self, pending: &mut Pending) -> Result<(), Error> {
        // All blocks before this one were full.
        let before = pending.received.wrapping_sub(pending.filled as u32);
        let offset = self.region.body(pending.slot).wrapping_add(before);
        (self.flash.write(offset, &pending.block))
            .map_err(|error| failed(Action::Write, offset, &error))?;
        pending.block = [0xff; BLOCK];
        pending.filled = 0;
        Ok(())
    }

    fn describe(&self, slot: u8, record: &Record) -> Active {
        Active {
            slot,
            sequence: record.sequence,
            place: Place {
                offset: self.region.body(slot),
                length: record.length,
            },
            crc: record.crc,
            signed: record.signature.is_some(),
        }
    }

    /// A slot's record, with a length that the slot can hold.
    fn record(&mut self, slot: u8) -> Result<Record, Flaw> {
        let offset = self.region.start(slot);
        let mut bytes = [0; BLOCK];
        (self.flash.read(offset, &mut bytes)).map_err(|error| Flaw::Read {
            offset,
            kind: error.kind(),
        })?;
        let record = Record::decode(&bytes)?;
        if !(1..=self.region.capacity()).contains(&record.length) {
            let length = record.length;
            return Err(Flaw::Length { length });
        }
        Ok(record)
    }

    /// The CRC-32 of a slot's blob, which must fit; or where reading failed.
    fn read_body(
        &mut self,
        slot: u8,
        length: u32,
        mut each: impl FnMut(&[u8]),
    ) -> Result<u32, (u32, NorFlashErrorKind)> {
        let mut digest = CRC.digest();
        let mut bytes = [0; BLOCK];
        let mut offset = self.region.body(slot);
        let mut left = length;
        while left > 0 {
            // Whole blocks, as the flash may want; a slot ends with one.
            (self.flash.read(offset, &mut bytes)).map_err(|error| (offset, error.kind()))?;
            let part = left.min(BLOCK_LEN);
            let part_bytes = bytes.get(..part as usize).unwrap_or_default();
            digest.update(part_bytes);
            each(part_bytes);
            left -= part;
            offset = offset.wrapping_add(part);
        }
        Ok(digest.finalize())
    }
}

fn failed(action: Action, offset: u32, error: &impl NorFlashError) -> Error {
    Error::Flash {
        action,
        offset,
        kind: error.kind(),
    }
}

impl From<Distrust> for Error {
    fn from(distrust: Distrust) -> Self {
        match distrust {
            Distrust::Missing => Self::SignatureMissing,
            Distrust::Wrong => Self::SignatureWrong,
        }
    }
}
