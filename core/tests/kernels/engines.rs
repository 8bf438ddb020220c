//! What every engine of this machine does besides sums of convolutions: each
//! against its formula, also those that a network's best engine would not use
//! here.

use proptest::array::uniform4;
use proptest::collection::vec;
use proptest::prelude::*;
#[cfg(target_arch = "x86_64")]
use tiny_ddpm::kernels::engine::x86;
use tiny_ddpm::kernels::engine::{Engine, Native, Portable, Stride, Words};
use tiny_ddpm::kernels::quant::Scale;

/// The standard library asks the processor its own way.
#[cfg(target_arch = "x86_64")]
#[cfg_attr(miri, ignore = "has no processor to ask")]
#[test]
fn engines_are_found_where_they_can_run() {
    let has_avx2 = is_x86_feature_detected!("avx2");
    let has_vnni = has_avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    for _ in 0..2 {
        assert_eq!(x86::Avx2::detect().is_some(), has_avx2);
        assert_eq!(x86::Vnni::detect().is_some(), has_vnni);
    }
}

/// What is asked of an engine.
trait Question {
    fn ask<E: Engine>(&self, engine: E, name: &str) -> Result<(), TestCaseError>;
}

fn ask_all(question: &impl Question) -> Result<(), TestCaseError> {
    question.ask(Portable, "portable")?;
    question.ask(Words, "words")?;
    question.ask(Native::default(), "native")?;
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(engine) = x86::Avx2::detect() {
            question.ask(engine, "AVX2")?;
        }
        if let Some(engine) = x86::Vnni::detect() {
            question.ask(engine, "VNNI")?;
        }
    }
    Ok(())
}

struct Dot<'q> {
    a: &'q [i8],
    b: &'q [i8],
}

impl Question for Dot<'_> {
    fn ask<E: Engine>(&self, engine: E, name: &str) -> Result<(), TestCaseError> {
        let products = self.a.iter().zip(self.b);
        let expected: i32 = products.map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
        prop_assert_eq!(engine.dot(self.a, self.b), expected, "{}", name);
        Ok(())
    }
}

struct Dots<'q> {
    rows: [&'q [i16]; 2],
    x: &'q [i16],
}

impl Question for Dots<'_> {
    fn ask<E: Engine>(&self, engine: E, name: &str) -> Result<(), TestCaseError> {
        let bytes: Vec<u8> = self
            .rows
            .concat()
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect();
        let expected = self.rows.map(|row| {
            let products = row.iter().zip(self.x);
            products.map(|(&w, &x)| i64::from(w) * i64::from(x)).sum()
        });
        let found: [i64; 2] = engine.dots(&bytes, self.x);
        prop_assert_eq!(found, expected, "{}", name);
        Ok(())
    }
}

struct Requantise<'q> {
    stride: usize,
    sums: [[i32; 4]; 2],
    scales: [Scale; 2],
    /// With their factor.
    residual: Option<(&'q [i8], i32)>,
}

/// A value that nothing writes.
const UNTOUCHED: i8 = 99;

impl Requantise<'_> {
    fn len(&self) -> usize {
        3 * self.stride + 2
    }

    /// The nearest to (sum * multiplier + residual * factor) / 2^32, halves
    /// upwards, with zero points taken off and added.
    fn expected(&self) -> Vec<i8> {
        let mut out = vec![UNTOUCHED; self.len()];
        for (channel, (sums, scale)) in self.sums.iter().zip(&self.scales).enumerate() {
            for (position, &sum) in sums.iter().enumerate() {
                let place = position * self.stride + channel;
                let mut product = i128::from(sum) * i128::from(scale.multiplier);
                if let Some((values, factor)) = self.residual {
                    let steps = i128::from(values[place]) - i128::from(scale.residual_zero);
                    product += (steps << scale.doublings) * i128::from(factor);
                }
                let rounded = (2 * product + (1 << 32)).div_euclid(1 << 33);
                let value = rounded + i128::from(scale.zero_point);
                out[place] = value.clamp(-128, 127) as i8;
            }
        }
        out
    }
}

impl Question for Requantise<'_> {
    fn ask<E: Engine>(&self, engine: E, name: &str) -> Result<(), TestCaseError> {
        let words = self.scales.each_ref().map(|scale| {
            [
                scale.multiplier,
                scale.zero_point,
                scale.residual_zero,
                scale.doublings,
            ]
        });
        let mut out = vec![UNTOUCHED; self.len()];
        let stride = Stride::new(self.stride);
        match self.residual {
            None => engine.requantise(&mut out, stride, &self.sums, &words),
            Some((values, factor)) => {
                let sums = &self.sums;
                engine.requantise_with(&mut out, stride, sums, &words, values, factor);
            }
        }
        prop_assert_eq!(out, self.expected(), "{}", name);
        Ok(())
    }
}

/// Sums and multipliers whose products end near the range of an `i8`.
fn sums() -> impl Strategy<Value = [[i32; 4]; 2]> {
    [
        uniform4(-1_i32 << 22..1 << 22),
        uniform4(-1_i32 << 22..1 << 22),
    ]
}

fn scale() -> impl Strategy<Value = Scale> {
    (0..1 << 17, -128..=127, -128..=127, 0..15).prop_map(
        |(multiplier, zero_point, residual_zero, doublings)| Scale {
            multiplier,
            zero_point,
            residual_zero,
            doublings,
        },
    )
}

proptest! {
    #[test]
    fn dot_is_the_sum_of_products(pairs in vec(any::<[i8; 2]>(), 0..100)) {
        let [a, b] = [0, 1].map(|i| pairs.iter().map(|pair| pair[i]).collect::<Vec<_>>());
        ask_all(&Dot { a: &a, b: &b })?;
    }

    #[test]
    fn dots_are_the_sums_of_products(triples in vec(any::<[i16; 3]>(), 0..100)) {
        let [v, w, x] = [0, 1, 2].map(|i| triples.iter().map(|t| t[i]).collect::<Vec<_>>());
        ask_all(&Dots { rows: [&v, &w], x: &x })?;
    }

    #[test]
    fn requantising_rounds_and_saturates(
        stride in 2_usize..9,
        sums in sums(),
        scales in [scale(), scale()],
    ) {
        ask_all(&Requantise { stride, sums, scales, residual: None })?;
    }

    #[test]
    fn a_residual_is_added_before_rounding(
        stride in 2_usize..9,
        sums in sums(),
        scales in [scale(), scale()],
        values in vec(any::<i8>(), 3 * 8 + 2),
        factor in 0..1 << 16,
    ) {
        let residual = Some((&values[..3 * stride + 2], factor));
        ask_all(&Requantise { stride, sums, scales, residual })?;
    }
}
