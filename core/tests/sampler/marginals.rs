//! Fokker and Planck's equation says that the reverse SDE, and the flow without
//! noise, have at every t the distribution that the forward process has there.

use super::gaussian::{Chain, DEVIATION, MEAN, pairs};
use super::order::linear_of;
use super::{History, cosine, linear, of_denoisers, plain};
use std::convert::Infallible;
use tiny_ddpm::{Denoiser, Method, Prediction, Sampler, Schedule, Spacing};

/// Where it is looked at.
const SEEN: [u16; 7] = [900, 700, 500, 300, 100, 20, 0];

/// Gaussian data: mean and variance of Euler-Maruyama's x_t, without Monte
/// Carlo error, against the forward process.
#[test]
fn the_reverse_sde_s_moments_are_the_forward_process_s() {
    // A cosine schedule's last β is 0.999: a step of 6.9 in the integral of β,
    // which Euler's rule overshoots. At t = 900 that is forgotten.
    for schedule in [linear(), linear_of(1000), cosine()] {
        let all: Vec<(u16, u16)> = pairs(&schedule, 1000, Spacing::Trailing).collect();
        for seen in SEEN {
            let made = &all[..usize::from(1000 - seen)];
            let chain = Chain::along(&schedule, Method::EulerMaruyama, made);
            let (mean, variance) = chain.moments();
            let alpha_bar = schedule.alpha_bar(seen);
            let exact = (
                alpha_bar.sqrt() * MEAN,
                alpha_bar * DEVIATION * DEVIATION + 1.0 - alpha_bar,
            );
            let what = format!("{:?} at {seen}", schedule.kind());
            let off = (mean - exact.0).abs() / exact.1.sqrt();
            assert!(off < 0.01, "{what}: mean {mean}, not {}", exact.0);
            let off = (variance / exact.1 - 1.0).abs();
            assert!(off < 0.03, "{what}: variance {variance}, not {}", exact.1);
        }
    }
}

/// Shares, means and deviations of data with two hills: their x̂_0 is not
/// linear in x_t, and neither is the flow.
const HILLS: [(f64, f64, f64); 2] = [(0.3, -0.6, 0.1), (0.7, 0.5, 0.2)];

/// Mean and deviation of x_t on a hill.
fn hill(alpha_bar: f64, (_, mean, deviation): (f64, f64, f64)) -> (f64, f64) {
    let variance = alpha_bar * deviation * deviation + 1.0 - alpha_bar;
    (alpha_bar.sqrt() * mean, variance.sqrt())
}

/// The exact predictor of these data.
struct Hills(Schedule);

impl Denoiser for Hills {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        Prediction::X0
    }

    fn predict(
        &mut self,
        x_t: &[f32],
        timestep: u16,
        _: Option<u8>,
        out: &mut [f32],
    ) -> Result<(), Infallible> {
        let alpha_bar = self.0.alpha_bar(timestep);
        let of_x_t = HILLS.map(|data| hill(alpha_bar, data));
        for (out, &x) in out.iter_mut().zip(x_t) {
            let (mut mass, mut sum) = (0.0, 0.0);
            for (data, (mean, deviation)) in HILLS.into_iter().zip(of_x_t) {
                let off = (f64::from(x) - mean) / deviation;
                let weight = data.0 / deviation * (-0.5 * off * off).exp();
                let slope = alpha_bar.sqrt() * data.2 * data.2 / deviation;
                mass += weight;
                sum += weight * (data.1 + slope * off);
            }
            *out = (sum / mass) as f32;
        }
        Ok(())
    }
}

/// Kolmogorov and Smirnov's distance of values from the forward process at t.
fn distance(schedule: &Schedule, t: u16, values: &[f32]) -> f64 {
    let alpha_bar = schedule.alpha_bar(t);
    let below = |x: f64| -> f64 {
        let parts = HILLS.map(|data| {
            let (mean, deviation) = hill(alpha_bar, data);
            let off = (mean - x) / deviation / std::f64::consts::SQRT_2;
            data.0 * 0.5 * libm::erfc(off)
        });
        parts.into_iter().sum()
    };
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let count = sorted.len() as f64;
    let apart = sorted.iter().enumerate().map(|(index, &x)| {
        let (exact, index) = (below(x.into()), index as f64);
        (exact - index / count).max((index + 1.0) / count - exact)
    });
    apart.fold(0.0, f64::max)
}

/// The distance of x_t from the forward process wherever it is looked at.
fn distances(schedule: Schedule, method: Method, steps: u16, pixels: usize) -> Vec<(u16, f64)> {
    let settings = plain(steps).method(method);
    let mut history = History::new(pixels);
    let mut sampler = Sampler::new(schedule, settings, history.buffers()).unwrap();
    let mut found = Vec::new();
    loop {
        let Ok(step) = sampler.step(&mut Hills(schedule));
        if step.is_none() {
            return found;
        }
        let t = sampler.timestep();
        if SEEN.contains(&t) && found.last().is_none_or(|&(seen, _)| seen != t) {
            found.push((t, distance(&schedule, t, sampler.x())));
        }
    }
}

/// Two hills, all methods: the distance stays within what chance makes of so
/// many values (less than 1.95 / sqrt(n) in 999 of 1000 cases) and 0.01 for
/// the steps' size.
#[test]
fn every_method_keeps_the_forward_process_s_distribution() {
    const PIXELS: usize = 4000;
    let chance = 1.95 / (PIXELS as f64).sqrt();
    for method in of_denoisers() {
        for schedule in [linear_of(1000), cosine()] {
            // The ODE's solvers need fewer; all timesteps seen are among them.
            let steps = match method {
                Method::Ddim { eta: 0.0 } => 100,
                _ if method.history_len(1) > 0 => 100,
                _ => 1000,
            };
            let found = distances(schedule, method, steps, PIXELS);
            println!("{method:?}, {:?}: {found:.4?}", schedule.kind());
            assert_eq!(found.len(), SEEN.len());
            for (t, distance) in found {
                let what = format!("{method:?}, {:?} at {t}", schedule.kind());
                assert!(distance < chance + 0.01, "{what}: {distance}");
            }
        }
    }
}

/// The test above can fail: with half the noise, or none, it would.
#[test]
fn the_distance_sees_a_wrong_distribution() {
    let schedule = cosine();
    let narrow: Vec<f32> = (0..4000)
        .map(|i| ((i * 37 % 4000) as f32 - 2000.0) / 2500.0)
        .collect();
    assert!(distance(&schedule, 0, &narrow) > 0.1);
    // Of few steps each leaves its traces.
    let few = distances(schedule, Method::EulerMaruyama, 10, 4000);
    assert!(few.iter().any(|&(_, distance)| distance > 0.1), "{few:?}");
}
