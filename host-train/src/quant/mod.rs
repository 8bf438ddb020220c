//! From float weights and observed activations to an int8 blob.
//!
//! Nothing here knows Burn: weights come by name ([`Weights`]), activations as
//! sampled distributions ([`Calibration`]), and [`pack`] turns both into the
//! bytes that `core` runs. Every fixed-point factor of the kernels is computed
//! in this module, and only here.

mod halves;
mod pack;
mod ranges;
mod repack;
mod rounded;
mod rounding;
mod rule;
mod samples;
mod scheme;
mod weights;

pub use halves::skip_halves;
pub use pack::pack;
pub use ranges::{Calibration, Range, Ranges, Scales};
pub use repack::{Target, repack};
pub use rounded::{Grid, Origin, RoundedConv, grids, rounded_convs};
pub use rounding::{WeightBits, quantise, quantise_row, weight_bits};
pub use rule::RangeRule;
pub use scheme::{Scheme, schemes};
pub use weights::{Kind, ParameterId, Weights};
