//! What the errors say to a person: each something of its own, with the numbers
//! that were wrong, and what lies behind it.

use std::collections::BTreeSet;
use std::error::Error;
use tiny_ddpm::blob::{ParamError, WriteError};
use tiny_ddpm::graph::{LayerId, Part, Stage};
use tiny_ddpm::{BlobError, ScheduleError, SettingsError, TopologyError, UnetError};

const LAYER: LayerId = LayerId::new(Stage::Output, Part::Conv);

/// Each with the words that its text must have.
fn errors() -> Vec<(Box<dyn Error>, Vec<&'static str>)> {
    fn case(
        error: impl Error + 'static,
        words: &[&'static str],
    ) -> (Box<dyn Error>, Vec<&'static str>) {
        (Box::new(error), words.to_vec())
    }
    let (needed, found, expected) = (4321, 1234, 4321);
    let (computed, stored) = (0xdead_beef, 0x0bad_cafe);
    vec![
        case(
            BlobError::TooShort { needed, found },
            &["short", "4321", "1234"],
        ),
        case(
            BlobError::TooLong { expected, found },
            &["long", "4321", "1234"],
        ),
        case(BlobError::BadMagic, &["magic"]),
        case(
            BlobError::Version {
                found: 9,
                supported: 3,
            },
            &["version 9", "reads 3"],
        ),
        case(
            BlobError::HeaderCrc { computed, stored },
            &["header", "deadbeef", "stored 0badcafe"],
        ),
        case(BlobError::Reserved { at: 29 }, &["byte 29"]),
        case(
            BlobError::Crc { computed, stored },
            &["body", "deadbeef", "stored 0badcafe"],
        ),
        case(BlobError::Info, &["description"]),
        case(
            BlobError::ArchMismatch { computed, stored },
            &["architecture", "deadbeef", "0badcafe in the header"],
        ),
        case(
            BlobError::Topology(TopologyError::NoLevels),
            &["topology", "levels"],
        ),
        case(
            BlobError::Schedule(ScheduleError::Beta),
            &["schedule", "betas"],
        ),
        case(BlobError::Packing { found: 7 }, &["7", "export"]),
        case(BlobError::Recommended, &["recommended"]),
        case(BlobError::Record { layer: LAYER }, &["out.conv", "decoded"]),
        case(
            BlobError::Param {
                layer: LAYER,
                what: ParamError::Bias,
            },
            &["out.conv", "2^29"],
        ),
        case(BlobError::TrailingBytes { count: 17 }, &["17"]),
        case(
            ParamError::Length { expected, found },
            &["1234 bytes", "4321 are"],
        ),
        case(ParamError::Alignment, &["16 bytes"]),
        case(ParamError::Scale, &["scale", "normal"]),
        case(ParamError::NotFinite, &["finite"]),
        case(ParamError::Weight, &["weight", "-128"]),
        case(ParamError::WeightLayout, &["layout"]),
        case(ParamError::Bias, &["bias", "2^29"]),
        case(ParamError::Multiplier, &["multiplier"]),
        case(ParamError::Gain, &["gain"]),
        case(ParamError::Shift, &["shift"]),
        case(ParamError::ZeroPoint, &["zero point"]),
        case(WriteError, &["buffer"]),
        case(ScheduleError::Timesteps { found: 0 }, &["0 timesteps"]),
        case(ScheduleError::Beta, &["beta_start <= beta_end"]),
        case(ScheduleError::AlphaBar, &["alpha_bar"]),
        case(SettingsError::GuidanceWithoutClass, &["guidance", "class"]),
        case(SettingsError::Eta(1.5), &["eta 1.5"]),
        case(SettingsError::Guidance(101.5), &["guidance 101.5"]),
        case(
            UnetError::Workspace { needed, found },
            &["1234", "4321 are needed"],
        ),
        case(UnetError::ConditionalOnly, &["class", "guidance"]),
        case(UnetError::Corrupt, &["changed"]),
        case(TopologyError::PointAttention, &["attention"]),
    ]
}

#[test]
fn every_error_says_what_is_wrong() {
    let mut texts = BTreeSet::new();
    for (error, words) in errors() {
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "{text:?} without {word:?}");
        }
        assert!(texts.insert(text), "{error:?} says what another says");
    }
}

/// Exactly the errors that hold another lead to it.
#[test]
fn an_error_leads_to_what_is_behind_it() {
    let behind = |error: &dyn Error| error.source().map(ToString::to_string);
    let topology = TopologyError::Patch(9);
    let schedule = ScheduleError::Timesteps { found: 0 };
    let (layer, what) = (LAYER, ParamError::Gain);
    let chains: [(BlobError, &dyn Error); 3] = [
        (BlobError::Topology(topology), &topology),
        (BlobError::Schedule(schedule), &schedule),
        (BlobError::Param { layer, what }, &what),
    ];
    for (error, cause) in chains {
        assert_eq!(behind(&error), Some(cause.to_string()), "{error:?}");
    }
    assert_eq!(behind(&BlobError::Info), None);
}
