//! What a network needs is known before it runs.

use super::common::{point_topology, random_blob, smallest_topology};
use super::topologies;
use std::collections::BTreeSet;
use tiny_ddpm::Model;
use tiny_ddpm::graph::{Cost, Stage};
use tiny_ddpm::unet::Plan;
use tiny_ddpm::{Data, Level, Topology};

#[test]
fn the_layers_macs_are_the_network_s() {
    for topology in topologies() {
        let blob = random_blob(topology.clone(), 1);
        let model = Model::load(&blob).unwrap();
        let mut macs = 0;
        model.for_each_layer(|layer| macs += layer.macs);
        assert_eq!(macs, u64::from(Cost::of(&topology).macs));
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
    assert_eq!(Cost::of(&point_topology()).macs, expected as u32);
}

/// Counted by hand from the network's description.
#[test]
fn the_smallest_network_s_macs_are_counted_right() {
    // 4 channels everywhere, 8 before the block on the way up.
    for side in [2, 3] {
        let positions = side * side;
        let conv1x1 = |inputs: usize| positions * 4 * inputs;
        let conv3x3 = |inputs: usize| 9 * conv1x1(inputs);
        let time = 2 * 4 + 4 * 4;
        let embedding = 4 * 4;
        let block = conv3x3(4) + embedding + conv3x3(4);
        let attention = 3 * conv1x1(4) + 2 * (positions * positions * 4) + conv1x1(4);
        let up = conv1x1(8) + conv3x3(8) + embedding + conv3x3(4);
        let expected = time + conv3x3(4) + 3 * block + attention + up + conv3x3(4);
        let topology = Topology {
            image_size: 2 * side as u8,
            ..smallest_topology()
        };
        assert_eq!(Cost::of(&topology).macs, expected as u32, "side {side}");
    }
}

/// Counted by hand, as above.
#[test]
fn the_smallest_network_s_values_are_counted_right() {
    let topology = smallest_topology();
    let heads = u32::from(topology.heads);
    // 2x2 positions of 4 channels; a norm, a convolution, and both again.
    let activation = 2 * 2 * 4;
    let block = 4 * activation;
    // One norm of 8 channels, and a shortcut.
    let up = block + 2 * activation;
    let attention = 6 * activation + heads * 4 * 4;
    let (input, conv_in, out) = (activation, activation, 2 * activation);
    let work = Cost::of(&topology);
    let values = input + conv_in + 3 * block + attention + up + out;
    assert_eq!(work.values, values);
    // Sines and cosines, two layers of the embedding, its projection in four
    // blocks, and each of 4x4 pixels once at either end.
    assert_eq!(work.floats, 2 + 2 * 4 + 4 * 4 + 2 * 16);
}

#[test]
fn every_layer_has_a_name_of_its_own() {
    for topology in topologies() {
        let blob = random_blob(topology, 1);
        let model = Model::load(&blob).unwrap();
        let mut names = Vec::new();
        model.for_each_layer(|layer| names.push(layer.id.to_string()));
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
    model.for_each_layer(|layer| names.push(layer.id.to_string()));
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

/// On the way up, too, where a block takes its skip from the last on the way
/// down.
#[test]
fn blocks_count_from_0_in_the_order_in_which_they_run() {
    for topology in topologies() {
        let (levels, blocks) = (topology.levels.len() as u8, topology.blocks);
        let blob = random_blob(topology, 1);
        let (mut down, mut up) = (Vec::new(), Vec::new());
        Model::load(&blob)
            .unwrap()
            .for_each_layer(|layer| match layer.id.stage {
                Stage::Down { level, block } => down.push((level, block)),
                Stage::Up { level, block } => up.push((level, block)),
                _ => {}
            });
        down.dedup();
        up.dedup();
        let all = |level| (0..blocks).map(move |block| (level, block));
        assert_eq!(down, (0..levels).flat_map(all).collect::<Vec<_>>());
        assert_eq!(up, (0..levels).rev().flat_map(all).collect::<Vec<_>>());
    }
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
            peak_is_a_layer |= layer.id == plan.peak_layer();
        });
        assert!(peak_is_a_layer);
        assert!(plan.activation_bytes() > largest);
        assert!(plan.activation_bytes() < all, "{plan:?} of {all}");
        assert!(4 * plan.workspace_words() > plan.activation_bytes());
    }
}

/// Counted by hand in words, so that no chip keeps more memory free than its
/// network needs.
#[test]
fn the_smallest_network_s_memory_is_counted_right() {
    // The peak is the first convolution on the way up, of 8 channels to 4.
    let activations = (8 + 4 + 4) * 4 / 4;
    let embedding = 4 / 2;
    // Five words for each output; three positions of padding; what four
    // positions read, in halfwords.
    let scratch = 5 * 4 + 3 * 8 / 4 + 4 * (9 * 8) / 2;
    // The last activation, which a guided step keeps.
    let kept = 4 * 4 / 4;
    let plan = Plan::new(&smallest_topology());
    let full = embedding + activations + scratch;
    assert_eq!(plan.peak_layer().to_string(), "up0.0.conv1");
    assert_eq!(plan.workspace_words(), full);
    assert_eq!(plan.guided_workspace_words(), full + kept);
    // In parts: each of four positions has a sum for each output, and reads 32
    // values at a time, in halfwords from where they are gathered in bytes.
    let parts = 4 * 4 + 4 * 32 / 2 + 4 * 32 / 4;
    let least = embedding + activations + 5 * 4 + 3 * 8 / 4 + parts;
    assert_eq!(plan.least_workspace_words(), least);
    assert_eq!(plan.least_guided_workspace_words(), least + kept);
}

/// The same of points, whose first convolution is the widest.
#[test]
fn a_point_network_s_memory_is_counted_right() {
    let activations = (28 + 16) / 4;
    let embedding = 12 / 2;
    // 27 values are no whole groups of four: they are gathered first.
    let scratch = 5 * 16 + 28 / 4 + 4 * 28 / 2 + 4 * 28 / 4;
    let plan = Plan::new(&point_topology());
    let words = embedding + activations + scratch;
    assert_eq!(plan.peak_layer().to_string(), "conv_in");
    assert_eq!(plan.workspace_words(), words);
    assert_eq!(plan.guided_workspace_words(), words + 16 / 4);
}

/// Until there is an activation, its place holds the embedding as floats.
#[test]
fn a_wide_embedding_can_be_the_peak() {
    for (embedding, time_features) in [(512, 2), (511, 2), (4, 512)] {
        let plan = Plan::new(&Topology {
            embedding,
            time_features,
            ..smallest_topology()
        });
        let words = 512 / 2 + 512;
        assert_eq!(plan.workspace_words(), words);
        assert_eq!(plan.least_workspace_words(), words);
        // With the last activation, which a guided step keeps.
        assert_eq!(plan.guided_workspace_words(), words + 4 * 4 / 4);
    }
}

/// Behind the last convolution of a guided step, what four positions were
/// predicted without the class waits as floats.
#[test]
fn the_end_of_a_guided_step_can_be_the_peak() {
    let topology = Topology {
        image_size: 8,
        patch: 8,
        mid_attention: false,
        ..smallest_topology()
    };
    let plan = Plan::new(&topology);
    // One position, of 4 channels, becomes 64 pixels.
    let (embedding, activations, kept) = (4 / 2, 4 / 4, 4 / 4);
    let scratch = 5 * 64 + 3 * 4 / 4 + 4 * (9 * 4) / 2;
    let least = embedding + activations + scratch;
    assert_eq!(plan.least_workspace_words(), least);
    assert_eq!(plan.least_guided_workspace_words(), least + 4 * 64 + kept);
}
