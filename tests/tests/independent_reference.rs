//! The same comparison with a float side that shares no code with Burn's
//! default CPU backend.

use anyhow::Result;
use tiny_ddpm::Denoiser;
use tiny_ddpm::Model;
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm_tests::{digits, models};
use tiny_ddpm_train::export::{Input, compare};
use tiny_ddpm_train::network::denoiser::FloatDenoiser;
use tiny_ddpm_train::network::{Backend, NoTaps};
use tiny_ddpm_train::train::load_ema;

#[test]
fn ndarray_agrees_with_flex_and_with_the_blob() -> Result<()> {
    let blob = digits()?;
    let model = Model::load(&blob)?;
    let pixels = model.topology().pixels();
    let mut x_t = vec![0.0; pixels];
    Noise::new(1, 0).fill(&mut x_t);

    let mut predictions = Vec::new();
    for backend in [Backend::Flex, Backend::Ndarray] {
        let device = backend.device()?;
        let (config, float) = load_ema(&models().join("digits.run"), &device)?;
        let prediction = config.diffusion.prediction;
        let mut denoiser = FloatDenoiser::new(&float, prediction, vec![Some(7)], &device, NoTaps);
        let mut out = vec![0.0; pixels];
        denoiser.predict(&x_t, 950, Some(7), &mut out)?;
        predictions.push(out);

        let input = Input {
            x_t: &x_t,
            timestep: 950,
            class: Some(7),
        };
        let errors = compare(&float, &model, &device, [input])?;
        let last = errors.last().expect("the network has layers");
        let percent = 100.0 * last.relative();
        assert!(percent < 10.0, "{}: {percent:.1}%", backend.name());
    }
    let [flex, ndarray] = &predictions[..] else {
        unreachable!("two backends give two predictions");
    };
    for (a, b) in flex.iter().zip(ndarray) {
        assert!((a - b).abs() < 1e-3, "flex {a}, ndarray {b}");
    }
    Ok(())
}
