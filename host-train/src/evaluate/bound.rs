//! The variational bound on -log2 p(x_0), in bits per dimension: what it would
//! cost to store a test picture with the model.
//!
//! L = L_T + sum of L_{t-1} + L_0 (Ho et al. 2020, eq. 5), every timestep
//! visited and every picture its own noise. The reverse variances are fixed, so
//! one run of the network serves both of Ho et al.'s choices. Bits per
//! dimension as in Nichol & Dhariwal 2021, table 1.

use std::f64::consts::{LN_2, SQRT_2};

use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::diffusion::prediction::signal_and_noise;
use tiny_ddpm::diffusion::schedule::Transition;
use tiny_ddpm::{Denoiser, Schedule, Variance};

/// Half the distance of two grey values, which lie in [-1, 1].
const HALF_STEP: f64 = 1.0 / 255.0;

/// The parts of the bound for one picture, in bits per dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bound {
    /// L_T.
    pub prior: f64,
    /// The sum of L_{t-1} for t of 2 to T.
    pub diffusion: f64,
    /// L_0.
    pub decoder: f64,
}

impl Bound {
    /// The whole bound.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.prior + self.diffusion + self.decoder
    }
}

/// The bound of each picture of a batch, for either variance: β_t, then β̃_t.
///
/// `x_0` holds pictures of `pixels` values in [-1, 1]; `denoiser` sees them as
/// one long picture and knows their classes, `class` only says whether it is to
/// use them. Picture i takes noise stream `first + i` of `seed`. x̂_0 is clipped
/// as samplers clip it. `progress` gets the number of timesteps done.
///
/// # Errors
/// The denoiser's.
pub fn bounds<D: Denoiser>(
    schedule: &Schedule,
    denoiser: &mut D,
    x_0: &[f32],
    pixels: usize,
    class: Option<u8>,
    (seed, first): (u64, u64),
    mut progress: impl FnMut(u16),
) -> Result<Vec<[Bound; 2]>, D::Error> {
    let bits = 1.0 / (LN_2 * pixels as f64);
    let alpha_bar_last = schedule.alpha_bar(schedule.timesteps());
    let mut found: Vec<[Bound; 2]> = x_0
        .chunks_exact(pixels)
        .map(|picture| {
            let prior = picture.iter().map(|&x| prior(x.into(), alpha_bar_last));
            let bound = Bound {
                prior: bits * prior.sum::<f64>(),
                ..Bound::default()
            };
            [bound; 2]
        })
        .collect();
    let mut noises: Vec<Noise> = (0..found.len() as u64)
        .map(|i| Noise::new(seed, first + i))
        .collect();

    let (mut x_t, mut x0_hat) = (vec![0.0; x_0.len()], vec![0.0; x_0.len()]);
    for (done, t) in (1..=schedule.timesteps()).rev().enumerate() {
        let transition = schedule.transition(t, t - 1);
        let (signal, level) = signal_and_noise(transition.alpha_bar);
        for (noise, x_t) in noises.iter_mut().zip(x_t.chunks_exact_mut(pixels)) {
            noise.fill(x_t);
        }
        for (x_t, &x_0) in x_t.iter_mut().zip(x_0) {
            *x_t = signal * x_0 + level * *x_t;
        }
        denoiser.predict(&x_t, t, class, &mut x0_hat)?;
        denoiser
            .prediction()
            .to_x0_hat(transition.alpha_bar, &x_t, &mut x0_hat);
        for x0_hat in &mut x0_hat {
            *x0_hat = x0_hat.clamp(-1.0, 1.0);
        }
        let pictures = x_0.chunks_exact(pixels).zip(x0_hat.chunks_exact(pixels));
        for ((x_0, x0_hat), found) in pictures.zip(&mut found) {
            let variances = [Variance::Beta, Variance::Posterior];
            for (variance, bound) in variances.into_iter().zip(found) {
                if t == 1 {
                    bound.decoder = bits * decoder(schedule, x_0, x0_hat);
                } else {
                    bound.diffusion += bits * divergence(&transition, variance, x_0, x0_hat);
                }
            }
        }
        progress(done as u16 + 1);
    }
    Ok(found)
}

/// L_T of one value: KL of q(x_T | x_0) from the unit normal, in nats.
fn prior(x_0: f64, alpha_bar: f64) -> f64 {
    0.5 * (alpha_bar * x_0 * x_0 - alpha_bar - (-alpha_bar).ln_1p())
}

/// L_{t-1} of one picture: KL of q(x_{t-1} | x_t, x_0) from the model, in nats.
/// Both means weigh x_t alike, so their difference is that of x_0.
fn divergence(transition: &Transition, variance: Variance, x_0: &[f32], x0_hat: &[f32]) -> f64 {
    let exact = transition.posterior_variance();
    let model = match variance {
        Variance::Beta => transition.beta(),
        Variance::Posterior => exact,
    };
    let spread = 0.5 * (exact / model - 1.0 - (exact / model).ln());
    let weight = transition.mean_weight_x0().powi(2) / (2.0 * model);
    let apart = x_0.iter().zip(x0_hat);
    let apart = apart.map(|(&x, &hat)| (f64::from(x) - f64::from(hat)).powi(2));
    spread * x_0.len() as f64 + weight * apart.sum::<f64>()
}

/// L_0 of one picture: -ln of the probability of its bytes (Ho et al. 2020,
/// eq. 13). The mean of the last step is x̂_0; as β̃_1 is 0, its variance is
/// that of the step before, as in their code.
fn decoder(schedule: &Schedule, x_0: &[f32], x0_hat: &[f32]) -> f64 {
    let variance = match schedule.timesteps() {
        1 => schedule.beta(1),
        _ => schedule.transition(2, 1).posterior_variance(),
    };
    let sigma = variance.sqrt();
    let values = x_0.iter().zip(x0_hat);
    values
        .map(|(&x, &hat)| -probability(x.into(), hat.into(), sigma).ln())
        .sum()
}

/// The mass of a normal in the bin of the grey value `x`; the outermost bins
/// reach to infinity. Farther out than `f64` can tell, it is the least there
/// is.
fn probability(x: f64, mean: f64, sigma: f64) -> f64 {
    let edge = |edge: f64| (edge - mean) / sigma;
    let lower = match x - HALF_STEP < -1.0 {
        true => f64::NEG_INFINITY,
        false => edge(x - HALF_STEP),
    };
    let upper = match x + HALF_STEP > 1.0 {
        true => f64::INFINITY,
        false => edge(x + HALF_STEP),
    };
    // In the upper half the complement keeps the digits.
    let below = |z: f64| 0.5 * libm::erfc(-z / SQRT_2);
    let mass = match lower > 0.0 {
        true => below(-lower) - below(-upper),
        false => below(upper) - below(lower),
    };
    mass.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiny_ddpm::{Prediction, ScheduleKind};

    /// Knows the pictures, or believes that all is grey.
    struct Oracle(Option<Vec<f32>>);

    impl Denoiser for Oracle {
        type Error = std::convert::Infallible;

        fn prediction(&self) -> Prediction {
            Prediction::X0
        }

        fn predict(
            &mut self,
            _: &[f32],
            _: u16,
            _: Option<u8>,
            out: &mut [f32],
        ) -> Result<(), Self::Error> {
            match &self.0 {
                Some(x_0) => out.copy_from_slice(x_0),
                None => out.fill(0.0),
            }
            Ok(())
        }
    }

    /// Black, white and a grey, as bytes become values.
    fn pictures() -> Vec<f32> {
        [0u8, 255, 64, 0, 0, 200, 255, 13]
            .map(|byte| f32::from(byte) / 127.5 - 1.0)
            .into()
    }

    fn measure(schedule: &Schedule, oracle: Option<Vec<f32>>) -> Vec<[Bound; 2]> {
        let Ok(found) = bounds(
            schedule,
            &mut Oracle(oracle),
            &pictures(),
            4,
            None,
            (1, 0),
            |_| {},
        );
        found
    }

    #[test]
    fn who_knows_the_picture_pays_for_the_variance_alone() {
        for kind in [ScheduleKind::LINEAR, ScheduleKind::Cosine] {
            let schedule = Schedule::new(kind, 1000).unwrap();
            let found = measure(&schedule, Some(pictures()));
            let apart: f64 = (2..=1000)
                .map(|t| {
                    let transition = schedule.transition(t, t - 1);
                    let ratio = transition.posterior_variance() / transition.beta();
                    (ratio - 1.0 - ratio.ln()) / (2.0 * LN_2)
                })
                .sum();
            for [beta, posterior] in found {
                assert_eq!(posterior.diffusion, 0.0);
                assert!((beta.diffusion - apart).abs() < 1e-9);
                // A byte known exactly costs what x_1 still hides, and nothing
                // of it left at the end.
                assert!(posterior.decoder < 1.0, "{posterior:?}");
                assert!((0.0..1e-3).contains(&posterior.prior), "{posterior:?}");
            }
        }
    }

    #[test]
    fn who_predicts_grey_pays_what_the_equation_says() {
        let schedule = Schedule::new(ScheduleKind::Cosine, 50).unwrap();
        let found = measure(&schedule, None);
        for (picture, [_, posterior]) in pictures().chunks(4).zip(found) {
            let squares: f64 = picture.iter().map(|&x| f64::from(x).powi(2)).sum();
            // Ho et al. 2020, eq. 8, in terms of x_0: half the difference of
            // the signal-to-noise ratios (Kingma et al. 2021, eq. 14).
            let expected: f64 = (2..=50)
                .map(|t| 0.5 * (schedule.snr(t - 1) - schedule.snr(t)) * squares)
                .sum();
            let expected = expected / (4.0 * LN_2);
            let error = (posterior.diffusion - expected).abs() / expected;
            assert!(error < 1e-9, "{} is not {expected}", posterior.diffusion);
        }
    }

    /// The exact predictor of independent N(0, deviation²).
    struct Exact {
        schedule: Schedule,
        deviation: f64,
    }

    impl Denoiser for Exact {
        type Error = std::convert::Infallible;

        fn prediction(&self) -> Prediction {
            Prediction::X0
        }

        fn predict(
            &mut self,
            x_t: &[f32],
            timestep: u16,
            _: Option<u8>,
            out: &mut [f32],
        ) -> Result<(), Self::Error> {
            let (alpha_bar, data) = (self.schedule.alpha_bar(timestep), self.deviation.powi(2));
            let slope = alpha_bar.sqrt() * data / (alpha_bar * data + 1.0 - alpha_bar);
            for (out, &x) in out.iter_mut().zip(x_t) {
                *out = (slope * f64::from(x)) as f32;
            }
            Ok(())
        }
    }

    /// Gaussian grey values cost what their own distribution says, but for L_0:
    /// its variance is that of the step before, about half of β_1, where β_1
    /// would be right. That costs at most (2 - 1 - ln 2) / 2 nats, and less with
    /// bytes for values; `core/tests/sampler/bound.rs` has the exact account of
    /// a density.
    #[test]
    fn who_knows_the_distribution_pays_its_log_likelihood() {
        const VALUES: usize = 4000;
        let (deviation, kind) = (0.15, ScheduleKind::Cosine);
        let schedule = Schedule::new(kind, 1000).unwrap();
        let mut noise = Noise::new(8, 0);
        let x_0: Vec<f32> = (0..VALUES)
            .map(|_| {
                let grey = (f64::from(noise.normal()) * deviation + 1.0) * 127.5;
                (grey.round() / 127.5 - 1.0) as f32
            })
            .collect();
        let mut exact = Exact {
            schedule,
            deviation,
        };
        let Ok(found) = bounds(&schedule, &mut exact, &x_0, 1, None, (1, 0), |_| {});
        let above: Vec<f64> = found
            .iter()
            .zip(&x_0)
            .map(|([beta, _], &x)| beta.total() + probability(x.into(), 0.0, deviation).log2())
            .collect();
        let mean = above.iter().sum::<f64>() / VALUES as f64;
        let squares: f64 = above.iter().map(|a| (a - mean).powi(2)).sum();
        let error = squares.sqrt() / VALUES as f64;
        println!("{mean:.4} +- {error:.4} bits above the log-likelihood");
        let most = (1.0 - LN_2) / 2.0 / LN_2;
        assert!(
            mean > -4.0 * error && mean < most + 4.0 * error,
            "{mean} +- {error}"
        );
        assert!(error < 0.05, "{error}");
    }

    #[test]
    fn the_bytes_share_a_probability_of_one() {
        for (mean, sigma) in [(0.3, 0.02), (-1.0, 0.006), (1.2, 0.1), (0.0, 5.0)] {
            let bins = (0..=255u8).map(|byte| f64::from(byte) / 127.5 - 1.0);
            let sum: f64 = bins.map(|x| probability(x, mean, sigma)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        }
        assert!(probability(1.0, -1.0, 1e-3) > 0.0);
    }

    #[test]
    fn the_prior_is_the_divergence_of_two_normals() {
        // KL(N(m, v) | N(0, 1)) = (v + m² - 1 - ln v) / 2.
        let (x_0, alpha_bar) = (0.7f64, 0.3f64);
        let (mean, variance) = (alpha_bar.sqrt() * x_0, 1.0 - alpha_bar);
        let expected = 0.5 * (variance + mean * mean - 1.0 - variance.ln());
        assert!((prior(x_0, alpha_bar) - expected).abs() < 1e-15);
    }
}
