//! Sender and receiver over lines that lose, change and invent bytes.

mod common;

use common::{MockFlash, Random, active_blob, blob};
use proptest::prelude::*;
use tiny_ddpm_slots::wire::{
    Deframer, LONGEST_REPLY, Refusal, Reply, Request, VERSION, decode, encode, frame_len,
};
use tiny_ddpm_slots::{
    Action, Heard, Receiver, Region, Sender, Slots, Stage, State, Trouble, Unfit,
};

type Flash = MockFlash<4, 512>;
const BUFFER: usize = 200;
const REGION: Region = Region {
    offset: 0,
    slot_len: 4096,
};

/// One direction of a line: in one of `noise` cases something happens to a
/// byte. 0 is a line without noise.
struct Line {
    noise: u64,
    random: Random,
}

impl Line {
    fn carry(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut carried = Vec::new();
        for &byte in bytes {
            if self.noise == 0 || !self.random.one_in(self.noise) {
                carried.push(byte);
                continue;
            }
            match self.random.next() % 5 {
                0 => {}
                1 => carried.push(byte ^ 1 << (self.random.next() % 8)),
                2 => carried.extend([byte, self.random.byte()]),
                3 => carried.extend([byte, byte]),
                // The rest is lost.
                _ => break,
            }
        }
        carried
    }
}

struct Board {
    receiver: Receiver<Flash, BUFFER>,
    unfit: Option<Unfit>,
}

impl Board {
    fn new(flash: Flash) -> Self {
        let slots = Slots::new(flash, REGION).unwrap();
        Self {
            receiver: Receiver::new(slots),
            unfit: None,
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut said = Vec::new();
        for &byte in bytes {
            let unfit = self.unfit;
            let reply = self.receiver.push(byte, |_| unfit.map_or(Ok(()), Err));
            said.extend_from_slice(reply.unwrap_or_default());
        }
        said
    }

    /// A request over a line without noise.
    fn ask(&mut self, request: &Request<'_>) -> Reply {
        let replies = replies(&self.hear(&frame(request)));
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies[0]
    }

    fn active(&mut self) -> Option<u32> {
        Some(self.receiver.slots().active()?.crc)
    }
}

fn frame(request: &Request<'_>) -> Vec<u8> {
    let (mut scratch, mut frame) = ([0; 1024], [0; frame_len(1024)]);
    encode(request, &mut scratch, &mut frame).unwrap().to_vec()
}

fn replies(bytes: &[u8]) -> Vec<Reply> {
    let mut deframer = Deframer::<LONGEST_REPLY>::default();
    let mut replies = Vec::new();
    for &byte in bytes {
        if let Some(Ok(message)) = deframer.push(byte) {
            replies.extend(decode::<Reply>(message));
        }
    }
    replies
}

/// Sends until it is done or has said everything so often that something is
/// wrong; gives the number of requests.
fn transfer(
    sender: &mut Sender<'_>,
    board: &mut Board,
    there: &mut Line,
    back: &mut Line,
) -> Result<usize, Trouble> {
    for count in 0..20_000 {
        let Some(request) = sender.request() else {
            return Ok(count);
        };
        let heard = board.hear(&there.carry(&frame(&request)));
        for reply in replies(&back.carry(&heard)) {
            // What follows after progress is of no interest, and must do no
            // harm.
            let _: Heard = sender.heard(reply)?;
        }
    }
    panic!("no end: {:?}", sender.stage());
}

fn quiet() -> Line {
    Line {
        noise: 0,
        random: Random(0),
    }
}

fn begin(session: u32, blob: &[u8]) -> Request<'static> {
    Request::Begin {
        session,
        length: blob.len() as u32,
        crc: tiny_ddpm_slots::crc32(blob),
        signature: None,
    }
}

#[test]
fn a_quiet_line_carries_each_chunk_once() {
    let mut board = Board::new(Flash::new(8192));
    let blob = blob(1, 3000);
    let mut sender = Sender::new(&blob, None, 5);
    let count = transfer(&mut sender, &mut board, &mut quiet(), &mut quiet()).unwrap();
    let chunks = blob.len().div_ceil(sender.chunk_len());
    assert_eq!(count, 1 + 1 + chunks + 1);
    assert_eq!(sender.stage(), Stage::Done { sequence: 1 });
    assert_eq!(sender.installed_before(), None);
    assert_eq!(board.active(), Some(tiny_ddpm_slots::crc32(&blob)));
    let installed = board.receiver.take_installed().unwrap();
    assert_eq!(installed.sequence, 1);
    assert_eq!(board.receiver.take_installed(), None);

    let mut sender = Sender::new(&blob, None, 6);
    transfer(&mut sender, &mut board, &mut quiet(), &mut quiet()).unwrap();
    assert_eq!(sender.installed_before().unwrap().sequence, 1);
    assert_eq!(sender.stage(), Stage::Done { sequence: 2 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However bad the line, what arrives is what was sent.
    #[test]
    fn a_bad_line_delays(seed: u64, noise in 100_u64..2000, length in 1_usize..3968) {
        let mut board = Board::new(Flash::used(8192, seed));
        let blob = blob(seed, length);
        let mut sender = Sender::new(&blob, None, seed as u32);
        let line = |seed| Line { noise, random: Random(seed) };
        let (mut there, mut back) = (line(seed), line(!seed));
        transfer(&mut sender, &mut board, &mut there, &mut back).unwrap();
        prop_assert_eq!(board.active(), Some(tiny_ddpm_slots::crc32(&blob)));
    }

    /// Bytes that nobody sent do nothing.
    #[test]
    fn noise_alone_installs_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut board = Board::new(Flash::new(8192));
        board.hear(&bytes);
        prop_assert_eq!(board.receiver.state(), State::Idle);
        prop_assert_eq!(board.active(), None);
    }

    /// Sound frames with anything in them: any bytes, or requests in any
    /// order with any numbers. Only a whole update changes what is active.
    #[test]
    fn sound_frames_with_nonsense_install_nothing(
        seed: u64,
        requests in proptest::collection::vec((0_u8..6, any::<u32>(), 0_u32..5000, 0_usize..150), 1..60),
    ) {
        let mut board = Board::new(Flash::used(8192, seed));
        let kept = blob(1, 900);
        let mut sender = Sender::new(&kept, None, 1);
        transfer(&mut sender, &mut board, &mut quiet(), &mut quiet()).unwrap();
        let data = blob(seed, 150);
        for (kind, wild, tame, len) in requests {
            let session = wild % 3;
            let bytes = &data[..len];
            let request = match kind {
                0 => Request::Hello { version: wild as u8 },
                1 => Request::Begin { session, length: tame, crc: wild, signature: None },
                2 => Request::Begin { session, length: wild, crc: wild, signature: Some(bytes) },
                3 => Request::Chunk { session, offset: tame, data: bytes },
                4 => Request::Chunk {
                    session,
                    offset: board.receiver.slots().progress().map_or(0, |(received, _)| received),
                    data: bytes,
                },
                _ => Request::Finish { session },
            };
            board.hear(&frame(&request));
            let (mut scratch, mut out) = ([0; 256], [0; frame_len(256)]);
            board.hear(encode(&bytes, &mut scratch, &mut out).unwrap());
            prop_assert_eq!(board.active(), Some(tiny_ddpm_slots::crc32(&kept)));
        }
    }
}

#[test]
fn requests_may_be_repeated() {
    let mut board = Board::new(Flash::new(8192));
    let blob = blob(3, 100);
    let session = 9;
    let begin = begin(session, &blob);
    let next = |offset| Reply::Next { session, offset };
    let chunk = |offset: u32, data| Request::Chunk {
        session,
        offset,
        data,
    };
    assert_eq!(board.ask(&begin), next(0));
    let erased = board.receiver.slots().progress();
    assert_eq!(board.ask(&begin), next(0));
    assert_eq!(board.receiver.slots().progress(), erased);
    assert_eq!(board.ask(&chunk(0, &blob[..60])), next(60));
    assert_eq!(board.ask(&chunk(0, &blob[..60])), next(60));
    // A late echo of the beginning does not begin anew.
    assert_eq!(board.ask(&begin), next(60));
    // Too far ahead, too far behind.
    assert_eq!(board.ask(&chunk(70, &blob[70..])), next(60));
    assert_eq!(board.ask(&chunk(30, &blob[30..])), next(60));
    assert_eq!(board.ask(&chunk(60, &blob[60..])), next(100));
    let done = Reply::Done {
        session,
        sequence: 1,
    };
    for _ in 0..3 {
        assert_eq!(board.ask(&Request::Finish { session }), done);
    }
    assert_eq!(board.ask(&chunk(60, &blob[60..])), done);
    assert_eq!(board.ask(&begin), done);
    assert_eq!(board.receiver.slots().active().unwrap().sequence, 1);
}

#[test]
fn refusals_say_why() {
    let mut board = Board::new(Flash::new(8192));
    let blob = blob(4, 100);
    let mut session = 0;
    let mut refusal = |board: &mut Board, blob: &[u8], sent: &[u8]| {
        session += 1;
        let begin = board.ask(&begin(session, blob));
        if let Reply::Refused { refusal, .. } = begin {
            return refusal;
        }
        let chunk = Request::Chunk {
            session,
            offset: 0,
            data: sent,
        };
        if let Reply::Refused { refusal, .. } = board.ask(&chunk) {
            return refusal;
        }
        match board.ask(&Request::Finish { session }) {
            Reply::Refused { refusal, .. } => refusal,
            reply => panic!("{reply:?}"),
        }
    };
    assert_eq!(refusal(&mut board, &[], &[]), Refusal::Empty);
    let (length, capacity) = (4000, 3968);
    let large = vec![0; 4000];
    let too_large = Refusal::TooLarge { length, capacity };
    assert_eq!(refusal(&mut board, &large, &[]), too_large);
    assert_eq!(refusal(&mut board, &blob, &blob[1..]), Refusal::Length);
    let longer = [&blob[..], &[0]].concat();
    assert_eq!(refusal(&mut board, &blob, &longer), Refusal::Length);
    let mut changed = blob.clone();
    changed[50] ^= 4;
    let damaged = refusal(&mut board, &blob, &changed);
    assert!(matches!(damaged, Refusal::Damaged { .. }), "{damaged}");
    board.unfit = Some(Unfit::Invalid);
    let unfit = Refusal::Unfit(Unfit::Invalid);
    assert_eq!(refusal(&mut board, &blob, &blob), unfit);

    let nobody = Request::Finish { session: 1000 };
    let no_session = Reply::Refused {
        session: 1000,
        refusal: Refusal::NoSession,
    };
    assert_eq!(board.ask(&nobody), no_session);
    let (mut scratch, mut out) = ([0; 64], [0; 80]);
    let unknown = encode(&200_u8, &mut scratch, &mut out).unwrap();
    let not_understood = Reply::Refused {
        session: 0,
        refusal: Refusal::NotUnderstood,
    };
    assert_eq!(replies(&board.hear(unknown)), [not_understood]);
    assert_eq!(board.active(), None);
}

#[test]
fn failing_flash_is_told() {
    let mut flash = Flash::new(8192);
    flash.worn = Some((Action::Erase, 1024..1028));
    let mut board = Board::new(flash);
    let blob = blob(4, 100);
    let mut sender = Sender::new(&blob, None, 3);
    let trouble = transfer(&mut sender, &mut board, &mut quiet(), &mut quiet());
    let refusal = Refusal::Flash {
        action: Action::Erase,
        offset: 0,
    };
    assert_eq!(trouble, Err(Trouble::Refused(refusal)));
}

#[test]
fn a_board_that_restarts_says_so_and_keeps_what_it_had() {
    let mut board = Board::new(Flash::new(8192));
    let (kept, new) = (blob(1, 900), blob(2, 3000));
    let mut sender = Sender::new(&kept, None, 1);
    transfer(&mut sender, &mut board, &mut quiet(), &mut quiet()).unwrap();

    let mut sender = Sender::new(&new, None, 2);
    for _ in 0..8 {
        let heard = board.hear(&frame(&sender.request().unwrap()));
        sender.heard(replies(&heard)[0]).unwrap();
    }
    assert!(matches!(sender.stage(), Stage::Sending { offset: 1.. }));
    assert!(matches!(board.receiver.state(), State::Receiving { .. }));
    let mut board = Board::new(board.receiver.slots().flash().clone());
    assert_eq!(board.active(), Some(tiny_ddpm_slots::crc32(&kept)));
    let trouble = transfer(&mut sender, &mut board, &mut quiet(), &mut quiet());
    assert_eq!(trouble, Err(Trouble::Refused(Refusal::NoSession)));

    let mut sender = Sender::new(&new, None, 3);
    transfer(&mut sender, &mut board, &mut quiet(), &mut quiet()).unwrap();
    let mut flash = board.receiver.slots().flash().clone();
    assert_eq!(active_blob(&mut flash, REGION), Some(new));
}

#[test]
fn senders_and_boards_that_do_not_match_part_at_once() {
    let blob = blob(1, 100);
    let welcome = |version, capacity, signed| Reply::Welcome {
        version,
        capacity,
        chunk: 100,
        signed,
        active: None,
    };
    let trouble = |reply| Sender::new(&blob, None, 1).heard(reply).unwrap_err();
    let device = VERSION + 1;
    let version = trouble(welcome(device, 1000, false));
    assert_eq!(version, Trouble::Version { device });
    let too_large = trouble(welcome(VERSION, 99, false));
    let (length, capacity) = (100, 99);
    assert_eq!(too_large, Trouble::TooLarge { length, capacity });
    let not_signed = trouble(welcome(VERSION, 1000, true));
    assert_eq!(not_signed, Trouble::NotSigned);
}

/// An answer that comes twice does not make the sender say things twice from
/// then on.
#[test]
fn late_answers_do_not_multiply() {
    let blob = blob(1, 1000);
    let mut sender = Sender::new(&blob, None, 1);
    let welcome = Reply::Welcome {
        version: VERSION,
        capacity: 5000,
        chunk: 100,
        signed: false,
        active: None,
    };
    let next = |offset| Reply::Next { session: 1, offset };
    assert_eq!(sender.heard(welcome), Ok(Heard::Progress));
    assert_eq!(sender.heard(welcome), Ok(Heard::Nothing));
    assert_eq!(sender.heard(next(0)), Ok(Heard::Progress));
    assert_eq!(sender.heard(next(0)), Ok(Heard::Nothing));
    assert_eq!(sender.heard(next(100)), Ok(Heard::Progress));
    assert_eq!(sender.heard(next(100)), Ok(Heard::Nothing));
    assert_eq!(sender.heard(next(0)), Ok(Heard::Nothing));
    assert_eq!(sender.heard(Reply::Again), Ok(Heard::Repeat));
    let other = Reply::Refused {
        session: 2,
        refusal: Refusal::Empty,
    };
    assert_eq!(sender.heard(other), Ok(Heard::Nothing));
    assert_eq!(sender.stage(), Stage::Sending { offset: 100 });
}
