//! The device's end of a transfer.

use crate::error::Unfit;
use crate::record::SIGNATURE_LEN;
use crate::region::Place;
use crate::slots::{Active, Offer, Slots};
use crate::wire::{
    Deframer, ERROR_REPLIES, Installed, LEAST_MESSAGE, LONGEST_REPLY, REPLY_FRAME, Refusal, Reply,
    Request, VERSION, chunk_len, decode, encode,
};
use embedded_storage::nor_flash::NorFlash;

/// What a receiver is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// No update is under way.
    Idle,
    /// So many bytes of so many came.
    Receiving {
        /// Bytes that came.
        received: u32,
        /// Bytes of the blob.
        length: u32,
    },
}

/// Takes updates from a line into [`Slots`].
///
/// Feed it what comes; send back what it gives. It needs no clock: who sends
/// is patient. `N` is its buffer's length in bytes, at least
/// [`LEAST_MESSAGE`]; chunks have some 20 bytes less.
///
/// It may hear its own replies: it answers no reply, and of frames that are
/// neither request nor reply at most [`ERROR_REPLIES`] between two requests.
#[derive(Debug)]
pub struct Receiver<F, const N: usize> {
    slots: Slots<F>,
    deframer: Deframer<N>,
    /// The update under way.
    session: Option<u32>,
    /// How the last one ended, for whoever did not hear it.
    ended: Option<(u32, Reply)>,
    installed: Option<Active>,
    /// Error replies that it may still send before the next request.
    error_replies: u8,
    frame: [u8; REPLY_FRAME],
}

impl<F: NorFlash, const N: usize> Receiver<F, N> {
    /// A receiver that nobody has talked to.
    pub fn new(slots: Slots<F>) -> Self {
        const { assert!(N >= LEAST_MESSAGE, "the buffer cannot hold every request") }
        Self {
            slots,
            deframer: Deframer::default(),
            session: None,
            ended: None,
            installed: None,
            error_replies: ERROR_REPLIES,
            frame: [0; REPLY_FRAME],
        }
    }

    /// Takes a byte from the line; gives what is to be sent, if it ends a
    /// request.
    ///
    /// `check` is asked, once an update is in flash and whole, whether firmware
    /// can run it. That may take as long as it likes, and so may erasing.
    pub fn push(
        &mut self,
        byte: u8,
        check: impl FnOnce(Place) -> Result<(), Unfit>,
    ) -> Option<&[u8]> {
        let Self {
            slots,
            deframer,
            session,
            ended,
            installed,
            error_replies,
            frame,
        } = self;
        let message = deframer.push(byte)?;
        let reply = match message.map(decode::<Request<'_>>) {
            Ok(Some(request)) => {
                *error_replies = ERROR_REPLIES;
                Conversation {
                    slots,
                    session,
                    ended,
                    installed,
                    chunk: chunk_len(N),
                }
                .answer(request, check)
            }
            _ => {
                let error = match message {
                    // Its own, where the line has an echo.
                    Ok(message) if decode::<Reply>(message).is_some() => return None,
                    Ok(_) => refused(0, Refusal::NotUnderstood),
                    Err(_) => Reply::Again,
                };
                // Its echo may come back damaged, or with a log line each time.
                *error_replies = error_replies.checked_sub(1)?;
                error
            }
        };
        encode(&reply, &mut [0; LONGEST_REPLY], frame)
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        match self.slots.progress() {
            Some((received, length)) => State::Receiving { received, length },
            None => State::Idle,
        }
    }

    /// The weights that became active since this was last asked.
    pub fn take_installed(&mut self) -> Option<Active> {
        self.installed.take()
    }

    /// The slots.
    pub fn slots(&mut self) -> &mut Slots<F> {
        &mut self.slots
    }
}

/// What an answer may read and change.
struct Conversation<'r, F> {
    slots: &'r mut Slots<F>,
    session: &'r mut Option<u32>,
    ended: &'r mut Option<(u32, Reply)>,
    installed: &'r mut Option<Active>,
    chunk: usize,
}

impl<F: NorFlash> Conversation<'_, F> {
    fn answer(
        &mut self,
        request: Request<'_>,
        check: impl FnOnce(Place) -> Result<(), Unfit>,
    ) -> Reply {
        match request {
            Request::Hello { .. } => self.welcome(),
            Request::Begin {
                session,
                length,
                crc,
                signature,
            } => self.begin(session, length, crc, signature),
            Request::Chunk {
                session,
                offset,
                data,
            } => self.chunk(session, offset, data),
            Request::Finish { session } => self.finish(session, check),
        }
    }

    fn welcome(&mut self) -> Reply {
        let active = self.slots.active();
        Reply::Welcome {
            version: VERSION,
            capacity: self.slots.capacity(),
            // At most 65,535.
            chunk: self.chunk as u16,
            signed: self.slots.wants_signature(),
            active: active.map(|active| Installed {
                sequence: active.sequence,
                length: active.place.length,
                crc: active.crc,
            }),
        }
    }

    fn begin(&mut self, session: u32, length: u32, crc: u32, signature: Option<&[u8]>) -> Reply {
        // Said twice, done once: erasing takes long, and who asked may have
        // asked again.
        if let Some(reply) = self.known(session) {
            return reply;
        }
        let signature: Option<[u8; SIGNATURE_LEN]> = match signature.map(TryInto::try_into) {
            None => None,
            Some(Ok(signature)) => Some(signature),
            Some(Err(_)) => return refused(session, Refusal::SignatureWrong),
        };
        *self.session = None;
        let offer = Offer {
            length,
            crc,
            signature,
        };
        match self.slots.begin(&offer) {
            Ok(()) => {
                *self.session = Some(session);
                Reply::Next { session, offset: 0 }
            }
            Err(error) => self.end(session, refused(session, error.into())),
        }
    }

    fn chunk(&mut self, session: u32, offset: u32, data: &[u8]) -> Reply {
        let received = match self.received(session) {
            Ok(received) => received,
            Err(reply) => return reply,
        };
        if offset == received
            && let Err(error) = self.slots.write(data)
        {
            return self.end(session, refused(session, error.into()));
        }
        // Otherwise it came before.
        self.known(session)
            .unwrap_or(refused(session, Refusal::NoSession))
    }

    fn finish(&mut self, session: u32, check: impl FnOnce(Place) -> Result<(), Unfit>) -> Reply {
        if let Err(reply) = self.received(session) {
            return reply;
        }
        let reply = match self.slots.finish(check) {
            Ok(active) => {
                *self.installed = Some(active);
                Reply::Done {
                    session,
                    sequence: active.sequence,
                }
            }
            Err(error) => refused(session, error.into()),
        };
        self.end(session, reply)
    }

    /// How many bytes came, if this is the update under way; otherwise what
    /// there is to say about it.
    fn received(&self, session: u32) -> Result<u32, Reply> {
        match self.slots.progress() {
            Some((received, _)) if *self.session == Some(session) => Ok(received),
            _ => Err(self
                .known(session)
                .unwrap_or(refused(session, Refusal::NoSession))),
        }
    }

    /// What was last said about an update that is under way or was the last
    /// to end.
    fn known(&self, session: u32) -> Option<Reply> {
        if let (Some(current), Some((offset, _))) = (*self.session, self.slots.progress())
            && current == session
        {
            return Some(Reply::Next { session, offset });
        }
        let (ended, reply) = (*self.ended)?;
        (ended == session).then_some(reply)
    }

    fn end(&mut self, session: u32, reply: Reply) -> Reply {
        *self.session = None;
        *self.ended = Some((session, reply));
        reply
    }
}

fn refused(session: u32, refusal: Refusal) -> Reply {
    Reply::Refused { session, refusal }
}
