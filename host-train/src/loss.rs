//! What an error at timestep t counts in training.
//!
//! Every loss is a weighted squared error of what the network predicts. Given
//! x_t the errors of the three parametrisations are multiples of each other,
//!
//! ‖ε − ε̂‖² = SNR ‖x_0 − x̂_0‖² = ᾱ ‖v − v̂‖²,  SNR = ᾱ / (1 − ᾱ),
//!
//! so a loss that is stated for one is stated for all ([`error_in_epsilon`]).

use serde::{Deserialize, Serialize};
use tiny_ddpm::{Prediction, Schedule};

/// γ of [`Loss::MinSnr`], where none is given: Hang et al.'s choice.
pub const DEFAULT_GAMMA: f64 = 5.0;

/// The losses by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// All timesteps alike (Ho et al. 2020, eq. 14), in whatever the network
    /// predicts.
    #[default]
    Simple,
    /// The variational bound's own weights,
    /// β² / (2 σ² α (1 − ᾱ)) of the error in ε (Ho et al. 2020, eq. 12), with
    /// σ² = β: β̃ is 0 at the first timestep.
    Weighted,
    /// min(SNR, γ) of the error in x_0 (Hang et al. 2023, arXiv:2303.09556):
    /// timesteps with little noise, which are easy, do not outweigh the rest.
    MinSnr,
}

impl Loss {
    /// What the squared error of a network that predicts `prediction` counts
    /// at `timestep` (1 to T); `gamma` is that of [`MinSnr`](Self::MinSnr).
    #[must_use]
    pub fn weight(
        self,
        gamma: f64,
        prediction: Prediction,
        schedule: &Schedule,
        timestep: u16,
    ) -> f64 {
        let alpha_bar = schedule.alpha_bar(timestep);
        let snr = alpha_bar / (1.0 - alpha_bar);
        let of_epsilon = match self {
            Self::Simple => return 1.0,
            Self::Weighted => {
                let beta = schedule.beta(timestep);
                beta / (2.0 * (1.0 - beta) * (1.0 - alpha_bar))
            }
            Self::MinSnr => snr.min(gamma) / snr,
        };
        of_epsilon * error_in_epsilon(prediction, alpha_bar)
    }
}

/// ‖ε − ε̂‖² over the squared error of `prediction`, at ᾱ.
#[must_use]
pub fn error_in_epsilon(prediction: Prediction, alpha_bar: f64) -> f64 {
    match prediction {
        Prediction::X0 => alpha_bar / (1.0 - alpha_bar),
        Prediction::V => alpha_bar,
        // ε itself; core has no further one.
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiny_ddpm::ScheduleKind;
    use tiny_ddpm::diffusion::prediction::signal_and_noise;

    const PREDICTIONS: [Prediction; 3] = [Prediction::Epsilon, Prediction::X0, Prediction::V];

    fn schedules() -> [Schedule; 2] {
        [ScheduleKind::LINEAR, ScheduleKind::Cosine].map(|kind| Schedule::new(kind, 1000).unwrap())
    }

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() <= 1e-9 * expected.abs(),
            "{found}, not {expected}"
        );
    }

    /// From core's own conversions: a network that is off in its output is off
    /// in ε by as much as this module says.
    #[test]
    fn errors_convert_as_predictions_do() {
        for schedule in schedules() {
            for t in [1, 20, 400, 900] {
                let alpha_bar = schedule.alpha_bar(t);
                let (signal, noise) = signal_and_noise(alpha_bar);
                let (x_0, epsilon, off) = (0.3, -0.8, 0.05_f32);
                let x_t = signal * x_0 + noise * epsilon;
                for prediction in PREDICTIONS {
                    let output = prediction.target(alpha_bar, x_0, epsilon) + off;
                    let x0_hat = prediction.x0_hat((signal, noise), x_t, output);
                    let epsilon_hat = (x_t - signal * x0_hat) / noise;
                    let found = f64::from((epsilon_hat - epsilon) / off).powi(2);
                    let expected = error_in_epsilon(prediction, alpha_bar);
                    // In f32.
                    assert!((found / expected - 1.0).abs() < 0.02, "{prediction:?} {t}");
                }
            }
        }
    }

    #[test]
    fn the_simple_loss_has_no_weights() {
        for prediction in PREDICTIONS {
            for t in [1, 500, 1000] {
                let weight = Loss::Simple.weight(DEFAULT_GAMMA, prediction, &schedules()[0], t);
                assert_eq!(weight, 1.0);
            }
        }
    }

    /// β² / (2 σ² α (1 − ᾱ)) with σ² = β, from the definition of the linear
    /// schedule. At t = 1, where 1 − ᾱ = β, it is 1 / (2 α).
    #[test]
    fn the_weighted_loss_is_the_bounds() {
        let [linear, _] = schedules();
        let weight = |prediction, t| Loss::Weighted.weight(0.0, prediction, &linear, t);
        close(weight(Prediction::Epsilon, 1), 0.5 / (1.0 - 1e-4));
        let mut alpha_bar = 1.0;
        for t in 1..=1000_u16 {
            let beta = 1e-4 + (0.02 - 1e-4) * f64::from(t - 1) / 999.0;
            let alpha = 1.0 - beta;
            alpha_bar *= alpha;
            let sigma_squared = beta;
            let of_epsilon = beta * beta / (2.0 * sigma_squared * alpha * (1.0 - alpha_bar));
            let snr = alpha_bar / (1.0 - alpha_bar);
            let near = |found: f64, expected: f64| {
                assert!(
                    (found / expected - 1.0).abs() < 1e-6,
                    "{t}: {found}, {expected}"
                );
            };
            near(weight(Prediction::Epsilon, t), of_epsilon);
            near(weight(Prediction::X0, t), of_epsilon * snr);
            near(weight(Prediction::V, t), of_epsilon * alpha_bar);
        }
    }

    /// The three closed forms of Hang et al., section 3.4.
    #[test]
    fn min_snr_is_the_papers() {
        for schedule in schedules() {
            for gamma in [1.0, 5.0, 20.0] {
                for t in 1..=1000 {
                    let alpha_bar = schedule.alpha_bar(t);
                    let snr = alpha_bar / (1.0 - alpha_bar);
                    let weight = |p| Loss::MinSnr.weight(gamma, p, &schedule, t);
                    close(weight(Prediction::X0), snr.min(gamma));
                    close(weight(Prediction::Epsilon), (gamma / snr).min(1.0));
                    close(weight(Prediction::V), snr.min(gamma) / (snr + 1.0));
                }
            }
        }
    }
}
