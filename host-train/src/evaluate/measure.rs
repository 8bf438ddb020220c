//! From models and real pictures to an [`Evaluation`].

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use tiny_ddpm::{Method, Model, Spacing};

use super::bound::bounds;
use super::nearness::{
    TWINS_SOUGHT, distances, first_percentile, gathered, share_below, twin_distances,
};
use super::report::{Gallery, ModelPictures};
use super::results::{
    Accuracy, BoundResult, DataFacts, Difference, Evaluation, FORMAT, ModelFacts, Neighbour,
    Neighbours, Real, SetResult, Settings, Spread, TestPictures,
};
use super::warnings::warnings;
use crate::config::Config;
use crate::data::{Dataset, to_unit};
use crate::generate::float::generate_float;
use crate::generate::{Classes, Pictures, Request, generate};
use crate::metrics::classifier::{Classifier, Readings};
use crate::metrics::features::draw;
use crate::metrics::{self, Features, Manifold, frechet, nearest};
use crate::network::denoiser::FloatDenoiser;
use crate::network::{self, NoTaps};
use crate::output::Grid;
use crate::progress::Phase;

/// Draws the real pictures: the same for every model, so that reports compare.
const REAL_SEED: u64 = 1;
/// Fewest pictures in a set: neighbourhoods hold five others.
pub const MIN_COUNT: usize = 10;
/// Pictures whose nearest neighbours are sought.
const SOUGHT: usize = 200;
/// Those of them that are shown.
const PAIRS: usize = 10;
/// Test pictures in the network at once for the bound, of a small one.
const BOUND_BATCH: usize = 100;

/// Who reads pictures: a [`Classifier`], or in tests something quicker.
pub trait Judge {
    /// Share of real test pictures that it reads right.
    fn test_accuracy(&self) -> f64;

    /// Classes and features of pictures, given as grey bytes.
    ///
    /// # Errors
    /// Where the bytes are no whole number of pictures.
    fn read(&self, pictures: &[u8]) -> Result<Readings>;
}

impl Judge for Classifier {
    fn test_accuracy(&self) -> f64 {
        self.test_accuracy()
    }

    fn read(&self, pictures: &[u8]) -> Result<Readings> {
        self.read(pictures)
    }
}

/// A model to be measured.
#[derive(Debug)]
pub struct Subject<'b> {
    /// What the report says of it.
    pub facts: ModelFacts,
    /// The model.
    pub network: Network<'b>,
}

/// Float or integers.
#[derive(Debug)]
pub enum Network<'b> {
    /// A run's averaged weights.
    Float(Box<Config>, Box<network::Network>),
    /// A blob's.
    Int8(Box<Model<'b>>),
    /// Pictures that are there already, wherever they come from.
    Fixed(Pictures),
}

impl Network<'_> {
    /// Pixels a side.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Float(config, _) => config.network.image_size(),
            Self::Int8(model) => model.topology().image_size.into(),
            Self::Fixed(pictures) => pictures.size,
        }
    }

    /// Classes that can be asked for; of pictures that are there, as many as
    /// the highest one's number needs.
    #[must_use]
    pub fn classes(&self) -> u16 {
        match self {
            Self::Float(config, _) => config.network.classes(),
            Self::Int8(model) => model.topology().classes,
            Self::Fixed(pictures) => {
                let most = pictures.classes.iter().flatten().max();
                most.map_or(0, |&class| u16::from(class) + 1)
            }
        }
    }

    /// Checks a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn accepts(&self, request: &Request) -> Result<()> {
        let settings = request.settings(0, self.classes());
        match self {
            Self::Fixed(pictures) => ensure!(
                pictures.len() >= request.count,
                "there are only {} pictures, fewer than --count {}",
                pictures.len(),
                request.count
            ),
            Self::Float(config, _) => {
                settings.validate(&config.schedule()?)?;
                if config.is_conditional_only() {
                    request.validate_with_class()?;
                }
            }
            Self::Int8(model) => {
                settings.validate(&model.schedule())?;
                if model.is_conditional_only() {
                    request.validate_with_class()?;
                }
            }
        }
        Ok(())
    }

    /// Which `count` of a set of `of` pictures stand for it: the first, which
    /// have every class in turn; of pictures from elsewhere, in whatever order
    /// they are, some drawn at random.
    fn sample(&self, of: usize, count: usize) -> Vec<usize> {
        match self {
            Self::Fixed(_) if count < of => {
                let mut drawn = draw(of, count, REAL_SEED);
                drawn.sort_unstable();
                drawn
            }
            _ => (0..count.min(of)).collect(),
        }
    }

    fn generate(&self, request: &Request, device: &Device, phase: &Phase) -> Result<Pictures> {
        match self {
            Self::Float(config, network) => {
                generate_float(network, config, request, device, |steps| phase.inc(steps))
            }
            Self::Int8(model) => Ok(generate(model, request, |progress| {
                if progress.step > 0 {
                    phase.inc(1);
                }
                ControlFlow::Continue(())
            })?),
            Self::Fixed(pictures) => Ok(pictures.first(request.count)),
        }
    }
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How pictures are generated, as the report says it.
    pub settings: Settings,
    /// The sampler.
    pub method: Method,
    /// The timesteps' rule.
    pub spacing: Spacing,
    /// The names of the data's classes; empty where they have none.
    pub class_names: Vec<String>,
    /// Test pictures for the bound; 0 for none.
    pub bound_pictures: usize,
    /// Whether progress is shown.
    pub progress: bool,
}

impl Plan {
    /// The pictures of a set.
    #[must_use]
    pub fn request(&self, classes: u16, steps: u16) -> Request {
        let settings = &self.settings;
        Request {
            count: settings.count,
            walk: None,
            first: 0,
            classes: match classes {
                0 => Classes::None,
                _ => Classes::All,
            },
            method: self.method,
            steps,
            spacing: self.spacing,
            guidance: settings.guidance,
            clip: true,
            seed: settings.seed,
        }
    }

    /// Checks what depends on the data and the models.
    ///
    /// # Errors
    /// What to change.
    pub fn validate(
        &self,
        subjects: &[Subject<'_>],
        train: &Dataset,
        test: &Dataset,
    ) -> Result<()> {
        let (count, most) = (self.settings.count, train.len() / 2);
        ensure!(
            (MIN_COUNT..=most).contains(&count),
            "--count {count}: must be {MIN_COUNT} to {most}, half of the {} training pictures, for one half is held against the other",
            train.len()
        );
        ensure!(
            test.len() >= MIN_COUNT,
            "the data has {} test pictures: it needs {MIN_COUNT}, which stand beside what is generated",
            test.len()
        );
        for subject in subjects {
            for &steps in &self.settings.steps {
                let request = self.request(subject.network.classes(), steps);
                subject.network.accepts(&request)?;
            }
        }
        Ok(())
    }

    fn phase(&self, length: u64, what: String) -> Result<Phase> {
        Phase::begin(what, length, self.progress)
    }
}

/// Measures everything.
///
/// # Errors
/// Where the plan does not fit models and data, or a computation fails.
pub fn measure(
    plan: &Plan,
    subjects: &[Subject<'_>],
    train: &Dataset,
    test: &Dataset,
    judge: &impl Judge,
    device: &Device,
) -> Result<(Evaluation, Gallery)> {
    plan.validate(subjects, train, test)?;
    let classes = subjects.first().context("no model")?.network.classes();
    let mut gallery = Gallery {
        size: train.size,
        classes: classes.into(),
        labels: match plan.class_names.len() == usize::from(classes) {
            true => plan.class_names.clone(),
            false => Vec::new(),
        },
        models: Vec::new(),
    };

    let (real, reference) = real(plan, train, test, judge)?;
    let settings = plan.settings.clone();
    let pixels = train.size * train.size;
    let mut sets = Vec::new();
    let mut neighbours: Vec<Neighbours> = Vec::new();
    let mut shown: Vec<Vec<Pictures>> = Vec::new();
    let sought = SOUGHT.min(settings.count).min(test.len());
    let test_distances = distances(&test.pixels[..sought * pixels], train);
    let near = first_percentile(&test_distances);
    let test_distances = Spread::of(&test_distances).context("no test pictures")?;
    for subject in subjects {
        let mut kept = Vec::new();
        for &steps in &settings.steps {
            let (set, pictures) = set(plan, subject, steps, &reference, judge, device)?;
            sets.push(set);
            kept.push(pictures);
        }
        let at = settings
            .steps
            .iter()
            .position(|&s| s == settings.shown_steps);
        let pictures = &kept[at.unwrap_or(0)];
        let shown_at_most = Grid::most(classes.into());
        let mut in_turn = pictures.classes.iter().take(shown_at_most).enumerate();
        // Pictures from elsewhere need not be.
        if !in_turn
            .all(|(index, class)| class.map(usize::from) == index.checked_rem(classes.into()))
        {
            gallery.classes = 0;
            gallery.labels.clear();
        }
        let chosen = subject.network.sample(pictures.len(), sought);
        let found = nearest(&gathered(pictures, &chosen), &train.pixels, pixels);
        let generated: Vec<f64> = found.iter().map(|near| near.distance).collect();
        let pairs = &found[..PAIRS.min(found.len())];
        gallery.models.push(ModelPictures {
            numbers: subject.facts.numbers,
            generated: pictures
                .iter()
                .take(shown_at_most)
                .flatten()
                .copied()
                .collect(),
            nearest: pairs
                .iter()
                .flat_map(|near| train.picture(near.index))
                .copied()
                .collect(),
        });
        neighbours.push(Neighbours {
            model: subject.facts.numbers,
            generated: chosen
                .iter()
                .zip(pairs)
                .map(|(&picture, near)| Neighbour {
                    picture,
                    nearest: near.index,
                    distance: near.distance,
                })
                .collect(),
            generated_distances: Spread::of(&generated).context("no training pictures")?,
            test_distances,
            nearer: share_below(&generated, near),
        });
        shown.push(kept);
    }

    let mut found_bounds = Vec::new();
    for subject in subjects {
        // A network distilled to few steps is no denoiser, and has no bound.
        if let Network::Float(config, network) = &subject.network
            && config.training.few_step.is_none()
        {
            let model = subject.facts.numbers;
            found_bounds.extend(bound(plan, model, config, network, test, device)?);
        }
    }
    let differences = match shown.as_slice() {
        [one, other] => one
            .iter()
            .zip(other)
            .zip(&settings.steps)
            .map(|((one, other), &steps)| difference(steps, one, other))
            .collect(),
        _ => Vec::new(),
    };
    let mut evaluation = Evaluation {
        format: FORMAT,
        data: DataFacts {
            train: train.len(),
            test: test.len(),
            train_sha256: train.fingerprint(),
            class_names: plan.class_names.clone(),
        },
        judge_test_accuracy: judge.test_accuracy(),
        settings,
        models: subjects.iter().map(|s| s.facts.clone()).collect(),
        real,
        sets,
        neighbours,
        bounds: found_bounds,
        differences,
        warnings: Vec::new(),
    };
    evaluation.warnings = warnings(&evaluation);
    Ok((evaluation, gallery))
}

/// What every set is held against: some training pictures.
struct Reference {
    features: Features,
    labels: Vec<u8>,
    /// A picture with another one nearer than this has a twin.
    twins_within: f64,
}

/// What real pictures get: two halves of training pictures against each other,
/// and test pictures against one of them, which every set is held against.
/// All are drawn at random: MNIST has its digits in rounds, so every tenth
/// picture is no fair sample.
fn real(
    plan: &Plan,
    train: &Dataset,
    test: &Dataset,
    judge: &impl Judge,
) -> Result<(Real, Reference)> {
    let count = plan.settings.count;
    let read = |what: &str, data: &Dataset, chosen: &[usize]| -> Result<(Vec<u8>, Features)> {
        let phase = plan.phase(1, format!("reading real pictures, {what}"))?;
        let pictures = chosen.iter().flat_map(|&index| data.picture(index));
        let pictures: Vec<u8> = pictures.copied().collect();
        let features = judge.read(&pictures)?.features;
        phase.finish();
        Ok((pictures, features))
    };
    let drawn = draw(train.len(), 2 * count, REAL_SEED);
    let (half, other) = drawn.split_at(count);
    let tested = draw(test.len(), count, REAL_SEED);
    let pixels = train.size * train.size;
    let (pictures, features) = read("1 of 3", train, half)?;
    let twins_within = first_percentile(&twin_distances(&pictures, pixels));
    let (_, other) = read("2 of 3", train, other)?;
    let (test_pictures, test_features) = read("3 of 3", test, &tested)?;
    let real = Real {
        count,
        frechet: frechet::distance(&features, &other),
        manifold: Manifold::new(&features, &other)?,
        test: TestPictures {
            count: tested.len(),
            frechet: frechet::distance(&features, &test_features),
            manifold: Manifold::new(&features, &test_features)?,
            twins: share_below(&twin_distances(&test_pictures, pixels), twins_within),
        },
    };
    let reference = Reference {
        features,
        labels: half.iter().map(|&index| train.labels[index]).collect(),
        twins_within,
    };
    Ok((real, reference))
}

/// Coverage of each class alone.
fn class_coverage(labels: &[u8], covered: &[bool], classes: u16) -> Vec<Option<f64>> {
    (0..classes)
        .map(|class| {
            let own = labels.iter().zip(covered);
            let own = own.filter(|(label, _)| u16::from(**label) == class);
            let (mut all, mut found) = (0.0, 0.0);
            for (_, &covered) in own {
                all += 1.0;
                found += f64::from(u8::from(covered));
            }
            (all > 0.0).then(|| found / all)
        })
        .collect()
}

/// Generates a set and judges it.
fn set(
    plan: &Plan,
    subject: &Subject<'_>,
    steps: u16,
    reference: &Reference,
    judge: &impl Judge,
    device: &Device,
) -> Result<(SetResult, Pictures)> {
    let model = subject.facts.numbers;
    let request = plan.request(subject.network.classes(), steps);
    let all_steps = request.count as u64 * u64::from(request.rounds());
    let what = match steps {
        0 => model.to_owned(),
        steps => format!("{model}, {steps} steps"),
    };
    let phase = plan.phase(all_steps, what.clone())?;
    let start = Instant::now();
    let pictures = subject.network.generate(&request, device, &phase)?;
    let seconds = start.elapsed().as_secs_f64();
    phase.finish();

    let phase = plan.phase(1, format!("judging {what}"))?;
    let readings = judge.read(&pictures.pixels)?;
    let asked: Option<Vec<u8>> = pictures.classes.iter().copied().collect();
    let accuracy = asked.map(|asked| accuracy(&asked, &readings.classes));
    let features = &readings.features;
    let (manifold, covered) = Manifold::with_covered(&reference.features, features)?;
    let classes = reference.labels.iter().max();
    let classes = classes.map_or(0, |&class| u16::from(class) + 1);
    let pixels = pictures.size * pictures.size;
    let chosen = subject.network.sample(pictures.len(), TWINS_SOUGHT);
    let twins = twin_distances(&gathered(&pictures, &chosen), pixels);
    let set = SetResult {
        model,
        steps,
        evaluations: request.settings(0, subject.network.classes()).evaluations(),
        seconds,
        accuracy: accuracy.transpose()?,
        frechet: frechet::distance(&reference.features, features),
        manifold,
        class_coverage: class_coverage(&reference.labels, &covered, classes),
        twins: share_below(&twins, reference.twins_within),
    };
    phase.finish();
    Ok((set, pictures))
}

fn accuracy(asked: &[u8], read: &[u8]) -> Result<Accuracy> {
    let found = metrics::Accuracy::new(asked, read)?;
    Ok(Accuracy {
        overall: found.overall(),
        classes: (0..found.classes()).map(|c| found.of_class(c)).collect(),
    })
}

/// The variational bound for either variance, over the first test pictures.
fn bound(
    plan: &Plan,
    model: &'static str,
    config: &Config,
    network: &network::Network,
    test: &Dataset,
    device: &Device,
) -> Result<Vec<BoundResult>> {
    let count = plan.bound_pictures.min(test.len());
    if count == 0 {
        return Ok(Vec::new());
    }
    let (schedule, pixels) = (config.schedule()?, config.network.pixels());
    let batch = config.network.at_once(BOUND_BATCH);
    let length = count.div_ceil(batch) as u64 * u64::from(schedule.timesteps());
    let phase = plan.phase(length, format!("{model}, variational bound"))?;
    let mut found = Vec::new();
    for first in (0..count).step_by(batch) {
        let end = (first + batch).min(count);
        let conditional = config.network.classes() > 0;
        let classes = test.labels[first..end]
            .iter()
            .map(|&label| conditional.then_some(label))
            .collect();
        let x_0: Vec<f32> = test.pixels[first * pixels..end * pixels]
            .iter()
            .map(|&pixel| to_unit(pixel))
            .collect();
        let prediction = config.diffusion.prediction;
        let mut denoiser = FloatDenoiser::new(network, prediction, classes, device, NoTaps);
        found.extend(bounds(
            &schedule,
            &mut denoiser,
            &x_0,
            pixels,
            conditional.then_some(0),
            (plan.settings.seed, first as u64),
            |_| phase.inc(1),
        )?);
    }
    phase.finish();
    let n = count as f64;
    let summary = |which: usize, variance| {
        let mean = |part: fn(&super::bound::Bound) -> f64| {
            found.iter().map(|bounds| part(&bounds[which])).sum::<f64>() / n
        };
        let total = mean(super::bound::Bound::total);
        let squares = found
            .iter()
            .map(|bounds| (bounds[which].total() - total).powi(2));
        BoundResult {
            model,
            variance,
            pictures: count,
            prior: mean(|bound| bound.prior),
            diffusion: mean(|bound| bound.diffusion),
            decoder: mean(|bound| bound.decoder),
            total,
            standard_error: (count > 1).then(|| (squares.sum::<f64>() / (n - 1.0) / n).sqrt()),
        }
    };
    Ok(vec![summary(0, "beta"), summary(1, "posterior")])
}

/// How far apart two sets are, pixel by pixel.
fn difference(steps: u16, one: &Pictures, other: &Pictures) -> Difference {
    let means: Vec<f64> = one
        .iter()
        .zip(other.iter())
        .map(|(one, other)| {
            let apart = one
                .iter()
                .zip(other)
                .map(|(a, b)| u32::from(a.abs_diff(*b)));
            f64::from(apart.sum::<u32>()) / one.len() as f64
        })
        .collect();
    Difference {
        steps,
        mean: means.iter().sum::<f64>() / means.len() as f64,
        worst: means.iter().copied().fold(0.0, f64::max),
    }
}
