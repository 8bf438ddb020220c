//! The story of a cloud of points, of which one is followed.
//!
//! Data of two dimensions can be drawn as they are, and the best answer that
//! any network could give is known: what the page shows of the network is held
//! against it.

use anyhow::{Result, ensure};
use rayon::prelude::*;
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::diffusion::prediction::signal_and_noise;
use tiny_ddpm::{Data, Method, Model, Schedule, Settings, Unet};

use super::{
    Asked, Lesson, Noised, Trajectory, forward, lesson, mean_square, methods, noise, shown, stream,
    trajectory,
};
use crate::data::Split;
use crate::data::swiss_roll::{self, Curve, VALUES};
use crate::points::Points;

/// Points of the cloud.
const CLOUD: usize = 400;
/// Points that are led out of the noise; of the whole chain as many as have
/// their paths drawn.
const FLOCK: usize = 240;
/// Points whose paths are drawn.
const PATHS: usize = 40;
/// Where of T the forward process is shown.
const SHOWN: [f64; 7] = [0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0];
/// Training points that stand for all data where the best answer is sought:
/// so many lie closer together along the curve than any noise that is shown.
const DATA: usize = 4000;
/// Arrows a side of a field.
const ARROWS: u8 = 13;
/// How far to the sides a field reaches, in deviations of x_t.
const FIELD: f64 = 2.4;
/// Largest number of a held-out point.
pub const MAX_POINT: usize = 999_999;

/// Everything that is told.
#[derive(Clone, Debug)]
pub struct PointsStory {
    /// The cloud; the first of it is followed.
    pub x_0: Points,
    /// Where along the curve each of it lies, 0 to 1.
    pub places: Vec<f64>,
    /// The cloud's way into the noise, all points as one.
    pub forward: Vec<Noised>,
    /// The followed point before and after each of the T steps.
    pub walk: Points,
    /// What the network says at each of these stages but the first.
    pub lessons: Vec<PointsLesson>,
    /// The way that the model's makers recommend.
    pub reverse: Flock,
    /// Every sampler, from the same noise.
    pub samplers: Vec<Flock>,
}

/// What the network is shown, asked and says of a cloud, beside what it should.
#[derive(Clone, Debug)]
pub struct PointsLesson {
    /// Of the whole cloud.
    pub lesson: Lesson,
    /// Mean square of x_0 less x̂_0.
    pub error: f64,
    /// E[x_0 | x_t]: no x̂_0 has a smaller square error.
    pub best: Vec<f32>,
    /// What that has.
    pub best_error: f64,
    /// From each place x_t of a lattice, where the network sees less noise:
    /// towards sqrt(ᾱ) x̂_0, which is along the score ∇ log p(x_t). All shortened
    /// alike, so that the longest goes as far as the next place.
    pub field: Vec<[[f32; VALUES]; 2]>,
    /// How far to the sides the lattice reaches.
    pub reach: f32,
}

/// Points on their way out of the noise.
#[derive(Clone, Debug)]
pub struct Flock {
    /// How x_s was drawn from x_t.
    pub method: Method,
    /// Timesteps visited.
    pub steps: u16,
    /// Runs of the network for each point.
    pub evaluations: usize,
    /// Of each point.
    pub ways: Vec<Trajectory>,
    /// Where along the curve each ends, 0 to 1.
    pub places: Vec<f64>,
    /// Root mean square distance of the ends from the curve.
    pub off_curve: f64,
}

impl Flock {
    /// Where the points end.
    #[must_use]
    pub fn ends(&self) -> Points {
        self.at(|way| &way.x_0)
    }

    /// All points at a stage of their ways.
    #[must_use]
    pub fn at<'w>(&'w self, stage: impl Fn(&'w Trajectory) -> &'w [f32]) -> Points {
        Points {
            values: VALUES,
            x: self.ways.iter().flat_map(stage).copied().collect(),
        }
    }

    /// The ways whose paths are drawn, each with its place: no more than `most`
    /// stages of each, and its end.
    #[must_use]
    pub fn paths(&self, most: usize) -> Vec<(Points, f64)> {
        let path = |way: &Trajectory| {
            let every = way.frames.len().div_ceil(most).max(1);
            let frames = way.frames.iter().step_by(every);
            let x = frames.flat_map(|frame| &frame.x_t).chain(&way.x_0);
            Points {
                values: VALUES,
                x: x.copied().collect(),
            }
        };
        let ways = self.ways.iter().zip(&self.places).take(PATHS);
        ways.map(|(way, &place)| (path(way), place)).collect()
    }
}

impl PointsStory {
    /// Computes everything for a cloud of held-out points, from number `point`
    /// on.
    ///
    /// # Errors
    /// Where the model's points are not those of the Swiss roll, there is no
    /// such point, or the model cannot be asked for this.
    pub fn new(model: &Model<'_>, point: usize, asked: Asked) -> Result<Self> {
        let Data::Point { values } = model.topology().data() else {
            anyhow::bail!("the model is one for pictures");
        };
        ensure!(
            usize::from(values) == VALUES,
            "the model draws points of {values} values; the Swiss roll, which is what `explain` shows of points, has {VALUES}"
        );
        ensure!(
            point <= MAX_POINT,
            "--point {point}: must be 0 to {MAX_POINT}"
        );
        let drawn = swiss_roll::draw(Split::Test, point + CLOUD);
        let x_0 = Points {
            values: VALUES,
            x: drawn.x[point * VALUES..].to_vec(),
        };
        let curve = Curve::default();
        let schedule = model.schedule();
        let epsilon = noise(asked.seed, stream::POINTS_AT_ONCE, x_0.x.len());
        let mut steps = Noise::new(asked.seed, stream::POINTS_STEP_BY_STEP);
        let all: Vec<u16> = (0..=schedule.timesteps()).collect();
        let mut forward = forward(&schedule, &x_0.x, &epsilon, &mut steps, &all);
        let walk = forward.iter().flat_map(|n| &n.step_by_step[..VALUES]);
        let walk = Points {
            values: VALUES,
            x: walk.copied().collect(),
        };
        let shown = shown(&schedule, &SHOWN);
        forward.retain(|noised| shown.contains(&noised.timestep));

        let data = swiss_roll::draw(Split::Train, DATA);
        let mut workspace = vec![0; model.workspace_words()];
        let mut unet = Unet::new(model, &mut workspace)?;
        let lessons = forward
            .iter()
            .filter(|noised| noised.timestep > 0)
            .map(|noised| {
                let lesson = lesson(&mut unet, noised, &x_0.x, &epsilon, VALUES, asked.class)?;
                let best = means(&lesson.x_t, noised.alpha_bar, &data);
                let error =
                    |x0_hat: &[f32]| mean_square(x_0.x.iter().zip(x0_hat).map(|(x_0, x)| x_0 - x));
                Ok(PointsLesson {
                    error: error(&lesson.x0_hat),
                    best_error: error(&best),
                    best,
                    field: field(&mut unet, noised, reach(noised))?,
                    reach: reach(noised),
                    lesson,
                })
            })
            .collect::<Result<_>>()?;
        let settings = asked.settings(model, stream::REVERSE);
        let follow = |method, steps| {
            let settings = settings.method(method).steps(steps);
            flock(model, settings, &curve)
        };
        Ok(Self {
            places: x_0.iter().map(|x| nearest(&curve, x).1).collect(),
            x_0,
            forward,
            walk,
            lessons,
            reverse: follow(settings.method, settings.steps)?,
            samplers: methods(asked.steps, schedule.timesteps())
                .into_iter()
                .map(|(method, steps)| follow(method, steps))
                .collect::<Result<_>>()?,
        })
    }
}

fn nearest(curve: &Curve, point: &[f32]) -> (f64, f64) {
    curve.nearest([point[0].into(), point[1].into()])
}

/// E[x_0 | x_t] of each point, where x_0 is one of the data: their mean, each
/// counting as much as its noise is likely.
fn means(x_t: &[f32], alpha_bar: f64, data: &Points) -> Vec<f32> {
    let (signal, _) = signal_and_noise(alpha_bar);
    let of = |x_t: &[f32]| {
        let noise = |x_0: &[f32]| {
            let off = x_t.iter().zip(x_0);
            let squares = off.map(|(x, x_0)| f64::from(x - signal * x_0).powi(2));
            squares.sum::<f64>() / (2.0 * (1.0 - alpha_bar))
        };
        let least = data.iter().map(noise).fold(f64::INFINITY, f64::min);
        let (mut sum, mut all) = ([0.0; VALUES], 0.0);
        for x_0 in data.iter() {
            let weight = libm::exp(least - noise(x_0));
            all += weight;
            for (sum, &x_0) in sum.iter_mut().zip(x_0) {
                *sum += weight * f64::from(x_0);
            }
        }
        sum.map(|sum| (sum / all) as f32)
    };
    x_t.par_chunks_exact(VALUES).flat_map(of).collect()
}

/// How far to the sides a field reaches.
fn reach(noised: &Noised) -> f32 {
    let x = &noised.at_once;
    (FIELD * mean_square(x.iter().copied()).sqrt()) as f32
}

/// What the network takes for noise, taken back, from every place of a lattice.
fn field(
    unet: &mut Unet<'_, '_, '_>,
    noised: &Noised,
    reach: f32,
) -> Result<Vec<[[f32; VALUES]; 2]>> {
    use tiny_ddpm::Denoiser;
    let (signal, _) = signal_and_noise(noised.alpha_bar);
    let prediction = unet.prediction();
    let at = |index: u8| reach * (2.0 * f32::from(index) / f32::from(ARROWS - 1) - 1.0);
    let mut ways = Vec::new();
    for (row, column) in (0..ARROWS).flat_map(|row| (0..ARROWS).map(move |column| (row, column))) {
        let from = [at(column), at(row)];
        let mut x0_hat = [0.0; VALUES];
        unet.predict(&from, noised.timestep, None, &mut x0_hat)?;
        prediction.to_x0_hat(noised.alpha_bar, &from, &mut x0_hat);
        let way = [0, 1].map(|i| signal * x0_hat[i] - from[i]);
        ways.push((from, way));
    }
    let longest = ways.iter().map(|(_, [x, y])| x.hypot(*y));
    let longest = longest.fold(f32::MIN_POSITIVE, f32::max);
    let length = (at(1) - at(0)) / longest;
    let arrow = |([x, y], [right, up]): ([f32; VALUES], [f32; VALUES])| {
        [[x, y], [x + length * right, y + length * up]]
    };
    Ok(ways.into_iter().map(arrow).collect())
}

/// Leads points out of the noise, numbered as `tiny-ddpm sample` does.
fn flock(model: &Model<'_>, settings: Settings, curve: &Curve) -> Result<Flock> {
    let schedule: Schedule = model.schedule();
    let count = match settings.steps == schedule.timesteps() {
        true => PATHS,
        false => FLOCK,
    };
    let ways: Vec<Result<Trajectory>> = (0..count as u64)
        .into_par_iter()
        .map_init(
            || vec![0; model.workspace_words()],
            |workspace, picture| {
                let mut unet = Unet::new(model, workspace)?;
                let settings = settings.picture(picture);
                trajectory(schedule, settings, VALUES, &mut unet)
            },
        )
        .collect();
    let ways: Vec<Trajectory> = ways.into_iter().collect::<Result<_>>()?;
    let found: Vec<(f64, f64)> = ways.iter().map(|way| nearest(curve, &way.x_0)).collect();
    let squares: f64 = found.iter().map(|(off, _)| off * off).sum();
    Ok(Flock {
        method: settings.method,
        steps: settings.steps,
        evaluations: ways.first().map_or(0, |way| way.evaluations),
        off_curve: (squares / found.len() as f64).sqrt(),
        places: found.into_iter().map(|(_, place)| place).collect(),
        ways,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate_points;
    use std::ops::ControlFlow;
    use tiny_ddpm::picture::state_hash;

    const ASKED: Asked = Asked {
        class: None,
        steps: 20,
        seed: 5,
    };

    fn blob() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/swiss-roll.tddpm");
        std::fs::read(path).unwrap()
    }

    #[test]
    fn the_best_answer_is_between_no_answer_and_the_data() {
        let data = swiss_roll::draw(Split::Train, DATA);
        let x_0 = swiss_roll::draw(Split::Test, 50);
        // With hardly any noise it is x_t, with nothing else the data's mean.
        for (alpha_bar, expected) in [(1.0 - 1e-6, x_0.x.clone()), (1e-9, mean(&data, 50))] {
            let (signal, sigma) = signal_and_noise(alpha_bar);
            let epsilon = noise(1, 0, x_0.x.len());
            let pairs = x_0.x.iter().zip(&epsilon);
            let x_t: Vec<f32> = pairs.map(|(x, e)| signal * x + sigma * e).collect();
            let found = means(&x_t, alpha_bar, &data);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 0.02, "{found} {expected}");
            }
        }
    }

    fn mean(data: &Points, times: usize) -> Vec<f32> {
        let count = data.len() as f32;
        let sum = data.iter().fold([0.0; 2], |[a, b], x| [a + x[0], b + x[1]]);
        sum.map(|sum: f32| sum / count).repeat(times)
    }

    #[test]
    fn a_model_from_noise_to_points() {
        let blob = blob();
        let model = Model::load(&blob).unwrap();
        let story = PointsStory::new(&model, 7, ASKED).unwrap();
        let held_out = swiss_roll::draw(Split::Test, 8);
        assert_eq!(story.x_0.x[..2], held_out.x[14..]);
        assert_eq!(story.x_0.len(), CLOUD);

        // The walk goes through the very places that are shown.
        assert_eq!(story.walk.len(), 1001);
        for noised in &story.forward {
            let t = 2 * usize::from(noised.timestep);
            assert_eq!(story.walk.x[t..t + 2], noised.step_by_step[..2]);
        }
        the_network_answers_nearly_best(&story);
        the_ways_back_are_those_of_sample(&model, &story);
    }

    fn the_network_answers_nearly_best(story: &PointsStory) {
        assert_eq!(story.lessons.len(), SHOWN.len() - 1);
        let mut before = 0.0;
        for found in &story.lessons {
            let t = found.lesson.timestep;
            // The best is best but for the chance of 400 points.
            assert!(found.error > 0.95 * found.best_error, "t = {t}: {found:?}");
            // And a network that learned is little worse.
            assert!(
                found.error < 1.25 * found.best_error + 1e-4,
                "t = {t}: {} beside {}",
                found.error,
                found.best_error
            );
            assert!(found.best_error > before, "t = {t}");
            before = found.best_error;
            assert_eq!(found.field.len(), usize::from(ARROWS).pow(2));
        }
        // In nothing but noise it is the mean of the data, wherever x_t is, and
        // everything is sent towards it.
        let last = story.lessons.last().unwrap();
        let inwards = last.field.iter().filter(|[from, to]| {
            let length = |[x, y]: &[f32; 2]| x.hypot(*y);
            length(to) < length(from)
        });
        assert!(inwards.count() * 10 > 9 * last.field.len());
    }

    fn the_ways_back_are_those_of_sample(model: &Model<'_>, story: &PointsStory) {
        let request = crate::generate::Request {
            count: FLOCK,
            ..ASKED.request(model)
        };
        let drawn = generate_points(model, &request, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(story.reverse.ends(), drawn);
        let first = &story.reverse.ways[0];
        assert_eq!(drawn.hashes().next(), Some(state_hash(&first.x_0)));
        assert_eq!(first.frames.len(), 20);
        for flock in &story.samplers {
            assert_eq!(flock.ways[0].frames[0].x_t, first.frames[0].x_t);
            let whole = flock.steps == model.schedule().timesteps();
            assert_eq!(flock.ways.len(), if whole { PATHS } else { FLOCK });
            let paths = flock.paths(50);
            assert_eq!(paths.len(), PATHS);
            for (path, place) in &paths {
                assert!(path.len() <= 51 && (0.0..=1.0).contains(place));
            }
            assert_eq!(paths[0].0.x[..2], first.frames[0].x_t[..]);
            let end = &paths[0].0.x[2 * (paths[0].0.len() - 1)..];
            assert_eq!(end, &flock.ways[0].x_0[..]);
            // Noise would be about 1 off.
            assert!(flock.off_curve < 0.15, "{:?}", flock.method);
        }
    }

    #[test]
    fn what_has_no_story() {
        let blob = blob();
        let model = Model::load(&blob).unwrap();
        let error = PointsStory::new(&model, MAX_POINT + 1, ASKED).unwrap_err();
        assert!(error.to_string().contains("--point 1000000"), "{error}");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano.tddpm");
        let pictures = std::fs::read(path).unwrap();
        let pictures = Model::load(&pictures).unwrap();
        assert!(PointsStory::new(&pictures, 0, ASKED).is_err());
    }
}
