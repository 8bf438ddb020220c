//! The same pictures by the same code, on this computer.

use crate::request::Request;
use anyhow::{Result, anyhow};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tiny_ddpm::picture::{picture_hash, state_hash, to_pixels};
use tiny_ddpm::{Buffers, Data, Model, Sampler, Unet};

/// A picture and what it is recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Grey values, row by row; of points none.
    pub pixels: Vec<u8>,
    /// The bits of x_0 where it is a point.
    pub values: Vec<u32>,
    /// The hash of the pixels.
    pub hash: u32,
    /// The hash of x_0.
    pub state: u32,
}

/// Generates all pictures of a request, on all cores.
///
/// # Errors
/// If the sampler refuses the request.
pub fn generate(model: &Model<'_>, request: &Request) -> Result<Vec<Picture>> {
    let next = AtomicUsize::new(0);
    let pictures = Mutex::new(vec![None; request.len()]);
    let work = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= request.len() {
                return Ok(());
            }
            let picture = picture(model, request, number)?;
            let mut pictures = pictures.lock().map_err(|_| anyhow!("a thread panicked"))?;
            pictures[number] = Some(picture);
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    let pictures = pictures.into_inner()?;
    Ok(pictures.into_iter().flatten().collect())
}

fn picture(model: &Model<'_>, request: &Request, number: usize) -> Result<Picture> {
    let count = model.topology().pixels();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(model, &mut workspace)?;
    let settings = request.settings(number);
    let remembered = settings.method.history_len(count);
    let mut states = [count, count, count, remembered].map(|values| vec![0.0; values]);
    let [x, x0_hat, unconditional, memory] = &mut states;
    let buffers = Buffers {
        x,
        x0_hat,
        unconditional,
        history: memory,
    };
    let schedule = model.schedule();
    let mut sampler = match request.frame(number) {
        Some(frame) => {
            frame.fill(buffers.x);
            Sampler::from_noise(schedule, settings, buffers)?
        }
        None => Sampler::new(schedule, settings, buffers)?,
    };
    while sampler.step(&mut unet)?.is_some() {}
    let mut pixels = vec![0; count];
    to_pixels(sampler.x(), &mut pixels);
    let hash = picture_hash(&pixels);
    let (pixels, values) = match model.topology().data() {
        Data::Picture { .. } => (pixels, Vec::new()),
        Data::Point { .. } => {
            let bits = sampler.x().iter().map(|x| x.to_bits());
            (Vec::new(), bits.collect())
        }
    };
    Ok(Picture {
        hash,
        state: state_hash(sampler.x()),
        pixels,
        values,
    })
}
