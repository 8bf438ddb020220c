//! Which activations meet at the end of each skip connection.

use std::convert::Infallible;

use tiny_ddpm::Topology;
use tiny_ddpm::graph::{
    Attention, Conv, Interpreter, LayerId, Linear, Norm, Part, Shape, Stage, Table, walk,
};

/// The layers of both halves of every concatenation: what comes from below, and
/// what was kept.
#[must_use]
pub fn skip_halves(topology: &Topology) -> Vec<[LayerId; 2]> {
    let mut halves = Halves(Vec::new());
    match walk(&mut halves, topology) {
        Ok(()) => halves.0,
    }
}

struct Halves(Vec<[LayerId; 2]>);

impl Interpreter for Halves {
    type Data = LayerId;
    type Error = Infallible;

    fn timestep(&mut self, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn linear(&mut self, _: &Linear) -> Result<(), Infallible> {
        Ok(())
    }

    fn classes(&mut self, _: &Table) -> Result<(), Infallible> {
        Ok(())
    }

    fn input(&mut self, _: Shape) -> Result<LayerId, Infallible> {
        Ok(LayerId::new(Stage::Input, Part::Whole))
    }

    fn norm(&mut self, norm: &Norm<LayerId>) -> Result<LayerId, Infallible> {
        if let Some(skip) = &norm.skip {
            self.0.push([norm.x.data, skip.data]);
        }
        Ok(norm.id)
    }

    fn conv(&mut self, conv: &Conv<LayerId>) -> Result<LayerId, Infallible> {
        Ok(conv.id)
    }

    fn attention(&mut self, attention: &Attention<LayerId>) -> Result<LayerId, Infallible> {
        Ok(attention.id)
    }

    fn output(&mut self, _: &Conv<LayerId>) -> Result<(), Infallible> {
        Ok(())
    }

    fn release(&mut self, _: LayerId) {}
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
        assert_eq!(
            found,
            expected.map(|pair| pair.map(|name| name.parse().unwrap()))
        );
    }
}
