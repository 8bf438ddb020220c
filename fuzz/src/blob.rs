//! Blobs past their checksums, and what holds of those that are accepted.

use tiny_ddpm::Model;
use tiny_ddpm::blob::header;
use tiny_ddpm::blob::records::Info;
use tiny_ddpm::graph::Cost;
use tiny_ddpm::picture::picture_hash;

use crate::rewrite::rewritten;

/// Work of a network that a target still runs.
pub const MOST_MACS: u32 = 1 << 19;

/// The blob of a body, with every checksum right: also that of the topology,
/// where one can be read.
#[must_use]
pub fn sealed(body: &[u8]) -> Vec<u8> {
    // Longer than any topology's.
    let mut bytes = [0; 64];
    let info = postcard::take_from_bytes::<Info<'_>>(body);
    let topology = info.and_then(|(info, _)| postcard::to_slice(&info.topology, &mut bytes));
    let arch_hash = topology.map_or(0, |bytes| picture_hash(bytes));
    [&header::seal(arch_hash, body), body].concat()
}

/// Loads a blob, and checks what must hold of any.
///
/// # Panics
/// Where it does not hold.
#[must_use]
pub fn loaded(blob: &[u8]) -> Option<Model<'_>> {
    let result = Model::load(blob);

    // Where a blob lies does not matter.
    let elsewhere = [&[0], blob].concat();
    let again = Model::load(&elsewhere[1..]);
    assert_eq!(
        result.as_ref().map(Model::info),
        again.as_ref().map(Model::info)
    );

    match result {
        Ok(model) => {
            accepted(blob, &model);
            Some(model)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

fn accepted(blob: &[u8], model: &Model<'_>) {
    // Nothing in it is left to whoever wrote it, and nothing was overlooked.
    assert_eq!(rewritten(model), blob, "two encodings of one model");
    assert_eq!(model.blob_len(), blob.len());

    let (topology, plan) = (model.topology(), model.plan());
    assert_eq!(topology.validate(), Ok(()));
    let (mut layers, mut macs) = (0, 0);
    model.for_each_layer(|layer| {
        layers += 1;
        macs += layer.macs;
        assert!(!layer.id.to_string().is_empty());
    });
    assert!(layers > 10, "{layers} layers");
    assert_eq!(macs, u64::from(Cost::of(topology).macs));

    assert!(0 < plan.least_workspace_words());
    assert!(plan.least_workspace_words() <= plan.workspace_words());
    assert!(plan.least_guided_workspace_words() <= plan.guided_workspace_words());
}
