//! Which activations meet at the end of each skip connection.

use std::convert::Infallible;

use tiny_ddpm::Topology;
use tiny_ddpm::unet::{Attention, Conv, Interpreter, Norm, Part, Shape, Site, Stage, walk};

/// The names of both halves of every concatenation: what comes from below, and
/// what was kept.
#[must_use]
pub fn skip_halves(topology: &Topology) -> Vec<[String; 2]> {
    let mut halves = Halves(Vec::new());
    match walk(&mut halves, topology) {
        Ok(()) => halves.0,
    }
}

struct Halves(Vec<[String; 2]>);

impl Interpreter for Halves {
    type Data = Site;
    type Error = Infallible;

    fn time(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn input(&mut self, _: Shape) -> Result<Site, Infallible> {
        Ok(Site::new(Stage::Input, Part::Whole))
    }

    fn norm(&mut self, norm: &Norm<Site>) -> Result<Site, Infallible> {
        if let Some(skip) = &norm.skip {
            let pair = [norm.x.data, skip.data];
            self.0.push(pair.map(|site| site.to_string()));
        }
        Ok(norm.site)
    }

    fn conv(&mut self, conv: &Conv<Site>) -> Result<Site, Infallible> {
        Ok(conv.site)
    }

    fn attention(&mut self, attention: &Attention<Site>) -> Result<Site, Infallible> {
        Ok(attention.site)
    }

    fn output(&mut self, _: &Conv<Site>) -> Result<(), Infallible> {
        Ok(())
    }

    fn release(&mut self, _: Site) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiny_ddpm::Model;

    #[test]
    fn the_halves_of_the_digits() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/digits.tddpm");
        let blob = std::fs::read(path).unwrap();
        let model = Model::load(&blob).unwrap();
        let expected = [
            ["mid1.conv2", "down1.0.conv2"],
            ["upsample1.conv", "down0.0.conv2"],
        ];
        let found = skip_halves(model.topology());
        assert_eq!(found, expected.map(|pair| pair.map(str::to_owned)));
    }
}
