//! Counts a whole denoising step of a model, and what its layers share of it.

use super::board::Counter;
use super::memory::{Hash, Random};
use tiny_ddpm::unet::{Part, Site, Stage};
use tiny_ddpm::{BlobError, Denoiser, Model, Unet, UnetError};

/// Kinds of layers.
pub const KINDS: [&str; 8] = [
    "embedding-and-input",
    "first-conv",
    "conv3x3",
    "resampling-conv",
    "conv1x1",
    "norm-silu",
    "attention",
    "output-conv",
];

/// Of x_t.
pub const SEED: u32 = 7;
/// Of the picture's noise.
pub const TIMESTEP: u16 = 500;

/// Largest picture.
pub const PIXELS: usize = 64 * 64;

/// Room for a model to run.
#[derive(Debug)]
pub struct Room {
    /// For the network.
    pub workspace: [u32; 1 << 18],
    /// x_t.
    pub x: [f32; PIXELS],
    /// What is predicted.
    pub out: [f32; PIXELS],
}

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Multiply-accumulates of the network.
    pub macs: u64,
    /// The whole step.
    pub instructions: u64,
    /// The hash of the prediction.
    pub hash: u32,
    /// Multiply-accumulates and instructions of each kind of layer, where the
    /// embedding's projections belong to the convolutions that add them.
    pub kinds: [(u64, u64); KINDS.len()],
}

/// Why there is no step.
#[derive(Debug)]
#[expect(dead_code, reason = "the reasons are printed")]
pub enum StepError {
    /// The blob is no model.
    Blob(BlobError),
    /// It does not run.
    Unet(UnetError),
}

/// Runs one step of the model.
pub fn run(counter: Counter, blob: &[u8], room: &mut Room) -> Result<Step, StepError> {
    let model = Model::load(blob).map_err(StepError::Blob)?;
    let pixels = model.topology().pixels();
    let (x, out) = (&mut room.x[..pixels], &mut room.out[..pixels]);
    Random::new(SEED).picture(x);
    let class = (model.topology().classes > 0).then_some(0);
    let mut step = Step {
        macs: model.plan().macs(),
        instructions: 0,
        hash: 0,
        kinds: [(0, 0); _],
    };
    model.for_each_layer(|layer| {
        step.kinds[kind(layer.site)].0 += layer.macs;
    });

    let mut unet = Unet::new(&model, &mut room.workspace).map_err(StepError::Unet)?;
    let start = counter.stamp();
    unet.predict(x, TIMESTEP, class, out)
        .map_err(StepError::Unet)?;
    step.instructions = counter.between(start, counter.stamp());
    let mut hash = Hash::empty();
    hash.add_floats(out);
    step.hash = hash.0;

    let mut last = counter.stamp();
    unet.predict_observed(x, TIMESTEP, class, out, |layer| {
        let now = counter.stamp();
        step.kinds[kind(layer.site)].1 += counter.between(last, now);
        last = counter.stamp();
    })
    .map_err(StepError::Unet)?;
    // What comes last is not shown.
    step.kinds[KINDS.len() - 1].1 += counter.between(last, counter.stamp());
    Ok(step)
}

/// An index of [`KINDS`].
fn kind(site: Site) -> usize {
    match (site.stage, site.part) {
        (Stage::Time | Stage::Input, _) => 0,
        (Stage::ConvIn, _) => 1,
        (Stage::Downsample { .. } | Stage::Upsample { .. }, _) => 3,
        (_, Part::Norm | Part::Norm1 | Part::Norm2) => 5,
        (Stage::Output, _) => 7,
        (_, Part::Conv1 | Part::Conv2 | Part::Embedding) => 2,
        (_, Part::Mix) => 6,
        _ => 4,
    }
}
