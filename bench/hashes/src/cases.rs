//! What is sampled on every target: all methods, spacings, guidance and
//! clipping, with a seed and a class of its own each.
//!
//! The same text runs on microcontrollers, in WebAssembly and on the host.

use tiny_ddpm::graph::Cost;
use tiny_ddpm::picture::{picture_hash, state_hash, to_pixels};
use tiny_ddpm::{
    BlobError, Buffers, InPlaceSampler, Method, Model, Sampler, Settings, SettingsError, Spacing,
    Unet, UnetError,
};

/// What the chains are recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The hash of the pixels; of points that of their values as if they were
    /// pixels.
    pub pixels: u32,
    /// The hash of x_0.
    pub state: u32,
}

/// Why there is none.
#[derive(Debug)]
#[allow(dead_code, reason = "the host prints the reasons")]
pub enum Failure {
    /// The blob is no model.
    Blob(BlobError),
    /// The network does not run.
    Unet(UnetError),
    /// The sampler refuses.
    Settings(SettingsError),
    /// Not even a sampler in place fits the memory.
    Memory,
}

/// From so many multiply-accumulates a step on there are fewer chains.
const LARGE: u32 = 5_000_000;

/// Words of memory for all buffers where there are 16 KiB of RAM: nano's least
/// workspace and two pictures. The rest is stack.
pub const SMALL_ARENA: usize = 2656;

/// The settings of chain `number`; `None` after the last.
#[must_use]
pub fn case(model: &Model<'_>, number: usize) -> Option<Settings> {
    let classes = usize::from(model.topology().classes);
    let large = Cost::of(model.topology()).macs >= LARGE;
    // Of a small model no chain that some targets have no memory for.
    let pixels = model.topology().pixels();
    let words = model.plan().least_guided_workspace_words() + pixels;
    let methods = || {
        let all = Method::NAMES.iter();
        all.filter_map(|name| Method::from_name(name, 0.5))
            .filter(|method| large || words + method.history_len(pixels) <= SMALL_ARENA)
    };
    // Each round gives a method another spacing, guidance and clipping.
    let count = methods().count().max(1);
    let (round, method) = (number / count, number % count);
    if round >= if large { 1 } else { 4 } {
        return None;
    }
    let guided = classes > 0 && (round + method) % 2 == 0;
    Some(
        Settings::new(methods().nth(method)?, if large { 2 } else { 3 })
            .class((classes > 0).then(|| (number % classes.max(1)) as u8))
            .seed(1 + round as u64)
            .picture(method as u64)
            .guidance(if guided { 0.5 } else { 0.0 })
            .spacing(Spacing::ALL[(round + method) % Spacing::ALL.len()])
            .clip((round / 2 + method) % 2 == 0),
    )
}

impl Failure {
    /// In a word: to print more takes more flash than the network's code.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Blob(_) => "the blob is refused",
            Self::Unet(_) => "the network does not run",
            Self::Settings(_) => "the sampler refuses its settings",
            Self::Memory => "too little memory",
        }
    }
}

/// Samples every case, in `arena` and nothing else; with `IN_PLACE` only in
/// place, for flash that is scarce.
///
/// # Errors
/// If the blob is no model, or does not run in so little memory.
pub fn run<const IN_PLACE: bool>(
    blob: &[u8],
    arena: &mut [u32],
    report: &mut dyn FnMut(usize, Outcome),
) -> Result<(), Failure> {
    let mut model = None;
    load(blob, &mut model)?;
    let Some(model) = model.as_ref() else {
        return Ok(());
    };
    let mut number = 0;
    while let Some(settings) = case(model, number) {
        report(number, sample::<IN_PLACE>(model, settings, arena)?);
        number += 1;
    }
    Ok(())
}

// Functions of their own, so that a small stack has room for each in turn.

#[inline(never)]
fn load<'b>(blob: &'b [u8], model: &mut Option<Model<'b>>) -> Result<(), Failure> {
    *model = Some(Model::load(blob).map_err(Failure::Blob)?);
    Ok(())
}

#[inline(never)]
fn sample<const IN_PLACE: bool>(
    model: &Model<'_>,
    settings: Settings,
    arena: &mut [u32],
) -> Result<Outcome, Failure> {
    let pixels = model.topology().pixels();
    if IN_PLACE {
        in_place(model, settings, arena)?;
    } else {
        apart(model, settings, arena)?;
    }
    // x_0 lies in front; its pixels fit behind it.
    let (x, grey) = arena.split_at_mut(pixels);
    let x: &[f32] = bytemuck::cast_slice(x);
    let grey: &mut [u8] = bytemuck::cast_slice_mut(grey);
    let grey = grey.get_mut(..pixels).unwrap_or_default();
    to_pixels(x, grey);
    Ok(Outcome {
        pixels: picture_hash(grey),
        state: state_hash(x),
    })
}

/// With a buffer for everything, at full speed.
#[inline(never)]
fn apart(model: &Model<'_>, settings: Settings, arena: &mut [u32]) -> Result<(), Failure> {
    let pixels = model.topology().pixels();
    let remembered = settings.method.history_len(pixels);
    let parts = arena.split_at_mut_checked(3 * pixels + remembered);
    let (states, workspace) = parts.ok_or(Failure::Memory)?;
    let states: &mut [f32] = bytemuck::cast_slice_mut(states);
    let (x, rest) = states.split_at_mut(pixels);
    let (x0_hat, rest) = rest.split_at_mut(pixels);
    let (unconditional, memory) = rest.split_at_mut(pixels);
    let buffers = Buffers {
        x,
        x0_hat,
        unconditional,
        history: memory,
    };
    let mut unet = Unet::new(model, workspace).map_err(Failure::Unet)?;
    let sampler = Sampler::new(model.schedule(), settings, buffers);
    let mut sampler = sampler.map_err(Failure::Settings)?;
    while sampler.step(&mut unet).map_err(Failure::Unet)?.is_some() {}
    Ok(())
}

/// In the memory of a picture and of what the method remembers.
#[inline(never)]
fn in_place(model: &Model<'_>, settings: Settings, arena: &mut [u32]) -> Result<(), Failure> {
    let pixels = model.topology().pixels();
    let values = pixels + settings.method.history_len(pixels);
    let least = match settings.guidance == 0.0 {
        true => model.plan().least_workspace_words(),
        false => model.plan().least_guided_workspace_words(),
    };
    if arena.len() < values + least {
        return Err(Failure::Memory);
    }
    let (states, workspace) = arena.split_at_mut(values);
    let (x, memory) = bytemuck::cast_slice_mut(states).split_at_mut(pixels);
    let mut unet = Unet::new(model, workspace).map_err(Failure::Unet)?;
    let sampler = InPlaceSampler::new(model.schedule(), settings, x, memory);
    let mut sampler = sampler.map_err(Failure::Settings)?;
    while sampler.step(&mut unet).map_err(Failure::Unet)?.is_some() {}
    Ok(())
}
