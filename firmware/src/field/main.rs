//! Takes weights over a serial line into flash, and makes pictures with the
//! newest that are valid.
//!
//! Pictures begin at boot and after every update. While they are made the line
//! is listened to between steps; an update that begins ends them. Buffers have
//! the size that the model needs around which the firmware was built
//! (`TINY_DDPM_BLOB`); a model that needs more is refused. With
//! `TINY_DDPM_KEY`, so is every model that this key has not signed.
#![no_std]
#![no_main]

mod board;
#[path = "../draw.rs"]
mod draw;
#[path = "../fault.rs"]
mod fault;
#[path = "../report.rs"]
#[allow(dead_code, reason = "steps are not counted here")]
mod report;
#[path = "../request.rs"]
mod request;
#[path = "../stack.rs"]
mod stack;

use board::Line;
use cortex_m_rt::entry;
use request::Request;
use tiny_ddpm::picture::to_pixels;
use tiny_ddpm::unet::UnetError;
use tiny_ddpm::{BlobError, Model, SettingsError, Unet};
use tiny_ddpm_slots::{Key, Place, Receiver, Slots, Unfit};

include!(concat!(env!("OUT_DIR"), "/sizes.rs"));
include!(concat!(env!("OUT_DIR"), "/key.rs"));

/// Bytes of a request: a chunk of 1 KiB and what goes with it.
const MESSAGE: usize = 1024 + 32;

type Updates = Receiver<board::Flash, MESSAGE>;

struct Memory {
    /// Between pictures it holds what is read and what is reported.
    workspace: [u32; WORKSPACE_WORDS],
    x: [f32; PIXELS],
    memory: [f32; HISTORY_LEN],
}

/// Why there is no picture.
#[derive(defmt::Format)]
enum Failure {
    Blob(BlobError),
    Request,
    Settings(SettingsError),
    Unet(UnetError),
    /// An update has begun.
    Update,
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory {
        workspace: [0; WORKSPACE_WORDS],
        x: [0.0; PIXELS],
        memory: [0.0; HISTORY_LEN],
    };
    let (mut line, flash) = board::start();
    let mut slots = match Slots::new(flash, board::REGION) {
        Ok(slots) => slots,
        Err(error) => {
            defmt::error!("{}", error);
            board::exit(false)
        }
    };
    if let Some(key) = KEY {
        match Key::new(key) {
            Ok(key) => slots = slots.with_key(key),
            // Without it anybody's weights would be taken.
            Err(error) => {
                defmt::error!("{}", error);
                board::exit(false)
            }
        }
    }
    for slot in [0, 1] {
        match slots.inspect(slot) {
            Ok(found) => defmt::info!("slot {=u8}: {}", slot, found),
            Err(flaw) => defmt::info!("slot {=u8}: {}", slot, flaw),
        }
    }
    let mut updates = Updates::new(slots);
    loop {
        match updates.slots().active() {
            Some(active) => {
                defmt::println!(
                    "@weights slot={=u8} sequence={=u32} length={=u32} crc={=u32:08x}",
                    active.slot,
                    active.sequence,
                    active.place.length,
                    active.crc
                );
                let blob = board::blob(active.place);
                if let Err(failure) = generate(blob, MEMORY, &mut line, &mut updates) {
                    defmt::warn!("{}", failure);
                }
            }
            None => defmt::println!("@weights none"),
        }
        defmt::println!(
            "@listening stack_peak={=usize} stack_room={=usize}",
            stack::peak(),
            stack::room()
        );
        while updates.take_installed().is_none() {
            if !listen(&mut line, &mut updates) {
                line.wait();
            }
        }
    }
}

/// Hears and answers what has come. Whether something is to be done about it:
/// an update has begun, or is active.
///
/// It returns as soon as that is so. The blob that is in use lies in the slot
/// that the *next* update would erase.
fn listen(line: &mut Line, updates: &mut Updates) -> bool {
    while let Some(byte) = line.read() {
        let before = updates.state();
        if let Some(reply) = updates.push(byte, |place| usable(board::blob(place))) {
            line.write(reply);
        }
        if updates.state() != before {
            return true;
        }
    }
    false
}

/// Whether this firmware has room for a model.
#[inline(never)]
fn usable(blob: &[u8]) -> Result<(), Unfit> {
    let model = Model::load(blob).map_err(|error| {
        defmt::warn!("{}", error);
        Unfit::Invalid
    })?;
    let plan = model.plan();
    let words = match model.topology().classes {
        0 => plan.least_workspace_words(),
        _ => plan.least_guided_workspace_words(),
    };
    let pixels = model.topology().pixels();
    let words_needed = words.saturating_add(pixels);
    if words > WORKSPACE_WORDS || pixels > PIXELS {
        return Err(Unfit::Memory {
            needed: bytes(words_needed),
            room: bytes(WORKSPACE_WORDS + PIXELS),
        });
    }
    Ok(())
}

fn bytes(words: usize) -> u32 {
    u32::try_from(words.saturating_mul(4)).unwrap_or(u32::MAX)
}

/// The pictures that are asked for, until an update begins.
fn generate(
    blob: &[u8],
    memory: &mut Memory,
    line: &mut Line,
    updates: &mut Updates,
) -> Result<(), Failure> {
    let model = Model::load(blob).map_err(Failure::Blob)?;
    let request = read_request(&model, &mut memory.workspace)?;
    for index in 0..usize::from(request.count) {
        picture(&model, &request, index, memory, || listen(line, updates))?;
    }
    Ok(())
}

#[inline(never)]
fn read_request(model: &Model<'_>, workspace: &mut [u32]) -> Result<Request, Failure> {
    let text = board::arguments(bytemuck::cast_slice_mut(workspace));
    let (info, classes) = (model.info(), model.topology().classes);
    Request::parse(text, info.recommended, classes).map_err(|error| {
        defmt::error!("{}", error);
        Failure::Request
    })
}

/// Makes a picture and reports it.
#[inline(never)]
fn picture(
    model: &Model<'_>,
    request: &Request,
    index: usize,
    memory: &mut Memory,
    mut called: impl FnMut() -> bool,
) -> Result<(), Failure> {
    let Memory {
        workspace,
        x,
        memory,
    } = memory;
    let topology = model.topology();
    let pixels = topology.pixels();
    let x = x.get_mut(..pixels).unwrap_or_default();
    let mut unet = Unet::new(model, workspace).map_err(Failure::Unet)?;
    let sampler = request.sampler(model.schedule(), index, x, memory);
    let mut sampler = sampler.map_err(Failure::Settings)?;
    while sampler.step(&mut unet).map_err(Failure::Unet)?.is_some() {
        if called() {
            return Err(Failure::Update);
        }
    }
    let x = &*x;
    let grey: &mut [u8] = bytemuck::cast_slice_mut(workspace);
    let grey = grey.get_mut(..pixels).unwrap_or_default();
    to_pixels(x, grey);
    let picture = report::Picture {
        number: request.number(index),
        class: request.class(index),
        x,
        pixels: grey,
        // Not measured here.
        ticks: 0,
    };
    report::picture(&picture, topology);
    Ok(())
}

/// What a board does with a blob's place: flash is mapped into memory.
fn mapped(base: usize, place: Place) -> &'static [u8] {
    let address = base + place.offset as usize;
    // SAFETY: `Slots` has checked that the place lies within the region, which
    // the linker script leaves to it, and which is readable for ever. What is
    // written while the slice is in use is the other slot, unless this one has
    // gone bad; and once an update has begun nothing reads the slice, see
    // `listen`.
    unsafe { core::slice::from_raw_parts(address as *const u8, place.length as usize) }
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo) -> ! {
    let place = info.location();
    let (file, line) = place.map_or(("?", 0), |place| (place.file(), place.line()));
    defmt::error!("panicked at {=str}:{=u32}", file, line);
    board::exit(false)
}
