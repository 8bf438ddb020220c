//! What the tests that cross crates share: the shipped models, and sampling
//! with them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tiny_ddpm::{Buffers, Denoiser, Method, Model, Sampler, Settings, Unet};

/// The folder of shipped models.
#[must_use]
pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

/// The bytes of the shipped digits model.
///
/// # Errors
/// Where the file cannot be read.
pub fn digits() -> Result<Vec<u8>> {
    let path = models().join("digits.tddpm");
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Settings that a model recommends for picture `class` of that class, or of no
/// class where the model has none, without guidance.
#[must_use]
pub fn settings(model: &Model<'_>, class: u8) -> Settings {
    let recommended = model.info().recommended;
    Settings::new(
        Method::Ddim {
            eta: recommended.eta,
        },
        recommended.steps,
    )
    .class((model.topology().classes > 0).then_some(class))
    .seed(1)
    .picture(class.into())
}

/// x_0 of a whole run; `each` sees every x_t and its timestep before the step
/// is made.
///
/// # Errors
/// The denoiser's, or where the settings do not fit.
pub fn sample<D>(
    model: &Model<'_>,
    settings: Settings,
    denoiser: &mut D,
    mut each: impl FnMut(&[f32], u16),
) -> Result<Vec<f32>>
where
    D: Denoiser,
    anyhow::Error: From<D::Error>,
{
    let pixels = model.topology().pixels();
    let remembered = settings.method.history_len(pixels);
    let mut buffers = [pixels, pixels, pixels, remembered].map(|values| vec![0.0; values]);
    let [x, x0_hat, unconditional, memory] = &mut buffers;
    let buffers = Buffers {
        x,
        x0_hat,
        unconditional,
        history: memory,
    };
    let mut sampler = Sampler::new(model.schedule(), settings, buffers)?;
    loop {
        let x_t = sampler.x().to_vec();
        match sampler.step(denoiser)? {
            Some(step) => each(&x_t, step.timestep),
            None => return Ok(x_t),
        }
    }
}

/// x_0 of a whole run of the int8 network.
///
/// # Errors
/// Where the settings do not fit the model.
pub fn sample_int8(model: &Model<'_>, settings: Settings) -> Result<Vec<f32>> {
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(model, &mut workspace)?;
    sample(model, settings, &mut unet, |_, _| ())
}

/// A picture in half-height characters, for messages of failed tests.
#[must_use]
pub fn drawing(x_0: &[f32]) -> String {
    let side = x_0.len().isqrt().max(1);
    let bright = |x: f32| x > 0.0;
    let rows: Vec<&[f32]> = x_0.chunks(side).collect();
    let mut text = String::new();
    for pair in rows.chunks(2) {
        for column in 0..side {
            let upper = bright(pair[0][column]);
            let lower = pair.get(1).is_some_and(|row| bright(row[column]));
            text.push(match (upper, lower) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        text.push('\n');
    }
    text
}
