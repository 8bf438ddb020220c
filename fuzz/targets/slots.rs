//! A device that takes weights over a line: flash as anybody may have left it,
//! any bytes and any requests, and power that fails. What is active stays so
//! until something whole takes its place.

#![no_main]

use std::cell::RefCell;

use arbitrary::{Arbitrary, Unstructured};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use libfuzzer_sys::fuzz_target;
use tiny_ddpm_slots::wire::{
    Deframer, LEAST_MESSAGE, LONGEST_REPLY, Reply, Request, decode, encode, frame_len,
};
use tiny_ddpm_slots::{Active, Flaw, Receiver, Region, Sender, Slots, Unfit, crc32};

#[path = "../../slots/tests/common/mod.rs"]
mod flash;

use flash::{MockError, MockFlash, WHENS, blob};

type Flash = MockFlash<4, 256>;

const REGION: Region = Region {
    offset: 256,
    slot_len: 1024,
};
const CAPACITY: usize = 256 + 2 * 1024;
/// Requests that a transfer may take: more than one without noise needs.
const TURNS: usize = 40;

/// What a fuzzer puts in a slot, with a record whose checksum is right.
#[derive(Arbitrary, Debug)]
struct Found {
    version: u16,
    signed: u16,
    sequence: u32,
    length: u32,
    /// Whether the blob's checksum is that of a blob of `length` bytes.
    whole: bool,
}

#[derive(Arbitrary, Debug)]
enum Event<'a> {
    /// Bytes come.
    Noise(&'a [u8]),
    Begin {
        session: u8,
        length: u32,
        crc: u32,
        signature: Option<&'a [u8]>,
    },
    Chunk {
        session: u8,
        offset: u32,
        data: &'a [u8],
    },
    Finish {
        session: u8,
    },
    /// A blob is sent as `tiny-ddpm send` does, over a line that changes each
    /// frame as these bytes say.
    Transfer {
        session: u8,
        number: u8,
        length: u16,
        unfit: bool,
        changes: &'a [u8],
    },
    /// Power will fail.
    Cut {
        operation: u8,
        when: u8,
        seed: u8,
    },
    Restart,
}

/// Flash whose power can be cut while a device uses it.
#[derive(Debug)]
struct Shared<'f>(&'f RefCell<Flash>);

impl ErrorType for Shared<'_> {
    type Error = MockError;
}

impl ReadNorFlash for Shared<'_> {
    const READ_SIZE: usize = Flash::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), MockError> {
        self.0.borrow_mut().read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.borrow().capacity()
    }
}

impl NorFlash for Shared<'_> {
    const WRITE_SIZE: usize = Flash::WRITE_SIZE;
    const ERASE_SIZE: usize = Flash::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), MockError> {
        self.0.borrow_mut().erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), MockError> {
        self.0.borrow_mut().write(offset, bytes)
    }
}

/// A device between two losses of power.
struct Device<'f> {
    flash: &'f RefCell<Flash>,
    receiver: Receiver<Shared<'f>, LEAST_MESSAGE>,
    /// What was active when last looked at.
    active: Option<Active>,
    /// Lengths and checksums of the updates that were begun.
    offered: Vec<(u32, u32)>,
}

impl Device<'_> {
    /// Looks at what is active: what was, or something whole that was `fit`.
    fn look(&mut self, fit: bool) {
        let (before, after) = (self.active, self.receiver.slots().active());
        // Where nothing was active, a record may still have said a number.
        let follows = |after: Active| {
            before.is_none_or(|before| after.sequence == before.sequence.wrapping_add(1))
        };
        let is_next = |after: Active| {
            self.offered.contains(&(after.place.length, after.crc)) && follows(after)
        };
        assert!(
            after == before || (fit && after.is_some_and(is_next)),
            "{before:?}, then {after:?}"
        );
        self.active = after;
    }

    /// Bytes for it, and what it answers.
    fn hear(&mut self, bytes: &[u8], unfit: bool) -> Vec<Reply> {
        let mut replies = Vec::new();
        for &byte in bytes {
            let check = |_| if unfit { Err(Unfit::Invalid) } else { Ok(()) };
            if let Some(frame) = self.receiver.push(byte, check) {
                replies.push(only(frame));
                if self.is_on() {
                    self.look(!unfit);
                }
            }
        }
        replies
    }

    fn ask(&mut self, request: &Request<'_>) {
        if let Request::Begin { length, crc, .. } = *request {
            self.offered.push((length, crc));
        }
        if let Some(frame) = framed(request) {
            self.hear(&frame, false);
        }
    }

    fn transfer(&mut self, blob: &[u8], session: u32, unfit: bool, changes: &[u8]) {
        let mut sender = Sender::new(blob, None, session);
        let mut changes = changes.iter().copied();
        for _ in 0..TURNS {
            let Some(request) = sender.request() else {
                return;
            };
            if let Request::Begin { length, crc, .. } = request {
                self.offered.push((length, crc));
            }
            let mut frame = framed(&request).expect("chunks are as long as the device said");
            // A frame may lose its end, have one byte changed, or come twice.
            let change = changes.next().unwrap_or(0);
            let place = usize::from(change >> 2) % frame.len();
            match change & 3 {
                1 => frame.truncate(place),
                2 => frame[place] ^= 1 << (change >> 5),
                3 => frame.extend(frame.clone()),
                _ => {}
            }
            for reply in self.hear(&frame, unfit) {
                if sender.heard(reply).is_err() {
                    return;
                }
            }
        }
    }

    /// Whether it has power.
    fn is_on(&mut self) -> bool {
        let found = self.receiver.slots().inspect(0);
        !matches!(found, Err(Flaw::Read { .. }))
    }

    fn live(&mut self, event: &Event<'_>) {
        match *event {
            Event::Noise(noise) => drop(self.hear(noise, false)),
            Event::Begin {
                session,
                length,
                crc,
                signature,
            } => self.ask(&Request::Begin {
                session: session.into(),
                length,
                crc,
                signature,
            }),
            Event::Chunk {
                session,
                offset,
                data,
            } => self.ask(&Request::Chunk {
                session: session.into(),
                offset,
                data,
            }),
            Event::Finish { session } => self.ask(&Request::Finish {
                session: session.into(),
            }),
            Event::Transfer {
                session,
                number,
                length,
                unfit,
                changes,
            } => {
                let blob = blob(number.into(), usize::from(length % 1024));
                self.transfer(&blob, session.into(), unfit, changes);
            }
            Event::Cut {
                operation,
                when,
                seed,
            } => {
                let when = WHENS[usize::from(when) % WHENS.len()];
                let mut flash = self.flash.borrow_mut();
                flash.cut_at(operation.into(), when, seed.into());
            }
            Event::Restart => {}
        }
    }
}

fn framed(request: &Request<'_>) -> Option<Vec<u8>> {
    let (mut scratch, mut frame) = ([0; 512], [0; frame_len(516)]);
    encode(request, &mut scratch, &mut frame).map(<[u8]>::to_vec)
}

/// The reply in a frame, which must be one.
fn only(frame: &[u8]) -> Reply {
    let mut deframer = Deframer::<LONGEST_REPLY>::default();
    let mut replies = Vec::new();
    for &byte in frame {
        if let Some(message) = deframer.push(byte) {
            replies.push(decode(message.expect("a device's frames are whole")));
        }
    }
    match replies[..] {
        [Some(reply)] => reply,
        _ => panic!("{replies:?}"),
    }
}

/// Writes a slot as `found` has it.
fn put(flash: &mut Flash, slot: usize, found: &Found) {
    let length = found.length as usize % 2048;
    let blob = blob(7, length);
    let crc = crc32(&blob) ^ u32::from(!found.whole);
    let mut record = [0xff; 128];
    record[..8].copy_from_slice(b"tddpslot");
    record[8..10].copy_from_slice(&found.version.to_le_bytes());
    record[10..12].copy_from_slice(&found.signed.to_le_bytes());
    record[12..16].copy_from_slice(&found.sequence.to_le_bytes());
    // Lengths far beyond the slot, too.
    let claimed = if found.whole {
        length as u32
    } else {
        found.length
    };
    record[16..20].copy_from_slice(&claimed.to_le_bytes());
    record[20..24].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32(&record[..124]);
    record[124..].copy_from_slice(&crc.to_le_bytes());
    let start = (REGION.offset + slot as u32 * REGION.slot_len) as usize;
    let end = start + REGION.slot_len as usize;
    flash.bytes[start..start + 128].copy_from_slice(&record);
    let room = end - (start + 128);
    flash.bytes[start + 128..end][..length.min(room)].copy_from_slice(&blob[..length.min(room)]);
}

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Unstructured::new(bytes);
    let Ok(found) = bytes.arbitrary::<(bool, [Option<Found>; 2])>() else {
        return;
    };
    // Not fresh: an update has to erase before it writes.
    let (used, found) = found;
    let mut flash = if used {
        Flash::used(CAPACITY, 1)
    } else {
        Flash::new(CAPACITY)
    };
    for (slot, found) in found.iter().enumerate() {
        if let Some(found) = found {
            put(&mut flash, slot, found);
        }
    }
    let flash = RefCell::new(flash);
    let slots = || Slots::new(Shared(&flash), REGION).expect("the flash suits");
    let mut active = slots().active();
    let mut offered = Vec::new();
    while !bytes.is_empty() {
        flash.borrow_mut().reboot();
        let mut device = Device {
            flash: &flash,
            receiver: Receiver::new(slots()),
            active,
            offered,
        };
        // What was begun before may have become active as power failed.
        device.look(true);
        device.offered.clear();
        while !bytes.is_empty() && device.is_on() {
            let Ok(event) = bytes.arbitrary::<Event<'_>>() else {
                return;
            };
            device.live(&event);
            if matches!(event, Event::Restart) {
                break;
            }
        }
        (active, offered) = (device.active, device.offered);
    }
});
