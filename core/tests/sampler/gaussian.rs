//! Exact predictors of Gaussian data give its distribution back.
//!
//! Every step is then affine with noise, x_s = A x_t + B + σ z, so mean and
//! variance after any number of steps are known exactly: [`Chain`] follows
//! them, from the papers' equations in ε. The samplers are compared with it,
//! and it is compared with the data.

use super::{Gaussian, METHODS, PREDICTIONS, cosine, generate, linear, plain};
use tiny_ddpm::noise::Noise;
use tiny_ddpm::sampler::respaced;
use tiny_ddpm::{Method, Prediction, Schedule, Settings, Variance};

const MEAN: f64 = 0.3;
const DEVIATION: f64 = 0.5;

fn predictor(schedule: Schedule, prediction: Prediction) -> Gaussian {
    Gaussian {
        schedule,
        prediction,
        mean: MEAN,
        deviation: DEVIATION,
    }
}

/// x_t = `slope` x_T + `offset`, plus independent noise of `variance`.
#[derive(Clone, Copy, Debug)]
struct Chain {
    slope: f64,
    offset: f64,
    variance: f64,
}

impl Chain {
    /// What a method makes of the exact predictor in `steps` steps.
    fn run(schedule: &Schedule, method: Method, steps: u16) -> Self {
        let mut chain = Self {
            slope: 1.0,
            offset: 0.0,
            variance: 0.0,
        };
        for index in 0..steps {
            let t = respaced(schedule.timesteps(), steps, index);
            let s = respaced(schedule.timesteps(), steps, index + 1);
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
    fn moments(self) -> (f64, f64) {
        (self.offset, self.slope * self.slope + self.variance)
    }
}

fn moments(values: &[f32]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
    (mean, squares / (count - 1.0))
}

/// Five standard errors of the mean and of the variance of so many normal
/// values: sqrt(v / n) and v sqrt(2 / n).
fn allowed(variance: f64, count: usize) -> (f64, f64) {
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

/// Without noise x_0 is an affine map of x_T, pixel by pixel.
#[test]
fn ddim_without_noise_is_its_affine_map() {
    let mut x_t = vec![0.0; 500];
    Noise::new(1, 0).fill(&mut x_t);
    for schedule in [linear(), cosine()] {
        for steps in [1, 2, 4, 20, 333, 1000] {
            let settings = plain(steps);
            let chain = Chain::run(&schedule, settings.method, steps);
            assert_eq!(chain.variance, 0.0);
            let mut denoiser = predictor(schedule, Prediction::V);
            let picture = generate(schedule, settings, &mut denoiser, x_t.len());
            for (&found, &x) in picture.iter().zip(&x_t) {
                let expected = chain.slope * f64::from(x) + chain.offset;
                let error = (f64::from(found) - expected).abs();
                assert!(error < 1e-4, "{steps} steps: {found}, expected {expected}");
            }
        }
    }
}

/// The probability-flow ODE moves x_t along its own quantile; DDIM without
/// noise is Euler's rule on it, so its error falls as 1 / steps.
#[test]
fn ddim_without_noise_approaches_the_probability_flow() {
    let schedule = cosine();
    let alpha_bar = schedule.alpha_bar(1000);
    let variance = alpha_bar * DEVIATION * DEVIATION + 1.0 - alpha_bar;
    let exact = DEVIATION / variance.sqrt();
    let error = |steps| {
        let chain = Chain::run(&schedule, Method::Ddim { eta: 0.0 }, steps);
        (chain.slope - exact).abs()
    };
    let errors: Vec<f64> = [10, 20, 40, 80, 160].map(error).to_vec();
    for pair in errors.windows(2) {
        let ratio = pair[0] / pair[1];
        assert!((1.7..2.3).contains(&ratio), "{errors:?}");
    }
    assert!(errors[4] < 0.005, "{errors:?}");
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
