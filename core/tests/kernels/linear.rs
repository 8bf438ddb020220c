//! The embedding's layers against `f64`.

use proptest::prelude::*;
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::kernels::linear::{layer, quantise, row, silu, time_features};

fn halfwords(values: &[i16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn random(seed: u64, count: usize, deviation: f32) -> Vec<f32> {
    let mut noise = Noise::new(seed, 0);
    (0..count).map(|_| deviation * noise.normal()).collect()
}

/// sin and cos of t / 10000^(k / half). At t = 1000 an angle in `f32` is off
/// by up to 3e-5, and its frequency by as much again.
#[test]
fn time_features_are_their_definition() {
    for count in [2, 8, 16, 32, 48, 64, 128, 512] {
        let mut features = vec![f32::NAN; count];
        let half = count / 2;
        for timestep in (0..=1000_u16).step_by(7).chain([1, 999, 1000]) {
            time_features(timestep, &mut features);
            for k in 0..half {
                let angle = f64::from(timestep) / 10_000_f64.powf(k as f64 / half as f64);
                for (found, expected) in [
                    (features[k], angle.sin()),
                    (features[half + k], angle.cos()),
                ] {
                    let error = (f64::from(found) - expected).abs();
                    assert!(
                        error < 1e-4,
                        "feature {k} of {count} at {timestep}: {error:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn silu_is_its_definition() {
    let mut values: Vec<f32> = (-4000..=4000).map(|i| i as f32 / 200.0).collect();
    let inputs = values.clone();
    silu(&mut values);
    for (&y, &x) in values.iter().zip(&inputs) {
        let exact = f64::from(x) / (1.0 + (-f64::from(x)).exp());
        let error = (f64::from(y) - exact).abs();
        assert!(error <= 3e-7 * exact.abs() + 1e-12, "silu({x}) = {y}");
    }
    // e^-x is infinite here.
    let mut far = [-1000.0, 1000.0, -f32::MAX, f32::MAX];
    silu(&mut far);
    assert_eq!(far, [0.0, 1000.0, 0.0, f32::MAX]);
}

#[test]
fn quantising_is_exact_to_half_a_step() {
    let values = random(3, 500, 2.0);
    let mut quantised = vec![0; 500];
    let scale = quantise(&values, &mut quantised);
    for (&q, &value) in quantised.iter().zip(&values) {
        let error = (f32::from(q) * scale - value).abs();
        assert!(error < 0.501 * scale, "{value} as {q} * {scale}");
    }
    let largest = quantised.iter().map(|q| q.unsigned_abs()).max();
    assert_eq!(largest, Some(32_767));
}

#[test]
fn quantising_survives_any_floats() {
    let extremes: [&[f32]; 6] = [
        &[],
        &[0.0, -0.0],
        &[f32::NAN, 1.0],
        &[f32::INFINITY, 1.0],
        &[f32::MAX, f32::MIN],
        &[1e-45, -1e-45],
    ];
    for values in extremes {
        let mut quantised = [77; 3];
        quantise(values, &mut quantised);
        assert_eq!(quantised[values.len()..], [77, 77, 77][values.len()..]);
    }
    let mut zeros = [77; 2];
    assert_eq!(quantise(&[0.0, 0.0], &mut zeros), 0.0);
    assert_eq!(zeros, [0, 0]);
}

/// The same layer from the floats that the integers stand for.
#[test]
fn layers_are_within_quantisation_of_f64() {
    for (inputs, outputs) in [(1, 1), (32, 64), (64, 96), (512, 3)] {
        let x = random(1, inputs, 1.0);
        let mut x_q = vec![0; inputs];
        let x_scale = quantise(&x, &mut x_q);
        let weights = random(2, inputs * outputs, 0.3);
        let bias = random(3, outputs, 0.5);
        let (mut quantised, mut scales) = (Vec::new(), Vec::new());
        for row in weights.chunks(inputs) {
            let mut row_q = vec![0; inputs];
            scales.push(quantise(row, &mut row_q));
            quantised.extend(row_q);
        }
        let (weight_bytes, scale_bytes, bias_bytes) =
            (halfwords(&quantised), floats(&scales), floats(&bias));
        let mut y = Vec::new();
        layer(
            &weight_bytes,
            &scale_bytes,
            &bias_bytes,
            &x_q,
            x_scale,
            |output, value| {
                assert_eq!(output, y.len());
                y.push(value);
            },
        );
        assert_eq!(y.len(), outputs);
        for (output, &found) in y.iter().enumerate() {
            let row = &quantised[output * inputs..][..inputs];
            let sum: f64 = row
                .iter()
                .zip(&x_q)
                .map(|(&w, &x)| f64::from(w) * f64::from(x))
                .sum();
            let exact_of_integers =
                sum * f64::from(x_scale) * f64::from(scales[output]) + f64::from(bias[output]);
            let error = (f64::from(found) - exact_of_integers).abs();
            assert!(error < 1e-6 * (1.0 + exact_of_integers.abs()), "{error:e}");

            let real: f64 = weights[output * inputs..][..inputs]
                .iter()
                .zip(&x)
                .map(|(&w, &x)| f64::from(w) * f64::from(x))
                .sum::<f64>()
                + f64::from(bias[output]);
            // Each factor is off by at most half of 1/32767 of the largest.
            let error = (f64::from(found) - real).abs();
            assert!(error < 1e-4 * (inputs as f64).sqrt(), "{error:e}");
        }
    }
}

#[test]
fn the_largest_layer_does_not_overflow() {
    let weights = halfwords(&[i16::MIN; 512]);
    let x = [i16::MIN; 512];
    let exact = 512.0 * 1_073_741_824.0;
    assert_eq!(row(&weights, &x, 1.0, 1.0, 0.0), exact);
    assert_eq!(row(&weights, &[i16::MAX; 512], 1.0, 0.0, -3.0), -3.0);
}

proptest! {
    #[test]
    fn wrong_lengths_do_not_panic(
        weights in proptest::collection::vec(any::<u8>(), 0..50),
        scales in proptest::collection::vec(any::<u8>(), 0..30),
        bias in proptest::collection::vec(any::<u8>(), 0..30),
        x in proptest::collection::vec(any::<i16>(), 0..8),
        x_scale: f32,
        features in 0_usize..9,
        timestep: u16,
    ) {
        let mut outputs = 0;
        layer(&weights, &scales, &bias, &x, x_scale, |_, _| outputs += 1);
        prop_assert!(outputs <= (scales.len() / 4).min(bias.len() / 4));
        time_features(timestep, &mut [0.0; 9][..features]);
    }
}
