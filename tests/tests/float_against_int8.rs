//! The shipped blob against the float weights it was made from, under the
//! same noise: layer by layer, and at the end of a run.

use anyhow::Result;
use tiny_ddpm::Model;
use tiny_ddpm_tests::{digits, drawing, models, sample, sample_int8, settings};
use tiny_ddpm_train::export::{Input, compare};
use tiny_ddpm_train::network::denoiser::FloatDenoiser;
use tiny_ddpm_train::network::{Backend, NoTaps};
use tiny_ddpm_train::train::load_ema;

/// Largest share of a layer's size that its error may have, errors of all
/// layers before it included. `tiny-ddpm export` prints the shares measured.
const LAYER_LIMIT: f64 = 0.08;
/// The same for the network's prediction.
const PREDICTION_LIMIT: f64 = 0.10;
/// Largest mean difference of a finished picture, in grey values of 255. One
/// step of the network's int8 input is 3.5 of them.
const PICTURE_LIMIT: f32 = 4.0;

#[test]
fn every_layer_follows_its_float_twin() -> Result<()> {
    let blob = digits()?;
    let model = Model::load(&blob)?;
    let device = Backend::Flex.device()?;
    let (config, float) = load_ema(&models().join("digits.run"), &device)?;
    let mut seen = Vec::new();
    for class in [0, 3, 8] {
        let prediction = config.diffusion.prediction;
        let mut denoiser =
            FloatDenoiser::new(&float, prediction, vec![Some(class)], &device, NoTaps);
        sample(&model, settings(&model, class), &mut denoiser, |x, t| {
            seen.push((x.to_vec(), t, class));
        })?;
    }
    let inputs = seen.iter().map(|(x_t, timestep, class)| Input {
        x_t,
        timestep: *timestep,
        class: Some(*class),
    });
    let errors = compare(&float, &model, &device, inputs)?;
    // An empty comparison would prove nothing.
    assert!(errors.len() > 20, "{} layers", errors.len());
    for layer in &errors {
        let limit = if layer.scale.is_some() {
            LAYER_LIMIT
        } else {
            PREDICTION_LIMIT
        };
        assert!(
            layer.relative() <= limit,
            "{}: the error is {:.2}% of the output",
            layer.name,
            100.0 * layer.relative()
        );
    }
    Ok(())
}

#[test]
fn pictures_end_up_the_same() -> Result<()> {
    let blob = digits()?;
    let model = Model::load(&blob)?;
    let device = Backend::Flex.device()?;
    let (config, float) = load_ema(&models().join("digits.run"), &device)?;
    for class in 0..10 {
        let settings = settings(&model, class);
        let prediction = config.diffusion.prediction;
        let mut denoiser =
            FloatDenoiser::new(&float, prediction, vec![Some(class)], &device, NoTaps);
        let exact = sample(&model, settings, &mut denoiser, |_, _| ())?;
        let found = sample_int8(&model, settings)?;
        let sum: f32 = exact.iter().zip(&found).map(|(a, b)| (a - b).abs()).sum();
        let mean = sum / exact.len() as f32 * 127.5;
        println!("class {class}: {mean:.2} grey values");
        // Written so that a NaN fails.
        assert!(
            mean <= PICTURE_LIMIT,
            "class {class}: {mean} apart\nfloat\n{}int8\n{}",
            drawing(&exact),
            drawing(&found)
        );
    }
    Ok(())
}
