//! How fast the solvers of the probability-flow ODE come near its solution,
//! which for Gaussian data is known: every x_t keeps its quantile.

use super::gaussian::{Chain, DEVIATION, MEAN, pairs, predictor};
use super::{UNIPC, UNIPC_1, cosine, generate, linear, plain};
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::diffusion::sampler::timesteps;
use tiny_ddpm::{Method, Prediction, Schedule, ScheduleKind, Spacing};

const PIXELS: usize = 64;

/// With so many timesteps, rounding to whole ones hardly matters.
fn schedules() -> [Schedule; 2] {
    let cosine = Schedule::new(ScheduleKind::Cosine, 4000);
    [linear_of(4000), cosine.unwrap()]
}

/// β(t) from 0.1 to 20 over a time of 1, as in Song et al. 2021
/// (arXiv:2011.13456), appendix C: the linear schedule for any T.
pub fn linear_of(timesteps: u16) -> Schedule {
    let kind = ScheduleKind::Linear {
        beta_start: 0.1 / f64::from(timesteps),
        beta_end: 20.0 / f64::from(timesteps),
    };
    Schedule::new(kind, timesteps).unwrap()
}

/// Mean and deviation of x_t.
fn of_x(alpha_bar: f64) -> (f64, f64) {
    let variance = alpha_bar * DEVIATION * DEVIATION + 1.0 - alpha_bar;
    (alpha_bar.sqrt() * MEAN, variance.sqrt())
}

/// The exact x_0 for x_T.
fn exact(schedule: &Schedule, x_t: f64) -> f64 {
    let (mean, deviation) = of_x(schedule.alpha_bar(schedule.timesteps()));
    MEAN + DEVIATION * (x_t - mean) / deviation
}

/// The largest error of the sampler itself.
fn error(schedule: Schedule, method: Method, spacing: Spacing, steps: u16) -> f64 {
    let mut x_t = [0.0; PIXELS];
    Noise::new(1, 0).fill(&mut x_t);
    let settings = plain(steps).method(method).spacing(spacing);
    let mut denoiser = predictor(schedule, Prediction::V);
    let picture = generate(schedule, settings, &mut denoiser, PIXELS);
    let errors = picture.iter().zip(x_t).map(|(&found, x_t)| {
        let expected = exact(&schedule, x_t.into());
        (f64::from(found) - expected).abs()
    });
    errors.fold(0.0, f64::max)
}

/// The order that the errors at 20 and at 80 steps show.
fn order(schedule: Schedule, method: Method, spacing: Spacing) -> f64 {
    let [coarse, fine] = [20, 80].map(|steps| error(schedule, method, spacing, steps));
    let found = (coarse / fine).log2() / 2.0;
    println!(
        "{:?}, {}, {}: {coarse:.1e} to {fine:.1e}, order {found:.2}",
        schedule.kind(),
        method.name(),
        spacing.name()
    );
    found
}

const DDIM: Method = Method::Ddim { eta: 0.0 };

/// As steps double, the error of DDIM, which is Euler's method, halves.
#[test]
fn ddim_is_of_first_order() {
    for schedule in schedules() {
        for spacing in Spacing::ALL {
            let found = order(schedule, DDIM, spacing);
            assert!((0.9..1.1).contains(&found), "{spacing:?}: {found}");
        }
    }
}

/// And those of Heun's method and DPM-Solver++(2M) become a quarter.
///
/// Only where the way ends at t = 1, though: trailing timesteps end at T / K,
/// and the step from there to 0 is x̂_0, whose error falls as 1 - ᾱ does, no
/// faster than 1 / K where β begins above 0. DPM-Solver++ is not held to an
/// order where a rule changes its h by more than a little from step to step,
/// for its lines are drawn through the last two.
#[test]
fn heun_and_dpm_solver_are_of_second_order() {
    let [linear, cosine] = schedules();
    let cases = [
        (linear, Method::Heun, Spacing::Uniform),
        (linear, Method::Heun, Spacing::Quadratic),
        (linear, Method::Heun, Spacing::LogSnr),
        (cosine, Method::Heun, Spacing::Uniform),
        (cosine, Method::Heun, Spacing::Quadratic),
        (cosine, Method::Heun, Spacing::LogSnr),
        (linear, Method::DpmSolver, Spacing::Quadratic),
        (linear, Method::DpmSolver, Spacing::LogSnr),
        (cosine, Method::DpmSolver, Spacing::Uniform),
        (cosine, Method::DpmSolver, Spacing::LogSnr),
    ];
    for (schedule, method, spacing) in cases {
        let found = order(schedule, method, spacing);
        let what = format!("{method:?}, {spacing:?}: {found}");
        assert!((1.75..2.25).contains(&found), "{what}");
    }
}

/// UniPC's corrector knows one x̂_0 more than its predictor, which is worth an
/// order: DDIM's becomes the second, DPM-Solver++'s the third. Where λ moves
/// evenly, that is; elsewhere 80 steps are too few to show it.
#[test]
fn the_corrector_is_worth_an_order() {
    for schedule in schedules() {
        let [first, second] =
            [UNIPC_1, UNIPC].map(|method| order(schedule, method, Spacing::LogSnr));
        let what = format!("{:?}: {first}, {second}", schedule.kind());
        assert!((1.75..2.25).contains(&first), "{what}");
        assert!((2.6..3.4).contains(&second), "{what}");
    }
}

/// What the second order is worth with trailing timesteps: for the same number
/// of network runs as DDIM, and no other rule's order is needed for that.
#[test]
fn second_order_is_nearer_for_the_same_work() {
    for schedule in schedules() {
        for evaluations in [19, 39, 79] {
            let ddim = error(schedule, DDIM, Spacing::Trailing, evaluations);
            let dpm = error(schedule, Method::DpmSolver, Spacing::Trailing, evaluations);
            let heun = evaluations.div_ceil(2);
            assert_eq!(Method::Heun.evaluations(heun), evaluations);
            let heun = error(schedule, Method::Heun, Spacing::Trailing, heun);
            let what = format!("{evaluations} evaluations: {ddim}, {dpm}, {heun}");
            assert!(dpm < 0.5 * ddim && dpm < heun, "{what}");
            // Of Heun's there are half as many steps to see the end.
            assert!(heun < 1.3 * ddim, "{what}");
        }
    }
}

/// Why `--sampler dpm-solver` wants trailing timesteps: uniform ones end with a
/// step to t = 1 that in λ, DPM-Solver++'s clock, is three to five times as long
/// as the one before. The line through the last two predictions is continued
/// that far, and overshoots: in few steps DDIM, of first order, is nearer.
#[test]
fn dpm_solver_overshoots_with_few_uniform_timesteps() {
    let half_log_snr = |alpha_bar: f64| (alpha_bar / (1.0 - alpha_bar)).ln() / 2.0;
    for schedule in [linear(), cosine()] {
        for steps in [6, 8, 10, 15, 20] {
            let visited: Vec<u16> = timesteps(schedule, steps, Spacing::Uniform).collect();
            let [.., a, b, c] = visited[..] else {
                panic!("{visited:?}")
            };
            assert_eq!(c, 1);
            let [a, b, c] = [a, b, c].map(|t| half_log_snr(schedule.alpha_bar(t)));
            let longer = (c - b) / (b - a);
            assert!((4.0..5.5).contains(&longer), "{steps} steps: {longer}");

            let of = |method, spacing| error(schedule, method, spacing, steps);
            let [uniform, trailing] = [Spacing::Uniform, Spacing::Trailing]
                .map(|spacing| (of(DDIM, spacing), of(Method::DpmSolver, spacing)));
            println!(
                "{:?}, {steps} steps: {uniform:.3?}, {trailing:.3?}",
                schedule.kind()
            );
            assert!(uniform.1 > 1.1 * uniform.0, "{steps} steps: {uniform:?}");
            assert!(trailing.1 < trailing.0, "{steps} steps: {trailing:?}");
        }
    }
}

/// DDIM without noise is Euler's method: explicit steps of dx̄ = ε̂ dσ̄ with
/// x̄ = x / sqrt(ᾱ), σ̄ = sqrt(1 - ᾱ) / sqrt(ᾱ) (Song et al. 2021,
/// arXiv:2010.02502, eq. 14) end at the same x_0.
#[test]
fn ddim_is_euler_s_method() {
    let schedule = cosine();
    for steps in [1, 5, 20, 200] {
        let settings = plain(steps);
        let mut denoiser = predictor(schedule, Prediction::Epsilon);
        let picture = generate(schedule, settings, &mut denoiser, PIXELS);
        let mut x_t = [0.0; PIXELS];
        Noise::new(1, 0).fill(&mut x_t);
        for (&found, x_t) in picture.iter().zip(x_t) {
            let expected = in_sigma_bar(&schedule, steps, x_t.into(), false);
            let error = (f64::from(found) - expected).abs();
            // ε̂ in f32, divided by sqrt(ᾱ_T) where the one step is the last.
            let allowed = if steps == 1 { 5e-3 } else { 1e-3 };
            assert!(error < allowed, "{steps} steps: {found}, not {expected}");
        }
    }
}

/// Euler's or Heun's method with σ̄ as the clock.
fn in_sigma_bar(schedule: &Schedule, steps: u16, x_t: f64, heun: bool) -> f64 {
    let predictor = predictor(*schedule, Prediction::Epsilon);
    let level = |t: u16| (1.0 / schedule.alpha_bar(t) - 1.0).sqrt();
    // ε̂ for x̄.
    let epsilon = |t: u16, x: f64| {
        let alpha_bar = schedule.alpha_bar(t);
        let (offset, slope) = predictor.x0_hat(alpha_bar);
        (x - offset - slope * alpha_bar.sqrt() * x) / level(t)
    };
    let mut x = x_t / schedule.alpha_bar(schedule.timesteps()).sqrt();
    for (t, s) in pairs(schedule, steps, Spacing::Trailing) {
        let h = level(s) - level(t);
        let first = epsilon(t, x);
        x += h * match heun && s > 0 {
            true => (first + epsilon(s, x + h * first)) / 2.0,
            false => first,
        };
    }
    x
}

/// Why Heun's clock is the angle φ: with σ̄ the first step of a cosine schedule
/// is so long that the rest cannot make up for it.
#[test]
fn heun_needs_a_clock_without_infinity() {
    let schedule = cosine();
    for steps in [5, 10, 20, 40] {
        let chain = Chain::run(&schedule, Method::Heun, steps);
        let [in_phi, in_sigma] = [false, true].map(|sigma| {
            let errors = [-2.0, -1.0, 0.0, 1.0, 2.0].map(|x_t: f64| {
                let found = match sigma {
                    true => in_sigma_bar(&schedule, steps, x_t, true),
                    false => chain.slope * x_t + chain.offset,
                };
                (found - exact(&schedule, x_t)).abs()
            });
            errors.into_iter().fold(0.0, f64::max)
        });
        println!("{steps} steps: off by {in_phi:.4} in phi, {in_sigma:.4} in sigma/alpha");
        assert!(in_phi < 0.5 * in_sigma);
    }
}

/// Euler-Maruyama's mean and variance are of (weak) first order.
#[test]
fn euler_maruyama_is_of_first_weak_order() {
    for schedule in schedules() {
        let [coarse, fine] = [250, 1000].map(|steps| {
            let chain = Chain::run(&schedule, Method::EulerMaruyama, steps);
            let (mean, variance) = chain.moments();
            (
                (mean - MEAN).abs(),
                (variance - DEVIATION * DEVIATION).abs(),
            )
        });
        let order = |coarse: f64, fine: f64| (coarse / fine).log2() / 2.0;
        let found = (order(coarse.0, fine.0), order(coarse.1, fine.1));
        println!("{:?}: orders {found:.2?}", schedule.kind());
        assert!((0.85..1.2).contains(&found.1), "{found:?}");
    }
}
