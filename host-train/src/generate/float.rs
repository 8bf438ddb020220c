//! The float network's pictures: those of `tiny-ddpm sample` from the same
//! noise, but for rounding, by any sampler.

use anyhow::Result;
use burn::tensor::Device;
use tiny_ddpm::picture::{state_hash, to_pixels};
use tiny_ddpm::{Buffers, Data, Denoiser, Prediction, Sampler};

use crate::config::Config;
use crate::generate::{Pictures, Progress, Request};
use crate::network::denoiser::FloatDenoiser;
use crate::network::{Network, NoTaps, Taps};
use crate::points::Points;

/// Pictures in the network at once, of a small one.
const BATCH: usize = 200;
/// Points.
const POINTS: usize = 4000;

/// Generates what is asked for, a batch at a time. `progress` gets the number
/// of steps made since it was last called, over all pictures.
///
/// # Errors
/// Where the request does not fit the network.
pub fn generate_float(
    network: &Network,
    config: &Config,
    request: &Request,
    device: &Device,
    progress: impl FnMut(u64),
) -> Result<Pictures> {
    generate_float_with(network, config, request, device, || NoTaps, progress)
}

/// The same with `taps` on every activation, one value for each batch.
///
/// # Errors
/// As [`generate_float`].
pub fn generate_float_with<T: Taps>(
    network: &Network,
    config: &Config,
    request: &Request,
    device: &Device,
    taps: impl Fn() -> T,
    mut progress: impl FnMut(u64),
) -> Result<Pictures> {
    let (pixels, classes) = (config.network.pixels(), config.network.classes());
    let mut pictures = Pictures {
        size: config.network.image_size(),
        pixels: vec![0; request.count * pixels],
        classes: (0..request.count)
            .map(|index| request.class_of(index, classes))
            .collect(),
        states: vec![0; request.count],
    };
    watch_float(network, config, request, device, taps, |made| {
        progress(1);
        if made.step == made.of {
            let output = &mut pictures.pixels[made.picture * pixels..][..pixels];
            to_pixels(made.x, output);
            pictures.states[made.picture] = state_hash(made.x);
        }
    })?;
    Ok(pictures)
}

/// The same of points. `watch` sees each after every step.
///
/// # Errors
/// As [`generate_float`].
pub fn generate_float_points(
    network: &Network,
    config: &Config,
    request: &Request,
    device: &Device,
    watch: impl FnMut(Progress<'_>),
) -> Result<Points> {
    generate_float_points_with(network, config, request, device, || NoTaps, watch)
}

/// The same with `taps` on every activation, one value for each batch.
///
/// # Errors
/// As [`generate_float`].
pub fn generate_float_points_with<T: Taps>(
    network: &Network,
    config: &Config,
    request: &Request,
    device: &Device,
    taps: impl Fn() -> T,
    mut watch: impl FnMut(Progress<'_>),
) -> Result<Points> {
    let values = config.network.pixels();
    let mut x = vec![0.0; request.count * values];
    watch_float(network, config, request, device, taps, |made| {
        if made.step == made.of {
            x[made.picture * values..][..values].copy_from_slice(made.x);
        }
        watch(made);
    })?;
    Ok(Points { values, x })
}

/// Shows every picture or point to `watch` after each step.
fn watch_float<T: Taps>(
    network: &Network,
    config: &Config,
    request: &Request,
    device: &Device,
    taps: impl Fn() -> T,
    mut watch: impl FnMut(Progress<'_>),
) -> Result<()> {
    let schedule = config.schedule()?;
    let (pixels, classes) = (config.network.pixels(), config.network.classes());
    request.settings(0, classes).validate(&schedule)?;
    let batch = match config.network.data() {
        Data::Picture { .. } => config.network.at_once(BATCH),
        Data::Point { .. } => POINTS,
    };
    for first in (0..request.count).step_by(batch) {
        let numbers = first..request.count.min(first + batch);
        let wanted: Vec<Option<u8>> = numbers
            .clone()
            .map(|index| request.class_of(index, classes))
            .collect();
        let values = wanted.len() * pixels;
        let remembered = request.method.history_len(pixels);
        let mut memory = vec![0.0; wanted.len() * remembered];
        let mut memory = memory.as_mut_slice();
        let mut buffers = [(); 3].map(|()| vec![0.0; values]);
        let [x, x0_hat, unconditional] = &mut buffers;
        let buffers = x
            .chunks_exact_mut(pixels)
            .zip(x0_hat.chunks_exact_mut(pixels))
            .zip(unconditional.chunks_exact_mut(pixels));
        let mut samplers = Vec::new();
        for (index, ((x, x0_hat), unconditional)) in numbers.clone().zip(buffers) {
            let (of_picture, rest) = memory.split_at_mut(remembered);
            memory = rest;
            let buffers = Buffers {
                x,
                x0_hat,
                unconditional,
                history: of_picture,
            };
            samplers.push(request.sampler(schedule, index, classes, buffers)?);
        }

        let prediction = config.diffusion.prediction;
        let class = wanted.first().copied().flatten();
        let mut denoiser = FloatDenoiser::new(network, prediction, wanted, device, taps());
        let mut x_t = vec![0.0; values];
        let (mut asked, mut open) = (vec![0.0; values], vec![0.0; values]);
        let mut step = 0;
        // They go the same way: the first speaks for all.
        while let Some(timestep) = samplers.first().map(Sampler::timestep)
            && timestep > 0
        {
            for (x_t, sampler) in x_t.chunks_exact_mut(pixels).zip(&samplers) {
                x_t.copy_from_slice(sampler.x());
            }
            denoiser.predict(&x_t, timestep, class, &mut asked)?;
            let guided = request.guidance != 0.0;
            if guided {
                denoiser.predict(&x_t, timestep, None, &mut open)?;
            }
            step += 1;
            let made = asked.chunks_exact(pixels).zip(open.chunks_exact(pixels));
            for ((picture, sampler), (asked, open)) in numbers.clone().zip(&mut samplers).zip(made)
            {
                let open = if guided { open } else { asked };
                sampler.step(&mut Made {
                    prediction,
                    asked,
                    open,
                })?;
                watch(Progress {
                    picture,
                    step,
                    of: request.rounds(),
                    x: sampler.x(),
                });
            }
        }
    }
    Ok(())
}

/// One picture's part of what was predicted for the whole batch: every sampler
/// has noise of its own, and the network still sees all pictures at once.
struct Made<'p> {
    prediction: Prediction,
    /// With the class that was asked for.
    asked: &'p [f32],
    /// Without one.
    open: &'p [f32],
}

impl Denoiser for Made<'_> {
    type Error = std::convert::Infallible;

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn predict(
        &mut self,
        _: &[f32],
        _: u16,
        class: Option<u8>,
        out: &mut [f32],
    ) -> Result<(), Self::Error> {
        out.copy_from_slice(class.map_or(self.open, |_| self.asked));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Classes;
    use tiny_ddpm::{Method, Spacing};

    fn request(method: Method) -> Request {
        Request {
            count: 3,
            walk: None,
            first: 0,
            classes: Classes::All,
            method,
            steps: 4,
            spacing: Spacing::Quadratic,
            guidance: 0.5,
            clip: true,
            seed: 7,
        }
    }

    #[test]
    fn a_picture_does_not_depend_on_the_others() {
        let config = Config::preset("smoke").unwrap();
        let device = Device::flex();
        let network = Network::new(&config.network, 3, &device);
        for name in Method::NAMES {
            let request = request(Method::from_name(name, 1.0).unwrap());
            let mut steps = 0;
            let together =
                generate_float(&network, &config, &request, &device, |n| steps += n).unwrap();
            assert_eq!(steps, 3 * u64::from(request.rounds()));
            assert_eq!(together.classes, [Some(0), Some(1), Some(2)]);

            // Picture by picture as `sample` does it, with noise streams 0 to 2.
            let schedule = config.schedule().unwrap();
            for (index, picture) in together.iter().enumerate() {
                let pixels = config.network.pixels();
                let mut buffers = [1, 1, 1, 2].map(|pictures| vec![0.0; pictures * pixels]);
                let [x, x0_hat, unconditional, memory] = &mut buffers;
                let buffers = Buffers {
                    x,
                    x0_hat,
                    unconditional,
                    history: memory,
                };
                let settings = request.settings(index, 10);
                let mut sampler = Sampler::new(schedule, settings, buffers).unwrap();
                let mut denoiser = FloatDenoiser::new(
                    &network,
                    config.diffusion.prediction,
                    vec![settings.class],
                    &device,
                    NoTaps,
                );
                while sampler.step(&mut denoiser).unwrap().is_some() {}
                let mut alone = vec![0; pixels];
                to_pixels(sampler.x(), &mut alone);
                let apart = alone.iter().zip(picture).map(|(a, b)| a.abs_diff(*b));
                assert!(apart.max().unwrap() <= 1, "{name}");
            }
        }
    }

    #[test]
    fn too_many_steps_are_refused() {
        let config = Config::preset("smoke").unwrap();
        let device = Device::flex();
        let network = Network::new(&config.network, 3, &device);
        let request = Request {
            steps: 1001,
            ..request(Method::Heun)
        };
        let error = generate_float(&network, &config, &request, &device, |_| {}).unwrap_err();
        assert!(error.to_string().contains("1 to the schedule's 1000"));
    }
}
