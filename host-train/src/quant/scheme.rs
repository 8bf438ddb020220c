//! What the kernels ask of the integers of each activation.

use std::collections::BTreeMap;
use std::convert::Infallible;

use tiny_ddpm::Topology;
use tiny_ddpm::graph::{
    Attention, Conv, Interpreter, LayerId, Linear, Norm, Part, Shape, Stage, Table, walk,
};

/// How the integers of an activation may stand for its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// One scale and one zero point.
    PerTensor,
    /// The same, with a scale of at least 1/127.
    Normalised,
    /// One scale, and a zero point of 0.
    Symmetric,
    /// A scale and a zero point for each channel; the zero points within `i8`
    /// where the activation is padded.
    PerChannel {
        /// Whether it is.
        padded: bool,
    },
}

/// The scheme of every activation of a network, and of its prediction.
#[must_use]
pub fn schemes(topology: &Topology) -> BTreeMap<LayerId, Scheme> {
    let mut reader = Reader(BTreeMap::new());
    match walk(&mut reader, topology) {
        Ok(()) => reader.0,
    }
}

struct Reader(BTreeMap<LayerId, Scheme>);

impl Reader {
    fn note(&mut self, layer: LayerId, scheme: Scheme) -> Result<(), Infallible> {
        self.0.insert(layer, scheme);
        Ok(())
    }
}

impl Interpreter for Reader {
    type Data = ();
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

    fn input(&mut self, _: Shape) -> Result<(), Infallible> {
        self.note(LayerId::new(Stage::Input, Part::Whole), Scheme::PerTensor)
    }

    fn norm(&mut self, norm: &Norm<()>) -> Result<(), Infallible> {
        self.note(norm.id, Scheme::Normalised)
    }

    fn conv(&mut self, conv: &Conv<()>) -> Result<(), Infallible> {
        let padded = conv.readers.padded;
        let scheme = match conv.symmetric {
            true => Scheme::Symmetric,
            false => Scheme::PerChannel { padded },
        };
        self.note(conv.id, scheme)
    }

    fn attention(&mut self, attention: &Attention<()>) -> Result<(), Infallible> {
        self.note(attention.id, Scheme::PerTensor)
    }

    fn output(&mut self, conv: &Conv<()>) -> Result<(), Infallible> {
        self.note(conv.id, Scheme::PerChannel { padded: false })
    }

    fn release(&mut self, (): ()) {}
}
