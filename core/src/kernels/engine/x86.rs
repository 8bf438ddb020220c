//! x86-64 with AVX2, or with AVX-512 and its products of bytes (VNNI).
//!
//! An engine of this module is a proof that the processor has what it needs:
//! only [`Avx2::detect`] and [`Vnni::detect`] make one. All `unsafe` here is
//! of two kinds: a call of a function that was compiled for more than every
//! x86-64 has, which such a proof allows; and a vector read from or written to
//! an array or slice of at least its size, which needs no alignment.
//!
//! | engine | columns for `tile` | for `wide` |
//! | --- | --- | --- |
//! | AVX2 | `i16`; of each four inputs 0, 2, 1, 3 | the same |
//! | VNNI | each four inputs twice, as `u8`, plus 128 | the same as AVX2 |

#![expect(unsafe_code, reason = "instructions that not every x86-64 has")]

mod avx2;
mod columns;
mod vnni;

use super::{Engine, LANES, WIDE_LANES, Work};
use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU8, Ordering};

/// AVX2, which nearly every x86-64 since 2015 has.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// AVX-512 with VNNI, which has an instruction for four products of bytes and
/// their sum.
#[derive(Clone, Copy, Debug)]
pub struct Vnni(());

cpufeatures::new!(has_avx2, "avx2");
cpufeatures::new!(has_avx512, "avx2", "avx512f", "avx512bw", "avx512vl");

impl Avx2 {
    /// The engine, if this processor has it.
    #[must_use]
    pub fn detect() -> Option<Self> {
        has_avx2::get().then_some(Self(()))
    }
}

impl Vnni {
    /// The engine, if this processor has it.
    #[must_use]
    pub fn detect() -> Option<Self> {
        /// Result of the detection: 0 for none yet, 1 for no, 2 for yes. A virtual
        /// machine takes long to answer CPUID.
        static FOUND: AtomicU8 = AtomicU8::new(0);
        let found = match FOUND.load(Ordering::Relaxed) {
            0 => {
                let found = if Self::ask() { 2 } else { 1 };
                FOUND.store(found, Ordering::Relaxed);
                found
            }
            found => found,
        };
        (found == 2).then_some(Self(()))
    }

    fn ask() -> bool {
        // Bit 11 of ECX is not known to the crate; that there is a leaf 7 to
        // ask is known from AVX-512, which is found there too.
        has_avx512::get() && !cfg!(miri) && __cpuid_count(7, 0).ecx & (1 << 11) != 0
    }
}

impl Engine for Avx2 {
    #[inline]
    fn run<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2")]
        fn run<W: Work>(engine: Avx2, work: W) -> W::Output {
            work.run(engine)
        }
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { run(self, work) }
    }

    #[inline(always)]
    fn spread<const LANES: usize>(self, columns: &mut [i16], k: usize, sources: [&[i8]; LANES]) {
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { avx2::spread(columns, k, sources) }
    }

    #[inline(always)]
    fn tile(self, columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { avx2::tile(columns, weights) }
    }

    #[inline(always)]
    fn wide(self, columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { avx2::wide(columns, weights, sums) }
    }

    #[inline(always)]
    fn winograd(self, columns: &mut [i16], k: usize, lane: usize, window: &[&[i8]; 16]) {
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { avx2::winograd(columns, k, lane, window) }
    }

    #[inline(always)]
    fn dot(self, a: &[i8], b: &[i8]) -> i32 {
        // SAFETY: an `Avx2` exists, so the processor has AVX2.
        unsafe { avx2::dot(a, b) }
    }
}

impl Engine for Vnni {
    #[inline]
    fn run<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
        fn run<W: Work>(engine: Vnni, work: W) -> W::Output {
            work.run(engine)
        }
        // SAFETY: a `Vnni` exists, so the processor has all of these.
        unsafe { run(self, work) }
    }

    #[inline(always)]
    fn spread<const L: usize>(self, columns: &mut [i16], k: usize, sources: [&[i8]; L]) {
        // SAFETY: a `Vnni` exists, so the processor has AVX2.
        unsafe {
            if L == LANES {
                vnni::spread(columns, k, sources);
            } else {
                avx2::spread(columns, k, sources);
            }
        }
    }

    #[inline(always)]
    fn tile(self, columns: &[i16], weights: &[u8]) -> [[i32; LANES]; 2] {
        // SAFETY: a `Vnni` exists, so the processor has all that this needs.
        unsafe { vnni::tile(columns, weights) }
    }

    #[inline(always)]
    fn wide(self, columns: &[i16], weights: &[u8], sums: &mut [[[i32; WIDE_LANES]; 4]]) {
        // SAFETY: a `Vnni` exists, so the processor has all that this needs.
        unsafe { vnni::wide(columns, weights, sums) }
    }

    #[inline(always)]
    fn winograd(self, columns: &mut [i16], k: usize, lane: usize, window: &[&[i8]; 16]) {
        // SAFETY: a `Vnni` exists, so the processor has AVX2.
        unsafe { avx2::winograd(columns, k, lane, window) }
    }

    #[inline(always)]
    fn dot(self, a: &[i8], b: &[i8]) -> i32 {
        // SAFETY: a `Vnni` exists, so the processor has AVX2.
        unsafe { avx2::dot(a, b) }
    }
}
