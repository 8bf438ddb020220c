//! A network's shape as people write it, for `#[serde(with = "...")]`.
//!
//! In a blob points are a picture without a side. In TOML and JSON they are
//! `points = 2` in place of `image_size` and `patch`, and attention need not be
//! mentioned.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tiny_ddpm::graph::MAX_LEVELS;
use tiny_ddpm::{Data, Level, Topology};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(skip_serializing_if = "Option::is_none")]
    image_size: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<u8>,
    levels: Vec<Level>,
    blocks: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    mid_attention: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heads: Option<u8>,
    group_channels: u8,
    time_features: u16,
    embedding: u16,
    classes: u16,
}

/// Writes a shape.
///
/// # Errors
/// The serialiser's.
pub fn serialize<S: Serializer>(topology: &Topology, serializer: S) -> Result<S::Ok, S::Error> {
    let picture = matches!(topology.data(), Data::Picture { .. });
    let text = Text {
        image_size: picture.then_some(topology.image_size),
        patch: picture.then_some(topology.patch),
        points: (!picture).then_some(topology.patch),
        levels: topology.levels.to_vec(),
        blocks: topology.blocks,
        mid_attention: (picture || topology.mid_attention).then_some(topology.mid_attention),
        heads: (picture || topology.heads != 1).then_some(topology.heads),
        group_channels: topology.group_channels,
        time_features: topology.time_features,
        embedding: topology.embedding,
        classes: topology.classes,
    };
    text.serialize(serializer)
}

/// Reads a shape, valid or not.
///
/// # Errors
/// The deserialiser's, or what is missing or too much.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Topology, D::Error> {
    let text = Text::deserialize(deserializer)?;
    let (image_size, patch) = match (text.image_size, text.patch, text.points) {
        (Some(0), ..) => return Err(D::Error::custom("image_size 0: must be at least 1")),
        (Some(size), Some(patch), None) => (size, patch),
        (Some(_), None, None) => return Err(D::Error::missing_field("patch")),
        (None, None, Some(values)) => (0, values),
        (None, _, None) => {
            return Err(D::Error::custom(
                "missing field `image_size` (of pictures, with `patch`) or `points` (values of a point)",
            ));
        }
        (.., Some(_)) => {
            return Err(D::Error::custom(
                "`points` has neither `image_size` nor `patch` beside it: those are for pictures",
            ));
        }
    };
    let points = text.points.is_some();
    let count = text.levels.len();
    if count > MAX_LEVELS {
        let message = format!("{count} levels: at most {MAX_LEVELS} are possible");
        return Err(D::Error::custom(message));
    }
    let needed = |name| D::Error::missing_field(name);
    Ok(Topology {
        image_size,
        patch,
        levels: text.levels.into_iter().collect(),
        blocks: text.blocks,
        mid_attention: match text.mid_attention {
            None if !points => return Err(needed("mid_attention")),
            given => given.unwrap_or(false),
        },
        heads: match text.heads {
            None if !points => return Err(needed("heads")),
            given => given.unwrap_or(1),
        },
        group_channels: text.group_channels,
        time_features: text.time_features,
        embedding: text.embedding,
        classes: text.classes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Holder(#[serde(with = "super")] Topology);

    fn read(first: &str) -> Result<Topology, String> {
        let rest = r#""levels": [{"channels": 8}], "blocks": 2, "group_channels": 4,
            "time_features": 8, "embedding": 16, "classes": 0"#;
        let read: Result<Holder, _> = serde_json::from_str(&format!("{{{first}, {rest}}}"));
        read.map(|holder| holder.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn points_and_pictures_are_read_and_written() {
        let points = read(r#""points": 2"#).unwrap();
        assert_eq!(points.data(), Data::Point { values: 2 });
        assert_eq!(points.validate(), Ok(()));
        let picture =
            read(r#""image_size": 28, "patch": 4, "mid_attention": true, "heads": 2"#).unwrap();
        assert_eq!(picture.data(), Data::Picture { side: 28 });
        for (topology, there, absent) in [
            (points, "points", "image_size"),
            (picture, "mid_attention", "points"),
        ] {
            let text = serde_json::to_string(&Holder(topology.clone())).unwrap();
            assert!(text.contains(there) && !text.contains(absent), "{text}");
            let back: Holder = serde_json::from_str(&text).unwrap();
            assert_eq!(back.0, topology);
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        for (text, word) in [
            (r#""points": 2, "image_size": 28"#, "points"),
            (r#""points": 2, "patch": 2"#, "points"),
            (r#""patch": 2"#, "image_size"),
            (r#""image_size": 28"#, "patch"),
            (r#""image_size": 0, "patch": 2"#, "image_size 0"),
            (r#""image_size": 28, "patch": 2"#, "mid_attention"),
            (
                r#""image_size": 28, "patch": 2, "mid_attention": false"#,
                "heads",
            ),
            (r#""points": 2, "dots": 3"#, "dots"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
