//! A flash as unkind as flash may be.
#![allow(dead_code, reason = "each test uses a part")]

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use std::ops::Range;
use tiny_ddpm_slots::{Action, Active, Error, Offer, Region, Slots, crc32};

/// Pseudo-random numbers: SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}

/// When in an operation power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    Within,
    After,
}

pub const WHENS: [When; 3] = [When::Before, When::Within, When::After];

/// NOR flash written in words of `W` bytes and erased in pages of `E`.
///
/// Bits go from 1 to 0, each word is written once between erasures, and an
/// access that is not aligned is an error; tests fail on what silicon might
/// forgive. Each page erased and each word written is an operation, at which
/// power can fail: a word then has some of its bits, a page has anything.
#[derive(Clone, Debug)]
pub struct MockFlash<const W: usize, const E: usize> {
    pub bytes: Vec<u8>,
    written: Vec<bool>,
    /// Operations so far.
    pub operations: usize,
    /// At which operation power fails.
    pub cut: Option<(usize, When)>,
    dead: bool,
    random: Random,
    /// Reading these bytes fails.
    pub unreadable: Option<Range<usize>>,
    /// Doing this to these bytes fails.
    pub worn: Option<(Action, Range<usize>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MockError {
    NoPower,
    NotAligned,
    OutOfBounds,
    Unreadable,
    Worn,
}

impl NorFlashError for MockError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::NotAligned => NorFlashErrorKind::NotAligned,
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            _ => NorFlashErrorKind::Other,
        }
    }
}

impl<const W: usize, const E: usize> MockFlash<W, E> {
    /// Fresh from the factory.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0xff; capacity],
            written: vec![false; capacity / W],
            operations: 0,
            cut: None,
            dead: false,
            random: Random(capacity as u64),
            unreadable: None,
            worn: None,
        }
    }

    /// Filled with what happened to be there.
    pub fn used(capacity: usize, seed: u64) -> Self {
        let mut flash = Self::new(capacity);
        flash.random = Random(seed);
        for byte in &mut flash.bytes {
            *byte = flash.random.byte();
        }
        flash.written.fill(true);
        flash
    }

    pub fn cut_at(&mut self, operation: usize, when: When, seed: u64) {
        self.cut = Some((self.operations + operation, when));
        self.random = Random(seed);
    }

    /// Power is back.
    pub fn reboot(&mut self) {
        self.cut = None;
        self.dead = false;
    }

    /// What to do of the next operation; an error also where power fails
    /// after all of it.
    fn operate(&mut self, mut act: impl FnMut(&mut Self, bool)) -> Result<(), MockError> {
        let number = self.operations;
        self.operations += 1;
        let when = self
            .cut
            .and_then(|(at, when)| (at == number).then_some(when));
        match when {
            None => act(self, true),
            Some(When::Before) => {}
            Some(When::Within) => act(self, false),
            Some(When::After) => act(self, true),
        }
        self.dead = when.is_some();
        if self.dead {
            Err(MockError::NoPower)
        } else {
            Ok(())
        }
    }

    fn wear(&self, action: Action, range: Range<usize>) -> Result<(), MockError> {
        match &self.worn {
            Some((worn, bad)) if *worn == action && overlap(bad, &range) => Err(MockError::Worn),
            _ => Ok(()),
        }
    }

    fn access(&self, offset: u32, len: usize, unit: usize) -> Result<usize, MockError> {
        let at = offset as usize;
        if self.dead {
            return Err(MockError::NoPower);
        }
        if !at.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            return Err(MockError::NotAligned);
        }
        if at + len > self.bytes.len() {
            return Err(MockError::OutOfBounds);
        }
        Ok(at)
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

impl<const W: usize, const E: usize> ErrorType for MockFlash<W, E> {
    type Error = MockError;
}

impl<const W: usize, const E: usize> ReadNorFlash for MockFlash<W, E> {
    const READ_SIZE: usize = if W < 4 { W } else { 4 };

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), MockError> {
        let at = self.access(offset, bytes.len(), Self::READ_SIZE)?;
        let range = at..at + bytes.len();
        if self
            .unreadable
            .as_ref()
            .is_some_and(|bad| overlap(bad, &range))
        {
            return Err(MockError::Unreadable);
        }
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const W: usize, const E: usize> NorFlash for MockFlash<W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), MockError> {
        assert!(from < to);
        let start = self.access(from, (to - from) as usize, E)?;
        for page in (start..to as usize).step_by(E) {
            self.wear(Action::Erase, page..page + E)?;
            self.operate(|flash, whole| {
                for at in page..page + E {
                    flash.bytes[at] = match whole {
                        true => 0xff,
                        false => flash.random.byte(),
                    };
                }
                flash.written[page / W..(page + E) / W].fill(!whole);
            })?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), MockError> {
        let start = self.access(offset, bytes.len(), W)?;
        for (index, word) in bytes.chunks(W).enumerate() {
            let at = start + index * W;
            self.wear(Action::Write, at..at + W)?;
            self.operate(|flash, whole| {
                assert!(!flash.written[at / W], "{at} is written twice");
                flash.written[at / W] = true;
                for (offset, &byte) in word.iter().enumerate() {
                    let left = if whole { 0 } else { flash.random.byte() };
                    flash.bytes[at + offset] &= byte | left;
                }
            })?;
        }
        Ok(())
    }
}

/// Bytes that differ from one number to the next.
pub fn blob(number: u64, length: usize) -> Vec<u8> {
    let mut random = Random(number);
    (0..length).map(|_| random.byte()).collect()
}

/// An update from start to end, its bytes in pieces of odd lengths.
pub fn install<F: NorFlash>(slots: &mut Slots<F>, blob: &[u8]) -> Result<Active, Error> {
    slots.begin(&Offer::new(blob))?;
    for piece in blob.chunks(77) {
        slots.write(piece)?;
    }
    slots.finish(|_| Ok(()))
}

/// What is active, read from the bytes themselves.
pub fn active_blob<const W: usize, const E: usize>(
    flash: &mut MockFlash<W, E>,
    region: Region,
) -> Option<Vec<u8>> {
    let mut slots = Slots::new(&mut *flash, region).unwrap();
    let place = slots.active()?.place;
    let start = place.offset as usize;
    Some(flash.bytes[start..start + place.length as usize].to_vec())
}

/// A slot made by hand, from the description in the crate's documentation.
pub fn forge<const W: usize, const E: usize>(
    flash: &mut MockFlash<W, E>,
    region: Region,
    slot: usize,
    sequence: u32,
    blob: &[u8],
) {
    let start = region.offset as usize + slot * region.slot_len as usize;
    let mut record = [0xff; 128];
    record[..8].copy_from_slice(b"tddpslot");
    record[8..12].copy_from_slice(&[1, 0, 0, 0]);
    record[12..16].copy_from_slice(&sequence.to_le_bytes());
    record[16..20].copy_from_slice(&(blob.len() as u32).to_le_bytes());
    record[20..24].copy_from_slice(&crc32(blob).to_le_bytes());
    let crc = crc32(&record[..124]);
    record[124..].copy_from_slice(&crc.to_le_bytes());
    flash.bytes[start..start + 128].copy_from_slice(&record);
    flash.bytes[start + 128..start + 128 + blob.len()].copy_from_slice(blob);
    let words = start / W..(start + region.slot_len as usize) / W;
    flash.written[words].fill(true);
}
