//! What goes over the line.
//!
//! A frame is a zero, the COBS encoding of a message and its CRC-32
//! (little-endian), and a zero. A message is the postcard encoding of a
//! [`Request`] or a [`Reply`]. The first zero ends whatever noise came before.
//!
//! The sender sends a request and waits for its reply; without one it sends
//! the request again. All requests can be repeated without harm: what was done
//! already is only answered again.
//!
//! # Echo
//! On a line with echo, such as two-wire RS-485, each end also hears what it
//! sent itself. No message decodes both as a [`Request`] and as a [`Reply`]:
//! where the two share a postcard discriminant, the fields of one are a proper
//! prefix of the other's, and [`decode`] accepts no bytes that are left over. A
//! new variant must keep this. So a sender ignores requests, and a receiver
//! does not answer replies. Frames that are neither get at most
//! [`ERROR_REPLIES`] answers between two requests, so that a line which damages
//! the echo falls silent, too.

use crate::crc32;
use crate::error::{Action, Error, Unfit};
use cobs::{CobsEncoder, DecodeResult, DecoderState};
use serde::{Deserialize, Serialize};

/// Version of these messages. [`Request::Hello`] and [`Reply::Welcome`] begin
/// alike in all versions, so that both ends can tell that they differ.
pub const VERSION: u8 = 1;

/// Bytes of a message besides the data of a chunk: what the numbers before
/// them take at most, and the checksum.
const CHUNK_OVERHEAD: usize = 1 + 5 + 5 + 3 + CRC_LEN;
const CRC_LEN: usize = 4;
/// Bytes that a deframer needs at least: those of a [`Request::Begin`] with a
/// signature, rounded up.
pub const LEAST_MESSAGE: usize = 128;
/// Bytes of the longest frame with a reply.
pub const REPLY_FRAME: usize = frame_len(LONGEST_REPLY);
/// A generous limit to the messages that a receiver sends.
pub const LONGEST_REPLY: usize = 60;
/// How many frames that are no request a receiver answers, with
/// [`Reply::Again`] or [`Refusal::NotUnderstood`], between two requests.
pub const ERROR_REPLIES: u8 = 4;

/// Bytes of a frame around a message and its checksum of `message` bytes.
#[must_use]
pub const fn frame_len(message: usize) -> usize {
    message + message.div_ceil(254) + 3
}

/// The most data that a chunk may have for a deframer of `buffer` bytes.
#[must_use]
pub const fn chunk_len(buffer: usize) -> usize {
    let len = buffer.saturating_sub(CHUNK_OVERHEAD);
    // What a varint of three bytes holds, and a `u16`.
    if len > u16::MAX as usize {
        u16::MAX as usize
    } else {
        len
    }
}

/// What a sender says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Who is there? Ends no session.
    Hello {
        /// The sender's [`VERSION`].
        version: u8,
    },
    /// An update is to begin, in place of one that may be under way.
    Begin {
        /// A number by which its messages are told from those of another.
        session: u32,
        /// Bytes of the blob.
        length: u32,
        /// Its CRC-32.
        crc: u32,
        /// Its signature: 64 bytes.
        signature: Option<&'a [u8]>,
    },
    /// Bytes of the blob.
    Chunk {
        /// Of which update.
        session: u32,
        /// How many came before.
        offset: u32,
        /// They themselves.
        data: &'a [u8],
    },
    /// All bytes came: check them, and make them active.
    Finish {
        /// Which update.
        session: u32,
    },
}

/// What a receiver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Hello`].
    Welcome {
        /// The receiver's [`VERSION`].
        version: u8,
        /// Bytes of the largest blob that fits.
        capacity: u32,
        /// The most data that a chunk may have.
        chunk: u16,
        /// Whether only signed blobs are taken.
        signed: bool,
        /// What is active now.
        active: Option<Installed>,
    },
    /// So many bytes of the blob have come: go on from there.
    Next {
        /// Of which update.
        session: u32,
        /// How many.
        offset: u32,
    },
    /// Something came damaged: say it again.
    Again,
    /// The update is active.
    Done {
        /// Which update.
        session: u32,
        /// The number it has in flash.
        sequence: u32,
    },
    /// The update has ended without effect.
    Refused {
        /// Which update.
        session: u32,
        /// Why.
        refusal: Refusal,
    },
}

/// What is active on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The how-manieth update it was.
    pub sequence: u32,
    /// Bytes of the blob.
    pub length: u32,
    /// Its CRC-32.
    pub crc: u32,
}

/// Why a receiver ended an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Refusal {
    /// It does not know the request; the session is 0.
    NotUnderstood,
    /// No such update is under way; it may have restarted.
    NoSession,
    /// A blob of no bytes.
    Empty,
    /// A blob that no slot can hold.
    TooLarge {
        /// Its bytes.
        length: u32,
        /// Those of the largest.
        capacity: u32,
    },
    /// More or fewer bytes than were announced.
    Length,
    /// Only signed blobs are taken, and this one is not.
    SignatureMissing,
    /// The signature is not that of the key in firmware and this blob.
    SignatureWrong,
    /// What is in flash has another checksum than was announced.
    Damaged {
        /// The announced CRC-32.
        announced: u32,
        /// That of what is in flash.
        found: u32,
    },
    /// Firmware cannot use the blob.
    Unfit(Unfit),
    /// The flash failed.
    Flash {
        /// What it was to do.
        action: Action,
        /// Where, in bytes from its beginning.
        offset: u32,
    },
    /// The slot's record did not read back as it was written.
    Record,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Flash { action, offset, .. } => Self::Flash { action, offset },
            Error::Empty => Self::Empty,
            Error::TooLarge { length, capacity } => Self::TooLarge { length, capacity },
            Error::NotBegun => Self::NoSession,
            Error::TooMuch { .. } | Error::TooLittle { .. } => Self::Length,
            Error::Damaged { announced, found } => Self::Damaged { announced, found },
            Error::Record => Self::Record,
            Error::SignatureMissing => Self::SignatureMissing,
            Error::SignatureWrong => Self::SignatureWrong,
            Error::Unfit(unfit) => Self::Unfit(unfit),
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotUnderstood => f.write_str("it does not understand the request"),
            Self::NoSession => f.write_str("it knows of no such update: it may have restarted"),
            Self::Empty => f.write_str("the blob is empty"),
            Self::TooLarge { length, capacity } => {
                write!(
                    f,
                    "the blob has {length} bytes, and it has room for {capacity}"
                )
            }
            Self::Length => f.write_str("another number of bytes came than was announced"),
            Self::SignatureMissing => {
                f.write_str("it takes only signed blobs, and this one is not signed")
            }
            Self::SignatureWrong => {
                f.write_str("the signature is not that of its key and this blob")
            }
            Self::Damaged { announced, found } => write!(
                f,
                "what it has in flash has the checksum {found:08x} instead of {announced:08x}"
            ),
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::Flash { action, offset } => {
                write!(f, "its flash could not be {action} at {offset}")
            }
            Self::Record => f.write_str("its flash does not keep what is written"),
        }
    }
}

/// The frame of a message, in `frame`; `None` where it has no room there, or
/// the message none in `scratch`.
pub fn encode<'f>(
    message: &impl Serialize,
    scratch: &mut [u8],
    frame: &'f mut [u8],
) -> Option<&'f [u8]> {
    let message = postcard::to_slice(message, scratch).ok()?;
    let crc = crc32(message).to_le_bytes();
    let (first, rest) = frame.split_first_mut()?;
    *first = 0;
    let mut encoder = CobsEncoder::new(rest);
    encoder.push(message).ok()?;
    encoder.push(&crc).ok()?;
    let len = encoder.finalize();
    *rest.get_mut(len)? = 0;
    frame.get(..len + 2)
}

/// The message in the bytes that a [`Deframer`] gave; `None` if it is of an
/// unknown kind.
#[must_use]
pub fn decode<'b, M: Deserialize<'b>>(bytes: &'b [u8]) -> Option<M> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}

/// A frame came that is none, is damaged, or has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// Finds frames among bytes, with room for messages of `N` bytes including
/// their checksum.
#[derive(Debug)]
pub struct Deframer<const N: usize> {
    state: DecoderState,
    buffer: [u8; N],
    filled: usize,
    /// Nothing before the next zero is a message.
    lost: bool,
}

impl<const N: usize> Default for Deframer<N> {
    fn default() -> Self {
        Self {
            state: DecoderState::Idle,
            buffer: [0; N],
            filled: 0,
            lost: false,
        }
    }
}

impl<const N: usize> Deframer<N> {
    /// Takes a byte, and gives the message that it ends, if it ends one.
    pub fn push(&mut self, byte: u8) -> Option<Result<&[u8], Damaged>> {
        let fed = self.state.feed(byte);
        if byte != 0 {
            if let Ok(DecodeResult::DataContinue(data)) = fed {
                match self.buffer.get_mut(self.filled) {
                    Some(place) => {
                        *place = data;
                        self.filled += 1;
                    }
                    None => self.lost = true,
                }
            }
            return None;
        }
        // A zero always ends a frame, and what begins is a new one.
        let lost = core::mem::take(&mut self.lost);
        let filled = core::mem::take(&mut self.filled);
        match fed {
            Ok(DecodeResult::NoData) => None,
            Ok(DecodeResult::DataComplete) if !lost => {
                let bytes = self.buffer.get(..filled).unwrap_or_default();
                let sound = bytes.split_last_chunk().and_then(|(message, crc)| {
                    (crc32(message) == u32::from_le_bytes(*crc)).then_some(message)
                });
                Some(sound.ok_or(Damaged))
            }
            _ => Some(Err(Damaged)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest_replies() -> [Reply; 3] {
        let most = u32::MAX;
        let installed = Installed {
            sequence: most,
            length: most,
            crc: most,
        };
        let refused = |refusal| Reply::Refused {
            session: most,
            refusal,
        };
        [
            Reply::Welcome {
                version: 255,
                capacity: most,
                chunk: u16::MAX,
                signed: true,
                active: Some(installed),
            },
            refused(Refusal::Damaged {
                announced: most,
                found: most,
            }),
            refused(Refusal::Unfit(Unfit::Memory {
                needed: most,
                room: most,
            })),
        ]
    }

    #[test]
    fn every_reply_fits() {
        for reply in longest_replies() {
            let (mut scratch, mut frame) = ([0; LONGEST_REPLY], [0; REPLY_FRAME]);
            let frame = encode(&reply, &mut scratch, &mut frame).unwrap();
            let mut deframer = Deframer::<LONGEST_REPLY>::default();
            let mut found = None;
            for &byte in frame {
                if let Some(message) = deframer.push(byte) {
                    found = decode::<Reply>(message.unwrap());
                }
            }
            assert_eq!(found, Some(reply));
        }
    }

    #[test]
    fn every_request_fits_the_least_buffer() {
        let begin = Request::Begin {
            session: u32::MAX,
            length: u32::MAX,
            crc: u32::MAX,
            signature: Some(&[255; 64]),
        };
        let data = [7; chunk_len(LEAST_MESSAGE)];
        let chunk = Request::Chunk {
            session: u32::MAX,
            offset: u32::MAX,
            data: &data,
        };
        for request in [begin, chunk] {
            let (mut scratch, mut frame) = ([0; LEAST_MESSAGE], [0; frame_len(LEAST_MESSAGE)]);
            let frame = encode(&request, &mut scratch, &mut frame).unwrap();
            let mut deframer = Deframer::<LEAST_MESSAGE>::default();
            let last = frame.iter().fold(None, |last, &byte| {
                deframer.push(byte).map_or(last, |message| {
                    Some(decode::<Request<'_>>(message.unwrap()) == Some(request))
                })
            });
            assert_eq!(last, Some(true), "{request:?}");
        }
    }

    #[test]
    fn what_follows_a_message_makes_it_unknown() {
        let mut bytes = [0; 16];
        let len = postcard::to_slice(&Reply::Again, &mut bytes).unwrap().len();
        assert_eq!(decode::<Reply>(&bytes[..len]), Some(Reply::Again));
        assert_eq!(decode::<Reply>(&bytes[..len + 1]), None);
    }
}
