//! Walks from picture to picture.

use std::convert::Infallible;

use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::{
    Buffers, Denoiser, InPlace, InPlaceSampler, Method, Prediction, Sampler, Schedule,
    ScheduleKind, Settings, Walk,
};

const WALK: Walk = Walk {
    seed: 5,
    first: 40,
    stops: 3,
    frames: 8,
};

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn noise(walk: Walk, index: u32, pixels: usize) -> Vec<f32> {
    let mut x = vec![f32::NAN; pixels];
    walk.frame(index).fill(&mut x);
    x
}

#[test]
fn a_stop_is_the_picture_itself() {
    for (index, picture) in [(0, 40), (8, 41), (16, 42), (24, 40)] {
        let mut x = vec![0.0; 100];
        Noise::new(5, picture).fill(&mut x);
        assert_eq!(bits(&noise(WALK, index, 100)), bits(&x));
        assert_eq!(WALK.frame(index).nearest(), picture);
    }
    assert_eq!(WALK.len(), 24);
}

/// Halfway the next picture's class takes over, the first one's in the end.
#[test]
fn classes_change_halfway() {
    let nearest: Vec<u64> = (0..24).map(|index| WALK.frame(index).nearest()).collect();
    let expected = [[40; 4], [41; 4], [41; 4], [42; 4], [42; 4], [40; 4]];
    assert_eq!(nearest, expected.concat());
}

/// Mean 0 and variance 1 at every frame, and a correlation of cos(π/16) with the
/// next: within four standard errors.
#[test]
fn every_frame_is_standard_normal_and_near_the_next() {
    const PIXELS: usize = 20_000;
    let error = (PIXELS as f64).sqrt().recip();
    let product = |a: &[f32], b: &[f32]| {
        let pairs = a.iter().zip(b);
        pairs
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum::<f64>()
            / PIXELS as f64
    };
    let step = (std::f64::consts::FRAC_PI_2 / 8.0).cos();
    for index in 0..WALK.len() {
        let (here, next) = (noise(WALK, index, PIXELS), noise(WALK, index + 1, PIXELS));
        let mean = product(&here, &vec![1.0; PIXELS]);
        assert!(mean.abs() < 4.0 * error, "frame {index}: mean {mean}");
        let variance = product(&here, &here);
        let allowed = 4.0 * 2f64.sqrt() * error;
        assert!(
            (variance - 1.0).abs() < allowed,
            "frame {index}: {variance}"
        );
        let correlation = product(&here, &next);
        let what = format!("frame {index}: {correlation}, not {step}");
        assert!((correlation - step).abs() < allowed, "{what}");
    }
}

#[test]
fn any_walk_has_its_frames() {
    for stops in [0, 1, 2, u16::MAX] {
        for frames in [0, 1, 2, u16::MAX] {
            for first in [0, u64::MAX] {
                let walk = Walk {
                    seed: u64::MAX,
                    first,
                    stops,
                    frames,
                };
                assert!(!walk.is_empty());
                for index in [0, 1, walk.len() - 1, walk.len(), u32::MAX] {
                    let x = noise(walk, index, 7);
                    assert!(x.iter().all(|x| x.is_finite()), "{walk:?}, {index}");
                }
            }
        }
    }
}

/// x̂_0 is half of x_t.
struct Half;

impl Denoiser for Half {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        Prediction::X0
    }

    fn predict(
        &mut self,
        x_t: &[f32],
        _: u16,
        _: Option<u8>,
        out: &mut [f32],
    ) -> Result<(), Infallible> {
        for (x, out) in x_t.iter().zip(out) {
            *out = 0.5 * x;
        }
        Ok(())
    }
}

impl InPlace for Half {
    fn update(
        &mut self,
        x: &mut [f32],
        _: u16,
        _: Option<u8>,
        _: f32,
        each: &mut dyn FnMut(usize, &mut f32, f32),
    ) -> Result<(), Infallible> {
        for (at, x) in x.iter_mut().enumerate() {
            let output = 0.5 * *x;
            each(at, x, output);
        }
        Ok(())
    }
}

/// Every method goes on from given noise as from its own, apart and in place.
#[test]
fn samplers_go_on_from_given_noise() {
    const PIXELS: usize = 12;
    let schedule = Schedule::new(ScheduleKind::Cosine, 100).unwrap();
    for name in Method::NAMES {
        let method = Method::from_name(name, 0.5).unwrap();
        let settings = Settings::new(method, 4).seed(5).picture(41);
        let finish = |mut sampler: Sampler<'_>| {
            while sampler.step(&mut Half).unwrap().is_some() {}
            bits(sampler.x())
        };
        let run = |given: Option<&[f32]>| {
            let mut x = given.map_or(vec![0.0; PIXELS], <[f32]>::to_vec);
            let (mut x0_hat, mut memory) = ([0.0; PIXELS], [0.0; 2 * PIXELS]);
            let buffers = Buffers {
                x: &mut x,
                x0_hat: &mut x0_hat,
                unconditional: &mut [],
                history: &mut memory,
            };
            finish(match given {
                Some(_) => Sampler::from_noise(schedule, settings, buffers).unwrap(),
                None => Sampler::new(schedule, settings, buffers).unwrap(),
            })
        };
        let in_place = |given: &[f32]| {
            let (mut x, mut memory) = (given.to_vec(), [0.0; 2 * PIXELS]);
            let mut sampler =
                InPlaceSampler::from_noise(schedule, settings, &mut x, &mut memory).unwrap();
            while sampler.step(&mut Half).unwrap().is_some() {}
            bits(sampler.x())
        };
        let stop = noise(WALK, 8, PIXELS);
        assert_eq!(run(Some(&stop)), run(None), "{name}");
        let between = noise(WALK, 11, PIXELS);
        assert_ne!(run(Some(&between)), run(None), "{name}");
        assert_eq!(run(Some(&between)), in_place(&between), "{name}");
    }
}
