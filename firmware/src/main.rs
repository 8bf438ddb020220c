//! Turns noise into pictures, one of each class.
//!
//! All memory is static, and sized for the model when the firmware is built.
#![no_std]
#![no_main]

mod board;
mod draw;
mod report;
mod request;
mod stack;

use board::Counter;
use cortex_m_rt::{ExceptionFrame, entry, exception};
use request::{Request, RequestError};
use static_cell::ConstStaticCell;
use tiny_ddpm::blob::BlobError;
use tiny_ddpm::picture::to_pixels;
use tiny_ddpm::unet::UnetError;
use tiny_ddpm::{Buffers, Method, Model, Sampler, Settings, SettingsError, Unet};

include!(concat!(env!("OUT_DIR"), "/sizes.rs"));

/// The alignment that fast kernels want of weights.
#[repr(C, align(16))]
struct Aligned<B: ?Sized>(B);

static BLOB: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("TINY_DDPM_BLOB_PATH")));

struct Memory {
    workspace: [u32; WORKSPACE_WORDS],
    x: [f32; PIXELS],
    x0_hat: [f32; PIXELS],
    unconditional: [f32; PIXELS],
    pixels: [u8; PIXELS],
}

static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory {
    workspace: [0; WORKSPACE_WORDS],
    x: [0.0; PIXELS],
    x0_hat: [0.0; PIXELS],
    unconditional: [0.0; PIXELS],
    pixels: [0; PIXELS],
});

/// Why there is no picture.
#[derive(defmt::Format)]
enum Failure<'a> {
    Blob(BlobError),
    Request(RequestError<'a>),
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
    let mut counter = Counter::start();
    let mut buffer = [0; 256];
    let line = board::arguments(&mut buffer);
    match generate(&mut counter, line, MEMORY.take()) {
        Ok(()) => board::exit(true),
        Err(failure) => {
            defmt::error!("{}", failure);
            board::exit(false)
        }
    }
}

fn generate<'a>(
    counter: &mut Counter,
    line: &'a str,
    memory: &mut Memory,
) -> Result<(), Failure<'a>> {
    // Opaque: what is in flash counts, not what the compiler saw of it.
    let blob = core::hint::black_box(&BLOB.0);
    let model = Model::load(blob).map_err(Failure::Blob)?;
    let (info, topology) = (model.info(), model.topology());
    let Request {
        seed,
        first,
        sampling,
        classes,
    } = Request::parse(line, info.recommended, topology.classes).map_err(Failure::Request)?;
    defmt::info!(
        "{=str}: {=usize} pictures, seed {=u64}, {=u16} steps, guidance {=f32}",
        info.name,
        classes.len(),
        seed,
        sampling.steps,
        sampling.guidance
    );
    defmt::println!("@counter unit={=str}", counter.unit());

    let pixels = topology.pixels();
    let too_large = Failure::PictureTooLarge {
        pixels,
        room: PIXELS,
    };
    let (Some(x), Some(x0_hat), Some(unconditional), Some(grey)) = (
        memory.x.get_mut(..pixels),
        memory.x0_hat.get_mut(..pixels),
        memory.unconditional.get_mut(..pixels),
        memory.pixels.get_mut(..pixels),
    ) else {
        return Err(too_large);
    };
    let mut unet = Unet::new(&model, &mut memory.workspace).map_err(Failure::Unet)?;

    for (number, &class) in (first..).zip(&classes) {
        counter.lap();
        let settings = Settings {
            method: Method::Ddim { eta: sampling.eta },
            steps: sampling.steps,
            guidance: sampling.guidance,
            clip: true,
            seed,
            picture: number,
            class,
        };
        let buffers = Buffers {
            x: &mut *x,
            x0_hat: &mut *x0_hat,
            unconditional: &mut *unconditional,
        };
        let mut sampler =
            Sampler::new(model.schedule(), settings, buffers).map_err(Failure::Settings)?;
        let mut ticks = u64::from(counter.lap());
        while let Some(step) = sampler.step(&mut unet).map_err(Failure::Unet)? {
            ticks += u64::from(counter.lap());
            report::step(number, step, ticks);
            // What the log costs is not the network's.
            counter.lap();
        }
        to_pixels(sampler.x(), grey);
        ticks += u64::from(counter.lap());
        let x = sampler.x();
        let picture = report::Picture {
            number,
            class,
            x,
            pixels: grey,
            ticks,
        };
        report::picture(&picture, topology);
    }
    report::memory(size_of::<Memory>(), blob.len());
    Ok(())
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    board::exit(false)
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    defmt::error!("hard fault at {=u32:#010x}", frame.pc());
    board::exit(false)
}
