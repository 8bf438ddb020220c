//! Gaussian noise from a seed, the same bits on every target.
//!
//! ChaCha8 gives the random words: the key comes from the seed, and the
//! picture's number is the stream, so picture 7 is the same whether it is
//! generated alone or as one of a thousand. Box and Muller's transform (1958)
//! turns two words into two independent normal values. It uses `libm` alone;
//! the usual crates call the host's own `ln` where there is one, and hosts
//! differ in the last bit.

mod circle;

pub(crate) use circle::sin_cos;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// An endless source of N(0, 1) values.
#[derive(Clone, Debug)]
pub struct Noise {
    generator: ChaCha8Rng,
    /// The second value of the last pair, if not used yet.
    spare: Option<f32>,
}

/// Words of the generator that make two values.
const PAIR: u64 = 2;

impl Noise {
    /// The noise of picture number `picture` under `seed`.
    #[must_use]
    pub fn new(seed: u64, picture: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(picture);
        Self {
            generator,
            spare: None,
        }
    }

    /// The same noise with its first `drawn` values left out.
    #[must_use]
    pub fn after(seed: u64, picture: u64, drawn: u64) -> Self {
        let mut noise = Self::new(seed, picture);
        let pairs = drawn / PAIR;
        noise.generator.set_word_pos(u128::from(pairs * PAIR));
        if !drawn.is_multiple_of(PAIR) {
            noise.normal();
        }
        noise
    }

    /// The next value; its magnitude is below 5.8.
    pub fn normal(&mut self) -> f32 {
        if let Some(value) = self.spare.take() {
            return value;
        }
        // 24 bits each, so that both conversions are exact; the first is in
        // (0, 1], where the logarithm is finite.
        let scale = 1.0 / 16_777_216.0;
        let radius_word = (self.generator.next_u32() >> 8) + 1;
        let angle_word = self.generator.next_u32() >> 8;
        let radius = libm::sqrtf(-2.0 * libm::logf(radius_word as f32 * scale));
        let angle = angle_word as f32 * scale * core::f32::consts::TAU;
        let (sine, cosine) = sin_cos(angle);
        self.spare = Some(radius * sine);
        radius * cosine
    }

    /// Fills `values` with noise.
    pub fn fill(&mut self, values: &mut [f32]) {
        for value in values {
            *value = self.normal();
        }
    }
}
