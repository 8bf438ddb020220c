//! Which timesteps are visited.

use super::{cosine, linear};
use proptest::prelude::*;
use tiny_ddpm::diffusion::sampler::{respaced, timesteps};
use tiny_ddpm::diffusion::schedule::MAX_TIMESTEPS;
use tiny_ddpm::{Schedule, ScheduleKind, Spacing};

/// From T strictly down to at least 1, as many as were asked for.
fn check(schedule: Schedule, steps: u16, spacing: Spacing) -> Vec<u16> {
    let what = format!("{schedule:?}, {steps} steps, {spacing:?}");
    let found: Vec<u16> = timesteps(schedule, steps, spacing).collect();
    assert_eq!(found.len(), usize::from(steps), "{what}");
    assert_eq!(found[0], schedule.timesteps(), "{what}");
    assert!(*found.last().unwrap() >= 1, "{what}: {found:?}");
    let falls = found.windows(2).all(|pair| pair[1] < pair[0]);
    assert!(falls, "{what}: {found:?}");
    found
}

fn schedules(t: u16) -> impl Iterator<Item = Schedule> {
    // Very uneven, and still valid for every T.
    let steep = ScheduleKind::Linear {
        beta_start: 1e-12,
        beta_end: 0.03,
    };
    let kinds = [ScheduleKind::LINEAR, ScheduleKind::Cosine, steep];
    kinds
        .into_iter()
        .map(move |kind| Schedule::new(kind, t).unwrap())
}

#[test]
fn every_number_of_steps_of_a_short_chain() {
    for t in (1..=24).chain([100]) {
        for schedule in schedules(t) {
            for steps in 1..=t {
                for spacing in Spacing::ALL {
                    check(schedule, steps, spacing);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_number_of_steps_of_any_chain(t in 1..=MAX_TIMESTEPS, share in 0.0..1.0f64) {
        // Few steps as often as many.
        let steps = (f64::from(t).powf(share) as u16).clamp(1, t);
        for schedule in schedules(t) {
            for spacing in Spacing::ALL {
                check(schedule, steps, spacing);
            }
        }
    }
}

#[test]
fn with_all_steps_every_rule_is_the_same() {
    for spacing in Spacing::ALL {
        let found = check(cosine(), 1000, spacing);
        assert!(found.into_iter().eq((1..=1000).rev()), "{spacing:?}");
    }
}

/// The formulas of Lin et al. 2024 (arXiv:2305.08891), table 2, which count from
/// 1 as we do: linspace(1, T, 10) and round(T, T - T/10, ...).
#[test]
fn linspace_and_trailing_as_published() {
    let linspace = [1000, 889, 778, 667, 556, 445, 334, 223, 112, 1];
    assert_eq!(check(linear(), 10, Spacing::Uniform), linspace);
    let trailing = [1000, 900, 800, 700, 600, 500, 400, 300, 200, 100];
    assert_eq!(check(linear(), 10, Spacing::Trailing), trailing);
    // 1000 s u / (1 + (s - 1) u) for u = 1, 0.9, ..., s = 17/16, by a calculator.
    let shifted = [1000, 905, 810, 713, 614, 515, 415, 313, 210, 106];
    assert_eq!(check(linear(), 10, Spacing::Shifted), shifted);
}

#[test]
fn quadratic_gaps_grow_with_the_noise() {
    let expected = [1000, 810, 640, 490, 360, 250, 160, 90, 40, 10];
    assert_eq!(check(linear(), 10, Spacing::Quadratic), expected);
    // floor(i² / 10) begins with 0, 0, 0, 1: room is made.
    let many = check(linear(), 100, Spacing::Quadratic);
    assert_eq!(many[90..], [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
}

/// Each timestep is the one nearest to an even log-SNR, of those that the step
/// before has left.
#[test]
fn log_snr_is_even() {
    for schedule in [linear(), cosine()] {
        for steps in [2, 5, 10, 20] {
            let found = check(schedule, steps, Spacing::LogSnr);
            assert_eq!(*found.last().unwrap(), 1);
            let log_snr = |t: u16| schedule.snr(t).ln();
            let (start, end) = (log_snr(1000), log_snr(1));
            for (i, &t) in found.iter().enumerate() {
                let wanted = start + (end - start) * i as f64 / f64::from(steps - 1);
                let error = (log_snr(t) - wanted).abs();
                let last = if i == 0 { 1000 } else { found[i - 1] - 1 };
                for other in (t - 1).max(1)..=(t + 1).min(last) {
                    assert!(error <= (log_snr(other) - wanted).abs(), "{other} for {t}");
                }
            }
        }
    }
}

#[test]
fn respaced_timesteps_fall_strictly_from_t_to_0() {
    for timesteps in [1, 2, 3, 7, 10, 100, 997, 999, 1000] {
        for steps in 1..=timesteps {
            assert_eq!(respaced(timesteps, steps, 0), timesteps);
            assert_eq!(respaced(timesteps, steps, steps), 0);
            for index in 0..steps {
                let (t, s) = (
                    respaced(timesteps, steps, index),
                    respaced(timesteps, steps, index + 1),
                );
                assert!(s < t, "step {index} of {steps}, T = {timesteps}: {t}, {s}");
                // Evenly: no gap is more than 1 from T / steps.
                let gap = f64::from(t - s) - f64::from(timesteps) / f64::from(steps);
                assert!(
                    gap.abs() <= 1.0,
                    "step {index} of {steps}: gap off by {gap}"
                );
            }
        }
    }
}

#[test]
fn respacing_survives_any_arguments() {
    let extremes = [0, 1, 2, 1000, u16::MAX - 1, u16::MAX];
    for timesteps in extremes {
        for steps in extremes {
            for index in extremes {
                assert!(respaced(timesteps, steps, index) <= timesteps);
            }
        }
    }
}

#[test]
fn all_t_steps_visit_every_timestep() {
    for index in 0..=1000 {
        assert_eq!(respaced(1000, 1000, index), 1000 - index);
    }
}
