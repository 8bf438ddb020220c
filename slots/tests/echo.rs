//! Lines on which each end may also hear what it sent itself.

mod common;

use common::{MockFlash, Random, blob};
use proptest::prelude::*;
use std::collections::VecDeque;
use tiny_ddpm_slots::wire::{
    Deframer, ERROR_REPLIES, Installed, LONGEST_REPLY, REPLY_FRAME, Refusal, Reply, Request,
    decode, encode, frame_len,
};
use tiny_ddpm_slots::{Action, Heard, Receiver, Region, Sender, Slots, Stage, Unfit, crc32};

const BUFFER: usize = 200;
const SESSION: u32 = 7;
/// Bytes of the blob that is sent: two chunks.
const BLOB: usize = 300;
/// Bytes of the longest frame of a transfer.
const FRAME: usize = frame_len(BUFFER);

type Device = Receiver<MockFlash<4, 512>, BUFFER>;

fn device() -> Device {
    let region = Region {
        offset: 0,
        slot_len: 1024,
    };
    Receiver::new(Slots::new(MockFlash::new(2048), region).unwrap())
}

/// A state machine with a line.
enum End<'b> {
    Device(Box<Device>),
    Host {
        sender: Sender<'b>,
        deframer: Deframer<LONGEST_REPLY>,
    },
}

impl<'b> End<'b> {
    fn device() -> Self {
        Self::Device(Box::new(device()))
    }

    fn host(blob: &'b [u8]) -> Self {
        Self::Host {
            sender: Sender::new(blob, None, SESSION),
            deframer: Deframer::default(),
        }
    }

    /// What it says unasked, at first or because its patience is at an end.
    fn speak(&self) -> Vec<u8> {
        match self {
            Self::Device(_) => Vec::new(),
            Self::Host { sender, .. } => sender.request().map_or(Vec::new(), |r| frame(&r)),
        }
    }

    /// What it says to a byte.
    fn hear(&mut self, byte: u8) -> Vec<u8> {
        match self {
            Self::Device(receiver) => {
                let reply = receiver.push(byte, |_| Ok(()));
                reply.unwrap_or_default().to_vec()
            }
            Self::Host { sender, deframer } => {
                let Some(Ok(message)) = deframer.push(byte) else {
                    return Vec::new();
                };
                match decode(message).map(|reply| sender.heard(reply)) {
                    Some(Ok(Heard::Progress | Heard::Repeat)) => self.speak(),
                    _ => Vec::new(),
                }
            }
        }
    }
}

fn frame(message: &impl serde::Serialize) -> Vec<u8> {
    let (mut scratch, mut frame) = ([0; 1024], [0; frame_len(1024)]);
    encode(message, &mut scratch, &mut frame).unwrap().to_vec()
}

/// What happens to a byte on the way back to the end that sent it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Echo {
    None,
    Faithful,
    /// The line has seven bits.
    SevenBits,
    /// A log line that looks like a frame goes out with each frame.
    Logged,
}

impl Echo {
    fn of(self, said: &[u8]) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Faithful => said.to_vec(),
            Self::SevenBits => said.iter().map(|byte| byte & 0x7f).collect(),
            Self::Logged => [said, &frame(&"sent a reply")].concat(),
        }
    }
}

/// A line between two ends. What one says is heard by the other, and by itself
/// as `echo` has it.
struct Line<'b> {
    ends: [End<'b>; 2],
    echo: [Echo; 2],
    /// Frames on the way, and which end hears them.
    flying: VecDeque<(usize, Vec<u8>)>,
    /// Bytes that each end has said.
    said: [usize; 2],
}

impl<'b> Line<'b> {
    fn new(ends: [End<'b>; 2], echo: [Echo; 2]) -> Self {
        Self {
            ends,
            echo,
            flying: VecDeque::new(),
            said: [0; 2],
        }
    }

    fn say(&mut self, end: usize, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.said[end] += bytes.len();
        // Its own echo is there first.
        self.flying.push_back((end, self.echo[end].of(&bytes)));
        self.flying.push_back((1 - end, bytes));
    }

    fn speak(&mut self, end: usize) {
        let bytes = self.ends[end].speak();
        self.say(end, bytes);
    }

    /// Lets everything arrive; gives up when an end has said `most` bytes.
    fn rest(&mut self, most: usize) -> bool {
        while let Some((end, bytes)) = self.flying.pop_front() {
            for byte in bytes {
                let said = self.ends[end].hear(byte);
                self.say(end, said);
            }
            if self.said.iter().any(|&said| said > most) {
                return false;
            }
        }
        true
    }
}

fn every_reply() -> Vec<Reply> {
    let session = SESSION;
    let refusals = [
        Refusal::NotUnderstood,
        Refusal::NoSession,
        Refusal::Empty,
        Refusal::TooLarge {
            length: u32::MAX,
            capacity: 1,
        },
        Refusal::Length,
        Refusal::SignatureMissing,
        Refusal::SignatureWrong,
        Refusal::Damaged {
            announced: 0,
            found: u32::MAX,
        },
        Refusal::Unfit(Unfit::Invalid),
        Refusal::Unfit(Unfit::Memory { needed: 2, room: 1 }),
        Refusal::Unfit(Unfit::Other(3)),
        Refusal::Flash {
            action: Action::Erase,
            offset: 512,
        },
        Refusal::Record,
    ];
    let welcome = |active| Reply::Welcome {
        version: 1,
        capacity: 896,
        chunk: 100,
        signed: false,
        active,
    };
    let installed = Installed {
        sequence: 1,
        length: 2,
        crc: 3,
    };
    let mut replies = vec![
        welcome(None),
        welcome(Some(installed)),
        Reply::Next { session, offset: 0 },
        Reply::Next {
            session,
            offset: u32::MAX,
        },
        Reply::Again,
        Reply::Done {
            session,
            sequence: 1,
        },
    ];
    replies.extend(refusals.map(|refusal| Reply::Refused { session, refusal }));
    replies
}

fn every_request(blob: &[u8]) -> Vec<Request<'_>> {
    let session = SESSION;
    let begin = |signature| Request::Begin {
        session,
        length: blob.len() as u32,
        crc: crc32(blob),
        signature,
    };
    let chunk = |data| Request::Chunk {
        session,
        offset: 0,
        data,
    };
    vec![
        Request::Hello { version: 1 },
        begin(None),
        begin(Some(&[5; 64])),
        chunk(&blob[..0]),
        chunk(&blob[..100]),
        Request::Finish { session },
    ]
}

/// What may be heard first, and at most how many requests are in it.
fn beginnings(blob: &[u8]) -> Vec<(Vec<u8>, usize)> {
    let mut random = Random(1);
    let mut beginnings = vec![(vec![], 0), (vec![0x55, 0], 0), (frame(&200_u8), 0)];
    beginnings.push((b"\0[INFO] update begins\r\n\0".to_vec(), 0));
    beginnings.extend(every_reply().iter().map(|reply| (frame(reply), 0)));
    beginnings.extend(every_request(blob).iter().map(|r| (frame(r), 1)));
    // All of them, and broken ones.
    let all: Vec<u8> = beginnings.iter().flat_map(|(b, _)| b.clone()).collect();
    beginnings.push((all.clone(), 6));
    let broken = all.iter().map(|&b| if b == 0 { 0 } else { b ^ 0x11 });
    beginnings.push((broken.collect(), 6));
    for len in [10, 100, 1000] {
        let noise = (0..len).map(|_| random.byte() % 7 * 41).collect();
        beginnings.push((noise, 0));
    }
    beginnings
}

const ECHOES: [Echo; 4] = [Echo::None, Echo::Faithful, Echo::SevenBits, Echo::Logged];

/// Every pairing of the two state machines, with every echo at each end.
fn for_each_pairing<'b>(blob: &'b [u8], mut test: impl FnMut([End<'b>; 2], [Echo; 2], usize)) {
    for a in ECHOES {
        for b in ECHOES {
            test([End::device(), End::device()], [a, b], 0);
            test([End::device(), End::host(blob)], [a, b], 1);
            test([End::host(blob), End::host(blob)], [a, b], 2);
        }
    }
}

/// Without timers, all pairings fall silent: the most that an end may say.
///
/// A receiver replies once to each request, and to at most [`ERROR_REPLIES`]
/// other frames before the first request and after each. Five requests are a
/// transfer, and a sender says each again for at most [`ERROR_REPLIES`] Agains.
fn bound(requests: usize, hosts: usize) -> usize {
    let errors = usize::from(ERROR_REPLIES);
    let transfer = if hosts == 1 { 5 * (1 + errors) } else { hosts };
    (requests + transfer + 1) * FRAME.max((1 + errors) * REPLY_FRAME)
}

/// Lets both ends hear something and, if they are senders, speak first.
fn start(line: &mut Line<'_>, heard: &[u8]) {
    for end in [0, 1] {
        line.flying.push_back((end, heard.to_vec()));
        line.speak(end);
    }
}

#[test]
fn every_pairing_comes_to_rest() {
    let blob = blob(1, BLOB);
    for (heard, requests) in beginnings(&blob) {
        for_each_pairing(&blob, |ends, echo, hosts| {
            let mut line = Line::new(ends, echo);
            start(&mut line, &heard);
            let bound = bound(2 * requests, hosts);
            assert!(
                line.rest(bound),
                "{echo:?}, {hosts} senders: still speaking after {bound} bytes, \
                 having heard {heard:02x?}"
            );
        });
    }
}

/// The smallest inputs that once never ended, and exactly what they cost now.
#[test]
fn noise_and_a_greeting_are_answered_once() {
    let hello = frame(&Request::Hello { version: 1 });
    for echo in [Echo::None, Echo::Faithful] {
        for (heard, len) in [(&[0x55, 0][..], 8), (&hello, 15)] {
            let mut line = Line::new([End::device(), End::device()], [echo, Echo::None]);
            line.flying.push_back((0, heard.to_vec()));
            assert!(line.rest(1000));
            assert_eq!(line.said, [len, 0], "{echo:?}, {heard:02x?}");
        }
    }
}

/// Noise without end gets no more than [`ERROR_REPLIES`] answers, and a request
/// is answered all the same.
#[test]
fn noise_is_not_answered_for_ever() {
    let mut device = End::device();
    let mut hear = |bytes: &[u8]| -> usize {
        let said = bytes.iter().filter(|&&byte| !device.hear(byte).is_empty());
        said.count()
    };
    let noise = [0x55, 0].repeat(100);
    let hello = frame(&Request::Hello { version: 1 });
    for _ in 0..3 {
        assert_eq!(hear(&noise), usize::from(ERROR_REPLIES));
        assert_eq!(hear(&noise), 0);
        assert_eq!(hear(&frame(&Reply::Again)), 0);
        assert_eq!(hear(&noise), 0);
        assert_eq!(hear(&hello), 1);
    }
}

/// What one end says, the other kind of end does not take for its own.
#[test]
fn no_message_is_both_request_and_reply() {
    let blob = blob(1, BLOB);
    let mut bytes = [0; 256];
    for reply in every_reply() {
        let message = postcard::to_slice(&reply, &mut bytes).unwrap();
        assert_eq!(decode::<Reply>(message), Some(reply));
        assert_eq!(decode::<Request<'_>>(message), None, "{reply:?}");
    }
    for request in every_request(&blob) {
        let message = postcard::to_slice(&request, &mut bytes).unwrap();
        assert_eq!(decode::<Request<'_>>(message), Some(request));
        assert_eq!(decode::<Reply>(message), None, "{request:?}");
    }
    // Every message of up to three bytes.
    for number in 0..1_u32 << 24 {
        let bytes = number.to_le_bytes();
        for len in 1..=3 {
            // Each once: what is not used is 0.
            if len == 3 || number >> (8 * len) == 0 {
                assert!(!is_both(&bytes[..len]), "{:02x?}", &bytes[..len]);
            }
        }
    }
}

fn is_both(message: &[u8]) -> bool {
    decode::<Request<'_>>(message).is_some() && decode::<Reply>(message).is_some()
}

/// A line on which what both ends say at the same time is mixed, a byte may be
/// changed, and timers run out.
fn transfer_over(line: &mut Line<'_>, noise: u64, random: &mut Random) {
    const PATIENCE: usize = 2000;
    for _ in 0..PATIENCE {
        if let End::Host { sender, .. } = &line.ends[1]
            && matches!(sender.stage(), Stage::Done { .. })
        {
            return;
        }
        line.speak(1);
        // What is on its way when the next timer runs out stays there.
        for _ in 0..random.next() % 12 {
            let Some((end, mut bytes)) = line.flying.pop_front() else {
                break;
            };
            for byte in &mut bytes {
                if noise > 0 && random.one_in(noise) {
                    *byte ^= 1 << (random.next() % 8);
                }
            }
            for byte in bytes {
                let said = line.ends[end].hear(byte);
                line.say(end, said);
            }
        }
    }
    panic!("no end of the transfer");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Messages whose first byte is that of a request or a reply, of small
    /// numbers, which varints and lengths are made of.
    #[test]
    fn random_messages_are_not_both(
        kind in 0_u8..5,
        rest in proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..40),
    ) {
        let message = [&[kind][..], &rest].concat();
        prop_assert!(!is_both(&message));
    }

    #[test]
    fn any_bytes_come_to_rest(heard in proptest::collection::vec(prop_oneof![Just(0_u8), 0_u8..8, any::<u8>()], 0..400)) {
        let blob = blob(1, BLOB);
        let mut result = Ok(());
        for_each_pairing(&blob, |ends, echo, hosts| {
            let mut line = Line::new(ends, echo);
            start(&mut line, &heard);
            if !line.rest(bound(0, hosts)) {
                result = Err(TestCaseError::fail(format!("{echo:?}, {hosts} senders")));
            }
        });
        result?;
    }

    /// A whole transfer, with each echo at each end.
    #[test]
    fn a_transfer_succeeds(seed: u64, quiet: bool, noise in 200_u64..2000) {
        let blob = blob(seed, BLOB);
        let noise = if quiet { 0 } else { noise };
        for a in ECHOES {
            for b in ECHOES {
                let mut line = Line::new([End::device(), End::host(&blob)], [a, b]);
                transfer_over(&mut line, noise, &mut Random(seed));
                let End::Device(receiver) = &mut line.ends[0] else {
                    unreachable!()
                };
                let active = receiver.slots().active();
                prop_assert_eq!(active.map(|active| active.crc), Some(crc32(&blob)));
            }
        }
    }
}
