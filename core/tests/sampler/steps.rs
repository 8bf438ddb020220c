//! How a sampler drives a denoiser, step by step.

use super::{Gaussian, History, METHODS, PREDICTIONS, cosine, generate, linear, plain};
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::diffusion::sampler::{respaced, timesteps};
use tiny_ddpm::{
    Denoiser, InPlace, InPlaceSampler, Method, Prediction, Sampler, Settings, Spacing, Step,
};

/// Predicts x_0: a constant for each class, and notes every call.
struct Constant {
    /// x̂_0 with a class, and without.
    answers: (f32, f32),
    /// Timestep and class of every call.
    calls: Vec<(u16, Option<u8>)>,
    /// The call that fails, counted from 0.
    fails_at: Option<usize>,
}

impl Constant {
    fn new(with_class: f32, without: f32) -> Self {
        Self {
            answers: (with_class, without),
            calls: Vec::new(),
            fails_at: None,
        }
    }
}

#[derive(Debug, PartialEq)]
struct Failed;

impl Denoiser for Constant {
    type Error = Failed;

    fn prediction(&self) -> Prediction {
        Prediction::X0
    }

    fn predict(
        &mut self,
        _: &[f32],
        timestep: u16,
        class: Option<u8>,
        out: &mut [f32],
    ) -> Result<(), Failed> {
        self.calls.push((timestep, class));
        // What a failing network leaves there must not matter.
        out.fill(f32::NAN);
        if self.fails_at == Some(self.calls.len() - 1) {
            return Err(Failed);
        }
        let answer = class.map_or(self.answers.1, |_| self.answers.0);
        out.fill(answer);
        Ok(())
    }
}

fn guided(guidance: f32, steps: u16) -> Settings {
    plain(steps).guidance(guidance).class(Some(3))
}

fn gaussian() -> Gaussian {
    Gaussian {
        schedule: cosine(),
        prediction: Prediction::V,
        mean: 0.2,
        deviation: 0.4,
    }
}

/// Ho & Salimans 2022, eq. 6: (1 + w) with the class less w without.
#[test]
fn guidance_moves_away_from_the_unconditional() {
    for (guidance, expected) in [(0.0, 0.5), (0.5, 0.7), (1.0, 0.9), (4.0, 2.1)] {
        let mut denoiser = Constant::new(0.5, 0.1);
        let picture = generate(linear(), guided(guidance, 1), &mut denoiser, 3);
        for value in picture {
            assert!((value - expected).abs() < 1e-6, "{value} at w = {guidance}");
        }
    }
}

/// Other tools write eq. 6 as ε_u + scale (ε_c - ε_u): their `guidance_scale` is
/// w + 1, and 1 there, as 0 here, is no guidance.
#[test]
fn guidance_is_guidance_scale_less_one() {
    let (with_class, without) = (0.5_f32, 0.1_f32);
    for scale in [1.0_f32, 1.5, 3.0, 7.5] {
        let mut denoiser = Constant::new(with_class, without);
        let picture = generate(linear(), guided(scale - 1.0, 1), &mut denoiser, 1);
        let expected = without + scale * (with_class - without);
        assert!(
            (picture[0] - expected).abs() < 1e-5,
            "{picture:?} at {scale}"
        );
    }
}

#[test]
fn no_guidance_never_asks_for_the_unconditional() {
    let mut denoiser = Constant::new(0.5, f32::NAN);
    generate(linear(), guided(0.0, 7), &mut denoiser, 3);
    assert_eq!(denoiser.calls.len(), 7);
    assert!(denoiser.calls.iter().all(|call| call.1 == Some(3)));
}

#[test]
fn guidance_asks_twice_at_every_timestep() {
    let mut denoiser = Constant::new(0.5, 0.1);
    generate(linear(), guided(0.5, 3), &mut denoiser, 3);
    let expected = [1000, 667, 333].map(|t| [(t, Some(3)), (t, None)]);
    assert_eq!(denoiser.calls, expected.concat());
}

#[test]
fn no_class_is_passed_on_as_none() {
    let mut denoiser = Constant::new(f32::NAN, 0.1);
    let picture = generate(linear(), plain(2), &mut denoiser, 3);
    assert!(denoiser.calls.iter().all(|call| call.1.is_none()));
    assert!(picture.iter().all(|v| (v - 0.1).abs() < 1e-6));
}

#[test]
fn clipping_keeps_x0_hat_between_minus_1_and_1() {
    for (answer, expected) in [(5.0, 1.0), (-7.0, -1.0), (0.25, 0.25), (f32::INFINITY, 1.0)] {
        for method in METHODS {
            let settings = plain(4).method(method).clip(true);
            let mut history = History::new(5);
            let mut sampler = Sampler::new(cosine(), settings, history.buffers()).unwrap();
            let mut denoiser = Constant::new(0.0, answer);
            while sampler.step(&mut denoiser).unwrap().is_some() {
                assert_eq!(sampler.x0_hat(), [expected; 5]);
            }
            for &value in sampler.x() {
                assert!((value - expected).abs() < 1e-6, "{method:?}: {value}");
            }
        }
    }
}

#[test]
fn without_clipping_x0_hat_is_the_network_s() {
    let mut denoiser = Constant::new(0.0, 5.0);
    let picture = generate(cosine(), plain(4), &mut denoiser, 3);
    assert!(picture.iter().all(|v| (v - 5.0).abs() < 1e-5));
}

/// The last step adds no noise: x_0 is x̂_0.
#[test]
fn last_step_gives_x0_hat() {
    for method in METHODS {
        for prediction in PREDICTIONS {
            let settings = plain(5).method(method);
            let mut history = History::new(20);
            let mut sampler = Sampler::new(cosine(), settings, history.buffers()).unwrap();
            let mut denoiser = Gaussian {
                prediction,
                ..gaussian()
            };
            while sampler.step(&mut denoiser).unwrap().is_some() {}
            for (x, x0_hat) in sampler.x().iter().zip(sampler.x0_hat()) {
                assert!((x - x0_hat).abs() <= 1e-6 * x0_hat.abs(), "{x}, {x0_hat}");
            }
        }
    }
}

/// Each of the calls may fail once, also the one between Heun's two halves.
#[test]
fn a_failure_leaves_x_and_the_step_can_be_made_again() {
    for method in METHODS {
        let settings = guided(0.5, 4).method(method);
        let expected = generate(cosine(), settings, &mut Constant::new(0.5, 0.1), 6);
        let calls = usize::from(2 * method.evaluations(4));
        for fails_at in 0..calls {
            let mut history = History::new(6);
            let mut sampler = Sampler::new(cosine(), settings, history.buffers()).unwrap();
            let mut denoiser = Constant {
                fails_at: Some(fails_at),
                ..Constant::new(0.5, 0.1)
            };
            let mut failures = 0;
            loop {
                let before = (sampler.x().to_vec(), sampler.timestep());
                match sampler.step(&mut denoiser) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(Failed) => {
                        failures += 1;
                        assert_eq!((sampler.x().to_vec(), sampler.timestep()), before);
                    }
                }
            }
            assert_eq!(failures, 1);
            let what = format!("{method:?} after call {fails_at} failed");
            assert_eq!(sampler.x(), expected, "{what}");
        }
    }
}

impl InPlace for Constant {
    /// From the last pixel to the first: the order is free.
    fn update(
        &mut self,
        x: &mut [f32],
        timestep: u16,
        class: Option<u8>,
        guidance: f32,
        each: &mut dyn FnMut(usize, &mut f32, f32),
    ) -> Result<(), Failed> {
        let mut out = vec![0.0; x.len()];
        self.predict(x, timestep, class, &mut out)?;
        if guidance != 0.0 {
            let mut open = out.clone();
            self.predict(x, timestep, None, &mut open)?;
            for (out, open) in out.iter_mut().zip(open) {
                *out += guidance * (*out - open);
            }
        }
        for (at, (x, out)) in x.iter_mut().zip(out).enumerate().rev() {
            each(at, x, out);
        }
        Ok(())
    }
}

/// In place the same holds, and the bits are the same.
#[test]
fn a_failure_in_place_can_be_made_good() {
    for method in METHODS {
        let settings = guided(0.5, 3).method(method);
        let expected = generate(cosine(), settings, &mut Constant::new(0.5, 0.1), 6);
        for fails_at in 0..usize::from(2 * method.evaluations(3)) {
            let (mut x, mut history) = ([f32::NAN; 6], vec![f32::NAN; method.history_len(6)]);
            let mut sampler =
                InPlaceSampler::new(cosine(), settings, &mut x, &mut history).unwrap();
            let mut denoiser = Constant {
                fails_at: Some(fails_at),
                ..Constant::new(0.5, 0.1)
            };
            let mut failures = 0;
            loop {
                let before = sampler.x().to_vec();
                match sampler.step(&mut denoiser) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(Failed) => {
                        failures += 1;
                        assert_eq!(sampler.x(), before);
                    }
                }
            }
            assert_eq!(failures, 1);
            assert_eq!(
                sampler.x(),
                expected,
                "{method:?} after call {fails_at} failed"
            );
        }
    }
}

/// Which timesteps the denoiser is asked for, and that the sampler says so
/// beforehand.
#[test]
fn every_method_asks_as_often_as_it_says() {
    for method in METHODS {
        for spacing in Spacing::ALL {
            let settings = plain(5).method(method).spacing(spacing);
            let mut history = History::new(2);
            let mut sampler = Sampler::new(cosine(), settings, history.buffers()).unwrap();
            let mut denoiser = Constant::new(0.0, 0.1);
            let mut asked = Vec::new();
            loop {
                asked.push(sampler.timestep());
                match sampler.step(&mut denoiser).unwrap() {
                    Some(step) => assert_eq!(step.of, method.evaluations(5)),
                    None => break,
                }
            }
            let timesteps: Vec<u16> = timesteps(cosine(), 5, spacing).collect();
            let mut expected: Vec<u16> = match method {
                // At both ends of every step but the last.
                Method::Heun => {
                    let inner = timesteps.windows(2).flat_map(|pair| [pair[0], pair[1]]);
                    inner.chain(timesteps.last().copied()).collect()
                }
                _ => timesteps,
            };
            let calls: Vec<u16> = denoiser.calls.iter().map(|call| call.0).collect();
            assert_eq!(calls, expected, "{method:?}, {spacing:?}");
            assert_eq!(calls.len(), usize::from(method.evaluations(5)));
            assert_eq!(settings.evaluations() as usize, calls.len());
            expected.push(0);
            assert_eq!(asked, expected, "{method:?}, {spacing:?}");
        }
    }
    assert_eq!(guided(0.5, 5).evaluations(), 10);
}

#[test]
fn steps_are_counted_and_end() {
    let mut history = History::new(2);
    let mut sampler = Sampler::new(linear(), plain(3), history.buffers()).unwrap();
    let mut denoiser = Constant::new(0.0, 0.1);
    for index in 1..=3 {
        let step = sampler.step(&mut denoiser);
        let expected = Step {
            index,
            of: 3,
            timestep: respaced(1000, 3, index - 1),
        };
        assert_eq!(step, Ok(Some(expected)));
    }
    let done = sampler.x().to_vec();
    for _ in 0..3 {
        assert_eq!(sampler.step(&mut denoiser), Ok(None));
    }
    assert_eq!(sampler.x(), done);
    assert_eq!(denoiser.calls.len(), 3);
}

#[test]
fn the_first_x_is_the_noise_of_seed_and_picture() {
    let mut expected = [0.0; 9];
    Noise::new(77, 5).fill(&mut expected);
    let mut history = History::new(9);
    let settings = plain(3).seed(77).picture(5);
    let sampler = Sampler::new(linear(), settings, history.buffers()).unwrap();
    assert_eq!(sampler.x(), expected);
}

/// What the buffers held before, and which pictures were made before, do not
/// matter.
#[test]
fn a_picture_alone_is_the_picture_in_a_batch() {
    for method in METHODS {
        let settings = |picture| plain(10).method(method).picture(picture);
        let mut history = History::new(8);
        let mut batch = Vec::new();
        for picture in 0..4 {
            let mut sampler = Sampler::new(cosine(), settings(picture), history.buffers()).unwrap();
            while sampler.step(&mut gaussian()).unwrap().is_some() {}
            batch.push(sampler.x().to_vec());
        }
        for picture in [2, 0, 3, 1] {
            let alone = generate(cosine(), settings(picture), &mut gaussian(), 8);
            assert_eq!(alone, batch[picture as usize], "picture {picture}");
        }
        assert!(batch.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

/// A training target, given back as the network's answer, is undone: this is
/// the one place where trainer and sampler must agree.
#[test]
fn targets_lead_back_to_x_0() {
    let schedule = cosine();
    for timestep in [1, 10, 500, 900, 990] {
        let alpha_bar = schedule.alpha_bar(timestep);
        let (signal, noise) = (alpha_bar.sqrt() as f32, (1.0 - alpha_bar).sqrt() as f32);
        for (x_0, epsilon) in [(0.7_f32, -1.2_f32), (-1.0, 0.3), (0.0, 2.5)] {
            let x_t = signal * x_0 + noise * epsilon;
            for prediction in PREDICTIONS {
                let mut out = [prediction.target(alpha_bar, x_0, epsilon)];
                prediction.to_x0_hat(alpha_bar, &[x_t], &mut out);
                let allowed = 1e-6 / signal;
                assert!(
                    (out[0] - x_0).abs() < allowed,
                    "{prediction:?} at {timestep}: {} for {x_0}",
                    out[0]
                );
            }
        }
    }
}
