//! Samples from a blob that it does not trust, with settings that it does not
//! trust, and says what came of it.
//!
//! Both lie in parts of flash that only the linker knows the place of. Neither
//! can be foreseen when this is compiled, so whatever could panic on any of
//! them would have to be in the program. It is not: see [`panic`].
//!
//! Settings are words of text: `apart` for a [`Sampler`] instead of an
//! [`InPlaceSampler`], the name of a method, that of a spacing, and `steps=`,
//! `seed=`, `picture=`, `class=`, `guidance=`, `eta=` (both in hundredths) with
//! a number; `free` is without clipping. Without `steps=` and `eta=` they are
//! what the blob recommends, without `guidance=` there is none.
#![no_std]
#![no_main]
// What the linker finds in the end is named here where it is written.
#![warn(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod board;
mod panic;
mod report;
mod request;

use request::Request;
use tiny_ddpm::blob::HEADER_LEN;
use tiny_ddpm::picture::{picture_hash, state_hash, to_pixels};
use tiny_ddpm::{Buffers, Denoiser, InPlaceSampler, Model, Sampler, Unet, UnetError};

/// Words for everything: state and workspace. A blob may ask for what it
/// likes, but gets no more.
const POOL_WORDS: usize = if cfg!(little_ram) { 2200 } else { 24_000 };

/// Why there is nothing to show.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// The slot holds no model that can be run.
    Blob,
    /// The words make no sense.
    Words,
    /// The model is larger than the memory.
    Memory,
    /// The sampler refuses the settings.
    Settings,
    /// The network refuses its input.
    Network,
}

/// What was sampled.
#[derive(Clone, Copy, Debug)]
pub struct Sampled {
    /// Hash of the pixels.
    pub pixels: u32,
    /// Hash of x_0.
    pub state: u32,
}

/// What the start-up code calls.
fn main() -> ! {
    static mut POOL: [u32; POOL_WORDS] = [0; POOL_WORDS];
    let pool = &raw mut POOL;
    // SAFETY: this runs once, and nothing else knows of the pool.
    let pool = unsafe { &mut *pool };
    let result = sample(board::slot(), board::words(), pool);
    report::result(result);
    board::exit(result.is_ok())
}

/// Loads what the slot holds and samples from it.
fn sample(slot: &[u8], words: Option<&str>, pool: &mut [u32]) -> Result<Sampled, Failure> {
    let model = Model::load(trimmed(slot)).map_err(|_| Failure::Blob)?;
    let request = words.and_then(|words| Request::parse(words, &model.info().recommended));
    let request = request.ok_or(Failure::Words)?;
    panic::spoil(slot, request.settings.steps);
    let pixels = model.topology().pixels();
    let mut pool = Pool(pool);
    let x = pool.take(pixels)?;
    let memory = pool.take(request.settings.method.history_len(pixels))?;
    let workspace = if request.apart {
        let buffers = Buffers {
            x: &mut *x,
            x0_hat: pool.take(pixels)?,
            unconditional: pool.take(pixels)?,
            history: memory,
        };
        apart(&model, request, buffers, pool.0)?;
        pool.0
    } else {
        in_place(&model, request, x, memory, pool.0)?;
        pool.0
    };
    let grey: &mut [u8] = bytemuck::must_cast_slice_mut(workspace);
    let grey = grey.get_mut(..pixels).unwrap_or_default();
    to_pixels(x, grey);
    Ok(Sampled {
        pixels: picture_hash(grey),
        state: state_hash(x),
    })
}

#[inline(never)]
fn in_place(
    model: &Model<'_>,
    request: Request,
    x: &mut [f32],
    memory: &mut [f32],
    workspace: &mut [u32],
) -> Result<(), Failure> {
    let mut unet = Unet::new(model, workspace).map_err(failure)?;
    let mut sampler = InPlaceSampler::new(model.schedule(), request.settings, x, memory)
        .map_err(|_| Failure::Settings)?;
    while sampler.step(&mut unet).map_err(failure)?.is_some() {}
    Ok(())
}

#[inline(never)]
fn apart(
    model: &Model<'_>,
    request: Request,
    buffers: Buffers<'_>,
    workspace: &mut [u32],
) -> Result<(), Failure> {
    let mut unet = Unet::new(model, workspace).map_err(failure)?;
    let mut sampler =
        Sampler::new(model.schedule(), request.settings, buffers).map_err(|_| Failure::Settings)?;
    while sampler.step(&mut unet).map_err(failure)?.is_some() {}
    Ok(())
}

fn failure(error: <Unet<'_, '_, '_> as Denoiser>::Error) -> Failure {
    match error {
        UnetError::Workspace { .. } => Failure::Memory,
        _ => Failure::Network,
    }
}

/// The blob without what lies behind it: as long as it says it is, or all
/// there is if it says more.
fn trimmed(slot: &[u8]) -> &[u8] {
    let length = slot.get(16..).and_then(<[u8]>::first_chunk);
    let body = length.map_or(0, |&bytes| u32::from_le_bytes(bytes) as usize);
    slot.get(..HEADER_LEN.saturating_add(body)).unwrap_or(slot)
}

/// Memory that is not lent yet.
struct Pool<'p>(&'p mut [u32]);

impl<'p> Pool<'p> {
    /// Lends some of it.
    fn take(&mut self, len: usize) -> Result<&'p mut [f32], Failure> {
        let pool = core::mem::take(&mut self.0);
        let (taken, rest) = pool.split_at_mut_checked(len).ok_or(Failure::Memory)?;
        self.0 = rest;
        Ok(bytemuck::must_cast_slice_mut(taken))
    }
}
