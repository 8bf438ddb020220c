//! Layouts of a convolution's weights.
//!
//! Training thinks of rows: for each output channel its taps from top left to
//! bottom right, and for each tap the input channels. Kernels want what they
//! multiply at once to lie side by side. Each [`WeightLayout`] has a function here
//! that makes it from rows; nothing but the order changes, or, for
//! [`WeightLayout::Winograd`] and [`WeightLayout::Phases`], a sum of weights is taken that a
//! convolution would otherwise take again for every picture.
//!
//! | layout | order | numbers |
//! | --- | --- | --- |
//! | direct | \[pair of outputs\]\[4 inputs\]: inputs 0, 2, 1, 3, of each input both outputs | `i8` |
//! | Winograd | \[4 outputs\]\[16 frequencies\]\[4 inputs\] | `i16` |
//! | phases | \[phase\]\[4 outputs\]\[4 inputs\] | `i16` |
//! | int4 | as direct, of each 8 bytes the first 4 in the lower halves of 4 bytes | 4 bits |
//!
//! Within \[4 inputs\] of the `i16` layouts come inputs 0 and 2 of each of the 4
//! outputs, then inputs 1 and 3. "Inputs" are taps times channels, except that
//! a frequency has only channels. What is missing to a whole group is 0.
//!
//! The odd order is that in which a Cortex-M4 takes four bytes apart
//! (`SXTB16`), and an x86 a vector of them.
//!
//! A weight of 4 bits is the upper half of an `i8` weight whose lower half is
//! 0: a multiple of 16 within ±112. So a word of eight becomes two words of the
//! direct layout by a shift and two masks, no sign needs to be extended, and what
//! holds for `i8` weights holds for these. The 16 is part of the accumulator's
//! unit, which an export chooses.

use crate::graph::Geometry;
use serde::{Deserialize, Serialize};

/// How the weights of one convolution are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WeightLayout {
    /// The weights themselves.
    #[default]
    Direct,
    /// Transformed for F(2x2, 3x3) (Lavin & Gray 2015, arXiv:1509.09308) and
    /// multiplied by 4, so that they are integers: 16 multiplications do the
    /// work of 36. Only for [`Geometry::Same`].
    Winograd,
    /// A 3x3 convolution of a doubled plane sees only 2x2 different values:
    /// weights that meet the same value are added, for each of the four places
    /// that an output may have in a doubled position. Only for
    /// [`Geometry::Up`].
    Phases,
    /// Weights of 4 bits, two in a byte: half of what [`Direct`](Self::Direct)
    /// takes, and a little more work. Only for weights that
    /// [`is_int4`] accepts.
    Int4,
}

/// Outputs that lie side by side in [`WeightLayout::Direct`].
pub(crate) const PAIR: usize = 2;
/// Outputs that lie side by side in the other layouts.
pub(crate) const QUAD: usize = 4;
/// Inputs that lie side by side.
pub(crate) const GROUP: usize = 4;
/// Products of a Winograd tile.
pub(crate) const FREQUENCIES: usize = 16;
/// Largest magnitude of a weight in [`WeightLayout::Winograd`]: nine weights of 127.
pub const MAX_WINOGRAD: i16 = 9 * 127;
/// Largest magnitude of a weight in [`WeightLayout::Phases`]: four weights of 127.
pub const MAX_PHASE: i16 = 4 * 127;

/// The bits of each byte in which an `i8` weight keeps one of 4 bits.
const UPPER: u32 = 0xf0f0_f0f0;

/// Whether an `i8` weight can be stored in [`WeightLayout::Int4`]: a multiple of 16,
/// and not -128, which no layout has.
#[must_use]
pub const fn is_int4(weight: i8) -> bool {
    weight & 0x0f == 0 && weight != i8::MIN
}

/// The place of input `k` within its group.
const PLACE: [usize; GROUP] = [0, 2, 1, 3];

impl WeightLayout {
    /// Whether there is such a layout of a convolution.
    #[must_use]
    pub const fn fits(self, geometry: Geometry) -> bool {
        match self {
            Self::Direct | Self::Int4 => true,
            Self::Winograd => matches!(geometry, Geometry::Same),
            Self::Phases => matches!(geometry, Geometry::Up),
        }
    }

    /// The layout that needs the fewest multiplications.
    #[must_use]
    pub const fn fastest(geometry: Geometry) -> Self {
        match geometry {
            Geometry::Same => Self::Winograd,
            Geometry::Up => Self::Phases,
            Geometry::Pointwise | Geometry::Down => Self::Direct,
        }
    }

    /// Bytes of the weights of `outputs` channels that see `inputs` channels.
    #[must_use]
    pub const fn bytes(self, geometry: Geometry, inputs: usize, outputs: usize) -> usize {
        let quads = outputs.next_multiple_of(QUAD);
        let pairs = outputs.next_multiple_of(PAIR);
        match self {
            Self::Direct => pairs * (geometry.taps() * inputs).next_multiple_of(GROUP),
            Self::Int4 => pairs * (geometry.taps() * inputs).next_multiple_of(GROUP) / 2,
            Self::Winograd => 2 * FREQUENCIES * quads * inputs.next_multiple_of(GROUP),
            Self::Phases => 2 * 4 * quads * (4 * inputs).next_multiple_of(GROUP),
        }
    }

    /// Packs `rows` (\[output\]\[tap\]\[input channel\]) of a convolution with
    /// `inputs` channels. `packed` has [`bytes`](Self::bytes) bytes; what does
    /// not fit is left out. [`Int4`](Self::Int4) keep the upper half of a
    /// weight, which is all of it where [`is_int4`] says so.
    pub fn pack(self, geometry: Geometry, inputs: usize, rows: &[i8], packed: &mut [u8]) {
        packed.fill(0);
        let taps = geometry.taps();
        if inputs == 0 {
            return;
        }
        for (output, row) in rows.chunks_exact(taps * inputs).enumerate() {
            let weight = |tap: usize, input: usize| {
                row.get(tap * inputs + input).map_or(0, |&w| i16::from(w))
            };
            match self {
                Self::Direct => {
                    for (k, &w) in row.iter().enumerate() {
                        if let Some(to) = packed.get_mut(direct_index(taps * inputs, output, k)) {
                            *to = w as u8;
                        }
                    }
                }
                Self::Int4 => {
                    for (k, &w) in row.iter().enumerate() {
                        let (index, shift) = int4_index(taps * inputs, output, k);
                        if let Some(to) = packed.get_mut(index) {
                            *to |= (w as u8 >> 4) << shift;
                        }
                    }
                }
                Self::Winograd => {
                    for input in 0..inputs {
                        let kernel = core::array::from_fn(|tap| weight(tap, input));
                        for (frequency, value) in winograd(kernel).into_iter().enumerate() {
                            let block = output / QUAD * FREQUENCIES + frequency;
                            let index = wide_index(inputs, block, output, input);
                            put_halfword(packed, index, value);
                        }
                    }
                }
                Self::Phases => {
                    let quads = rows.len().div_ceil(taps * inputs).div_ceil(QUAD);
                    for input in 0..inputs {
                        let kernel = core::array::from_fn(|tap| weight(tap, input));
                        for phase in 0..4 {
                            for (tap, value) in phase_kernel(kernel, phase).into_iter().enumerate()
                            {
                                let block = phase * quads + output / QUAD;
                                let k = tap * inputs + input;
                                let index = wide_index(4 * inputs, block, output, k);
                                put_halfword(packed, index, value);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The inverse of [`pack`](Self::pack): `rows` has `outputs` times taps
    /// times `inputs` places.
    pub fn unpack(self, geometry: Geometry, inputs: usize, packed: &[u8], rows: &mut [i8]) {
        let taps = geometry.taps();
        if inputs == 0 {
            return;
        }
        let quads = rows.len().div_ceil(taps * inputs).div_ceil(QUAD);
        for (output, row) in rows.chunks_exact_mut(taps * inputs).enumerate() {
            for (k, to) in row.iter_mut().enumerate() {
                let (tap, input) = (k / inputs, k % inputs);
                *to = match self {
                    Self::Direct => packed
                        .get(direct_index(taps * inputs, output, k))
                        .map_or(0, |&w| w as i8),
                    Self::Int4 => {
                        let (index, shift) = int4_index(taps * inputs, output, k);
                        let byte = packed.get(index).copied().unwrap_or(0);
                        (byte >> shift << 4) as i8
                    }
                    Self::Winograd => {
                        let at = |frequency| {
                            let block = output / QUAD * FREQUENCIES + frequency;
                            halfword(packed, wide_index(inputs, block, output, input))
                        };
                        winograd_tap(at, tap)
                    }
                    Self::Phases => {
                        let at = |phase: usize, tap: usize| {
                            let block = phase * quads + output / QUAD;
                            let k = tap * inputs + input;
                            halfword(packed, wide_index(4 * inputs, block, output, k))
                        };
                        phase_tap(at, tap)
                    }
                };
            }
        }
    }
}

/// Where weight `k` of an output lies in [`WeightLayout::Direct`].
fn direct_index(fan_in: usize, output: usize, k: usize) -> usize {
    let group = output / PAIR * fan_in.div_ceil(GROUP) + k / GROUP;
    let place = PLACE.get(k % GROUP).copied().unwrap_or(0);
    group * (PAIR * GROUP) + place * PAIR + output % PAIR
}

/// Where it lies in [`WeightLayout::Int4`]: the byte, and the bit that it begins at.
fn int4_index(fan_in: usize, output: usize, k: usize) -> (usize, u32) {
    let index = direct_index(fan_in, output, k);
    let shift = if index % 8 < 4 { 0 } else { 4 };
    (index / 8 * 4 + index % 4, shift)
}

/// Makes weights of [`WeightLayout::Direct`], in words of four, of those of
/// [`WeightLayout::Int4`].
///
/// Not inlined: compilers unroll it, and convolutions would have many copies.
#[inline(never)]
pub(super) fn expand(int4: &[u8], direct: &mut [u32]) {
    let groups = direct.as_chunks_mut().0.iter_mut();
    for (to, &from) in groups.zip(int4.as_chunks().0) {
        // Nothing passes from one byte to another, so that their order within
        // a word does not matter.
        let word = u32::from_ne_bytes(from);
        *to = [(word << 4) & UPPER, word & UPPER];
    }
}

/// Where weight `k` of an output lies in a block of the other layouts, in
/// halfwords.
fn wide_index(fan_in: usize, block: usize, output: usize, k: usize) -> usize {
    let group = block * fan_in.div_ceil(GROUP) + k / GROUP;
    let (odd, second) = (k % 2, k % GROUP / 2);
    group * (QUAD * GROUP) + odd * (2 * QUAD) + output % QUAD * 2 + second
}

fn put_halfword(bytes: &mut [u8], index: usize, value: i16) {
    if let Some(to) = bytes.as_chunks_mut().0.get_mut(index) {
        *to = value.to_le_bytes();
    }
}

fn halfword(bytes: &[u8], index: usize) -> i16 {
    let halves = bytes.as_chunks().0;
    halves.get(index).map_or(0, |&b| i16::from_le_bytes(b))
}

/// 4 G g Gᵀ with G = (1 0 0; ½ ½ ½; ½ -½ ½; 0 0 1).
fn winograd(g: [i16; 9]) -> [i16; FREQUENCIES] {
    /// 2 G applied to one line.
    fn line([a, b, c]: [i16; 3]) -> [i16; 4] {
        [2 * a, a + b + c, a - b + c, 2 * c]
    }
    let [a, b, c, d, e, f, g, h, i] = g;
    let columns = [line([a, d, g]), line([b, e, h]), line([c, f, i])];
    let mut out = [0; FREQUENCIES];
    let [p, q, r] = columns;
    for (row, ((p, q), r)) in out.chunks_exact_mut(4).zip(p.into_iter().zip(q).zip(r)) {
        row.copy_from_slice(&line([p, q, r]));
    }
    out
}

/// The tap of a 3x3 kernel from its 16 transformed values.
fn winograd_tap(at: impl Fn(usize) -> i16, tap: usize) -> i8 {
    // Along one axis g0 = u0 / 2, g2 = u3 / 2, g1 = (u1 - u2) / 2.
    let row = |row: usize| match tap % 3 {
        0 => at(4 * row),
        1 => at(4 * row + 1) - at(4 * row + 2),
        _ => at(4 * row + 3),
    };
    let value = match tap / 3 {
        0 => row(0),
        1 => row(1) - row(2),
        _ => row(3),
    };
    (value / 4) as i8
}

/// The 2x2 kernel of a phase: 0 to 3 for an output at the top left, top
/// right, bottom left or bottom right of a doubled position.
fn phase_kernel(g: [i16; 9], phase: usize) -> [i16; 4] {
    /// Three taps along an axis become two.
    fn line([a, b, c]: [i16; 3], second: bool) -> [i16; 2] {
        if second { [a + b, c] } else { [a, b + c] }
    }
    let (down, right) = (phase / 2 == 1, phase % 2 == 1);
    let [a, b, c, d, e, f, g, h, i] = g;
    let rows = [
        line([a, b, c], right),
        line([d, e, f], right),
        line([g, h, i], right),
    ];
    let [[a, b], [c, d], [e, f]] = rows;
    let ([top_left, bottom_left], [top_right, bottom_right]) =
        (line([a, c, e], down), line([b, d, f], down));
    [top_left, top_right, bottom_left, bottom_right]
}

/// The tap of a 3x3 kernel from its phases.
fn phase_tap(at: impl Fn(usize, usize) -> i16, tap: usize) -> i8 {
    // Along one axis: a and b + c in the first phase, a + b and c in the
    // second. For each tap the phase and place, and those of what is too much.
    let axis = |tap: usize| match tap {
        0 => [(0, 0), (2, 0)],
        1 => [(1, 0), (0, 0)],
        _ => [(1, 1), (2, 0)],
    };
    let mut sum = 0;
    for (i, (down, row)) in axis(tap / 3).into_iter().enumerate() {
        for (j, (right, column)) in axis(tap % 3).into_iter().enumerate() {
            if down < 2 && right < 2 {
                let value = at(down * 2 + right, row * 2 + column);
                sum += if i == j { value } else { -value };
            }
        }
    }
    sum as i8
}
