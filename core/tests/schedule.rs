//! The noise schedule against its definitions: recursion, golden values and
//! Bayes' rule.

use tiny_ddpm::diffusion::schedule::{MAX_TIMESTEPS, Transition};
use tiny_ddpm::{Schedule, ScheduleError, ScheduleKind};

const TIMESTEPS: [u16; 6] = [1, 2, 3, 10, 500, 1000];
/// As many as the longest published chains have, and as many as there may be.
const LONG: [u16; 2] = [2000, MAX_TIMESTEPS];

/// (t, ᾱ_t, β̃_t) at T = 1000, printed by `golden/schedule.py`, which works
/// from the papers' definitions with 60 decimal digits.
const LINEAR: [(u16, f64, f64); 7] = [
    (1, 0.9999, 0.0),
    (2, 0.9997800920720721, 5.4531876613026055e-05),
    (10, 0.9981052047858346, 0.00023818202782344735),
    (100, 0.8970181456749604, 0.002034596259490786),
    (500, 0.07858724288177824, 0.010031355414613688),
    (999, 4.1181936381384524e-05, 0.0199800633042432),
    (1000, 4.0358297653756835e-05, 0.019999983526560607),
];
const COSINE: [(u16, f64, f64); 7] = [
    (1, 0.9999587157751783, 0.0),
    (2, 0.999912575927368, 2.178949614566204e-05),
    (10, 0.9993687184016585, 7.356945118994805e-05),
    (100, 0.9720927371139692, 0.0005172290804028208),
    (500, 0.4938435904406377, 0.0031361999040579384),
    (999, 2.428766907034468e-06, 0.7499939281844662),
    (1000, 2.4287669070344683e-09, 0.9989975760881922),
];

fn all_schedules() -> impl Iterator<Item = Schedule> {
    let kinds = [
        ScheduleKind::LINEAR,
        ScheduleKind::Cosine,
        ScheduleKind::Linear {
            beta_start: 0.01,
            beta_end: 0.05,
        },
    ];
    kinds.into_iter().flat_map(|kind| {
        TIMESTEPS
            .into_iter()
            .map(move |timesteps| Schedule::new(kind, timesteps).unwrap())
    })
}

/// Relative, with an absolute floor far below any variance of interest.
#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    let error = (found - expected).abs();
    assert!(
        error <= tolerance * expected.abs() + 1e-15,
        "{what}: {found:e}, expected {expected:e}"
    );
}

/// q(x_t | x_0) step by step: x_t = sqrt(α_t) x_{t-1} + sqrt(β_t) ε moves a
/// mean m and a variance v.
#[test]
fn closed_form_is_the_recursion_of_the_forward_process() {
    for schedule in all_schedules() {
        let (mut mean, mut variance, mut product) = (1.0, 0.0, 1.0);
        for t in 1..=schedule.timesteps() {
            let (alpha, beta) = (schedule.alpha(t), schedule.beta(t));
            mean *= alpha.sqrt();
            variance = alpha * variance + beta;
            product *= alpha;
            let alpha_bar = schedule.alpha_bar(t);
            // A thousand roundings, and the cosine's cancellation near T.
            let what = format!("{schedule:?} at {t}");
            assert_close(alpha_bar, product, 1e-11, &what);
            assert_close(alpha_bar.sqrt(), mean, 1e-11, &what);
            assert_close(1.0 - alpha_bar, variance, 1e-11, &what);
        }
    }
}

/// The same for long chains, in the time that a product for every t allows.
#[test]
fn long_chains_are_the_recursion_too() {
    for timesteps in LONG {
        for kind in [ScheduleKind::LINEAR, ScheduleKind::Cosine] {
            let schedule = Schedule::new(kind, timesteps).unwrap();
            let (mut product, mut last) = (1.0, 1.0);
            for t in 1..=timesteps {
                product *= schedule.alpha(t);
                if t % 97 != 0 && t != timesteps {
                    continue;
                }
                let alpha_bar = schedule.alpha_bar(t);
                assert_close(alpha_bar, product, 1e-10, &format!("{schedule:?} at {t}"));
                assert!(alpha_bar > 0.0 && alpha_bar < last);
                last = alpha_bar;
                for value in [
                    schedule.transition(t, t - 1).posterior_variance(),
                    schedule.transition(t, t - 1).mean_weight_x0(),
                    schedule.transition(t, 1).mean_weight_x_t(),
                    schedule.snr(t),
                ] {
                    assert!(value.is_finite(), "{schedule:?} at {t}: {value}");
                }
            }
        }
    }
}

#[test]
fn linear_schedule_has_its_golden_values() {
    check_golden(ScheduleKind::LINEAR, &LINEAR);
}

#[test]
fn cosine_schedule_has_its_golden_values() {
    check_golden(ScheduleKind::Cosine, &COSINE);
}

fn check_golden(kind: ScheduleKind, golden: &[(u16, f64, f64)]) {
    let schedule = Schedule::new(kind, 1000).unwrap();
    for &(t, alpha_bar, posterior) in golden {
        let what = format!("{kind:?} at {t}");
        assert_close(schedule.alpha_bar(t), alpha_bar, 1e-12, &what);
        // 1 - α and 1 - ᾱ lose up to four digits at small t.
        let transition = schedule.transition(t, t - 1);
        assert_close(transition.posterior_variance(), posterior, 1e-11, &what);
    }
}

/// Nichol & Dhariwal 2021, eq. 17, with the betas cut at 0.999.
#[test]
fn cosine_closed_form_is_the_product_of_its_clipped_betas() {
    for timesteps in TIMESTEPS {
        let schedule = Schedule::new(ScheduleKind::Cosine, timesteps).unwrap();
        let f = |t: u16| {
            let angle = (f64::from(t) / f64::from(timesteps) + 0.008) / 1.008;
            (angle * std::f64::consts::FRAC_PI_2).cos().powi(2)
        };
        let mut alpha_bar = 1.0;
        for t in 1..=timesteps {
            let beta = (1.0 - f(t) / f(t - 1)).min(0.999);
            alpha_bar *= 1.0 - beta;
            let what = format!("t = {t} of {timesteps}");
            assert_close(schedule.beta(t), beta, 1e-10, &what);
            assert_close(schedule.alpha_bar(t), alpha_bar, 1e-10, &what);
        }
    }
}

#[test]
fn betas_lie_between_0_and_1_and_the_picture_fades() {
    for schedule in all_schedules() {
        assert_eq!(schedule.alpha_bar(0), 1.0);
        assert_eq!((schedule.beta(0), schedule.alpha(0)), (0.0, 1.0));
        assert_eq!(schedule.snr(0), f64::INFINITY);
        for t in 1..=schedule.timesteps() {
            let beta = schedule.beta(t);
            assert!(0.0 < beta && beta < 1.0, "{schedule:?}: beta_{t} = {beta}");
            assert!(schedule.alpha_bar(t) < schedule.alpha_bar(t - 1));
            assert!(schedule.alpha_bar(t) > 0.0);
            assert!(schedule.snr(t) < schedule.snr(t - 1));
            // Ho et al. 2020, section 3.2: β̃ and β are the bounds.
            let transition = schedule.transition(t, t - 1);
            assert!(transition.posterior_variance() < transition.beta());
        }
    }
}

#[test]
fn adjacent_transitions_have_the_schedule_s_own_alpha_and_beta() {
    for schedule in all_schedules() {
        for t in 1..=schedule.timesteps() {
            let transition = schedule.transition(t, t - 1);
            let what = format!("{schedule:?} at {t}");
            assert_close(transition.alpha(), schedule.alpha(t), 1e-12, &what);
            assert_close(transition.beta(), schedule.beta(t), 1e-10, &what);
        }
    }
}

/// μ̃(x_t, x̂_0) with x̂_0 written through ε̂ is Ho et al. 2020, eq. 11:
/// 1/sqrt(α_t) (x_t - β_t / sqrt(1 - ᾱ_t) ε̂).
#[test]
fn posterior_mean_is_the_ancestral_mean_in_epsilon() {
    for schedule in all_schedules() {
        for t in 1..=schedule.timesteps() {
            let transition = schedule.transition(t, t - 1);
            let alpha_bar = schedule.alpha_bar(t);
            let (x_t, epsilon) = (0.8, -1.3);
            let x_0 = (x_t - (1.0 - alpha_bar).sqrt() * epsilon) / alpha_bar.sqrt();
            let mean = transition.mean_weight_x0() * x_0 + transition.mean_weight_x_t() * x_t;
            let beta = schedule.beta(t);
            let expected =
                (x_t - beta / (1.0 - alpha_bar).sqrt() * epsilon) / schedule.alpha(t).sqrt();
            assert_close(mean, expected, 1e-10, &format!("{schedule:?} at {t}"));
        }
    }
}

#[test]
fn posterior_is_bayes_rule_for_adjacent_steps() {
    for kind in [ScheduleKind::LINEAR, ScheduleKind::Cosine] {
        let schedule = Schedule::new(kind, 1000).unwrap();
        for t in [2, 3, 10, 100, 500, 999, 1000] {
            check_bayes(&schedule, t, t - 1);
        }
    }
}

#[test]
fn posterior_is_bayes_rule_for_respaced_steps() {
    for kind in [ScheduleKind::LINEAR, ScheduleKind::Cosine] {
        let schedule = Schedule::new(kind, 1000).unwrap();
        for (t, s) in [(3, 1), (100, 5), (500, 250), (950, 900), (1000, 1)] {
            check_bayes(&schedule, t, s);
        }
    }
}

/// Integrates q(x_s | x_t, x_0) ∝ q(x_t | x_s) q(x_s | x_0) on a grid, with
/// both factors made from the single steps' betas.
fn check_bayes(schedule: &Schedule, t: u16, s: u16) {
    let (x_0, x_t) = (0.6, -0.45);
    let product = |from: u16, to: u16| -> f64 { (from..=to).map(|i| schedule.alpha(i)).product() };
    let prior_scale = product(1, s).sqrt();
    let prior_variance = 1.0 - product(1, s);
    let step_scale = product(s + 1, t).sqrt();
    let step_variance = 1.0 - product(s + 1, t);
    let log_density = |x_s: f64| {
        let prior = (x_s - prior_scale * x_0).powi(2) / prior_variance;
        let likelihood = (x_t - step_scale * x_s).powi(2) / step_variance;
        -0.5 * (prior + likelihood)
    };

    // The mass lies around the mode, which is between the two factors'
    // centres, and within a few of the narrower factor's deviations.
    let centres = [prior_scale * x_0, x_t / step_scale];
    let (mut low, mut high) = (centres[0].min(centres[1]), centres[0].max(centres[1]));
    for _ in 0..200 {
        let third = (high - low) / 3.0;
        if log_density(low + third) < log_density(high - third) {
            low += third;
        } else {
            high -= third;
        }
    }
    let narrower = prior_variance.sqrt().min(step_variance.sqrt() / step_scale);
    let (low, high) = (low - 12.0 * narrower, high + 12.0 * narrower);
    // The trapezoidal rule converges on a bell curve faster than any power.
    let points = 20_000;
    let grid = || (0..=points).map(|i| low + (high - low) * f64::from(i) / f64::from(points));
    let largest = grid().map(log_density).fold(f64::MIN, f64::max);
    let (mut mass, mut first) = (0.0, 0.0);
    for x in grid() {
        let density = (log_density(x) - largest).exp();
        mass += density;
        first += density * x;
    }
    let mean = first / mass;
    let second: f64 = grid()
        .map(|x| (log_density(x) - largest).exp() * (x - mean).powi(2))
        .sum();
    let variance = second / mass;

    let transition = schedule.transition(t, s);
    let found = transition.mean_weight_x0() * x_0 + transition.mean_weight_x_t() * x_t;
    let what = format!("{:?}, {t} to {s}", schedule.kind());
    assert_close(found, mean, 1e-8, &format!("mean, {what}"));
    assert_close(
        transition.posterior_variance(),
        variance,
        1e-8,
        &format!("variance, {what}"),
    );
}

#[test]
fn step_to_the_clean_picture_is_x_0_without_noise() {
    for schedule in all_schedules() {
        for t in 1..=schedule.timesteps() {
            let transition = schedule.transition(t, 0);
            assert_eq!(transition.posterior_variance(), 0.0);
            assert_eq!(transition.mean_weight_x_t(), 0.0);
            assert_close(transition.mean_weight_x0(), 1.0, 1e-15, "weight of x_0");
        }
    }
}

#[test]
fn timesteps_out_of_range_count_as_the_nearest() {
    let schedule = Schedule::new(ScheduleKind::LINEAR, 10).unwrap();
    assert_eq!(schedule.beta(11), schedule.beta(10));
    assert_eq!(schedule.alpha_bar(u16::MAX), schedule.alpha_bar(10));
    let to_zero = schedule.transition(5, 0);
    assert_eq!(schedule.transition(5, 5), to_zero);
    assert_eq!(schedule.transition(5, 6), to_zero);
    let expected = Transition {
        alpha_bar: schedule.alpha_bar(5),
        alpha_bar_prev: 1.0,
    };
    assert_eq!(to_zero, expected);
}

#[test]
fn timesteps_out_of_range_are_refused() {
    for kind in [ScheduleKind::LINEAR, ScheduleKind::Cosine] {
        for found in [0, MAX_TIMESTEPS + 1, u16::MAX] {
            let error = Schedule::new(kind, found).unwrap_err();
            assert_eq!(error, ScheduleError::Timesteps { found });
            let message = error.to_string();
            assert!(message.contains(&found.to_string()), "{message}");
            assert!(message.contains("1 to 4000"), "{message}");
        }
    }
}

#[test]
fn impossible_betas_are_refused() {
    let bad = [
        (0.0, 0.02),
        (-1e-4, 0.02),
        (0.02, 1e-4),
        (1e-4, 1.0),
        (1e-4, f64::INFINITY),
        (f64::NAN, 0.02),
        (1e-4, f64::NAN),
        // 1 - β is 1: every coefficient would be 0 / 0.
        (1e-17, 0.02),
    ];
    for (beta_start, beta_end) in bad {
        let kind = ScheduleKind::Linear {
            beta_start,
            beta_end,
        };
        assert_eq!(Schedule::new(kind, 1000), Err(ScheduleError::Beta));
    }
}

#[test]
fn betas_that_leave_no_picture_are_refused() {
    let kind = ScheduleKind::Linear {
        beta_start: 0.5,
        beta_end: 0.9,
    };
    assert_eq!(Schedule::new(kind, 1000), Err(ScheduleError::AlphaBar));
    assert!(Schedule::new(kind, 10).is_ok(), "few such steps are fine");
}

#[test]
fn every_accepted_schedule_has_finite_coefficients() {
    for beta_start in [1e-12, 1e-6, 0.01, 0.05] {
        let kind = ScheduleKind::Linear {
            beta_start,
            beta_end: 0.05,
        };
        for timesteps in TIMESTEPS {
            let schedule = Schedule::new(kind, timesteps).unwrap();
            for t in 1..=timesteps {
                let transition = schedule.transition(t, t - 1);
                for value in [
                    transition.posterior_variance(),
                    transition.mean_weight_x0(),
                    transition.mean_weight_x_t(),
                    schedule.snr(t),
                ] {
                    assert!(value.is_finite(), "{kind:?}, t = {t}: {value}");
                }
            }
        }
    }
}
