//! The variational bound of the exact predictor of Gaussian data against their
//! exact log-likelihood, in bits for each value.
//!
//! With L_T + sum of L_{t-1} + L_0 (Ho et al. 2020, eq. 5) the bound differs
//! from -log2 p(x_0) by what the model's chain differs from the forward one.
//! The exact reverse of Gaussian data is Gaussian, with the model's mean, but
//! with a variance between β̃_t and β_t:
//! β̃_t + w² Var(x_0 | x_t), w being the weight of x_0 in μ̃. So the gap is known,
//! too: for each t the divergence of two normals of one mean, and that of x_T
//! from N(0, 1). With β_t it falls as 1 / T; with β̃_t it does not, see below.

use super::gaussian::{DEVIATION, MEAN, predictor};
use super::order::linear_of;
use std::f64::consts::{E, LN_2, TAU};
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::diffusion::prediction::signal_and_noise;
use tiny_ddpm::{Denoiser, Prediction, Schedule, ScheduleKind, Variance};

const DATA: f64 = DEVIATION * DEVIATION;

/// -E log2 p(x_0): the entropy of N(m, v).
fn entropy() -> f64 {
    (TAU * E * DATA).log2() / 2.0
}

/// The variance of the model's step from t to t - 1. β̃_1 is 0, and a density
/// needs more.
fn model_variance(schedule: &Schedule, variance: Variance, t: u16) -> f64 {
    let transition = schedule.transition(t, t - 1);
    match variance {
        Variance::Posterior if t > 1 => transition.posterior_variance(),
        _ => transition.beta(),
    }
}

/// The bound's part of timestep t in nats, which is L_{t-1}, or L_0 for t = 1:
/// `(a, b)` stand for a + b (x_0 - x̂_0)².
fn term(schedule: &Schedule, variance: Variance, t: u16) -> (f64, f64) {
    let transition = schedule.transition(t, t - 1);
    let model = model_variance(schedule, variance, t);
    if t == 1 {
        return ((TAU * model).ln() / 2.0, 0.5 / model);
    }
    let ratio = transition.posterior_variance() / model;
    let weight = transition.mean_weight_x0().powi(2) / model;
    ((ratio - 1.0 - ratio.ln()) / 2.0, weight / 2.0)
}

/// L_T in nats, for x_0² of `square`.
fn prior(schedule: &Schedule, square: f64) -> f64 {
    let alpha_bar = schedule.alpha_bar(schedule.timesteps());
    (alpha_bar * square - alpha_bar - (-alpha_bar).ln_1p()) / 2.0
}

/// Var(x_0 | x_t).
fn uncertainty(alpha_bar: f64) -> f64 {
    DATA * (1.0 - alpha_bar) / (alpha_bar * DATA + 1.0 - alpha_bar)
}

/// The bound's expectation over data and noise, in bits.
fn expected(schedule: &Schedule, variance: Variance) -> f64 {
    let terms = (1..=schedule.timesteps()).map(|t| {
        let (constant, weight) = term(schedule, variance, t);
        constant + weight * uncertainty(schedule.alpha_bar(t))
    });
    (prior(schedule, MEAN * MEAN + DATA) + terms.sum::<f64>()) / LN_2
}

/// What the model's chain differs from the forward one, in bits.
fn gap(schedule: &Schedule, variance: Variance) -> f64 {
    let alpha_bar = schedule.alpha_bar(schedule.timesteps());
    let (mean, spread) = (alpha_bar.sqrt() * MEAN, alpha_bar * DATA + 1.0 - alpha_bar);
    let start = (spread + mean * mean - 1.0 - spread.ln()) / 2.0;
    let steps = (1..=schedule.timesteps()).map(|t| {
        let transition = schedule.transition(t, t - 1);
        let known = transition.mean_weight_x0().powi(2) * uncertainty(schedule.alpha_bar(t));
        let exact = transition.posterior_variance() + known;
        let ratio = exact / model_variance(schedule, variance, t);
        (ratio - 1.0 - ratio.ln()) / 2.0
    });
    (start + steps.sum::<f64>()) / LN_2
}

fn schedules(timesteps: u16) -> [Schedule; 2] {
    let cosine = Schedule::new(ScheduleKind::Cosine, timesteps);
    [linear_of(timesteps), cosine.unwrap()]
}

/// The two ways to compute it agree, and T does what is said above.
#[test]
fn the_bound_is_the_log_likelihood_and_a_known_gap() {
    let mut last = [[f64::NAN; 2]; 2];
    for timesteps in [250, 500, 1000, 2000] {
        for (schedule, last) in schedules(timesteps).into_iter().zip(&mut last) {
            for (variance, last) in [Variance::Beta, Variance::Posterior].into_iter().zip(last) {
                let (bound, gap) = (expected(&schedule, variance), gap(&schedule, variance));
                let name = match schedule.kind() {
                    ScheduleKind::Cosine => "cosine",
                    _ => "linear",
                };
                println!("{name}, T = {timesteps}, {variance:?}: entropy + {gap:.5} bits");
                let error = (bound - entropy() - gap).abs();
                assert!(error < 1e-9, "{bound}, {}, {gap}", entropy());
                match variance {
                    Variance::Beta if timesteps > 250 => {
                        let ratio = *last / gap;
                        assert!((1.7..2.2).contains(&ratio), "{name}, {timesteps}: {ratio}");
                    }
                    Variance::Beta => {}
                    // Near t = 0 a step's exact variance is β_t, and β̃_t less
                    // by (t - 1) / t or more however large T is. That alone
                    // makes half the sum of 1/n - ln(1 + 1/n): Euler's constant.
                    Variance::Posterior => {
                        let least = 0.577_215_664_9 / 2.0 / LN_2;
                        assert!(gap > least, "{name}: {gap}, {least}");
                    }
                }
                *last = gap;
            }
        }
    }
}

/// The same with the predictor itself on drawn values: N = 2000 timesteps, and
/// for each value the bound less its own -log2 p(x_0).
#[test]
fn two_thousand_timesteps_reach_the_log_likelihood() {
    const VALUES: usize = 4000;
    for schedule in schedules(2000) {
        let mut denoiser = predictor(schedule, Prediction::Epsilon);
        let mut noise = Noise::new(3, 0);
        let draw = |noise: &mut Noise| -> Vec<f32> {
            let mut values = vec![0.0; VALUES];
            noise.fill(&mut values);
            values
        };
        let x_0: Vec<f32> = draw(&mut noise)
            .iter()
            .map(|z| (MEAN + DEVIATION * f64::from(*z)) as f32)
            .collect();
        let square = |x: f32, y: f32| (f64::from(x) - f64::from(y)).powi(2);
        let mut nats: Vec<f64> = x_0
            .iter()
            .map(|&x| prior(&schedule, square(x, 0.0)))
            .collect();
        let mut x0_hat = vec![0.0; VALUES];
        for t in 1..=2000 {
            let alpha_bar = schedule.alpha_bar(t);
            let (signal, level) = signal_and_noise(alpha_bar);
            let mut x_t = draw(&mut noise);
            for (x_t, x_0) in x_t.iter_mut().zip(&x_0) {
                *x_t = signal * x_0 + level * *x_t;
            }
            let Ok(()) = denoiser.predict(&x_t, t, None, &mut x0_hat);
            denoiser
                .prediction()
                .to_x0_hat(alpha_bar, &x_t, &mut x0_hat);
            let (constant, weight) = term(&schedule, Variance::Beta, t);
            for ((nats, &x_0), &x0_hat) in nats.iter_mut().zip(&x_0).zip(&x0_hat) {
                *nats += constant + weight * square(x_0, x0_hat);
            }
        }
        let above: Vec<f64> = nats
            .iter()
            .zip(&x_0)
            .map(|(nats, &x)| {
                let exact = ((TAU * DATA).ln() + square(x, MEAN as f32) / DATA) / 2.0;
                (nats - exact) / LN_2
            })
            .collect();
        let mean = above.iter().sum::<f64>() / VALUES as f64;
        let squares: f64 = above.iter().map(|a| (a - mean).powi(2)).sum();
        let error = (squares / VALUES as f64).sqrt() / (VALUES as f64).sqrt();
        let gap = gap(&schedule, Variance::Beta);
        println!("{mean:.4} +- {error:.4} bits above; expected {gap:.4}");
        assert!((mean - gap).abs() < 4.0 * error, "{mean} +- {error}, {gap}");
        assert!(gap < 0.001 && error < 0.03, "{gap}, {error}");
    }
}
