//! Layouts of a convolution's weights.
//!
//! Training thinks of rows: for each output channel its taps from top left to
//! bottom right, and for each tap the input channels. Kernels want what they
//! multiply at once to lie side by side. Each [`Form`] has a function here
//! that makes it from rows; nothing but the order changes, or, for
//! [`Form::Winograd`] and [`Form::Phases`], a sum of weights is taken that a
//! convolution would otherwise take again for every picture.
//!
//! | form | order | numbers |
//! | --- | --- | --- |
//! | direct | \[pair of outputs\]\[4 inputs\]: inputs 0, 2, 1, 3, of each input both outputs | `i8` |
//! | Winograd | \[4 outputs\]\[16 frequencies\]\[4 inputs\] | `i16` |
//! | phases | \[phase\]\[4 outputs\]\[4 inputs\] | `i16` |
//!
//! Within \[4 inputs\] of the `i16` forms come inputs 0 and 2 of each of the 4
//! outputs, then inputs 1 and 3. "Inputs" are taps times channels, except that
//! a frequency has only channels. What is missing to a whole group is 0.
//!
//! The odd order is that in which a Cortex-M4 takes four bytes apart
//! (`SXTB16`), and an x86 a vector of them.

use crate::unet::Geometry;
use serde::{Deserialize, Serialize};

/// How the weights of one convolution are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Form {
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
}

/// Outputs that lie side by side in [`Form::Direct`].
pub(crate) const PAIR: usize = 2;
/// Outputs that lie side by side in the other forms.
pub(crate) const QUAD: usize = 4;
/// Inputs that lie side by side.
pub(crate) const GROUP: usize = 4;
/// Products of a Winograd tile.
pub(crate) const FREQUENCIES: usize = 16;
/// Largest magnitude of a weight in [`Form::Winograd`]: nine weights of 127.
pub const MAX_WINOGRAD: i16 = 9 * 127;
/// Largest magnitude of a weight in [`Form::Phases`]: four weights of 127.
pub const MAX_PHASE: i16 = 4 * 127;

/// The place of input `k` within its group.
const PLACE: [usize; GROUP] = [0, 2, 1, 3];

impl Form {
    /// Whether there is such a form of a convolution.
    #[must_use]
    pub const fn fits(self, geometry: Geometry) -> bool {
        match self {
            Self::Direct => true,
            Self::Winograd => matches!(geometry, Geometry::Same),
            Self::Phases => matches!(geometry, Geometry::Up),
        }
    }

    /// The form that needs the fewest multiplications.
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
        match self {
            Self::Direct => {
                outputs.next_multiple_of(PAIR) * (geometry.taps() * inputs).next_multiple_of(GROUP)
            }
            Self::Winograd => 2 * FREQUENCIES * quads * inputs.next_multiple_of(GROUP),
            Self::Phases => 2 * 4 * quads * (4 * inputs).next_multiple_of(GROUP),
        }
    }

    /// Packs `rows` (\[output\]\[tap\]\[input channel\]) of a convolution with
    /// `inputs` channels. `packed` has [`bytes`](Self::bytes) bytes; what does
    /// not fit is left out.
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

/// Where weight `k` of an output lies in [`Form::Direct`].
fn direct_index(fan_in: usize, output: usize, k: usize) -> usize {
    let group = output / PAIR * fan_in.div_ceil(GROUP) + k / GROUP;
    let place = PLACE.get(k % GROUP).copied().unwrap_or(0);
    group * (PAIR * GROUP) + place * PAIR + output % PAIR
}

/// Where weight `k` of an output lies in a block of the other forms, in
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
