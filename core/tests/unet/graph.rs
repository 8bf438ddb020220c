//! What the graph says of a network's layers.

use super::common::random_blob;
use super::topologies;
use std::collections::BTreeSet;
use std::convert::Infallible;
use tiny_ddpm::Model;
use tiny_ddpm::graph::{
    Attention, Conv, Geometry, Interpreter, LayerId, Linear, Norm, Part, Shape, Stage, Table, walk,
};

#[test]
fn every_layer_s_name_is_read_back() {
    for topology in topologies() {
        let blob = random_blob(topology, 1);
        let mut names = BTreeSet::new();
        Model::load(&blob).unwrap().for_each_layer(|layer| {
            let name = layer.id.to_string();
            assert_eq!(name.parse(), Ok(layer.id), "{name}");
            assert!(names.insert(name), "{} comes twice", layer.id);
        });
    }
}

#[test]
fn what_names_no_layer_is_refused() {
    for name in [
        "",
        ".",
        "x.",
        "conv_in.conv",
        "mid",
        "mid0",
        "mid0.",
        "mid.attn",
        "down0.conv1",
        "down.0.conv1",
        "down0.0.0.conv1",
        "down00.0.conv1",
        "down0.+1.conv1",
        "down256.0.conv1",
        "down0.0.attn",
        "up0.0.attn.qkv",
        "Mid0.conv1",
        "mid0.conv1 ",
        "out.conv.weight",
    ] {
        assert!(name.parse::<LayerId>().is_err(), "{name:?}");
    }
}

/// Collects whose outputs 3x3 convolutions read, and whose are said to be.
#[derive(Default)]
struct Padded {
    read: BTreeSet<LayerId>,
    announced: BTreeSet<LayerId>,
}

impl Interpreter for Padded {
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
        Ok(norm.id)
    }

    fn conv(&mut self, conv: &Conv<LayerId>) -> Result<LayerId, Infallible> {
        if conv.geometry != Geometry::Pointwise {
            self.read.insert(conv.x.data);
            self.read.extend(conv.skip.map(|skip| skip.data));
        }
        if conv.readers.padded {
            self.announced.insert(conv.id);
        }
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

#[test]
fn convolutions_know_whether_their_output_is_padded() {
    let mut some = false;
    for topology in topologies() {
        let mut found = Padded::default();
        let Ok(()) = walk(&mut found, &topology);
        // Normalisations and the input have one zero point for all channels.
        let normal = [Part::Norm, Part::Norm1, Part::Norm2, Part::Whole];
        found.read.retain(|layer| !normal.contains(&layer.part));
        some |= !found.read.is_empty();
        assert_eq!(found.read, found.announced);
    }
    assert!(some);
}
