//! Every kernel against its definition, written anew and in wider numbers.

mod attention;
mod conv;
mod engines;
mod linear;
mod norm;
mod norm_channels;
mod rounding;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use tiny_ddpm::diffusion::noise::Noise;

/// Any `i8`, all equally likely.
fn uniform(seed: u64, count: usize) -> Vec<i8> {
    let mut bytes = vec![0; count];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes.into_iter().map(|byte| byte as i8).collect()
}

/// Normal values, rounded and cut.
fn normal(seed: u64, count: usize, mean: f32, deviation: f32) -> Vec<i8> {
    let mut noise = Noise::new(seed, 0);
    (0..count)
        .map(|_| (mean + deviation * noise.normal()).round() as i8)
        .collect()
}
