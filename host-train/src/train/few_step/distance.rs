//! How far a student's pictures are from the training pictures, while it is
//! trained: which of its averages is kept.
//!
//! Measured by a classifier of its own, with another seed than `evaluate`'s, on
//! training pictures alone: what chooses among weights must not also judge
//! them.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;

use crate::config::Config;
use crate::data::{Dataset, default_cache};
use crate::evaluate::classifier::{Classifier, Recipe};
use crate::evaluate::generate::generate_float_with;
use crate::evaluate::metrics::{Features, frechet};
use crate::sample::Request;
use crate::train::qat::Rounded;
use crate::train::{Network, NoTaps};

/// Pictures that are compared with all of the training pictures.
const PICTURES: usize = 2000;
/// Not `evaluate`'s.
const SEED: u64 = 20_241;

/// Measures; the classifier is trained when it is first needed.
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

    /// The Fréchet distance of so many pictures of a network.
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
        let data_of = config.network.data();
        let classes = config.network.classes();
        let mut request = Request::recommended(data_of, config.recommended(), classes, None);
        request.count = PICTURES;
        request.seed = SEED;
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
