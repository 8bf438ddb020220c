//! Counts a whole denoising step of a model, and what its layers share of it.

use super::board::Counter;
use super::memory::{Hash, Random};
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::graph::{Cost, LayerId, Part, Stage};
use tiny_ddpm::{
    BlobError, Denoiser, InPlace, InPlaceSampler, Method, Model, Prediction, Settings,
    SettingsError, Unet, UnetError,
};

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

/// What a picture costs besides the network, in one evaluation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around {
    /// Values of a picture.
    pub values: u64,
    /// x_T.
    pub noise: u64,
    /// The sampler's start, and what it computes for each step.
    pub schedule: u64,
    /// From the network's output to x_0.
    pub update: u64,
}

/// Why there is no step.
#[derive(Debug)]
#[expect(dead_code, reason = "the reasons are printed")]
pub enum StepError {
    /// The blob is no model.
    Blob(BlobError),
    /// It does not run.
    Unet(UnetError),
    /// The sampler refuses.
    Settings(SettingsError),
}

/// Runs one step of the model.
pub fn run(counter: Counter, blob: &[u8], room: &mut Room) -> Result<Step, StepError> {
    let model = Model::load(blob).map_err(StepError::Blob)?;
    let pixels = model.topology().pixels();
    let (x, out) = (&mut room.x[..pixels], &mut room.out[..pixels]);
    Random::new(SEED).picture(x);
    let class = (model.topology().classes > 0).then_some(0);
    let mut step = Step {
        macs: Cost::of(model.topology()).macs.into(),
        instructions: 0,
        hash: 0,
        kinds: [(0, 0); _],
    };
    model.for_each_layer(|layer| {
        step.kinds[kind(layer.id)].0 += layer.macs;
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
    unet.predict_observed(x, TIMESTEP, class, out, |seen| {
        let now = counter.stamp();
        step.kinds[kind(seen.layer)].1 += counter.between(last, now);
        last = counter.stamp();
    })
    .map_err(StepError::Unet)?;
    // What comes last is not shown.
    step.kinds[KINDS.len() - 1].1 += counter.between(last, counter.stamp());
    Ok(step)
}

/// Takes the network's place: predicts the same everywhere at no cost.
struct Free<'c> {
    counter: &'c Counter,
    prediction: Prediction,
    update: u64,
}

impl InPlace for Free<'_> {
    fn update(
        &mut self,
        x: &mut [f32],
        _: u16,
        _: Option<u8>,
        _: f32,
        each: &mut dyn FnMut(usize, &mut f32, f32),
    ) -> Result<(), UnetError> {
        let start = self.counter.stamp();
        for (at, x) in x.iter_mut().enumerate() {
            each(at, x, 0.25);
        }
        self.update += self.counter.between(start, self.counter.stamp());
        Ok(())
    }
}

impl Denoiser for Free<'_> {
    type Error = UnetError;

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn predict(
        &mut self,
        _: &[f32],
        _: u16,
        _: Option<u8>,
        _: &mut [f32],
    ) -> Result<(), UnetError> {
        Ok(())
    }
}

/// Counts what a picture of the model costs besides the network.
pub fn around(counter: Counter, blob: &[u8], room: &mut Room) -> Result<Around, StepError> {
    let model = Model::load(blob).map_err(StepError::Blob)?;
    let x = &mut room.x[..model.topology().pixels()];
    let values = x.len() as u64;
    let settings = Settings::new(Method::Ddim { eta: 0.0 }, 1).seed(SEED.into());
    let start = counter.stamp();
    Noise::new(settings.seed, 0).fill(x);
    let noise = counter.between(start, counter.stamp());
    let mut free = Free {
        counter: &counter,
        prediction: model.info().prediction,
        update: 0,
    };
    let start = counter.stamp();
    let sampler = InPlaceSampler::from_noise(model.schedule(), settings, x, &mut []);
    let mut sampler = sampler.map_err(StepError::Settings)?;
    sampler.step(&mut free).map_err(StepError::Unet)?;
    let all = counter.between(start, counter.stamp());
    Ok(Around {
        values,
        noise,
        schedule: all.saturating_sub(free.update),
        update: free.update,
    })
}

/// An index of [`KINDS`].
fn kind(layer: LayerId) -> usize {
    match (layer.stage, layer.part) {
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
