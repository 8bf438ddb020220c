//! The float network as `core`'s samplers see it.

use burn::tensor::{Device, Tensor, TensorData};
use tiny_ddpm::{Denoiser, Prediction};

use crate::network::kind::Forward;
use crate::network::taps::{NoTaps, Taps};

/// A batch of pictures as one long picture: samplers treat every pixel alike,
/// so one sampler can carry them all.
#[derive(Debug)]
pub struct FloatDenoiser<'m, T = NoTaps> {
    model: &'m dyn Forward,
    prediction: Prediction,
    classes: Vec<Option<u8>>,
    device: Device,
    /// Sees every activation.
    pub taps: T,
}

impl<'m, T: Taps> FloatDenoiser<'m, T> {
    /// A denoiser for one picture of each of `classes`. They replace the class
    /// that the sampler asks for, whenever it asks for one.
    pub fn new(
        model: &'m dyn Forward,
        prediction: Prediction,
        classes: Vec<Option<u8>>,
        device: &Device,
        taps: T,
    ) -> Self {
        Self {
            model,
            prediction,
            classes,
            device: device.clone(),
            taps,
        }
    }
}

impl<T: Taps> Denoiser for FloatDenoiser<'_, T> {
    type Error = anyhow::Error;

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn predict(
        &mut self,
        x_t: &[f32],
        timestep: u16,
        class: Option<u8>,
        out: &mut [f32],
    ) -> anyhow::Result<()> {
        let n = self.classes.len();
        let pixels = x_t.len() / n.max(1);
        let x = Tensor::from_data(TensorData::new(x_t.to_vec(), [n, pixels]), &self.device);
        let unconditional = vec![None; n];
        let classes = class.map_or(&unconditional, |_| &self.classes);
        let timesteps = vec![timestep; n];
        let output = self
            .model
            .forward_with(x, &timesteps, classes, &mut self.taps);
        let values: Vec<f32> = output
            .into_data()
            .try_to_vec()
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        out.copy_from_slice(&values);
        Ok(())
    }
}
