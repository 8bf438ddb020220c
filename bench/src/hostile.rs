//! Any bytes through the loader, and a step of whatever it accepts: the same
//! on a microcontroller and on the host, told apart by counts and by a hash of
//! every verdict and every output.

use super::cost::InstructionCost;
use super::memory::{Hash, Random};
use super::mutate::{KINDS, Workshop};
use core::error::Error;
use core::fmt::{self, Write as _};
use tiny_ddpm::blob::HEADER_LEN;
use tiny_ddpm::graph::Cost;
use tiny_ddpm::{BlobError, InPlaceSampler, Method, Model, Settings, Spacing, Unet};

/// Most valid blobs to begin with.
pub const MOST_BASES: usize = 8;
/// Words of workspace: a model that wants more is not run.
const WORKSPACE: usize = 16 << 10;
/// Pixels of the largest picture.
const PIXELS: usize = 64 * 64;
/// Most different verdicts that are counted apart.
const VERDICTS: usize = 96;

/// Values that a sampler may remember: enough for every one.
const MEMORY: usize = 2 * PIXELS;

/// Everything that is too large for the stack.
#[derive(Debug)]
pub struct Room {
    workshop: Workshop,
    workspace: [u32; WORKSPACE],
    x: [f32; PIXELS],
    memory: [f32; MEMORY],
    tally: Tally,
}

impl Room {
    /// Nothing but zeros.
    pub const fn zeros() -> Self {
        Self {
            workshop: Workshop::zeros(),
            workspace: [0; _],
            x: [0.0; _],
            memory: [0.0; _],
            tally: Tally::EMPTY,
        }
    }
}

/// Which mutations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cases {
    /// Of all of them.
    pub seed: u32,
    /// Number of the first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// What became of the mutations so far.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// How many there were.
    pub cases: u32,
    /// Of each of [`KINDS`], how many there were, and how many were accepted.
    pub kinds: [(u32, u32); KINDS.len()],
    /// How many of each verdict.
    verdicts: [(Name, u32); VERDICTS],
    /// Steps whose output had a number that is not finite.
    pub not_finite: u32,
    /// Of every mutated blob, verdict and output.
    pub hash: Hash,
    /// Instructions of the longest load and of the longest step, where there
    /// is something that counts them.
    pub longest: (u64, u64),
    /// The step that came nearest to what its [`InstructionCost`] allows: thousandths of it.
    pub share: u64,
}

impl Tally {
    const EMPTY: Self = Self {
        cases: 0,
        kinds: [(0, 0); _],
        verdicts: [(Name::EMPTY, 0); _],
        not_finite: 0,
        hash: Hash::empty(),
        longest: (0, 0),
        share: 0,
    };

    /// The verdicts that there were, with how often.
    pub fn verdicts(&self) -> impl Iterator<Item = (&str, u32)> {
        let used = self.verdicts.iter().filter(|(_, count)| *count > 0);
        used.map(|(name, count)| (name.text(), *count))
    }

    fn count(&mut self, name: Name) {
        let place = self
            .verdicts
            .iter_mut()
            .find(|(known, count)| *count == 0 || *known == name);
        // The last place stands for all for which there is none.
        if let Some(place) = place {
            *place = (name, place.1 + 1);
        }
    }
}

/// Splits what is in one file into its blobs: each header says how long its
/// blob is. Returns how many there are.
pub fn split<'b>(mut bytes: &'b [u8], bases: &mut [&'b [u8]; MOST_BASES]) -> usize {
    let mut count = 0;
    for base in bases {
        let Some(length) = bytes.get(16..20).and_then(<[u8]>::first_chunk) else {
            break;
        };
        let length = HEADER_LEN.saturating_add(u32::from_le_bytes(*length) as usize);
        let Some((blob, rest)) = bytes.split_at_checked(length) else {
            break;
        };
        *base = blob;
        bytes = rest;
        count += 1;
    }
    count
}

/// Counts instructions.
pub struct Meter<'l> {
    /// Instructions since it was last called; 0 where nothing counts them.
    pub lap: &'l mut dyn FnMut() -> u64,
    /// What a step may take.
    pub cost: InstructionCost,
}

impl fmt::Debug for Meter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meter").field(&self.cost).finish()
    }
}

/// Tries all `cases` of mutations of `bases`; `report` sees what became of them after each
/// thousand and at the end.
pub fn run(
    bases: &[&[u8]],
    cases: Cases,
    room: &mut Room,
    meter: &mut Meter<'_>,
    report: &mut dyn FnMut(&Tally),
) {
    room.tally = Tally::EMPTY;
    for number in 0..cases.count {
        if number > 0 && number.is_multiple_of(1000) {
            report(&room.tally);
        }
        case(bases, cases.seed, cases.first + number, room, meter);
    }
    report(&room.tally);
}

/// One mutation: the same whatever came before it.
fn case(bases: &[&[u8]], seed: u32, number: u32, room: &mut Room, meter: &mut Meter<'_>) {
    let Room {
        workshop,
        workspace,
        x,
        memory,
        tally,
    } = room;
    let mut random = Random::new(seed.wrapping_mul(0x85eb_ca6b) ^ number);
    // Neighbours' first numbers are alike.
    for _ in 0..4 {
        random.bits();
    }
    let mutant = workshop.mutate(bases, &mut random);
    tally.cases += 1;
    tally.kinds[mutant.kind].0 += 1;
    tally.hash.add(mutant.blob.len() as u32);
    for word in mutant.blob.chunks(4).take(8) {
        let word = word
            .iter()
            .fold(0, |word, &byte| word << 8 | u32::from(byte));
        tally.hash.add(word);
    }
    (meter.lap)();
    let model = match Model::load(mutant.blob) {
        Ok(model) => {
            tally.longest.0 = tally.longest.0.max((meter.lap)());
            model
        }
        Err(error) => {
            tally.longest.0 = tally.longest.0.max((meter.lap)());
            // With all its numbers, which are the same everywhere.
            let _ = write!(Hashed(&mut tally.hash), "{error}");
            tally.count(Name::of_blob(&error));
            return;
        }
    };
    tally.kinds[mutant.kind].1 += 1;
    let mut ran = Ran::default();
    let result = step(&model, &mut random, workspace, x, memory, meter, &mut ran);
    let _ = match &result {
        Ok(()) => Ok(()),
        Err(error) => write!(Hashed(&mut tally.hash), "{error}"),
    };
    tally.hash.add(ran.hash);
    tally.not_finite += u32::from(ran.not_finite);
    tally.longest.1 = tally.longest.1.max(ran.instructions);
    tally.share = tally.share.max(ran.share);
    tally.count(match result {
        Ok(()) => Name::new("ran"),
        Err(error) => error.name(),
    });
}

/// What came of a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ran {
    /// Of x_s.
    pub hash: u32,
    /// Whether it has something that is infinite or not a number.
    pub not_finite: bool,
    /// Instructions.
    pub instructions: u64,
    /// In thousandths of what [`Meter::cost`] allows.
    pub share: u64,
}

/// Why an accepted model made no step.
#[derive(Debug)]
pub enum Refusal {
    /// Its pictures are larger than there is room for.
    Pixels,
    /// As the sampler says.
    Settings(tiny_ddpm::SettingsError),
    /// As the network says.
    Unet(tiny_ddpm::UnetError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pixels => f.write_str("too many pixels"),
            Self::Settings(error) => write!(f, "{error}"),
            Self::Unet(error) => write!(f, "{error}"),
        }
    }
}

impl Refusal {
    fn name(&self) -> Name {
        match self {
            Self::Pixels => Name::new("Pixels"),
            Self::Settings(error) => Name::of("Settings", error),
            Self::Unet(error) => Name::of("Unet", error),
        }
    }
}

/// The first step of a picture as the model's makers recommend it, with any
/// sampler and spacing, in the least memory or in enough.
pub fn step(
    model: &Model<'_>,
    random: &mut Random,
    workspace: &mut [u32],
    x: &mut [f32],
    memory: &mut [f32],
    meter: &mut Meter<'_>,
    ran: &mut Ran,
) -> Result<(), Refusal> {
    let (info, topology, plan) = (model.info(), model.topology(), model.plan());
    let pixels = topology.pixels();
    let x = x.get_mut(..pixels).ok_or(Refusal::Pixels)?;
    let class = match topology.classes {
        0 => None,
        classes => Some(random.below(u32::from(classes)) as u8),
    };
    let guidance = class.map_or(0.0, |_| info.recommended.guidance);
    let words = match (random.below(2), guidance == 0.0) {
        (0, true) => plan.least_workspace_words(),
        (0, false) => plan.least_guided_workspace_words(),
        (_, true) => plan.workspace_words(),
        (_, false) => plan.guided_workspace_words(),
    };
    let words = words.min(workspace.len());
    let workspace = &mut workspace[..words];
    let name = Method::NAMES[random.below(Method::NAMES.len() as u32) as usize];
    let method = Method::from_name(name, info.recommended.eta);
    let settings = Settings::new(method.unwrap_or(Method::Heun), info.recommended.steps)
        .class(class)
        .seed(u64::from(random.bits()))
        .guidance(guidance)
        .spacing(Spacing::ALL[random.below(Spacing::ALL.len() as u32) as usize])
        .clip(random.below(2) == 0);
    let mut unet = Unet::new(model, workspace).map_err(Refusal::Unet)?;
    let mut sampler =
        InPlaceSampler::new(model.schedule(), settings, x, memory).map_err(Refusal::Settings)?;
    (meter.lap)();
    let result = sampler.step(&mut unet);
    ran.instructions = (meter.lap)();
    result.map_err(Refusal::Unet)?;
    let runs = if guidance == 0.0 { 1 } else { 2 };
    let allowed = meter.cost.step(Cost::of(topology), runs, info.timesteps);
    ran.share = ran.instructions * 1000 / allowed;
    let mut hash = Hash::empty();
    for &value in sampler.x() {
        ran.not_finite |= !value.is_finite();
        // The sign and payload of a NaN are the processor's own choice.
        let value = if value.is_nan() { f32::NAN } else { value };
        hash.add(value.to_bits());
    }
    ran.hash = hash.0;
    Ok(())
}

/// A verdict's name: an error's, with that of what is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    bytes: [u8; 32],
    length: usize,
    /// Whether a word is over, so that what follows is left out.
    ended: bool,
}

impl Name {
    const EMPTY: Self = Self {
        bytes: [0; _],
        length: 0,
        ended: false,
    };

    fn new(text: &str) -> Self {
        let mut name = Self::EMPTY;
        name.word(format_args!("{text}"));
        name
    }

    /// Where an error is from, and its own name.
    fn of(from: &str, error: &dyn Error) -> Self {
        let mut name = Self::new(from);
        name.push(b'.');
        name.word(format_args!("{error:?}"));
        name
    }

    fn of_blob(error: &BlobError) -> Self {
        let mut name = Self::EMPTY;
        name.word(format_args!("{error:?}"));
        if let Some(source) = error.source() {
            name.push(b'.');
            name.word(format_args!("{source:?}"));
        }
        name
    }

    /// Adds the first word of what is formatted.
    fn word(&mut self, text: fmt::Arguments<'_>) {
        self.ended = false;
        let _ = self.write_fmt(text);
        self.ended = false;
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn text(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.ended |= !byte.is_ascii_alphanumeric();
            if !self.ended {
                self.push(byte);
            }
        }
        Ok(())
    }
}

/// What is written is hashed.
struct Hashed<'h>(&'h mut Hash);

impl fmt::Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0.add(byte.into());
        }
        Ok(())
    }
}
