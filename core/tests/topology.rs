//! Which networks there may be: the rest is refused by name, and these run.

mod common;

use common::{point_topology, random_blob, small_topology};
use proptest::prelude::*;
use tiny_ddpm::graph::{Cost, MAX_MACS};
use tiny_ddpm::graph::{MAX_BLOCKS, MAX_CHANNELS, MAX_EMBEDDING, MAX_IMAGE_SIZE, MAX_POINT_VALUES};
use tiny_ddpm::unet::Plan;
use tiny_ddpm::{Data, Denoiser, Level, Model, Topology, TopologyError as E, Unet};

fn level(channels: u16, attention: bool) -> Level {
    Level {
        channels,
        attention,
    }
}

/// `small_topology` with something changed.
fn changed(change: impl FnOnce(&mut Topology)) -> Topology {
    let mut topology = small_topology();
    change(&mut topology);
    topology
}

/// The same of points.
fn changed_point(change: impl FnOnce(&mut Topology)) -> Topology {
    let mut topology = point_topology();
    change(&mut topology);
    topology
}

#[test]
fn each_limit_has_its_error() {
    let cases = [
        // Without a picture's side the data is points.
        (changed(|t| t.image_size = 0), E::PointLevels(2)),
        (changed_point(|t| t.levels.clear()), E::NoLevels),
        (changed_point(|t| t.patch = 0), E::PointValues(0)),
        (changed_point(|t| t.patch = 9), E::PointValues(9)),
        (changed_point(|t| t.mid_attention = true), E::PointAttention),
        (
            changed_point(|t| t.levels[0].attention = true),
            E::PointAttention,
        ),
        (changed_point(|t| t.group_channels = 5), E::GroupChannels(5)),
        (changed(|t| t.image_size = 65), E::ImageSize(65)),
        (changed(|t| t.patch = 0), E::Patch(0)),
        (changed(|t| t.patch = 3), E::Patch(3)),
        (changed(|t| (t.image_size, t.patch) = (9, 9)), E::Patch(9)),
        (changed(|t| t.levels.clear()), E::NoLevels),
        (changed(|t| t.levels[0].channels = 0), E::Channels(0)),
        (changed(|t| t.levels[1].channels = 260), E::Channels(260)),
        (changed(|t| t.image_size = 6), E::OddSide(3)),
        (changed(|t| t.blocks = 0), E::Blocks(0)),
        (changed(|t| t.blocks = 5), E::Blocks(5)),
        (changed(|t| t.heads = 0), E::Heads(0)),
        (changed(|t| t.heads = 5), E::Heads(5)),
        (
            changed(|t| (t.image_size, t.patch) = (64, 1)),
            E::Tokens(1024),
        ),
        (changed(|t| t.group_channels = 0), E::GroupChannels(0)),
        (changed(|t| t.group_channels = 3), E::GroupChannels(3)),
        (changed(|t| t.time_features = 0), E::TimeFeatures(0)),
        (changed(|t| t.time_features = 7), E::TimeFeatures(7)),
        (changed(|t| t.time_features = 514), E::TimeFeatures(514)),
        (changed(|t| t.embedding = 0), E::Embedding(0)),
        (changed(|t| t.embedding = 513), E::Embedding(513)),
        (changed(|t| t.classes = 257), E::Classes(257)),
    ];
    for (topology, expected) in cases {
        assert_eq!(topology.validate(), Err(expected), "{topology:?}");
    }
}

#[test]
fn each_limit_itself_is_allowed() {
    for topology in [
        // 256 positions attend.
        changed(|t| t.image_size = 64),
        changed(|t| t.levels[0].channels = MAX_CHANNELS),
        changed(|t| t.blocks = MAX_BLOCKS),
        changed(|t| (t.image_size, t.patch) = (MAX_IMAGE_SIZE, 8)),
        changed(|t| (t.time_features, t.embedding) = (MAX_EMBEDDING, MAX_EMBEDDING)),
        changed(|t| t.classes = 256),
        changed(|t| t.classes = 0),
        changed_point(|t| t.patch = 1),
        changed_point(|t| t.patch = MAX_POINT_VALUES),
        changed_point(|t| t.levels[0].channels = MAX_CHANNELS),
    ] {
        assert_eq!(topology.validate(), Ok(()), "{topology:?}");
    }
}

/// Each of the lowest level's attentions counts, and nothing else does.
#[test]
fn heads_matter_where_there_is_attention() {
    for (level, middle) in [(true, true), (true, false), (false, true), (false, false)] {
        let topology = changed(|t| {
            (t.levels[1].attention, t.mid_attention) = (level, middle);
            t.heads = 5;
        });
        let expected = if level || middle {
            Err(E::Heads(5))
        } else {
            Ok(())
        };
        assert_eq!(topology.validate(), expected, "{topology:?}");
    }
}

#[test]
fn data_is_pictures_or_points() {
    let sizes = |t: &Topology| {
        let channels = (t.input_channels(), t.patch_pixels());
        (t.data(), t.pixels(), t.side(), channels)
    };
    let picture = Data::Picture { side: 8 };
    assert_eq!(sizes(&small_topology()), (picture, 64, 4, (4, 4)));
    let point = Data::Point { values: 3 };
    assert_eq!(sizes(&point_topology()), (point, 3, 1, (27, 3)));
    // What is not valid does not divide by zero, either.
    let nothing = changed(|t| (t.image_size, t.patch) = (0, 0));
    assert_eq!(sizes(&nothing), (Data::Point { values: 0 }, 0, 1, (0, 0)));
    assert_eq!(changed(|t| t.patch = 0).side(), 0);
}

#[test]
fn each_error_names_its_value() {
    for error in [
        E::PointValues(171),
        E::PointLevels(171),
        E::ImageSize(171),
        E::Patch(171),
        E::Channels(171),
        E::OddSide(171),
        E::Blocks(171),
        E::Heads(171),
        E::Tokens(171),
        E::GroupChannels(171),
        E::TimeFeatures(171),
        E::Embedding(171),
        E::Classes(171),
    ] {
        let message = error.to_string();
        assert!(message.contains("171"), "{message}");
    }
}

/// What the limits of single fields allow together.
fn largest() -> Topology {
    Topology {
        image_size: MAX_IMAGE_SIZE,
        patch: 1,
        levels: [
            level(MAX_CHANNELS, false),
            level(MAX_CHANNELS, false),
            level(MAX_CHANNELS, true),
            level(MAX_CHANNELS, true),
        ]
        .into_iter()
        .collect(),
        blocks: MAX_BLOCKS,
        mid_attention: true,
        heads: 128,
        group_channels: 16,
        time_features: MAX_EMBEDDING,
        embedding: MAX_EMBEDDING,
        classes: 256,
    }
}

/// Some 70 * 10^9 multiply-accumulates: no device has time for them.
#[test]
fn a_network_that_asks_for_too_much_work_is_refused() {
    let macs = u32::MAX;
    assert_eq!(largest().validate(), Err(E::Work { macs }));
    assert_eq!(Cost::of(&largest()).macs, macs);
}

/// Each number of channels, up to the limit and beyond.
#[test]
fn as_much_work_as_stated_is_allowed_and_no_more() {
    let mut last = 0;
    for channels in 1..=MAX_CHANNELS {
        let topology = Topology {
            levels: [level(channels, false)].into_iter().collect(),
            blocks: 1,
            group_channels: 1,
            mid_attention: false,
            ..largest()
        };
        let macs = Cost::of(&topology).macs;
        assert!(macs > last || macs == u32::MAX);
        let valid = topology.validate();
        match macs <= MAX_MACS {
            true => assert_eq!(valid, Ok(()), "{channels}"),
            false => assert!(matches!(valid, Err(E::Work { .. })), "{channels}"),
        }
        last = macs;
    }
    assert!(last > MAX_MACS, "no network was refused");
}

/// Too large to run in a test, but every sum of the plan must hold.
#[test]
fn the_largest_network_can_be_planned() {
    let topology = largest();
    let plan = Plan::new(&topology);
    // Every skip connection is alive at once, and a concatenation beside them.
    let skips: usize = [64_usize, 32, 16, 8]
        .map(|side| 4 * 256 * side * side)
        .iter()
        .sum();
    assert!(plan.activation_bytes() > skips);
}

prop_compose! {
    /// Small enough to run, valid or not.
    fn any_topology()(
        // 0: points, of `patch` values.
        side in 0_u8..=8,
        patch in 1_u8..=3,
        levels in proptest::collection::vec((1_u16..=3, any::<bool>()), 1..=4),
        blocks in 1_u8..=2,
        mid_attention: bool,
        heads in 1_u8..=3,
        group_channels in 1_u8..=4,
        time_features in 1_u16..=5,
        embedding in 1_u16..=9,
        classes in 0_u16..=3,
    ) -> Topology {
        Topology {
            image_size: side * patch,
            patch,
            levels: levels
                .into_iter()
                .map(|(groups, attention)| level(groups * u16::from(group_channels), attention))
                .collect(),
            blocks,
            mid_attention,
            heads,
            group_channels,
            time_features: 2 * time_features,
            embedding,
            classes,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// What `validate` accepts loads and runs; what it refuses does not load.
    #[test]
    fn a_valid_topology_runs(topology in any_topology()) {
        let blob = random_blob(topology.clone(), 1);
        let loaded = Model::load(&blob);
        prop_assert_eq!(loaded.is_ok(), topology.validate().is_ok());
        if let Ok(model) = loaded {
            let mut macs = 0;
            model.for_each_layer(|layer| macs += layer.macs);
            prop_assert_eq!(u64::from(Cost::of(&topology).macs), macs);
            let mut workspace = vec![0; model.workspace_words()];
            let mut unet = Unet::new(&model, &mut workspace).unwrap();
            let x = vec![0.3; topology.pixels()];
            let mut out = vec![f32::NAN; topology.pixels()];
            unet.predict(&x, 1000, None, &mut out).unwrap();
            prop_assert!(out.iter().all(|v| v.is_finite()));
        }
    }
}
