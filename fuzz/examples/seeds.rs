//! Writes the cases that the corpora of `blob`, `step` and `host` began with:
//! one small model of each kind, as bodies without their headers.
//!
//!     cargo run --manifest-path fuzz/Cargo.toml --no-default-features --example seeds
//!
//! What `cargo fuzz cmin` leaves of them, and of what was found from them, is
//! what is committed.

use std::path::Path;
use std::{fs, io};

use tiny_ddpm::blob::HEADER_LEN;
use tiny_ddpm::{Level, Topology};
use tiny_ddpm_fuzz::common::{int4_blob, random_blob, transformed_blob};
use tiny_ddpm_fuzz::run::Question;

/// What the targets take.
const MOST_BYTES: usize = 6000;

fn topologies() -> Vec<Topology> {
    let level = |channels, attention| Level {
        channels,
        attention,
    };
    let least = Topology {
        image_size: 1,
        patch: 1,
        levels: [level(1, false)].into_iter().collect(),
        blocks: 1,
        mid_attention: true,
        heads: 1,
        group_channels: 1,
        time_features: 2,
        embedding: 1,
        classes: 1,
    };
    vec![
        // A number alone.
        Topology {
            image_size: 0,
            mid_attention: false,
            classes: 0,
            ..least.clone()
        },
        // Down and up again.
        Topology {
            image_size: 2,
            levels: [level(1, false), level(2, false)].into_iter().collect(),
            mid_attention: false,
            ..least.clone()
        },
        least,
    ]
}

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (i, topology) in topologies().into_iter().enumerate() {
        let blobs = [
            ("direct", random_blob(topology.clone(), 1)),
            ("transformed", transformed_blob(topology.clone(), 1)),
            ("int4", int4_blob(topology, 1)),
        ];
        for (layout, blob) in blobs {
            let body = &blob[HEADER_LEN..];
            println!("{i}, {layout}: {} bytes", body.len());
            if body.len() > MOST_BYTES {
                continue;
            }
            let question = [[1; Question::BYTES].as_slice(), body].concat();
            for (target, bytes) in [("blob", body), ("step", &question), ("host", body)] {
                let folder = corpus.join(target);
                fs::create_dir_all(&folder)?;
                fs::write(folder.join(format!("{layout}-{i}")), bytes)?;
            }
        }
    }
    Ok(())
}
