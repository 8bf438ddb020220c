//! The other end of a transfer: who has the blob.

use crate::crc32;
use crate::record::SIGNATURE_LEN;
use crate::wire::{ERROR_REPLIES, Installed, Refusal, Reply, Request, VERSION};
use core::fmt;
use core::time::Duration;

/// How far a sender is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has answered yet.
    Calling,
    /// The device is making room.
    Beginning,
    /// So many bytes have arrived.
    Sending {
        /// How many.
        offset: u32,
    },
    /// All arrived; the device is checking them.
    Finishing,
    /// They are active, as the update with this number.
    Done {
        /// The number.
        sequence: u32,
    },
}

/// What a reply meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// There is something new to say: see [`Sender::request`].
    Progress,
    /// It did not arrive well: say it again, at once.
    Repeat,
    /// Nothing; go on waiting.
    Nothing,
}

/// Why a transfer cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// The device talks in another way.
    Version {
        /// Its version.
        device: u8,
    },
    /// The device wants signed blobs, and this one is not.
    NotSigned,
    /// The blob is too large for it.
    TooLarge {
        /// The blob's bytes.
        length: u64,
        /// Those of the largest.
        capacity: u32,
    },
    /// The device said no.
    Refused(Refusal),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { device } => write!(
                f,
                "the device speaks version {device} of the transfer, this program {VERSION}"
            ),
            Self::NotSigned => f.write_str("the device takes only signed blobs"),
            Self::TooLarge { length, capacity } => write!(
                f,
                "the blob has {length} bytes, and the device has room for {capacity}"
            ),
            Self::Refused(refusal) => write!(f, "the device refused: {refusal}"),
        }
    }
}

impl core::error::Error for Trouble {}

/// Sends one blob. It does no input or output: whoever has it sends
/// [`request`](Self::request), waits for replies and gives them to
/// [`heard`](Self::heard), and sends the request again when none has come for
/// [`patience`](Self::patience).
#[derive(Debug)]
pub struct Sender<'b> {
    blob: &'b [u8],
    crc: u32,
    signature: Option<[u8; SIGNATURE_LEN]>,
    session: u32,
    chunk: usize,
    stage: Stage,
    before: Option<Installed>,
    /// How often it may still say the same again before its time is up. Where
    /// the echo of each reply comes back damaged, each request gets an Again.
    repeats: u8,
}

impl<'b> Sender<'b> {
    /// To send `blob` with its signature. `session` should differ from one
    /// transfer to the next, as random numbers do.
    #[must_use]
    pub fn new(blob: &'b [u8], signature: Option<[u8; SIGNATURE_LEN]>, session: u32) -> Self {
        Self {
            blob,
            crc: crc32(blob),
            signature,
            session,
            chunk: 0,
            stage: Stage::Calling,
            before: None,
            repeats: ERROR_REPLIES,
        }
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What was active on the device before.
    #[must_use]
    pub fn installed_before(&self) -> Option<Installed> {
        self.before
    }

    /// The most data that the device takes at once; 0 before it has told.
    #[must_use]
    pub fn chunk_len(&self) -> usize {
        self.chunk
    }

    /// What to say now; `None` when all is done.
    #[must_use]
    pub fn request(&self) -> Option<Request<'_>> {
        let session = self.session;
        match self.stage {
            Stage::Calling => Some(Request::Hello { version: VERSION }),
            Stage::Beginning => Some(Request::Begin {
                session,
                length: self.length(),
                crc: self.crc,
                signature: self.signature.as_ref().map(|signature| &signature[..]),
            }),
            Stage::Sending { offset } => Some(Request::Chunk {
                session,
                offset,
                data: self.data(offset),
            }),
            Stage::Finishing => Some(Request::Finish { session }),
            Stage::Done { .. } => None,
        }
    }

    /// How long to wait for a reply, on top of what the line takes to carry
    /// both, before saying the same again; and how long before giving up.
    #[must_use]
    pub fn patience(&self) -> (Duration, Duration) {
        let (again, limit) = match self.stage {
            // A device that is making a picture listens between steps.
            Stage::Calling => (250, 20_000),
            // Some flash takes seconds for each of several sectors.
            Stage::Beginning => (1_000, 60_000),
            Stage::Sending { .. } => (500, 10_000),
            Stage::Finishing | Stage::Done { .. } => (1_000, 30_000),
        };
        (Duration::from_millis(again), Duration::from_millis(limit))
    }

    /// Takes a reply.
    ///
    /// # Errors
    /// If the transfer has failed for good.
    pub fn heard(&mut self, reply: Reply) -> Result<Heard, Trouble> {
        let next = match (reply, self.stage) {
            (Reply::Again, _) => {
                let Some(left) = self.repeats.checked_sub(1) else {
                    return Ok(Heard::Nothing);
                };
                self.repeats = left;
                return Ok(Heard::Repeat);
            }
            (
                Reply::Welcome {
                    version,
                    capacity,
                    chunk,
                    signed,
                    active,
                },
                Stage::Calling,
            ) => {
                self.before = active;
                self.chunk = chunk.into();
                self.check(version, capacity, signed)?;
                Stage::Beginning
            }
            (Reply::Refused { session, refusal }, _) => {
                // Somebody else's, or noise that happened to be a request.
                if session != self.session {
                    return Ok(Heard::Nothing);
                }
                return Err(Trouble::Refused(refusal));
            }
            (Reply::Done { session, sequence }, Stage::Finishing) if session == self.session => {
                Stage::Done { sequence }
            }
            (Reply::Next { session, offset }, stage) if session == self.session => {
                let expected = match stage {
                    Stage::Beginning => 0,
                    Stage::Sending { offset } => {
                        // Within the blob, which a `u32` counts.
                        offset.saturating_add(self.data(offset).len() as u32)
                    }
                    _ => return Ok(Heard::Nothing),
                };
                // What was said before, and is now answered twice, is not to
                // be sent twice: else every chunk would be from then on.
                if offset != expected {
                    return Ok(Heard::Nothing);
                }
                match offset < self.length() {
                    true => Stage::Sending { offset },
                    false => Stage::Finishing,
                }
            }
            _ => return Ok(Heard::Nothing),
        };
        self.stage = next;
        self.repeats = ERROR_REPLIES;
        Ok(Heard::Progress)
    }

    fn check(&self, version: u8, capacity: u32, signed: bool) -> Result<(), Trouble> {
        if version != VERSION || self.chunk == 0 {
            return Err(Trouble::Version { device: version });
        }
        let length = self.blob.len() as u64;
        if length > u64::from(capacity) {
            return Err(Trouble::TooLarge { length, capacity });
        }
        if signed && self.signature.is_none() {
            return Err(Trouble::NotSigned);
        }
        Ok(())
    }

    /// Checked against a `u32` before it matters.
    fn length(&self) -> u32 {
        u32::try_from(self.blob.len()).unwrap_or(u32::MAX)
    }

    fn data(&self, offset: u32) -> &'b [u8] {
        let rest = self.blob.get(offset as usize..).unwrap_or_default();
        rest.get(..self.chunk).unwrap_or(rest)
    }
}
