//! The blob beside the float network, on the same inputs.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use tiny_ddpm::Model;
use tiny_ddpm::graph::{LayerId, Shape};
use tiny_ddpm::{Unet, unet};

use crate::network::{Observe, UNet};

/// How far a layer's output is from the float network's, errors of all layers
/// before it included.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerError {
    /// The layer.
    pub name: String,
    /// Its output's size.
    pub shape: Shape,
    /// Largest step of its integers; `None` for the prediction, which is float.
    pub scale: Option<f32>,
    /// Root of the mean squared output of the float network.
    pub rms: f64,
    /// Root of the mean squared difference.
    pub error: f64,
    /// Largest difference.
    pub largest: f64,
}

impl LayerError {
    /// `error` as a share of `rms`.
    #[must_use]
    pub fn relative(&self) -> f64 {
        self.error / self.rms.max(f64::MIN_POSITIVE)
    }
}

/// Sums over the values of one layer.
struct Sums {
    name: String,
    shape: Shape,
    scale: Option<f32>,
    count: f64,
    squares: f64,
    error_squares: f64,
    largest: f64,
}

impl Sums {
    fn add(&mut self, exact: f32, found: f32) {
        let (exact, difference) = (f64::from(exact), f64::from(found) - f64::from(exact));
        self.count += 1.0;
        self.squares += exact * exact;
        self.error_squares += difference * difference;
        self.largest = self.largest.max(difference.abs());
    }
}

/// One input of the network.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// A noisy picture.
    pub x_t: &'a [f32],
    /// Its timestep.
    pub timestep: u16,
    /// What it should show.
    pub class: Option<u8>,
}

/// Runs both networks on every input; errors by layer, in the order of the
/// network.
///
/// # Errors
/// Where an input does not fit the model, or the two networks are not of one
/// topology.
pub fn compare<'a>(
    float: &UNet,
    model: &Model<'_>,
    device: &Device,
    inputs: impl IntoIterator<Item = Input<'a>>,
) -> Result<Vec<LayerError>> {
    let pixels = model.topology().pixels();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(model, &mut workspace)?;
    let mut layers: Vec<Sums> = Vec::new();
    for input in inputs {
        let mut exact = HashMap::new();
        let mut taps = Observe(|layer: LayerId, x: &Tensor<4>| {
            let values = x.clone().into_data().try_to_vec::<f32>();
            exact.insert(layer, values.unwrap_or_default());
        });
        let x = Tensor::from_data(TensorData::new(input.x_t.to_vec(), [1, pixels]), device);
        let prediction = float.forward_with(x, &[input.timestep], &[input.class], &mut taps);
        let prediction: Vec<f32> = prediction
            .into_data()
            .try_to_vec()
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;

        let (mut index, mut missing) = (0, None);
        let mut out = vec![0.0; pixels];
        unet.predict_observed(input.x_t, input.timestep, input.class, &mut out, |seen| {
            match exact.get(&seen.layer) {
                Some(values) => add(entry(&mut layers, index, seen), values, seen),
                None => missing = Some(seen.layer),
            }
            index += 1;
        })?;
        ensure!(
            missing.is_none(),
            "the float network has no activation {missing:?}"
        );
        let output = match layers.get_mut(index) {
            Some(layer) => layer,
            None => {
                let shape = Shape {
                    side: model.topology().image_size.into(),
                    channels: 1,
                };
                layers.push(sums("prediction".to_owned(), shape, None));
                layers.last_mut().context("a layer was just added")?
            }
        };
        for (&exact, &found) in prediction.iter().zip(&out) {
            output.add(exact, found);
        }
    }
    Ok(layers.into_iter().map(finish).collect())
}

fn sums(name: String, shape: Shape, scale: Option<f32>) -> Sums {
    Sums {
        name,
        shape,
        scale,
        count: 0.0,
        squares: 0.0,
        error_squares: 0.0,
        largest: 0.0,
    }
}

fn entry<'l>(
    layers: &'l mut Vec<Sums>,
    index: usize,
    seen: &unet::Observation<'_>,
) -> &'l mut Sums {
    if index == layers.len() {
        layers.push(sums(
            seen.layer.to_string(),
            seen.shape,
            Some(seen.quant.scale),
        ));
    }
    &mut layers[index]
}

/// `exact` has channels outermost, as float tensors do.
fn add(layer: &mut Sums, exact: &[f32], seen: &unet::Observation<'_>) {
    let (positions, channels) = (seen.shape.side * seen.shape.side, seen.shape.channels);
    for i in 0..seen.values.len() {
        let exact = exact[i % channels * positions + i / channels];
        layer.add(exact, seen.value(i));
    }
}

fn finish(sums: Sums) -> LayerError {
    LayerError {
        rms: (sums.squares / sums.count).sqrt(),
        error: (sums.error_squares / sums.count).sqrt(),
        largest: sums.largest,
        name: sums.name,
        shape: sums.shape,
        scale: sums.scale,
    }
}
