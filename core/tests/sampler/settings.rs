//! What the sampler accepts.

use super::{METHODS, UNIPC, UNIPC_1, linear, plain};
use tiny_ddpm::{
    Buffers, InPlaceSampler, Method, Sampler, Schedule, ScheduleKind, Settings, SettingsError,
    Spacing,
};

/// Tries settings with buffers of these lengths.
fn refused(settings: Settings, [x, x0_hat, unconditional]: [usize; 3]) -> Option<SettingsError> {
    refused_with(settings, [x, x0_hat, unconditional, 2 * x])
}

/// The same with a history of any length.
fn refused_with(settings: Settings, lengths: [usize; 4]) -> Option<SettingsError> {
    let mut buffers = lengths.map(|length| vec![0.0; length]);
    let [x, x0_hat, unconditional, history] = &mut buffers;
    let buffers = Buffers {
        x,
        x0_hat,
        unconditional,
        history,
    };
    Sampler::new(linear(), settings, buffers).err()
}

#[test]
fn a_memory_must_be_long_enough() {
    for method in METHODS {
        let settings = plain(10).method(method);
        let needed = method.history_len(4);
        for found in 0..=9 {
            let error = refused_with(settings, [4, 4, 0, found]);
            let expected = (found < needed).then_some(SettingsError::History { found, needed });
            assert_eq!(error, expected, "{method:?}");
            if let Some(error) = error {
                let message = error.to_string();
                assert!(message.contains(&found.to_string()), "{message}");
                assert!(message.contains(&format!("needs {needed}")), "{message}");
            }
            let (mut x, mut history) = (vec![0.0; 4], vec![0.0; found]);
            let in_place = InPlaceSampler::new(linear(), settings, &mut x, &mut history);
            assert_eq!(in_place.err(), expected, "{method:?}");
        }
    }
    assert_eq!(Method::Ddim { eta: 0.0 }.history_len(4), 0);
    assert_eq!(Method::Consistency.history_len(4), 0);
    assert_eq!(UNIPC_1.history_len(4), 4);
    assert_eq!(UNIPC.history_len(4), 8);
    assert_eq!(UNIPC.history_len(usize::MAX), usize::MAX);
}

#[test]
fn every_method_and_spacing_has_its_name() {
    for name in Method::NAMES {
        let method = Method::from_name(name, 0.25).unwrap();
        assert_eq!(method.name(), name);
    }
    for method in METHODS {
        let eta = match method {
            Method::Ddim { eta } => eta,
            _ => f32::NAN,
        };
        assert_eq!(Method::from_name(method.name(), eta), Some(method));
    }
    for spacing in Spacing::ALL {
        assert_eq!(Spacing::from_name(spacing.name()), Some(spacing));
    }
    assert_eq!(Spacing::from_name(""), None);
    assert_eq!(Method::from_name("DDIM", 0.0), None);
    assert_eq!(Spacing::default(), Spacing::Trailing);
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
        let settings = plain(10).method(Method::Ddim { eta });
        let error = refused(settings, [4, 4, 4]);
        assert!(matches!(error, Some(SettingsError::Eta(_))), "{error:?}");
    }
    for method in METHODS {
        let settings = plain(10).method(method);
        assert_eq!(refused(settings, [4, 4, 4]), None);
    }
}

#[test]
fn guidance_outside_0_to_100_is_refused() {
    let with_guidance = |guidance| plain(10).guidance(guidance).class(Some(3));
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
    let settings = plain(10).guidance(0.5);
    let error = refused(settings, [4, 4, 4]);
    assert_eq!(error, Some(SettingsError::GuidanceWithoutClass));
}

#[test]
fn buffers_must_have_one_length() {
    let guided = plain(10).guidance(0.5).class(Some(0));
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
