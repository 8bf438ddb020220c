//! Exact predictors of Gaussian data give its distribution back.
//!
//! Every step is then affine with noise, x_s = A x_t + B + σ z, so mean and
//! variance after any number of steps are known exactly: [`Chain`] follows
//! them, from the papers' equations in ε. The samplers are compared with it,
//! and it is compared with the data.

use super::{Gaussian, METHODS, PREDICTIONS, cosine, generate, linear, plain};
use std::f64::consts::FRAC_PI_2;
use tiny_ddpm::noise::Noise;
use tiny_ddpm::sampler::timesteps;
use tiny_ddpm::{
    Denoiser, Method, Prediction, Schedule, ScheduleKind, Settings, Spacing, Variance,
};

pub const MEAN: f64 = 0.3;
pub const DEVIATION: f64 = 0.5;

pub fn predictor(schedule: Schedule, prediction: Prediction) -> Gaussian {
    Gaussian {
        schedule,
        prediction,
        mean: MEAN,
        deviation: DEVIATION,
    }
}

/// x_t = `slope` x_T + `offset`, plus independent noise of `variance`.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    pub slope: f64,
    pub offset: f64,
    pub variance: f64,
}

impl Chain {
    /// What a method makes of the exact predictor in `steps` steps.
    pub fn run(schedule: &Schedule, method: Method, steps: u16) -> Self {
        let pairs: Vec<(u16, u16)> = pairs(schedule, steps, Spacing::Trailing).collect();
        Self::along(schedule, method, &pairs)
    }

    /// What it makes of it over these steps from t to s.
    pub fn along(schedule: &Schedule, method: Method, pairs: &[(u16, u16)]) -> Self {
        if method.needs_memory() {
            // Several values of x go into a step: follow two.
            let offset = flow(schedule, method, pairs, 0.0);
            return Self {
                slope: flow(schedule, method, pairs, 1.0) - offset,
                offset,
                variance: 0.0,
            };
        }
        let mut chain = Self {
            slope: 1.0,
            offset: 0.0,
            variance: 0.0,
        };
        for &(t, s) in pairs {
            let (a, a_prev) = (schedule.alpha_bar(t), schedule.alpha_bar(s));
            // ε̂ = e_1 x_t + e_0.
            let (offset, slope) = predictor(*schedule, Prediction::Epsilon).x0_hat(a);
            let e_1 = (1.0 - a.sqrt() * slope) / (1.0 - a).sqrt();
            let e_0 = -a.sqrt() * offset / (1.0 - a).sqrt();
            let alpha = a / a_prev;
            let posterior = (1.0 - a_prev) / (1.0 - a) * (1.0 - alpha);
            // x_s = keep x_t + push ε̂ + σ z.
            let (keep, push, variance) = match method {
                Method::Ddpm { variance } => {
                    let variance = match variance {
                        _ if s == 0 => 0.0,
                        Variance::Beta => 1.0 - alpha,
                        Variance::Posterior => posterior,
                    };
                    let push = -(1.0 - alpha) / (1.0 - a).sqrt() / alpha.sqrt();
                    (1.0 / alpha.sqrt(), push, variance)
                }
                Method::Ddim { eta } => {
                    let variance = f64::from(eta).powi(2) * posterior;
                    let direction = (1.0 - a_prev - variance).max(0.0).sqrt();
                    let push = direction - (a_prev * (1.0 - a) / a).sqrt();
                    ((a_prev / a).sqrt(), push, variance)
                }
                // x̂_0.
                Method::EulerMaruyama if s == 0 => (1.0 / a.sqrt(), -(1.0 / a - 1.0).sqrt(), 0.0),
                Method::EulerMaruyama => {
                    let beta = (a_prev / a).ln();
                    (1.0 + beta / 2.0, -beta / (1.0 - a).sqrt(), beta)
                }
                other => unimplemented!("{other:?}"),
            };
            let (slope, offset) = (keep + push * e_1, push * e_0);
            chain = Self {
                slope: slope * chain.slope,
                offset: slope * chain.offset + offset,
                variance: slope * slope * chain.variance + variance,
            };
        }
        chain
    }

    /// Mean and variance of x_0, for x_T ~ N(0, 1).
    pub fn moments(self) -> (f64, f64) {
        (self.offset, self.slope * self.slope + self.variance)
    }
}

/// The steps of a chain, from t to s.
pub fn pairs(
    schedule: &Schedule,
    steps: u16,
    spacing: Spacing,
) -> impl Iterator<Item = (u16, u16)> {
    let timesteps = timesteps(*schedule, steps, spacing);
    let later = timesteps.clone().skip(1).chain([0]);
    timesteps.zip(later)
}

/// x_0 of a solver of the probability-flow ODE, as its paper writes it.
fn flow(schedule: &Schedule, method: Method, pairs: &[(u16, u16)], x_t: f64) -> f64 {
    let x0_hat = |t: u16, x: f64| {
        let (offset, slope) = predictor(*schedule, Prediction::X0).x0_hat(schedule.alpha_bar(t));
        offset + slope * x
    };
    let alpha = |t: u16| schedule.alpha_bar(t).sqrt();
    let sigma = |t: u16| (1.0 - schedule.alpha_bar(t)).sqrt();
    let lambda = |t: u16| (alpha(t) / sigma(t)).ln();
    let phi = |t: u16| FRAC_PI_2 - alpha(t).asin();
    let v = |t: u16, x: f64| {
        let epsilon = (x - alpha(t) * x0_hat(t, x)) / sigma(t);
        alpha(t) * epsilon - sigma(t) * x0_hat(t, x)
    };
    let mut x = x_t;
    // t and x̂_0 of the step before.
    let mut before: Option<(u16, f64)> = None;
    for &(t, s) in pairs {
        let here = x0_hat(t, x);
        x = match method {
            _ if s == 0 => here,
            Method::Heun => {
                let h = phi(s) - phi(t);
                let guess = x + h * v(t, x);
                x + h * (v(t, x) + v(s, guess)) / 2.0
            }
            Method::DpmSolver => {
                // The integral of e^(λ - λ_s) x̂_0 over λ, by Simpson's rule.
                let h = lambda(s) - lambda(t);
                let slope = before.map_or(0.0, |(earlier, there)| {
                    (here - there) / (lambda(t) - lambda(earlier))
                });
                let parts = 200;
                let integral: f64 = (0..=parts)
                    .map(|part| {
                        let gone = h * f64::from(part) / f64::from(parts);
                        let weight = match part {
                            0 => 1.0,
                            _ if part == parts => 1.0,
                            _ if part % 2 == 1 => 4.0,
                            _ => 2.0,
                        };
                        weight * (gone - h).exp() * (here + slope * gone)
                    })
                    .sum();
                before = Some((t, here));
                sigma(s) / sigma(t) * x + alpha(s) * integral * h / f64::from(3 * parts)
            }
            other => unimplemented!("{other:?}"),
        };
    }
    x
}

pub fn moments(values: &[f32]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
    (mean, squares / (count - 1.0))
}

/// Five standard errors of the mean and of the variance of so many normal
/// values: sqrt(v / n) and v sqrt(2 / n).
pub fn allowed(variance: f64, count: usize) -> (f64, f64) {
    let count = count as f64;
    (
        5.0 * (variance / count).sqrt(),
        5.0 * variance * (2.0 / count).sqrt(),
    )
}

fn with_method(method: Method, steps: u16) -> Settings {
    Settings {
        method,
        ..plain(steps)
    }
}

/// With all T steps each method's own distribution is the data's, but for the
/// steps' finite size: within 1% of the deviation and 2% of the variance.
#[test]
fn every_method_converges_to_the_data() {
    for schedule in [linear(), cosine()] {
        for method in METHODS {
            let (mean, variance) = Chain::run(&schedule, method, 1000).moments();
            let what = format!("{:?}, {method:?}: {mean}, {variance}", schedule.kind());
            assert!((mean - MEAN).abs() < 0.01 * DEVIATION, "{what}");
            let ratio = variance / (DEVIATION * DEVIATION);
            assert!((ratio - 1.0).abs() < 0.02, "{what}");
        }
    }
}

/// All T steps: the data's mean and variance within Monte Carlo error and the
/// steps' finite size.
#[test]
fn t_steps_give_back_mean_and_variance_of_the_data() {
    const PIXELS: usize = 4000;
    let schedule = linear();
    for method in METHODS {
        let mut denoiser = predictor(schedule, Prediction::Epsilon);
        let picture = generate(schedule, with_method(method, 1000), &mut denoiser, PIXELS);
        let (mean, variance) = moments(&picture);
        let data = DEVIATION * DEVIATION;
        let (of_mean, of_variance) = allowed(data, PIXELS);
        let what = format!("{method:?}: {mean}, {variance}");
        assert!((mean - MEAN).abs() < of_mean + 0.01 * DEVIATION, "{what}");
        assert!(
            (variance - data).abs() < of_variance + 0.02 * data,
            "{what}"
        );
    }
}

/// Few steps: the moments that the method's own equations give, within Monte
/// Carlo error alone.
#[test]
fn respaced_steps_have_the_moments_of_their_equations() {
    const PIXELS: usize = 20_000;
    for schedule in [linear(), cosine()] {
        for method in METHODS {
            let mut denoiser = predictor(schedule, Prediction::V);
            let picture = generate(schedule, with_method(method, 25), &mut denoiser, PIXELS);
            let (mean, variance) = moments(&picture);
            let (expected_mean, expected) = Chain::run(&schedule, method, 25).moments();
            let (of_mean, of_variance) = allowed(expected, PIXELS);
            let what = format!("{:?}, {method:?}: {mean}, {variance}", schedule.kind());
            assert!((mean - expected_mean).abs() < of_mean, "{what}");
            assert!((variance - expected).abs() < of_variance, "{what}");
        }
    }
}

/// Without noise x_0 is an affine map of x_T, pixel by pixel, whichever
/// timesteps are visited.
#[test]
fn solvers_without_noise_are_their_affine_maps() {
    let mut x_t = vec![0.0; 500];
    Noise::new(1, 0).fill(&mut x_t);
    for schedule in [linear(), cosine()] {
        for method in [Method::Ddim { eta: 0.0 }, Method::Heun, Method::DpmSolver] {
            for (steps, spacing) in [1, 2, 4, 20, 333, 1000]
                .into_iter()
                .flat_map(|steps| Spacing::ALL.map(|spacing| (steps, spacing)))
            {
                let settings = Settings {
                    spacing,
                    ..with_method(method, steps)
                };
                let pairs: Vec<_> = pairs(&schedule, steps, spacing).collect();
                let chain = Chain::along(&schedule, method, &pairs);
                assert_eq!(chain.variance, 0.0);
                let mut denoiser = predictor(schedule, Prediction::V);
                let picture = generate(schedule, settings, &mut denoiser, x_t.len());
                for (&found, &x) in picture.iter().zip(&x_t) {
                    let expected = chain.slope * f64::from(x) + chain.offset;
                    let error = (f64::from(found) - expected).abs();
                    let what = format!("{method:?}, {spacing:?}, {steps} steps");
                    assert!(error < 1e-4, "{what}: {found}, expected {expected}");
                }
            }
        }
    }
}

/// The same seed draws the same z, so the two are equal but for rounding.
#[test]
fn ddim_with_full_noise_is_ddpm_with_the_posterior_variance() {
    for schedule in [linear(), cosine()] {
        for steps in [1, 3, 20, 1000] {
            let [ddim, ddpm] = [
                Method::Ddim { eta: 1.0 },
                Method::Ddpm {
                    variance: Variance::Posterior,
                },
            ]
            .map(|method| {
                let mut denoiser = predictor(schedule, Prediction::V);
                generate(schedule, with_method(method, steps), &mut denoiser, 100)
            });
            for (a, b) in ddim.iter().zip(&ddpm) {
                assert!((a - b).abs() < 1e-4, "{steps} steps: {a}, {b}");
            }
        }
    }
}

/// ε, x_0 and v of one predictor say the same. ε at t = T is divided by
/// sqrt(ᾱ_T): 0.006 for the linear schedule, 5e-5 for the cosine, which
/// magnifies its rounding of 6e-8 to 1e-5 and 1e-3 in x̂_0; of that no more
/// than sqrt(ᾱ_s) reaches x_s.
#[test]
fn parametrisations_of_one_predictor_give_the_same_picture() {
    for (schedule, tolerance) in [(linear(), 2e-5), (cosine(), 5e-4)] {
        for method in METHODS {
            for steps in [1, 20] {
                let tolerance = if steps == 1 { 2e-3 } else { tolerance };
                let [epsilon, x_0, v] = PREDICTIONS.map(|prediction| {
                    let mut denoiser = predictor(schedule, prediction);
                    generate(schedule, with_method(method, steps), &mut denoiser, 200)
                });
                for ((a, b), c) in epsilon.iter().zip(&x_0).zip(&v) {
                    let spread = (a - b).abs().max((b - c).abs());
                    assert!(
                        spread < tolerance,
                        "{method:?}, {steps} steps: {a}, {b}, {c}"
                    );
                }
            }
        }
    }
}

/// A network that is off by the last bit of each value.
struct LastBit(Gaussian);

impl Denoiser for LastBit {
    type Error = std::convert::Infallible;

    fn prediction(&self) -> Prediction {
        self.0.prediction()
    }

    fn predict(
        &mut self,
        x_t: &[f32],
        timestep: u16,
        class: Option<u8>,
        out: &mut [f32],
    ) -> Result<(), Self::Error> {
        self.0.predict(x_t, timestep, class, out)?;
        for out in out {
            *out = out.next_up();
        }
        Ok(())
    }
}

/// Where ᾱ_T is tiny, ε̂ in f32 says nothing of x_0: its rounding of 6e-8 is
/// divided by sqrt(ᾱ_T). A long step from there brings that into the picture;
/// a short one keeps sqrt(ᾱ_s/ᾱ_T) of it, and the next prediction corrects it.
#[test]
fn epsilon_loses_its_precision_in_long_steps_where_alpha_bar_is_tiny() {
    let kind = ScheduleKind::Linear {
        beta_start: 1e-4,
        beta_end: 0.08,
    };
    let schedule = Schedule::new(kind, 1000).unwrap();
    let alpha_bar = schedule.alpha_bar(1000);
    println!("alpha_bar of T: {alpha_bar:.1e}");
    assert!((1e-18..1e-17).contains(&alpha_bar), "{alpha_bar:e}");
    let off = |prediction, steps| {
        let mut denoiser = LastBit(predictor(schedule, prediction));
        let found = generate(schedule, plain(steps), &mut denoiser, 200);
        let mut exact = predictor(schedule, Prediction::X0);
        let expected = generate(schedule, plain(steps), &mut exact, 200);
        let errors = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
        errors.fold(0.0, f32::max)
    };
    for steps in [1, 2, 5, 20, 1000] {
        let [epsilon, x_0, v] = PREDICTIONS.map(|prediction| off(prediction, steps));
        println!("{steps} steps: {epsilon:.1e}, {x_0:.1e}, {v:.1e}");
        assert!(x_0.max(v) < 1e-5, "{steps} steps: {x_0}, {v}");
        match steps {
            1 => assert!(epsilon > 1.0, "{epsilon}"),
            20.. => assert!(epsilon < 1e-3, "{steps} steps: {epsilon}"),
            _ => {}
        }
    }
}
