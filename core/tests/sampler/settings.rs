//! What the sampler accepts, and which timesteps it visits.

use super::{METHODS, linear, plain};
use tiny_ddpm::sampler::respaced;
use tiny_ddpm::{Buffers, Method, Sampler, Schedule, ScheduleKind, Settings, SettingsError};

/// Tries settings with buffers of these lengths.
fn refused(settings: Settings, [x, x0_hat, unconditional]: [usize; 3]) -> Option<SettingsError> {
    let (mut x, mut x0_hat, mut unconditional) =
        (vec![0.0; x], vec![0.0; x0_hat], vec![0.0; unconditional]);
    let buffers = Buffers {
        x: &mut x,
        x0_hat: &mut x0_hat,
        unconditional: &mut unconditional,
    };
    Sampler::new(linear(), settings, buffers).err()
}

#[test]
fn steps_outside_1_to_t_are_refused() {
    for steps in [0, 1001, u16::MAX] {
        let error = refused(plain(steps), [4, 4, 4]).unwrap();
        let expected = SettingsError::Steps {
            found: steps,
            timesteps: 1000,
        };
        assert_eq!(error, expected);
        let message = error.to_string();
        assert!(message.contains(&steps.to_string()), "{message}");
        assert!(message.contains("1000"), "{message}");
    }
    for steps in [1, 1000] {
        assert_eq!(refused(plain(steps), [4, 4, 4]), None);
    }
}

#[test]
fn eta_outside_0_to_1_is_refused() {
    for eta in [-0.1, 1.001, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let settings = Settings {
            method: Method::Ddim { eta },
            ..plain(10)
        };
        let error = refused(settings, [4, 4, 4]);
        assert!(matches!(error, Some(SettingsError::Eta(_))), "{error:?}");
    }
    for method in METHODS {
        let settings = Settings {
            method,
            ..plain(10)
        };
        assert_eq!(refused(settings, [4, 4, 4]), None);
    }
}

#[test]
fn guidance_outside_0_to_100_is_refused() {
    let with_guidance = |guidance| Settings {
        guidance,
        class: Some(3),
        ..plain(10)
    };
    for guidance in [-0.1, 100.5, f32::NAN, f32::INFINITY] {
        let error = refused(with_guidance(guidance), [4, 4, 4]);
        assert!(
            matches!(error, Some(SettingsError::Guidance(_))),
            "{error:?}"
        );
    }
    for guidance in [0.0, 0.5, 100.0] {
        assert_eq!(refused(with_guidance(guidance), [4, 4, 4]), None);
    }
}

#[test]
fn guidance_needs_a_class() {
    let settings = Settings {
        guidance: 0.5,
        ..plain(10)
    };
    let error = refused(settings, [4, 4, 4]);
    assert_eq!(error, Some(SettingsError::GuidanceWithoutClass));
}

#[test]
fn buffers_must_have_one_length() {
    let guided = Settings {
        guidance: 0.5,
        class: Some(0),
        ..plain(10)
    };
    let wrong = |other| Some(SettingsError::Buffers { x: 4, other });
    assert_eq!(refused(plain(10), [4, 3, 4]), wrong(3));
    assert_eq!(refused(plain(10), [4, 5, 4]), wrong(5));
    assert_eq!(refused(plain(10), [4, 4, 5]), wrong(5));
    // Without guidance the third buffer may be left out, with it not.
    assert_eq!(refused(plain(10), [4, 4, 0]), None);
    assert_eq!(refused(guided, [4, 4, 0]), wrong(0));
    assert_eq!(refused(guided, [4, 4, 4]), None);
    assert_eq!(refused(plain(10), [0, 0, 0]), None);
}

#[test]
fn settings_can_be_checked_without_buffers() {
    let short = Schedule::new(ScheduleKind::Cosine, 10).unwrap();
    assert_eq!(plain(10).validate(&short), Ok(()));
    let error = plain(11).validate(&short).unwrap_err();
    let expected = SettingsError::Steps {
        found: 11,
        timesteps: 10,
    };
    assert_eq!(error, expected);
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
