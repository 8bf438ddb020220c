//! The innermost loops, which targets do in their own ways.
//!
//! An [`Engine`] is how a target multiplies. [`Portable`] is every engine's
//! definition: whatever an engine does must give the same integers. The
//! compiler's target decides which is used ([`Native`]), and on x86-64 the
//! processor that is found: no feature can be set wrong.
//!
//! Engines lay out what they multiply (the "columns": the inputs of a few
//! positions side by side) as they like; only they read it again.

mod definition;
#[cfg(engine = "dsp")]
#[allow(unsafe_code, reason = "assembly")]
mod dsp;
mod layout;
mod portable;
#[cfg(engine = "thumb")]
mod thumb;
mod words;
#[cfg(target_arch = "x86_64")]
pub mod x86;

pub use definition::{Engine, Portable, Work};
pub use layout::{LANES, Stride, WIDE_LANES, WinogradSums};
pub use words::Words;

/// The engine of this target.
#[cfg(engine = "dsp")]
pub type Native = dsp::Dsp;
/// The engine of this target.
#[cfg(engine = "thumb")]
pub type Native = thumb::Thumb;
/// The engine of this target.
#[cfg(target_arch = "riscv32")]
pub type Native = Words;
/// The engine of this target.
#[cfg(not(any(engine = "dsp", engine = "thumb", target_arch = "riscv32")))]
pub type Native = Portable;

/// Does it with this machine's best engine.
#[inline(always)]
pub(crate) fn with_best<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(engine) = x86::Vnni::detect() {
            return engine.run(work);
        }
        if let Some(engine) = x86::Avx2::detect() {
            return engine.run(work);
        }
    }
    work.run(Native::default())
}
