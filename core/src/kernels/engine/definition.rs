//! The trait of engines, and the portable engine, which defines all results.

use super::layout::{LANES, Stride, WIDE_LANES, WinogradSums};
use super::portable;

/// How a target multiplies.
///
/// Slices are as long as the functions say; where they are not, the result is
/// meaningless, but nothing worse happens.
pub trait Engine: Copy {
    /// Does work, compiled for this engine's target.
    #[inline(always)]
    fn run<W: Work>(self, work: W) -> W::Output {
        work.run(self)
    }

    /// Puts the inputs `k..` of each lane into the columns. `k` and the length
    /// of each source are multiples of 4; the columns have room for as many
    /// inputs as their length divided by `LANES` says.
    fn spread<const LANES: usize>(self, columns: &mut [i16], k: usize, sources: [&[i8]; LANES]) {
        portable::spread(columns, k, sources);
    }

    /// Sums of two outputs at each position: weights in
    /// [`WeightLayout::Direct`](crate::kernels::packing::WeightLayout::Direct), a pair of outputs.
    fn tile(self, columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
        portable::tile(columns, weights)
    }

    /// The same, added to `sums`.
    #[inline(always)]
    fn accumulate(self, columns: &[i16], weights: &[u8], sums: &mut [[i32; LANES]; 2]) {
        let found = self.tile(columns, weights);
        for (sums, found) in sums.iter_mut().zip(&found) {
            for (sum, &found) in sums.iter_mut().zip(found) {
                *sum = sum.wrapping_add(found);
            }
        }
    }

    /// Sums of four outputs at each of two positions, for each block of
    /// `columns` with its own block of `weights`, in the `i16` layouts' order.
    fn wide(self, columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
        portable::wide(columns, weights, sums);
    }

    /// Puts Bᵀ d B of the inputs `k..` into lane `lane` of the columns of all
    /// 16 frequencies. `k` is a multiple of 4; `window` are the 4x4 positions
    /// that a tile sees, row by row.
    fn winograd(self, columns: &mut [i16], k: usize, lane: usize, window: &[&[i8]; 16]) {
        portable::winograd(columns, k, lane, window);
    }

    /// `initial` + Aᵀ m A / 4 of the sums of output `output` in lane `lane`: four
    /// positions, row by row.
    #[inline(always)]
    fn inverse(self, sums: &WinogradSums, output: usize, lane: usize, initial: i32) -> [i32; 4] {
        portable::inverse(sums, output, lane, initial)
    }

    /// Makes activations of two channels' sums at four positions, which are
    /// `stride` apart in `out`.
    #[inline(always)]
    fn requantise(
        self,
        out: &mut [i8],
        stride: Stride,
        sums: &[[i32; 4]; 2],
        scales: &[[i32; 4]; 2],
    ) {
        portable::requantise(out, stride, sums, scales);
    }

    /// The same with a residual times `factor`, as long as `out`.
    #[inline(always)]
    fn requantise_with(
        self,
        out: &mut [i8],
        stride: Stride,
        sums: &[[i32; 4]; 2],
        scales: &[[i32; 4]; 2],
        residual: &[i8],
        factor: i32,
    ) {
        portable::requantise_with(out, stride, sums, scales, residual, factor);
    }

    /// Σ w x for two rows of little-endian halfwords, one behind the other and
    /// each as long as `x`.
    fn dots(self, rows: &[u8], x: &[i16]) -> [i64; 2] {
        portable::dots(rows, x)
    }

    /// Σ a b.
    #[inline(always)]
    fn dot(self, a: &[i8], b: &[i8]) -> i32 {
        portable::dot(a, b)
    }
}

/// Runs everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl Engine for Portable {}

/// Work that any engine can run.
pub trait Work {
    /// Its result.
    type Output;

    /// Does it. Whoever implements this has it always inlined, so that all of
    /// it is compiled for the engine's target.
    fn run<E: Engine>(self, engine: E) -> Self::Output;
}
