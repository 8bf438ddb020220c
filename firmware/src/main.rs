//! Turns noise into pictures, one of each class, or into points.
//!
//! All memory is static, and sized for the model when the firmware is built.
#![no_std]
#![no_main]

mod board;
mod draw;
mod fault;
mod report;
mod request;
mod stack;

use board::Counter;
use cortex_m_rt::entry;
use request::Request;
use tiny_ddpm::blob::BlobError;
use tiny_ddpm::picture::to_pixels;
use tiny_ddpm::unet::UnetError;
use tiny_ddpm::{Model, SettingsError, Unet};

include!(concat!(env!("OUT_DIR"), "/sizes.rs"));

static BLOB: &[u8] = tiny_ddpm::include_blob!(env!("TINY_DDPM_BLOB_PATH"));

struct Memory {
    /// Between pictures it holds what is read and what is reported.
    workspace: [u32; WORKSPACE_WORDS],
    x: [f32; PIXELS],
    /// For samplers that need one; empty where there is no room.
    memory: [f32; HISTORY_LEN],
}

/// Why there is no picture.
#[derive(defmt::Format)]
enum Failure {
    Blob(BlobError),
    Request,
    Settings(SettingsError),
    Unet(UnetError),
    /// The model's pictures have more pixels than there is room for.
    PictureTooLarge {
        pixels: usize,
        room: usize,
    },
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory {
        workspace: [0; WORKSPACE_WORDS],
        x: [0.0; PIXELS],
        memory: [0.0; HISTORY_LEN],
    };
    let mut counter = Counter::start();
    match generate(&mut counter, MEMORY) {
        Ok(()) => board::exit(true),
        Err(failure) => {
            defmt::error!("{}", failure);
            board::exit(false)
        }
    }
}

fn generate(counter: &mut Counter, memory: &mut Memory) -> Result<(), Failure> {
    // Opaque: what is in flash counts, not what the compiler saw of it.
    let blob = core::hint::black_box(BLOB);
    let mut model = None;
    load(blob, &mut model)?;
    let Some(model) = model.as_ref() else {
        return Ok(());
    };
    let request = read_request(model, &mut memory.workspace)?;
    defmt::println!("@counter unit={=str}", counter.unit());

    let pixels = model.topology().pixels();
    if pixels > memory.x.len() {
        return Err(Failure::PictureTooLarge {
            pixels,
            room: PIXELS,
        });
    }
    for index in 0..usize::from(request.count) {
        let ticks = sample(counter, model, &request, index, memory)?;
        show(counter, model, &request, index, memory, ticks);
    }
    report::memory(size_of::<Memory>(), blob.len());
    Ok(())
}

// Functions of their own, so that the stack has room for each in turn.

#[inline(never)]
fn load<'b>(blob: &'b [u8], model: &mut Option<Model<'b>>) -> Result<(), Failure> {
    *model = Some(Model::load(blob).map_err(Failure::Blob)?);
    Ok(())
}

/// What is asked for, read with the workspace as buffer.
#[inline(never)]
fn read_request(model: &Model<'_>, workspace: &mut [u32]) -> Result<Request, Failure> {
    let line = board::arguments(bytemuck::cast_slice_mut(workspace));
    let (info, classes) = (model.info(), model.topology().classes);
    let request = Request::parse(line, info.recommended, classes).map_err(|error| {
        defmt::error!("{}", error);
        Failure::Request
    })?;
    defmt::info!(
        "{=str}: {=u16} pictures, seed {=u64}, {=u16} steps, guidance {=f32}",
        info.name,
        request.count,
        request.seed,
        request.sampling.steps,
        request.sampling.guidance
    );
    Ok(request)
}

/// Makes a picture, into `memory.x`; returns what it took.
#[inline(never)]
fn sample(
    counter: &mut Counter,
    model: &Model<'_>,
    request: &Request,
    index: usize,
    memory: &mut Memory,
) -> Result<u64, Failure> {
    let number = request.number(index);
    counter.lap();
    let Memory {
        workspace,
        x,
        memory,
    } = memory;
    let pixels = model.topology().pixels();
    let x = x.get_mut(..pixels).unwrap_or_default();
    let mut unet = Unet::new(model, workspace).map_err(Failure::Unet)?;
    let sampler = request.sampler(model.schedule(), index, x, memory);
    let mut sampler = sampler.map_err(Failure::Settings)?;
    let mut ticks = u64::from(counter.lap());
    while let Some(step) = sampler.step(&mut unet).map_err(Failure::Unet)? {
        ticks += u64::from(counter.lap());
        report::step(number, step, ticks);
        // What the log costs is not the network's.
        counter.lap();
    }
    Ok(ticks)
}

/// Reports the picture or point in `memory.x`, its grey values made in the workspace.
#[inline(never)]
fn show(
    counter: &mut Counter,
    model: &Model<'_>,
    request: &Request,
    index: usize,
    memory: &mut Memory,
    ticks: u64,
) {
    let topology = model.topology();
    let x = memory.x.get(..topology.pixels()).unwrap_or_default();
    let grey: &mut [u8] = bytemuck::cast_slice_mut(&mut memory.workspace);
    // The network's input alone takes as many bytes.
    let grey = grey.get_mut(..x.len()).unwrap_or_default();
    counter.lap();
    to_pixels(x, grey);
    let ticks = ticks + u64::from(counter.lap());
    let picture = report::Picture {
        number: request.number(index),
        class: request.class(index),
        x,
        pixels: grey,
        ticks,
    };
    report::picture(&picture, topology);
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo) -> ! {
    // Without its message: to format that takes more flash than the network.
    let place = info.location();
    let (file, line) = place.map_or(("?", 0), |place| (place.file(), place.line()));
    defmt::error!("panicked at {=str}:{=u32}", file, line);
    board::exit(false)
}
