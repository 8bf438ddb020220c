//! The network as a whole, on models with random weights.

#[path = "../common/mod.rs"]
mod common;

mod borders;
mod definition;
mod extremes;
mod graph;
mod plan;
mod reference;
mod stops;

use common::{point_topology, small_topology, smallest_topology};
use tiny_ddpm::{Level, Topology};

/// Networks that between them have every kind of layer in every place.
fn topologies() -> Vec<Topology> {
    let level = |channels, attention| Level {
        channels,
        attention,
    };
    vec![
        smallest_topology(),
        small_topology(),
        // As many layers as there may be, and pixels instead of patches.
        Topology {
            image_size: 16,
            patch: 1,
            levels: [
                level(4, true),
                level(4, false),
                level(8, true),
                level(4, true),
            ]
            .into_iter()
            .collect(),
            blocks: 4,
            group_channels: 2,
            ..small_topology()
        },
        // No attention, no classes, patches as large as they may be, and an
        // embedding narrower than the features.
        Topology {
            image_size: 24,
            patch: 8,
            levels: [level(6, false)].into_iter().collect(),
            blocks: 2,
            mid_attention: false,
            heads: 1,
            group_channels: 3,
            time_features: 34,
            embedding: 5,
            classes: 0,
        },
        point_topology(),
        // A number alone, and one group of an odd number of channels.
        Topology {
            patch: 1,
            levels: [level(5, false)].into_iter().collect(),
            blocks: 1,
            group_channels: 5,
            classes: 0,
            ..point_topology()
        },
    ]
}
