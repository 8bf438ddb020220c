//! A walk from picture to picture: in between, the noise is between theirs.
//!
//! ```
//! use tiny_ddpm::Walk;
//!
//! // Ten pictures, sixteen frames from each to the next, and back to the first.
//! let walk = Walk { seed: 1, first: 0, stops: 10, frames: 16 };
//! let mut x = [0.0; 784];
//! for index in 0..walk.len() {
//!     let frame = walk.frame(index);
//!     frame.fill(&mut x);
//!     let _class = frame.nearest() % 10;
//!     // `Sampler::from_noise` or `InPlaceSampler::from_noise` goes on from here.
//! }
//! ```

use core::f32::consts::FRAC_PI_2;

use super::noise::{Noise, sin_cos};

/// Frames that lead from picture to picture and back to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Seed of all noise.
    pub seed: u64,
    /// Number of the first picture under that seed.
    pub first: u64,
    /// Pictures on the way; 0 counts as 1.
    pub stops: u16,
    /// Frames from each to the next, the first of them being that picture; 0
    /// counts as 1.
    pub frames: u16,
}

/// The noise of one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    seed: u64,
    from: u64,
    to: u64,
    /// How far it is from one to the other, in [0, 1).
    part: f32,
}

impl Walk {
    /// Frames in all.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::from(self.stops.max(1)) * u32::from(self.frames.max(1))
    }

    /// False: there is at least one frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Frame `index`; after the last the walk begins anew.
    #[must_use]
    pub fn frame(&self, index: u32) -> Frame {
        let (stops, frames) = (u32::from(self.stops.max(1)), u32::from(self.frames.max(1)));
        let stop = |number: u32| self.first.wrapping_add(u64::from(number % stops));
        let leg = index / frames % stops;
        Frame {
            seed: self.seed,
            from: stop(leg),
            to: stop(leg + 1),
            // Both are below 2^16, and exact.
            part: (index % frames) as f32 / frames as f32,
        }
    }
}

impl Frame {
    /// The picture that it is nearest to, which lends it its class.
    #[must_use]
    pub fn nearest(&self) -> u64 {
        if self.part < 0.5 { self.from } else { self.to }
    }

    /// Fills `x` with its noise, cos(u π/2) of the one picture's and sin(u π/2) of
    /// the other's.
    ///
    /// That is spherical interpolation (Shoemake 1985) at the angle between
    /// independent normal vectors. The squares of the weights sum to 1, so that
    /// every frame is N(0, 1), as the network expects of x_T; a straight line
    /// would halve the variance on its way.
    pub fn fill(&self, x: &mut [f32]) {
        Noise::new(self.seed, self.from).fill(x);
        if self.part == 0.0 || self.from == self.to {
            return;
        }
        let angle = self.part * FRAC_PI_2;
        let (there, here) = sin_cos(angle);
        let mut other = Noise::new(self.seed, self.to);
        for x in x {
            *x = here * *x + there * other.normal();
        }
    }
}
