//! Samples with the model in its slot, and prints the hashes of what comes
//! out; `cargo xtask hashes` builds it for every target, fills the slot and
//! compares.
//!
//! Lines that begin with `@` are for programs: a word that names the line,
//! then `name=value` words.
#![no_std]
#![no_main]

mod board;
mod cases;

use board::say;
use tiny_ddpm::kernels::engine::Native;

/// Bytes of the largest model.
const SLOT: usize = match cfg!(machine = "microbit") {
    // What a quarter of a megabyte leaves beside the code.
    true => 150 << 10,
    false => 512 << 10,
};
/// Words of memory for all buffers.
const ARENA: usize = match cfg!(machine = "microbit") {
    true => cases::SMALL_ARENA,
    false => (1 << 20) / 4,
};

/// Where a model is put after the program was built.
#[derive(Debug)]
#[repr(C, align(16))]
struct Slot {
    /// By which it is found.
    mark: [u8; 16],
    /// Of the model, in bytes.
    length: u32,
    /// How much is there at most.
    room: u32,
    /// Keeps the model aligned.
    spare: [u32; 2],
    blob: [u8; SLOT],
}

static MODEL: Slot = Slot {
    mark: *b"tiny-ddpm's slot",
    length: 0,
    room: SLOT as u32,
    spare: [0; 2],
    blob: [0; SLOT],
};

static mut MEMORY: [u32; ARENA] = [0; ARENA];

/// All there is to do; whether it went well. What the start-up code calls,
/// once.
fn main() -> bool {
    // Opaque: what was put there counts, not what the compiler saw of it.
    let slot = core::hint::black_box(&MODEL);
    let memory = &raw mut MEMORY;
    // SAFETY: this runs once, and nothing else knows of the memory.
    let memory = unsafe { &mut *memory };
    let blob = slot.blob.get(..slot.length as usize).unwrap_or_default();
    say(format_args!(
        "@engine name={}",
        core::any::type_name::<Native>()
    ));
    let done =
        cases::run::<{ cfg!(machine = "microbit") }>(blob, memory, &mut |number, outcome| {
            say(format_args!(
                "@case number={number} pixels={:08x} state={:08x}",
                outcome.pixels, outcome.state
            ));
        });
    match done {
        // It would have gone through the memory, whose top lies below it.
        _ if !board::stack_sufficed() => {
            say(format_args!("the stack was too small"));
            false
        }
        Ok(()) => {
            say(format_args!("@end"));
            true
        }
        Err(failure) => {
            say(format_args!("{}", failure.name()));
            false
        }
    }
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo) -> ! {
    // Without its message, which would take more flash than there is.
    let place = info.location().map_or(0, |place| place.line());
    say(format_args!("panicked at line {place}"));
    board::fail()
}
