//! Where the sums of convolutions go.

use crate::kernels::epilogue::{Epilogue, Requantise};

/// Where a convolution's sums go: one type, so that there is one convolution.
pub(super) enum Destination<'a> {
    Activation(Requantise<'a>),
    /// The prediction.
    Pixels {
        scales: &'a [f32],
        /// Gets position, channel and value.
        put: &'a mut dyn FnMut(usize, usize, f32),
    },
}

impl Epilogue for Destination<'_> {
    // Compiled anew for each of the processors that x86-64 engines are for.
    #[cfg_attr(target_arch = "x86_64", inline(always))]
    #[cfg_attr(not(target_arch = "x86_64"), inline)]
    fn put(&mut self, channel: usize, at: &[usize; 4], sums: &[i32; 4]) {
        match self {
            Self::Activation(requantise) => requantise.put(channel, at, sums),
            Self::Pixels { .. } => self.put_few(channel, at, sums),
        }
    }

    #[inline]
    fn put_run(&mut self, channel: usize, first: usize, sums: &[[i32; 4]; 2]) {
        match self {
            Self::Activation(requantise) => requantise.put_run(channel, first, sums),
            Self::Pixels { .. } => {
                let at: [usize; 4] = core::array::from_fn(|lane| first + lane);
                for (channel, sums) in (channel..).zip(sums) {
                    self.put_few(channel, &at, sums);
                }
            }
        }
    }

    #[inline]
    fn put_few(&mut self, channel: usize, at: &[usize], sums: &[i32]) {
        match self {
            Self::Activation(requantise) => requantise.put_few(channel, at, sums),
            Self::Pixels { scales, put } => {
                let scale = scales.get(channel).copied().unwrap_or(0.0);
                for (&position, &sum) in at.iter().zip(sums) {
                    put(position, channel, sum as f32 * scale);
                }
            }
        }
    }
}
