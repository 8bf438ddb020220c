//! Fréchet distance between the student's and the training pictures, measured
//! during training to select the best averaged weights.
//!
//! Uses its own classifier, with a seed other than that of `evaluate`, and
//! training pictures only: the metric that selects weights must not also be the
//! one that evaluates them.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;

use crate::config::Config;
use crate::data::{Dataset, default_cache};
use crate::generate::Request;
use crate::generate::float::generate_float_with;
use crate::metrics::classifier::{Classifier, Recipe};
use crate::metrics::{Features, frechet};
use crate::network::{Network, NoTaps};
use crate::train::qat::Rounded;

/// Generated pictures; they are compared with all training pictures.
const PICTURES: usize = 2000;
/// Seed of the classifier and of the noise; not that of `evaluate`.
const SEED: u64 = 20_241;

/// Measures distances. Trains its classifier at the first measurement.
pub struct Distance {
    config: Config,
    real: Option<(Classifier, Features)>,
}

impl Distance {
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            real: None,
        }
    }

    /// The Fréchet distance of the network's pictures to the training pictures.
    ///
    /// # Errors
    /// Where the classifier cannot be trained or kept.
    pub fn measure(
        &mut self,
        data: &Dataset,
        network: &Network,
        rounded: Option<&Rounded<'_>>,
        device: &Device,
    ) -> Result<f64> {
        let config = &self.config;
        let request = request(config);
        let pictures = match rounded {
            Some(rounded) => {
                let taps = || rounded.taps(device);
                generate_float_with(network, config, &request, device, taps, |_| {})?
            }
            None => generate_float_with(network, config, &request, device, || NoTaps, |_| {})?,
        };
        let (classifier, real) = match &mut self.real {
            Some(known) => known,
            none => none.insert(read_real(data, device)?),
        };
        let features = classifier.read(&pictures.pixels)?.features;
        Ok(frechet::distance(real, &features))
    }
}

/// The pictures that are measured, by the method that the student learns for.
fn request(config: &Config) -> Request {
    let (data, classes) = (config.network.data(), config.network.classes());
    let mut request = Request::recommended(data, config.recommended(), classes, None);
    request.method = config.recommended_method();
    request.count = PICTURES;
    request.seed = SEED;
    request
}

fn read_real(data: &Dataset, device: &Device) -> Result<(Classifier, Features)> {
    let recipe = Recipe {
        seed: SEED,
        ..Recipe::of(data)
    };
    let cache: PathBuf = default_cache()?;
    let classifier = Classifier::load_or_train_with(&recipe, &cache, data, data, device)?;
    let features = classifier.read(&data.pixels)?.features;
    Ok((classifier, features))
}

#[cfg(test)]
mod tests {
    use tiny_ddpm::Method;

    use super::*;

    #[test]
    fn students_are_measured_as_they_are_sampled() {
        for (steps, method) in [
            (1, Method::Ddim { eta: 0.0 }),
            (2, Method::Consistency),
            (4, Method::Consistency),
        ] {
            let mut config = Config::preset("smoke").unwrap();
            config.training.distil_to(steps);
            let request = request(&config);
            assert_eq!((request.steps, request.method), (steps, method));
        }
    }
}
