//! A model with its memory, and what a run of it reads and gives.

use super::arena::Arena;
use super::error::UnetError;
use super::forward::{Forward, Memory};
use super::io::{Io, Observation};
use super::model::Model;
use super::plan::kept_bytes;
use crate::diffusion::prediction::Prediction;
use crate::diffusion::{Denoiser, InPlace};
use crate::graph::{Shape, walk};

/// A model with the memory to run it.
///
/// ```no_run
/// use tiny_ddpm::{Denoiser, Model, Unet};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let blob: &[u8] = &[];
/// let model = Model::load(blob)?;
/// let mut workspace = vec![0; model.workspace_words()];
/// let mut unet = Unet::new(&model, &mut workspace)?;
/// let pixels = model.topology().pixels();
/// let (x_t, mut prediction) = (vec![0.0; pixels], vec![0.0; pixels]);
/// unet.predict(&x_t, 500, Some(7), &mut prediction)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Unet<'m, 'b, 'w> {
    model: &'m Model<'b>,
    workspace: &'w mut [u32],
}

impl<'m, 'b, 'w> Unet<'m, 'b, 'w> {
    /// Joins a model with a workspace of [`Model::workspace_words`] words,
    /// whose contents do not matter. With fewer, down to
    /// [`Model::least_workspace_words`], it is slower.
    ///
    /// # Errors
    /// [`UnetError::Workspace`] if it is too small.
    pub fn new(model: &'m Model<'b>, workspace: &'w mut [u32]) -> Result<Self, UnetError> {
        let unet = Self { model, workspace };
        unet.check_workspace(model.least_workspace_words())?;
        Ok(unet)
    }

    fn check_workspace(&self, needed: usize) -> Result<(), UnetError> {
        let found = self.workspace.len();
        if found < needed {
            return Err(UnetError::Workspace { needed, found });
        }
        Ok(())
    }

    /// [`Denoiser::predict`], showing every activation to `observe`.
    ///
    /// # Errors
    /// [`UnetError`] where an argument does not fit the model.
    pub fn predict_observed(
        &mut self,
        x_t: &[f32],
        timestep: u16,
        class: Option<u8>,
        out: &mut [f32],
        observe: impl FnMut(&Observation<'_>),
    ) -> Result<(), UnetError> {
        let lengths = [x_t.len(), out.len()];
        self.run(lengths, timestep, class, Io::Apart { x_t, out }, observe)
    }

    /// One run of the network on pictures of `lengths` pixels.
    fn run(
        &mut self,
        lengths: [usize; 2],
        timestep: u16,
        class: Option<u8>,
        io: Io<'_>,
        observe: impl FnMut(&Observation<'_>),
    ) -> Result<(), UnetError> {
        let topology = self.model.topology();
        let expected = topology.pixels();
        for found in lengths {
            if found != expected {
                return Err(UnetError::Pixels { expected, found });
            }
        }
        let timesteps = self.model.schedule().timesteps();
        if timestep == 0 || timestep > timesteps {
            return Err(UnetError::Timestep {
                found: timestep,
                timesteps,
            });
        }
        let classes = topology.classes;
        if let Some(found) = class
            && u16::from(found) >= classes
        {
            return Err(UnetError::Class { found, classes });
        }
        if class.is_none() && self.model.is_conditional_only() {
            return Err(UnetError::ConditionalOnly);
        }
        let kept = match io {
            Io::Keep { .. } | Io::Guided { .. } => kept_bytes(Shape {
                side: topology.side(),
                channels: topology.levels.first().map_or(0, |l| l.channels.into()),
            }),
            Io::Apart { .. } | Io::InPlace { .. } => 0,
        };
        let memory = Memory::split(self.workspace, self.model.plan(), kept);
        let mut forward = Forward {
            topology,
            records: self.model.records(),
            all: self.model.records(),
            timestep,
            class: class.map_or(classes, u16::from),
            io,
            memory: memory.ok_or(UnetError::Corrupt)?,
            embedding_scale: 0.0,
            arena: Arena::default(),
            observe,
        };
        walk(&mut forward, topology)
    }
}

/// Shows nothing: a function, not a closure, so that all who use it share the
/// network's code.
fn unobserved(_: &Observation<'_>) {}

impl Denoiser for Unet<'_, '_, '_> {
    type Error = UnetError;

    fn prediction(&self) -> Prediction {
        self.model.info().prediction
    }

    fn predict(
        &mut self,
        x_t: &[f32],
        timestep: u16,
        class: Option<u8>,
        out: &mut [f32],
    ) -> Result<(), UnetError> {
        let lengths = [x_t.len(), out.len()];
        self.run(lengths, timestep, class, Io::Apart { x_t, out }, unobserved)
    }
}

impl InPlace for Unet<'_, '_, '_> {
    /// # Errors
    /// [`UnetError`] where an argument does not fit the model, or guidance not
    /// the workspace: see
    /// [`Plan::least_guided_workspace_words`](crate::unet::Plan::least_guided_workspace_words).
    fn update(
        &mut self,
        x: &mut [f32],
        timestep: u16,
        class: Option<u8>,
        guidance: f32,
        each: &mut dyn FnMut(usize, &mut f32, f32),
    ) -> Result<(), UnetError> {
        let lengths = [x.len(); 2];
        if guidance == 0.0 {
            return self.run(
                lengths,
                timestep,
                class,
                Io::InPlace { x, each },
                unobserved,
            );
        }
        self.check_workspace(self.model.plan().least_guided_workspace_words())?;
        self.run(lengths, timestep, class, Io::Keep { x_t: x }, unobserved)?;
        let io = Io::Guided { x, guidance, each };
        self.run(lengths, timestep, None, io, unobserved)
    }
}
