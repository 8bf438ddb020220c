//! Previews during training: the contact sheet or map of points that `sample`
//! writes, of the network so far.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use tiny_ddpm::Data;

use super::qat::Rounded;
use crate::config::Config;
use crate::generate::Request;
use crate::generate::float::{generate_float_points_with, generate_float_with};
use crate::network::{Network, NoTaps, Taps};
use crate::output::{Grid, Staged, encode_png, scatter_png};

/// Fewest pictures in a preview; it has every class equally often.
const PICTURES: usize = 40;

/// Writes a PNG: what `sample` writes for the run with the recommended settings
/// and the training's seed. The noise is always the same, so that previews of
/// one run show the same pictures getting better. With `rounded`, which must
/// belong to the same model, the rounded network generates them.
///
/// # Errors
/// If the schedule is not valid or the file cannot be written.
pub fn write_grid(
    model: &Network,
    rounded: Option<&Rounded<'_>>,
    config: &Config,
    device: &Device,
    path: &Path,
) -> Result<()> {
    let png = match rounded {
        Some(rounded) => draw(model, config, device, || rounded.taps(device))?,
        None => draw(model, config, device, || NoTaps)?,
    };
    let mut staged = Staged::default();
    staged.add(path, &png)?;
    staged.publish()
}

/// What a preview asks of the network.
fn request(config: &Config) -> Request {
    let (data, classes) = (config.network.data(), config.network.classes());
    let mut request = Request::recommended(data, config.recommended(), classes, None);
    if let Data::Picture { .. } = data {
        request.count = PICTURES.next_multiple_of(usize::from(classes).max(1));
    }
    request.method = config.recommended_method();
    request.seed = config.training.seed;
    request
}

/// The PNG.
fn draw<T: Taps>(
    model: &Network,
    config: &Config,
    device: &Device,
    taps: impl Fn() -> T,
) -> Result<Vec<u8>> {
    let request = request(config);
    if let Data::Point { .. } = config.network.data() {
        let points = generate_float_points_with(model, config, &request, device, taps, |_| {})?;
        return scatter_png(&points.x, points.values);
    }
    let pictures = generate_float_with(model, config, &request, device, taps, |_| {})?;
    let classes = config.network.classes().into();
    let grid = Grid::new(pictures.len(), pictures.size, classes);
    encode_png(grid.width(), grid.height(), &grid.draw(pictures.iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_has_whole_rounds_of_classes() {
        let mut config = Config::preset("smoke").unwrap();
        config.training.seed = 9;
        let wanted = request(&config);
        assert_eq!((wanted.count, wanted.seed), (40, 9));
        assert_eq!(wanted.guidance, config.recommended_guidance());
        let roll = request(&Config::preset("swiss-roll").unwrap());
        assert_eq!(roll.count, 2000);
    }
}
