//! 3x3 convolutions by F(2x2, 3x3) (Winograd 1980; Lavin & Gray 2015,
//! arXiv:1509.09308) in exact integers.
//!
//! Y = Aᵀ \[(G g Gᵀ) ⊙ (Bᵀ d B)\] A gives 2x2 outputs from 4x4 inputs with 16
//! products. The halves in G are gone because the weights were multiplied by
//! 4, so Y is 4 times the sum, and the same integer as the definition's. It is
//! below 2^29; what is added on the way to it may pass 2^31 and wrap, which
//! cancels.

use super::task::Task;
use crate::kernels::engine::{Engine, WIDE_LANES, WinogradSums};
use crate::kernels::epilogue::Epilogue;
use crate::kernels::packing::{FREQUENCIES, GROUP, QUAD};

/// Positions along an axis that a tile sees.
const WINDOW: usize = 4;

/// Words of the columns, and of the sums.
pub(super) fn scratch_words(inputs: usize) -> usize {
    columns_words(inputs) + size_of::<WinogradSums>() / 4
}

fn columns_words(inputs: usize) -> usize {
    FREQUENCIES * WIDE_LANES * inputs.next_multiple_of(GROUP) / 2
}

// Of the stack's memory, see `direct`.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(not(target_arch = "x86_64"), inline(never))]
pub(super) fn conv<E: Engine>(
    engine: E,
    task: &Task<'_>,
    padding: &[i8],
    scratch: &mut [u32],
    epilogue: &mut impl Epilogue,
) {
    let columns = columns_words(task.inputs());
    let Some((columns, sums)) = scratch.split_at_mut_checked(columns) else {
        return;
    };
    let columns: &mut [i16] = bytemuck::cast_slice_mut(columns);
    let sums: &mut [i32] = bytemuck::cast_slice_mut(sums);
    let sums: &mut [[i32; WIDE_LANES]] = sums.as_chunks_mut().0;
    let sums: &mut [[[i32; WIDE_LANES]; QUAD]] = sums.as_chunks_mut().0;
    let Some(sums) = sums.first_chunk_mut::<FREQUENCIES>() else {
        return;
    };
    // Channels that no group has: their weights are 0.
    columns.fill(0);

    let tiles_side = task.side.div_ceil(2);
    let tiles = tiles_side * tiles_side;
    let quad_bytes = 2 * QUAD * FREQUENCIES * task.inputs().next_multiple_of(GROUP);
    // Not 0 where there is a tile with channels, as `max` tells the compiler.
    let (tiles_side, quad_bytes) = (tiles_side.max(1), quad_bytes.max(1));
    for first in (0..tiles).step_by(WIDE_LANES) {
        let mut outputs = [Outputs::default(); WIDE_LANES];
        for (lane, outputs) in outputs.iter_mut().enumerate() {
            let tile = first + lane;
            if tile < tiles {
                let (row, column) = (tile / tiles_side * 2, tile % tiles_side * 2);
                *outputs = Outputs::new(task.side, row, column);
                spread(engine, task, padding, (row, column), columns, lane);
            }
        }
        // Not zipped, as in `attention`.
        let mut quads = task.weights.chunks_exact(quad_bytes);
        for (quad, initial) in task.initial.chunks(QUAD).enumerate() {
            let Some(weights) = quads.next() else {
                break;
            };
            engine.wide(columns, weights, sums);
            for (output, &initial) in initial.iter().enumerate() {
                for (lane, outputs) in outputs.iter().enumerate() {
                    let y = engine.inverse(sums, output, lane, initial);
                    outputs.put(epilogue, quad * QUAD + output, y);
                }
            }
        }
    }
}

/// Which of a tile's outputs exist, and where.
#[derive(Clone, Copy, Default)]
struct Outputs {
    positions: [usize; 4],
    /// 0 if there is no tile.
    rows: usize,
    columns: usize,
}

impl Outputs {
    fn new(side: usize, row: usize, column: usize) -> Self {
        let first = row * side + column;
        Self {
            positions: [first, first + 1, first + side, first + side + 1],
            rows: (side - row).min(2),
            columns: (side - column).min(2),
        }
    }

    /// Hands on the sums of those that exist.
    #[inline(always)]
    fn put(&self, epilogue: &mut impl Epilogue, channel: usize, sums: [i32; 4]) {
        if self.rows == 2 && self.columns == 2 {
            epilogue.put(channel, &self.positions, &sums);
            return;
        }
        let rows = self.positions.chunks_exact(2).zip(sums.chunks_exact(2));
        for (at, sums) in rows.take(self.rows) {
            epilogue.put_few(channel, at.get(..self.columns).unwrap_or_default(), sums);
        }
    }
}

/// Transforms what the tile at an even (`row`, `column`) sees.
#[inline(always)]
fn spread<E: Engine>(
    engine: E,
    task: &Task<'_>,
    padding: &[i8],
    (row, column): (usize, usize),
    columns: &mut [i16],
    lane: usize,
) {
    let side = task.side;
    let source = |i: usize| {
        let row = (row + i / WINDOW).checked_sub(1)?;
        let column = (column + i % WINDOW).checked_sub(1)?;
        (row < side && column < side).then_some(row * side + column)
    };
    let sources: [Option<usize>; 16] = core::array::from_fn(source);
    let mut k = 0;
    for (plane, padding) in task.planes(padding) {
        if plane.channels == 0 {
            continue;
        }
        let window = sources.map(|at| at.and_then(|at| plane.at(at)).unwrap_or(padding));
        engine.winograd(columns, k, lane, &window);
        k += plane.channels;
    }
}
