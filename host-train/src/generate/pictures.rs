//! The pictures of a request, on all cores.

use std::fmt;
use std::ops::ControlFlow;

use rayon::prelude::*;
use tiny_ddpm::picture::{picture_hash, state_hash, to_pixels};
use tiny_ddpm::{Buffers, Model, Unet, UnetError};

use crate::generate::{Request, RequestError};

/// What was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pictures {
    /// Pixels a side.
    pub size: usize,
    /// Grey values, picture after picture, row by row.
    pub pixels: Vec<u8>,
    /// What each picture should show.
    pub classes: Vec<Option<u8>>,
    /// [`state_hash`] of each x_0.
    pub states: Vec<u32>,
}

impl Pictures {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The pixels of each.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.pixels.chunks_exact((self.size * self.size).max(1))
    }

    /// The first `count` of them, or all.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let count = count.min(self.len());
        Self {
            size: self.size,
            pixels: self.pixels[..count * self.size * self.size].to_vec(),
            classes: self.classes[..count].to_vec(),
            states: self.states[..count].to_vec(),
        }
    }

    /// The hash of each, which the chip prints too.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = u32> {
        self.iter().map(picture_hash)
    }

    /// The hash of all of them, one behind the other.
    #[must_use]
    pub fn hash(&self) -> u32 {
        picture_hash(&self.pixels)
    }
}

/// A picture on its way.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'x> {
    /// Its number.
    pub picture: usize,
    /// Steps made; 0 while it is still noise.
    pub step: u16,
    /// Steps in all.
    pub of: u16,
    /// x_t as it stands.
    pub x: &'x [f32],
}

/// Why there are no pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SampleError {
    /// The model cannot be asked for this.
    Request(RequestError),
    /// The network could not be run.
    Network(UnetError),
    /// Whoever watched did not want to go on.
    Stopped,
}

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Network(error) => error.fmt(f),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl std::error::Error for SampleError {}

impl From<RequestError> for SampleError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<UnetError> for SampleError {
    fn from(error: UnetError) -> Self {
        Self::Network(error)
    }
}

/// Generates what is asked for on rayon's threads, showing every picture to
/// `watch` before its first and after every step.
///
/// # Errors
/// Where the request does not fit the model, or `watch` breaks off.
pub fn generate(
    model: &Model<'_>,
    request: &Request,
    watch: impl Fn(Progress<'_>) -> ControlFlow<()> + Sync,
) -> Result<Pictures, SampleError> {
    request.validate(model)?;
    let (pixels, classes) = (model.topology().pixels(), model.topology().classes);
    let mut pictures = Pictures {
        size: model.topology().image_size.into(),
        pixels: vec![0; request.count * pixels],
        classes: (0..request.count)
            .map(|index| request.class_of(index, classes))
            .collect(),
        states: vec![0; request.count],
    };
    pictures
        .pixels
        .par_chunks_exact_mut(pixels)
        .zip(&mut pictures.states)
        .enumerate()
        .try_for_each_init(
            || Worker::new(model),
            |worker, (index, (pixels, state))| {
                let x_0 = worker.generate(model, request, index, &watch)?;
                to_pixels(x_0, pixels);
                *state = state_hash(x_0);
                Ok::<(), SampleError>(())
            },
        )?;
    Ok(pictures)
}

/// The memory of one picture in the making.
pub(super) struct Worker {
    workspace: Vec<u32>,
    x: Vec<f32>,
    x0_hat: Vec<f32>,
    unconditional: Vec<f32>,
    memory: Vec<f32>,
}

impl Worker {
    pub fn new(model: &Model<'_>) -> Self {
        let pixels = model.topology().pixels();
        Self {
            workspace: vec![0; model.workspace_words()],
            x: vec![0.0; pixels],
            x0_hat: vec![0.0; pixels],
            unconditional: vec![0.0; pixels],
            memory: Vec::new(),
        }
    }

    pub fn generate(
        &mut self,
        model: &Model<'_>,
        request: &Request,
        index: usize,
        watch: impl Fn(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<&[f32], SampleError> {
        let mut unet = Unet::new(model, &mut self.workspace)?;
        let remembered = request.method.history_len(self.x.len());
        self.memory.resize(remembered, 0.0);
        let buffers = Buffers {
            x: &mut self.x,
            x0_hat: &mut self.x0_hat,
            unconditional: &mut self.unconditional,
            history: &mut self.memory,
        };
        let classes = model.topology().classes;
        let sampler = request.sampler(model.schedule(), index, classes, buffers);
        let mut sampler = sampler.map_err(RequestError::from)?;
        let mut step = 0;
        loop {
            let progress = Progress {
                picture: index,
                step,
                of: request.rounds(),
                x: sampler.x(),
            };
            if watch(progress).is_break() {
                return Err(SampleError::Stopped);
            }
            match sampler.step(&mut unet)? {
                Some(made) => step = made.index,
                None => break,
            }
        }
        Ok(&self.x)
    }
}
