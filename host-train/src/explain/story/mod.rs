//! What a page tells, computed: into the noise, what the network is asked
//! there, and the ways back. [`Story`] is that of a picture, [`PointsStory`] that
//! of a cloud of points.

mod points;

pub use points::{Flock, PointsLesson, PointsStory};

use anyhow::Result;
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::diffusion::prediction::signal_and_noise;
use tiny_ddpm::picture::{picture_hash, to_pixels};
use tiny_ddpm::{
    Buffers, Denoiser, Method, Model, Prediction, Sampler, Schedule, Settings, Unet, Variance,
};

use crate::generate::{Classes, Request, for_denoisers};

/// Where of T the forward process is shown.
const SHOWN: [f64; 10] = [0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0];

/// Numbers of the pictures under the seed whose noise is used: noise of one
/// purpose is not seen in another.
mod stream {
    /// x_T of every sampler; what `tiny-ddpm sample` calls picture 0.
    pub const REVERSE: u64 = 0;
    /// A picture that the model draws for want of another.
    pub const OWN: u64 = 1;
    /// ε of the closed form, and of the lessons.
    pub const AT_ONCE: u64 = 2;
    /// The noise of each step in turn.
    pub const STEP_BY_STEP: u64 = 3;
    /// The same two of points, whose numbers are those of their ways back.
    pub const POINTS_AT_ONCE: u64 = u64::MAX;
    pub const POINTS_STEP_BY_STEP: u64 = u64::MAX - 1;
}

/// Everything that is told.
#[derive(Clone, Debug)]
pub struct Story {
    /// Pixels a side.
    pub size: usize,
    /// The picture's way into the noise.
    pub forward: Vec<Noised>,
    /// What the network says at each of these stages but the first.
    pub lessons: Vec<Lesson>,
    /// The way that the model's makers recommend.
    pub reverse: Trajectory,
    /// Every sampler, from the same noise.
    pub samplers: Vec<Trajectory>,
}

/// A picture with noise.
#[derive(Clone, Debug)]
pub struct Noised {
    /// t.
    pub timestep: u16,
    /// ᾱ_t.
    pub alpha_bar: f64,
    /// ᾱ_t / (1 - ᾱ_t), infinite at 0.
    pub snr: f64,
    /// x_t by the closed form.
    pub at_once: Vec<f32>,
    /// x_t by t steps.
    pub step_by_step: Vec<f32>,
}

/// What the network is shown and asked in training, and what it says now.
#[derive(Clone, Debug)]
pub struct Lesson {
    /// t.
    pub timestep: u16,
    /// x_t.
    pub x_t: Vec<f32>,
    /// What it should say.
    pub target: Vec<f32>,
    /// What it says.
    pub answer: Vec<f32>,
    /// What it takes the picture to be, not cut.
    pub x0_hat: Vec<f32>,
    /// Mean square of target less answer.
    pub loss: f64,
}

/// A picture on its way out of the noise.
#[derive(Clone, Debug)]
pub struct Trajectory {
    /// How x_s was drawn from x_t.
    pub method: Method,
    /// Timesteps visited.
    pub steps: u16,
    /// Runs of the network.
    pub evaluations: usize,
    /// Each x_t with the x̂_0 that the network saw in it.
    pub frames: Vec<Frame>,
    /// x_0.
    pub x_0: Vec<f32>,
}

impl Trajectory {
    /// The hash of the picture's pixels, as the chip prints it.
    #[must_use]
    pub fn hash(&self) -> u32 {
        let mut drawn = vec![0; self.x_0.len()];
        to_pixels(&self.x_0, &mut drawn);
        picture_hash(&drawn)
    }
}

/// One stage of a trajectory.
#[derive(Clone, Debug)]
pub struct Frame {
    /// t.
    pub timestep: u16,
    /// x_t.
    pub x_t: Vec<f32>,
    /// What the network took the picture to be.
    pub x0_hat: Vec<f32>,
}

/// What to draw: with the model, it fixes all pictures that come out of noise.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The class, of a model that has some.
    pub class: Option<u8>,
    /// Timesteps that short chains visit.
    pub steps: u16,
    /// Seed of all noise.
    pub seed: u64,
}

impl Asked {
    /// The request of `tiny-ddpm sample` that draws the same.
    #[must_use]
    pub fn request(&self, model: &Model<'_>) -> Request {
        let classes = self.class.map_or(Classes::None, |c| Classes::One(c.into()));
        Request {
            count: 1,
            steps: self.steps,
            seed: self.seed,
            ..Request::recommended(
                model.topology().data(),
                model.info().recommended,
                model.topology().classes,
                Some(classes),
            )
        }
    }

    fn settings(&self, model: &Model<'_>, picture: u64) -> Settings {
        let classes = model.topology().classes;
        self.request(model).settings(0, classes).picture(picture)
    }
}

/// Whether a sampler's way is open to chance.
#[must_use]
pub fn adds_noise(method: Method) -> bool {
    match method {
        Method::Ddim { eta } => eta > 0.0,
        Method::Heun | Method::DpmSolver | Method::UniPc { .. } => false,
        _ => true,
    }
}

/// Every sampler for a denoiser, with the steps it gets: first those that add no noise, and
/// last the whole chain, of which the others are shortcuts.
#[must_use]
pub fn methods(steps: u16, timesteps: u16) -> Vec<(Method, u16)> {
    let mut methods: Vec<(Method, u16)> = for_denoisers().map(|method| (method, steps)).collect();
    methods.sort_by_key(|(method, _)| adds_noise(*method));
    if steps != timesteps {
        let variance = Variance::Posterior;
        methods.push((Method::Ddpm { variance }, timesteps));
    }
    methods
}

impl Story {
    /// Computes everything for the picture `x_0`, values in [-1, 1].
    ///
    /// # Errors
    /// Where the network cannot be run, or the model cannot be asked for this.
    pub fn new(model: &Model<'_>, x_0: &[f32], asked: Asked) -> Result<Self> {
        let schedule = model.schedule();
        let epsilon = noise(asked.seed, stream::AT_ONCE, x_0.len());
        let mut noise = Noise::new(asked.seed, stream::STEP_BY_STEP);
        let shown = shown(&schedule, &SHOWN);
        let forward = forward(&schedule, x_0, &epsilon, &mut noise, &shown);
        let mut workspace = vec![0; model.workspace_words()];
        let mut unet = Unet::new(model, &mut workspace)?;
        let lessons = forward
            .iter()
            .filter(|noised| noised.timestep > 0)
            .map(|noised| lesson(&mut unet, noised, x_0, &epsilon, x_0.len(), asked.class))
            .collect::<Result<_>>()?;
        let settings = asked.settings(model, stream::REVERSE);
        let mut follow = |method, steps| {
            let settings = settings.method(method).steps(steps);
            trajectory(schedule, settings, x_0.len(), &mut unet)
        };
        Ok(Self {
            size: model.topology().image_size.into(),
            reverse: follow(settings.method, settings.steps)?,
            samplers: methods(asked.steps, schedule.timesteps())
                .into_iter()
                .map(|(method, steps)| follow(method, steps))
                .collect::<Result<_>>()?,
            forward,
            lessons,
        })
    }
}

/// A picture that the model draws where there is none to look at.
///
/// # Errors
/// As [`Story::new`].
pub fn own_picture(model: &Model<'_>, asked: Asked) -> Result<Vec<f32>> {
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(model, &mut workspace)?;
    let settings = asked.settings(model, stream::OWN);
    let pixels = model.topology().pixels();
    let mut drawn = trajectory(model.schedule(), settings, pixels, &mut unet)?.x_0;
    drawn.iter_mut().for_each(|x| *x = x.clamp(-1.0, 1.0));
    Ok(drawn)
}

/// The timesteps at these parts of T, each once.
fn shown(schedule: &Schedule, parts: &[f64]) -> Vec<u16> {
    let timestep = |part: f64| (part * f64::from(schedule.timesteps())).round() as u16;
    let mut shown: Vec<u16> = parts.iter().copied().map(timestep).collect();
    shown.dedup();
    shown
}

/// x_0 with ever more noise: `epsilon` at once, and `noise` step by step.
fn forward(
    schedule: &Schedule,
    x_0: &[f32],
    epsilon: &[f32],
    noise: &mut Noise,
    shown: &[u16],
) -> Vec<Noised> {
    let mut x = x_0.to_vec();
    let mut reached = 0;
    shown
        .iter()
        .map(|&timestep| {
            while reached < timestep {
                reached += 1;
                // q(x_t | x_{t-1}): its α_t is the ᾱ of a single step.
                let (signal, sigma) = signal_and_noise(schedule.alpha(reached));
                for x in &mut x {
                    *x = signal * *x + sigma * noise.normal();
                }
            }
            let alpha_bar = schedule.alpha_bar(timestep);
            let (signal, sigma) = signal_and_noise(alpha_bar);
            let pairs = x_0.iter().zip(epsilon);
            Noised {
                timestep,
                alpha_bar,
                snr: schedule.snr(timestep),
                at_once: pairs.map(|(x_0, e)| signal * x_0 + sigma * e).collect(),
                step_by_step: x.clone(),
            }
        })
        .collect()
}

impl Noised {
    /// The mean square over the pixels of x_t - sqrt(ᾱ_t) x_0: near to 1 - ᾱ_t.
    #[must_use]
    pub fn measured(&self, x_t: &[f32], x_0: &[f32]) -> f64 {
        let (signal, _) = signal_and_noise(self.alpha_bar);
        let noise = x_t.iter().zip(x_0).map(|(x, x_0)| x - signal * x_0);
        mean_square(noise)
    }
}

/// One for each `values` values of x_0, all told as one.
fn lesson(
    unet: &mut Unet<'_, '_, '_>,
    noised: &Noised,
    x_0: &[f32],
    epsilon: &[f32],
    values: usize,
    class: Option<u8>,
) -> Result<Lesson> {
    let (timestep, alpha_bar) = (noised.timestep, noised.alpha_bar);
    let (x_t, prediction) = (noised.at_once.clone(), unet.prediction());
    let target: Vec<f32> = x_0
        .iter()
        .zip(epsilon)
        .map(|(&x_0, &epsilon)| prediction.target(alpha_bar, x_0, epsilon))
        .collect();
    let mut answer = vec![0.0; x_t.len()];
    for (x_t, answer) in x_t.chunks(values).zip(answer.chunks_mut(values)) {
        unet.predict(x_t, timestep, class, answer)?;
    }
    let mut x0_hat = answer.clone();
    prediction.to_x0_hat(alpha_bar, &x_t, &mut x0_hat);
    let loss = mean_square(target.iter().zip(&answer).map(|(a, b)| a - b));
    Ok(Lesson {
        timestep,
        x_t,
        target,
        answer,
        x0_hat,
        loss,
    })
}

/// Counts how often the network is run.
struct Counted<'d, D> {
    denoiser: &'d mut D,
    runs: usize,
}

impl<D: Denoiser> Denoiser for Counted<'_, D> {
    type Error = D::Error;

    fn prediction(&self) -> Prediction {
        self.denoiser.prediction()
    }

    fn predict(
        &mut self,
        x_t: &[f32],
        timestep: u16,
        class: Option<u8>,
        out: &mut [f32],
    ) -> Result<(), D::Error> {
        self.runs += 1;
        self.denoiser.predict(x_t, timestep, class, out)
    }
}

/// Follows a sampler from x_T to x_0.
fn trajectory<D>(
    schedule: Schedule,
    settings: Settings,
    pixels: usize,
    denoiser: &mut D,
) -> Result<Trajectory>
where
    D: Denoiser<Error: std::error::Error + Send + Sync + 'static>,
{
    let mut counted = Counted { denoiser, runs: 0 };
    let remembered = settings.method.history_len(pixels);
    let mut buffers = [pixels, pixels, pixels, remembered].map(|values| vec![0.0; values]);
    let [x, x0_hat, unconditional, memory] = &mut buffers;
    let buffers = Buffers {
        x,
        x0_hat,
        unconditional,
        history: memory,
    };
    let mut sampler = Sampler::new(schedule, settings, buffers)?;
    let mut frames: Vec<Frame> = Vec::new();
    let mut x_t = sampler.x().to_vec();
    while let Some(step) = sampler.step(&mut counted)? {
        // What a method tries out at a timestep gives way to what it settles on.
        frames.pop_if(|last| last.timestep == step.timestep);
        frames.push(Frame {
            timestep: step.timestep,
            x_t: std::mem::replace(&mut x_t, sampler.x().to_vec()),
            x0_hat: sampler.x0_hat().to_vec(),
        });
    }
    Ok(Trajectory {
        method: settings.method,
        steps: settings.steps,
        evaluations: counted.runs,
        frames,
        x_0: x_t,
    })
}

fn noise(seed: u64, stream: u64, count: usize) -> Vec<f32> {
    let mut values = vec![0.0; count];
    Noise::new(seed, stream).fill(&mut values);
    values
}

fn mean_square(values: impl ExactSizeIterator<Item = f32>) -> f64 {
    let count = values.len().max(1) as f64;
    values.map(|v| f64::from(v).powi(2)).sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;
    use std::ops::ControlFlow;
    use tiny_ddpm::ScheduleKind;

    fn blob() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano.tddpm");
        std::fs::read(path).unwrap()
    }

    const ASKED: Asked = Asked {
        class: Some(3),
        steps: 4,
        seed: 9,
    };

    #[test]
    fn both_ways_into_the_noise_have_the_same_strength() {
        let x_0: Vec<f32> = (0..4096).map(|i| (i as f32 * 0.1).sin()).collect();
        for kind in [ScheduleKind::LINEAR, ScheduleKind::Cosine] {
            let schedule = Schedule::new(kind, 200).unwrap();
            let epsilon = noise(1, stream::AT_ONCE, x_0.len());
            let mut noise = Noise::new(1, stream::STEP_BY_STEP);
            let shown = shown(&schedule, &SHOWN);
            let forward = forward(&schedule, &x_0, &epsilon, &mut noise, &shown);
            assert_eq!(forward[0].at_once, x_0);
            assert_eq!(forward[0].step_by_step, x_0);
            assert_eq!(forward.last().unwrap().timestep, 200);
            for noised in &forward[1..] {
                let expected = 1.0 - noised.alpha_bar;
                for x_t in [&noised.at_once, &noised.step_by_step] {
                    // Five standard errors of a mean of 4,096 squares.
                    let found = noised.measured(x_t, &x_0);
                    assert!((found / expected - 1.0).abs() < 0.11, "{found} {expected}");
                }
                assert!(noised.at_once != noised.step_by_step);
            }
        }
        // Of a short chain each timestep is shown once.
        let schedule = Schedule::new(ScheduleKind::Cosine, 3).unwrap();
        assert_eq!(shown(&schedule, &SHOWN), [0, 1, 2, 3]);
    }

    #[test]
    fn a_model_from_noise_to_picture() {
        let blob = blob();
        let model = Model::load(&blob).unwrap();
        let x_0 = own_picture(&model, ASKED).unwrap();
        assert!(x_0.iter().all(|x| (-1.0..=1.0).contains(x)));
        let story = Story::new(&model, &x_0, ASKED).unwrap();
        the_way_back_is_that_of_sample(&model, &story);
        samplers_start_alike_and_end_apart(&story);
        lessons_are_learned(&story, &x_0);
    }

    fn the_way_back_is_that_of_sample(model: &Model<'_>, story: &Story) {
        let request = ASKED.request(model);
        let drawn = generate(model, &request, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(story.reverse.hash(), drawn.hashes().next().unwrap());
        let seen: Vec<u16> = story.reverse.frames.iter().map(|f| f.timestep).collect();
        assert_eq!(seen, [1000, 750, 500, 250]);
        let guided = if request.guidance == 0.0 { 1 } else { 2 };
        assert_eq!(story.reverse.evaluations, 4 * guided);
    }

    fn samplers_start_alike_and_end_apart(story: &Story) {
        let mut hashes = Vec::new();
        for sampler in &story.samplers {
            assert_eq!(sampler.frames[0].x_t, story.reverse.frames[0].x_t);
            let timesteps = sampler.frames.iter().map(|frame| frame.timestep);
            assert!(timesteps.clone().is_sorted_by(|a, b| a > b));
            assert_eq!(timesteps.count(), usize::from(sampler.steps));
            let steps = usize::from(sampler.steps);
            assert!((steps..=4 * steps).contains(&sampler.evaluations));
            hashes.push(sampler.hash());
        }
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), story.samplers.len());
    }

    fn lessons_are_learned(story: &Story, x_0: &[f32]) {
        assert_eq!(story.lessons.len(), SHOWN.len() - 1);
        // `nano` predicts x_0: little noise leaves little to guess.
        let first = &story.lessons[0];
        assert_eq!(first.target, x_0);
        assert_eq!(first.answer, first.x0_hat);
        assert!(first.loss < 0.05, "{}", first.loss);
        assert!(story.lessons.last().unwrap().loss > first.loss);
    }
}
