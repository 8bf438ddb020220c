//! From models for points to a [`PointsEvaluation`].

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::diffusion::prediction::signal_and_noise;
use tiny_ddpm::{Data, Method, Schedule, Spacing};

use super::super::measure::{Network, Subject};
use super::methods::{Sampling, sampling, samplings};
use super::results::{FORMAT, Facts, Gallery, Panel, PointsEvaluation, SetResult, Trajectories};
use crate::data::Split;
use crate::data::swiss_roll::{self, Curve};
use crate::generate::float::generate_float_points;
use crate::generate::{Classes, Progress, Request, generate_points};
use crate::metrics::energy_distance;
use crate::points::Points;
use crate::progress::Phase;

/// Fewest points in a set.
pub const MIN_COUNT: usize = 10;
/// Most, since every point is held against every other.
pub const MAX_COUNT: usize = 50_000;
/// Points of a map.
const SHOWN: usize = 2000;
/// Noise levels shown on the way to noise, as shares of T.
const SHARES: [f64; 6] = [0.0, 0.03, 0.1, 0.2, 0.4, 1.0];
/// Paths of the probability flow, and steps of each.
const PATHS: usize = 120;
const PATH_STEPS: u16 = 200;
/// Noise stream of the forward process, which no sample has.
const FORWARD: u64 = u64::MAX;

/// How to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Points in a set.
    pub count: usize,
    /// Seed of all noise.
    pub seed: u64,
    /// Numbers of steps, at least one.
    pub steps: Vec<u16>,
    /// A sampler, where it is not all of them that are asked for.
    pub only: Option<Method>,
    /// Which timesteps are visited.
    pub spacing: Spacing,
    /// Whether progress is shown.
    pub progress: bool,
}

impl Plan {
    fn samplings(&self) -> Vec<Sampling> {
        self.only
            .map_or_else(samplings, |method| vec![sampling(method)])
    }

    fn request(&self, method: Method, steps: u16) -> Request {
        Request {
            count: self.count,
            walk: None,
            first: 0,
            classes: Classes::None,
            method,
            steps,
            spacing: self.spacing,
            guidance: 0.0,
            clip: true,
            seed: self.seed,
        }
    }

    fn validate(&self, subjects: &[Subject<'_>]) -> Result<()> {
        ensure!(
            (MIN_COUNT..=MAX_COUNT).contains(&self.count),
            "--count {}: must be {MIN_COUNT} to {MAX_COUNT} points",
            self.count
        );
        for subject in subjects {
            for sampling in self.samplings() {
                for &steps in &self.steps {
                    subject
                        .network
                        .accepts(&self.request(sampling.method, steps))?;
                }
            }
        }
        Ok(())
    }
}

/// Measures models for points, and gives what the report draws.
///
/// # Errors
/// Where a model is not for the data, or a setting does not fit.
pub fn measure(
    plan: &Plan,
    subjects: &[Subject<'_>],
    device: &Device,
) -> Result<(PointsEvaluation, Gallery)> {
    plan.validate(subjects)?;
    for subject in subjects {
        let values = subject.network.values();
        ensure!(
            values == swiss_roll::VALUES,
            "{} draws points of {values} values; the Swiss roll, which they are held against, has {}",
            subject.facts.path,
            swiss_roll::VALUES
        );
    }
    let held_out = swiss_roll::draw(Split::Test, plan.count);
    let curve = Curve::default();
    let noise = {
        let mut x = vec![0.0; held_out.x.len()];
        Noise::new(plan.seed, FORWARD).fill(&mut x);
        Points { x, ..held_out }
    };
    let (off_curve, colours) = against(&curve, &held_out);
    let data = Facts {
        name: "Swiss roll",
        count: plan.count,
        energy: energy_distance(&held_out, &swiss_roll::draw(Split::Train, plan.count)),
        off_curve,
        energy_of_noise: energy_distance(&held_out, &noise),
    };
    let mut gallery = Gallery::default();
    if let Some(subject) = subjects.first() {
        gallery.forward = forward(&subject.network.schedule()?, &held_out, &noise, &colours);
        let paths = flow(plan, subject, &curve, device)?;
        gallery.trajectories = Some(paths);
    }

    let samplings = plan.samplings();
    let rounds = samplings.iter().flat_map(|sampling| {
        let steps = plan.steps.iter();
        steps.map(|&steps| u64::from(sampling.method.evaluations(steps)))
    });
    let rounds = rounds.sum::<u64>() * (subjects.len() * plan.count) as u64;
    let phase = Phase::begin("sampling", rounds, plan.progress)?;
    let mut sets = Vec::new();
    for subject in subjects {
        let model = subject.facts.numbers;
        let mut panels = Vec::new();
        for sampling in &samplings {
            for &steps in &plan.steps {
                phase.set_message(format!("{model}, {}, {steps} steps", sampling.name));
                let request = plan.request(sampling.method, steps);
                let start = Instant::now();
                let points = subject
                    .network
                    .points(&request, device, &|_| phase.inc(1))?;
                let seconds = start.elapsed().as_secs_f64();
                let (off_curve, colours) = against(&curve, &points);
                sets.push(SetResult {
                    model,
                    sampler: sampling.name.clone(),
                    steps,
                    evaluations: sampling.method.evaluations(steps),
                    energy: energy_distance(&points, &held_out),
                    off_curve,
                    seconds,
                });
                panels.push(Panel {
                    caption: format!("{}, {steps} steps", sampling.name),
                    points: first(&points, SHOWN),
                    colours: first_of(&colours, SHOWN),
                });
            }
        }
        gallery.samples.push((model, panels));
    }
    phase.finish();
    let evaluation = PointsEvaluation {
        format: FORMAT,
        data,
        seed: plan.seed,
        spacing: plan.spacing.name(),
        models: subjects.iter().map(|s| s.facts.clone()).collect(),
        sets,
    };
    Ok((evaluation, gallery))
}

impl Network<'_> {
    /// Whether it is a model for points.
    pub(in super::super) fn draws_points(&self) -> bool {
        let data = match self {
            Self::Float(config, _) => config.network.data(),
            Self::Int8(model) => model.topology().data(),
            Self::Fixed(_) => return false,
        };
        matches!(data, Data::Point { .. })
    }

    /// Values of a point; 0 of pictures that are there already.
    fn values(&self) -> usize {
        match self {
            Self::Float(config, _) => config.network.pixels(),
            Self::Int8(model) => model.topology().pixels(),
            Self::Fixed(_) => 0,
        }
    }

    fn schedule(&self) -> Result<Schedule> {
        match self {
            Self::Float(config, _) => config.schedule(),
            Self::Int8(model) => Ok(model.schedule()),
            Self::Fixed(_) => anyhow::bail!("pictures have no schedule"),
        }
    }

    /// Points as asked for, showing each to `watch` after every step.
    fn points(
        &self,
        request: &Request,
        device: &Device,
        watch: &(dyn Fn(&Progress<'_>) + Sync),
    ) -> Result<Points> {
        match self {
            Self::Float(config, network) => {
                generate_float_points(network, config, request, device, |progress| {
                    watch(&progress);
                })
            }
            Self::Int8(model) => Ok(generate_points(model, request, |progress| {
                if progress.step > 0 {
                    watch(&progress);
                }
                ControlFlow::Continue(())
            })?),
            Self::Fixed(_) => anyhow::bail!("pictures are no points"),
        }
    }
}

fn first(points: &Points, count: usize) -> Points {
    let count = count.min(points.len());
    Points {
        values: points.values,
        x: points.x[..count * points.values].to_vec(),
    }
}

fn first_of(colours: &[f64], count: usize) -> Vec<f64> {
    colours.iter().copied().take(count).collect()
}

/// Root mean square distance from the curve, and each point's place along it.
fn against(curve: &Curve, points: &Points) -> (f64, Vec<f64>) {
    use rayon::prelude::*;
    let found: Vec<(f64, f64)> = points
        .x
        .par_chunks_exact(points.values)
        .map(|point| curve.nearest([point[0].into(), point[1].into()]))
        .collect();
    let squares: f64 = found.iter().map(|(distance, _)| distance * distance).sum();
    let places = found.into_iter().map(|(_, place)| place).collect();
    ((squares / points.len() as f64).sqrt(), places)
}

/// Held-out points on their way to noise.
fn forward(schedule: &Schedule, x_0: &Points, noise: &Points, colours: &[f64]) -> Vec<Panel> {
    let panel = |share: f64| {
        let t = (share * f64::from(schedule.timesteps())).round() as u16;
        let (signal, deviation) = signal_and_noise(schedule.alpha_bar(t));
        let x = x_0.x.iter().zip(&noise.x);
        let points = Points {
            values: x_0.values,
            x: x.map(|(x, e)| signal * x + deviation * e).collect(),
        };
        Panel {
            caption: format!("t = {t}"),
            points: first(&points, SHOWN),
            colours: first_of(colours, SHOWN),
        }
    };
    SHARES.map(panel).to_vec()
}

/// The probability flow from noise to data: DDIM without noise in small steps.
fn flow(
    plan: &Plan,
    subject: &Subject<'_>,
    curve: &Curve,
    device: &Device,
) -> Result<Trajectories> {
    let schedule = subject.network.schedule()?;
    let steps = PATH_STEPS.min(schedule.timesteps());
    let request = Request {
        count: PATHS,
        ..plan.request(Method::Ddim { eta: 0.0 }, steps)
    };
    let values = subject.network.values();
    // Where each begins is the noise that its sampler begins with.
    let starts = (0..PATHS as u64).map(|picture| {
        let mut x = vec![0.0; values];
        Noise::new(plan.seed, picture).fill(&mut x);
        std::sync::Mutex::new(x)
    });
    let paths: Vec<std::sync::Mutex<Vec<f32>>> = starts.collect();
    subject.network.points(&request, device, &|progress| {
        if let Ok(mut path) = paths[progress.picture].lock() {
            path.extend(progress.x);
        }
    })?;
    let paths: Vec<Points> = paths
        .into_iter()
        .map(|path| Points {
            values,
            x: path.into_inner().unwrap_or_default(),
        })
        .collect();
    let ends = Points {
        values,
        x: paths
            .iter()
            .flat_map(|path| path.x[path.x.len() - values..].to_vec())
            .collect(),
    };
    Ok(Trajectories {
        model: subject.facts.numbers,
        steps,
        colours: against(curve, &ends).1,
        paths,
    })
}
