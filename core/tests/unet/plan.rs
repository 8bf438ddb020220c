//! What a network needs is known before it runs.

use super::common::{point_topology, random_blob, smallest_topology};
use super::topologies;
use std::collections::BTreeSet;
use tiny_ddpm::Model;
use tiny_ddpm::unet::Plan;
use tiny_ddpm::{Data, Level, Topology};

#[test]
fn the_layers_macs_are_the_plan_s() {
    for topology in topologies() {
        let blob = random_blob(topology.clone(), 1);
        let model = Model::load(&blob).unwrap();
        let mut macs = 0;
        model.for_each_layer(|layer| macs += layer.macs);
        assert_eq!(macs, model.plan().macs());
        assert_eq!(&Plan::new(&topology), model.plan());
    }
}

/// The same of a perceptron: three values, 16 channels, two blocks each way.
#[test]
fn a_point_network_s_macs_are_counted_right() {
    let time = 8 * 12 + 12 * 12;
    let embedding = 12 * 16;
    let block = 16 * 16 + embedding + 16 * 16;
    let up = 32 * 16 + 32 * 16 + embedding + 16 * 16;
    // Three values, and sine and cosine of each at four frequencies.
    let expected = time + 27 * 16 + 4 * block + 2 * up + 16 * 3;
    assert_eq!(Plan::new(&point_topology()).macs(), expected as u64);
}

/// Counted by hand from the network's description.
#[test]
fn the_smallest_network_s_macs_are_counted_right() {
    // 2x2 positions, 4 channels everywhere, 8 before the block on the way up.
    let conv3x3 = |inputs: usize| 4 * 4 * 9 * inputs;
    let conv1x1 = |inputs: usize| 4 * 4 * inputs;
    let time = 2 * 4 + 4 * 4;
    let embedding = 4 * 4;
    let block = conv3x3(4) + embedding + conv3x3(4);
    let attention = 3 * conv1x1(4) + 2 * (4 * 4 * 4) + conv1x1(4);
    let up = conv1x1(8) + conv3x3(8) + embedding + conv3x3(4);
    let expected = time + conv3x3(4) + 3 * block + attention + up + conv3x3(4);
    assert_eq!(Plan::new(&smallest_topology()).macs(), expected as u64);
}

#[test]
fn every_layer_has_a_name_of_its_own() {
    for topology in topologies() {
        let blob = random_blob(topology, 1);
        let model = Model::load(&blob).unwrap();
        let mut names = Vec::new();
        model.for_each_layer(|layer| names.push(layer.site.to_string()));
        let different: BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        assert!(names.iter().all(|name| !name.is_empty()));
    }
}

#[test]
fn the_smallest_network_s_layers_are_named_in_order() {
    let blob = random_blob(smallest_topology(), 1);
    let model = Model::load(&blob).unwrap();
    let mut names = Vec::new();
    model.for_each_layer(|layer| names.push(layer.site.to_string()));
    let block = |stage: &str, shortcut: bool| {
        let parts = ["norm1", "shortcut", "conv1", "emb", "norm2", "conv2"];
        parts
            .into_iter()
            .filter(|&part| shortcut || part != "shortcut")
            .map(|part| format!("{stage}.{part}"))
            .collect::<Vec<_>>()
    };
    let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = [
        list(&[
            "time.linear1",
            "time.linear2",
            "time.classes",
            "x",
            "conv_in",
        ]),
        block("down0.0", false),
        block("mid0", false),
        ["norm", "q", "k", "v", "mix", "proj"]
            .map(|part| format!("mid.attn.{part}"))
            .to_vec(),
        block("mid1", false),
        block("up0.0", true),
        list(&["out.norm", "out.conv"]),
    ];
    assert_eq!(names, expected.concat());
}

/// The peak is at least what its layer's output takes, and less than all
/// activations side by side.
#[test]
fn activations_share_memory() {
    for topology in topologies() {
        // So large that it is the activations that count; points cannot be.
        if let Data::Point { .. } = topology.data() {
            continue;
        }
        let topology = Topology {
            image_size: 8 * topology.patch,
            ..topology
        };
        let wide = topology.levels.iter().map(|level| Level {
            channels: 3 * level.channels,
            ..*level
        });
        let topology = Topology {
            levels: wide.collect(),
            ..topology
        };
        if topology.validate().is_err() {
            continue;
        }
        let blob = random_blob(topology, 1);
        let model = Model::load(&blob).unwrap();
        let plan = model.plan();
        let (mut all, mut largest, mut peak_is_a_layer) = (0, 0, false);
        model.for_each_layer(|layer| {
            all += layer.output.values();
            largest = largest.max(layer.output.values());
            peak_is_a_layer |= layer.site == plan.peak_layer();
        });
        assert!(peak_is_a_layer);
        assert!(plan.activation_bytes() > largest);
        assert!(plan.activation_bytes() < all, "{plan:?} of {all}");
        assert!(4 * plan.workspace_words() > plan.activation_bytes());
    }
}
