//! A grid of samples during training, or a map of sampled points: DDIM in floats, all pictures at once.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use tiny_ddpm::{Buffers, Data, Method, Sampler, Settings, Spacing};

use super::denoiser::FloatDenoiser;
use super::qat::Rounded;
use super::{Network, NoTaps, Taps};
use crate::config::Config;
use crate::output::{Staged, encode_png, scatter};

/// Columns where there are no classes.
const COLUMNS: usize = 10;
/// Most columns; of more classes some are shown, spread over all.
const MAX_COLUMNS: usize = 20;
const ROWS: usize = 4;
/// Points in a map.
const POINTS: usize = 2000;
/// Pixels a side of a map.
const MAP: usize = 256;

/// Writes a PNG with a column for each class, if they are not too many, or of
/// points a map, sampled as the configuration recommends. The noise is always the same, so
/// grids of one run show the same pictures getting better. With `rounded`,
/// which is of the same model, they are the rounded network's.
///
/// # Errors
/// Where the schedule is not valid or the file cannot be written.
pub fn write_grid(
    model: &Network,
    rounded: Option<&Rounded<'_>>,
    config: &Config,
    device: &Device,
    path: &Path,
) -> Result<()> {
    let classes = usize::from(config.network.classes());
    let points = match config.network.data() {
        Data::Picture { .. } => None,
        Data::Point { values } => Some(usize::from(values)),
    };
    let columns = match classes {
        0 => COLUMNS,
        _ => classes.min(MAX_COLUMNS),
    };
    let count = points.map_or(ROWS * columns, |_| POINTS);
    let wanted = shown(count, classes, columns);
    let pictures = match rounded {
        Some(rounded) => sample(model, config, &wanted, device, rounded.taps(device))?,
        None => sample(model, config, &wanted, device, NoTaps)?,
    };

    if let Some(values) = points {
        let map = scatter(&pictures, values, MAP);
        let mut staged = Staged::default();
        staged.add(path, &encode_png(MAP, MAP, &map)?)?;
        return staged.publish();
    }
    let size = config.network.image_size();
    let pixels = size * size;
    let (width, height) = (columns * size, ROWS * size);
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let grid: Vec<u8> = places
        .map(|(x, y)| {
            let picture = y / size * columns + x / size;
            let value = pictures[picture * pixels + y % size * size + x % size];
            ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8
        })
        .collect();
    let mut staged = Staged::default();
    staged.add(path, &encode_png(width, height, &grid)?)?;
    staged.publish()
}

/// The classes of so many pictures in so many columns.
fn shown(places: usize, classes: usize, columns: usize) -> Vec<Option<u8>> {
    let class_of = |place: usize| match classes {
        0 => None,
        _ if classes <= columns => Some((place % classes) as u8),
        _ => Some((place * classes / places) as u8),
    };
    (0..places).map(class_of).collect()
}

/// A picture for each of `classes`, values about -1 to 1.
fn sample(
    model: &Network,
    config: &Config,
    classes: &[Option<u8>],
    device: &Device,
    taps: impl Taps,
) -> Result<Vec<f32>> {
    let schedule = config.schedule()?;
    let values = classes.len() * config.network.pixels();
    let (mut x, mut x0_hat, mut spare) = (vec![0.0; values], vec![0.0; values], vec![0.0; values]);
    let buffers = Buffers {
        x: &mut x,
        x0_hat: &mut x0_hat,
        unconditional: &mut spare,
        memory: &mut [],
    };
    let conditional = config.network.classes() > 0;
    let recommended = config.recommended();
    let settings = Settings {
        method: Method::Ddim {
            eta: recommended.eta,
        },
        steps: recommended.steps,
        spacing: Spacing::Trailing,
        guidance: recommended.guidance,
        clip: true,
        seed: config.training.seed,
        picture: 0,
        class: conditional.then_some(0),
    };
    let prediction = config.diffusion.prediction;
    let mut denoiser = FloatDenoiser::new(model, prediction, classes.to_vec(), device, taps);
    let mut sampler = Sampler::new(schedule, settings, buffers)?;
    while sampler.step(&mut denoiser)?.is_some() {}
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_for_each_class_or_some_of_many() {
        assert_eq!(shown(4, 0, 2), [None; 4]);
        assert_eq!(shown(6, 3, 3), [0, 1, 2, 0, 1, 2].map(Some));
        let many = shown(80, 256, 20);
        assert!(many.is_sorted() && many.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!((many[0], many[79]), (Some(0), Some(252)));
        assert_eq!(shown(80, 21, 20)[79], Some(20));
    }
}
