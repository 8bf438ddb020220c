//! A loaded blob.

use super::records::{
    Info, LayerInfo, Packing, Recommended, Record, Records, TableRecord, take_shortest,
};
use super::{BlobError, HEADER_LEN, header, validate};
use crate::picture::crc32;
use crate::unet::Plan;
use crate::{Schedule, Topology};

/// Longest encoding of a topology; generously.
const TOPOLOGY_BYTES: usize = 64;

/// A checked model, borrowed from its blob.
#[derive(Clone, Debug)]
pub struct Model<'b> {
    info: Info<'b>,
    schedule: Schedule,
    arch_hash: u32,
    layers: &'b [u8],
    blob_len: usize,
    plan: Plan,
    conditional_only: bool,
}

impl<'b> Model<'b> {
    /// Checks `blob` from its first to its last byte.
    ///
    /// The bytes may lie at any address. Where they come from a `static`, put
    /// that at a multiple of [`WEIGHT_ALIGN`](super::records::WEIGHT_ALIGN):
    /// fast kernels want it.
    ///
    /// # Errors
    /// The first [`BlobError`] found.
    pub fn load(blob: &'b [u8]) -> Result<Self, BlobError> {
        let (stored, body) = header::open(blob)?;
        let (info, layers) = take_shortest::<Info<'b>>(body).ok_or(BlobError::Info)?;
        info.topology.validate().map_err(BlobError::Topology)?;
        let computed = arch_hash(&info.topology);
        if computed != stored {
            return Err(BlobError::ArchMismatch { computed, stored });
        }
        if let Packing::Unknown(found) = info.packing {
            return Err(BlobError::Packing { found });
        }
        let schedule = Schedule::new(info.schedule, info.timesteps).map_err(BlobError::Schedule)?;
        validate_recommended(&info.recommended, &schedule)?;
        let plan = Plan::new(&info.topology);
        let mut model = Self {
            info,
            schedule,
            arch_hash: stored,
            layers,
            blob_len: HEADER_LEN + body.len(),
            plan,
            conditional_only: false,
        };
        let mut conditional_only = false;
        validate::layers(&model, blob, |layer| {
            if let Record::Table(classes) = &layer.record {
                conditional_only = lacks_null_row(classes, &model.info.topology);
            }
        })?;
        model.conditional_only = conditional_only;
        model.plan = Plan::with_records(&model.info.topology, model.records());
        Ok(model)
    }

    /// What the model is.
    #[must_use]
    pub fn info(&self) -> &Info<'b> {
        &self.info
    }

    /// The network's shape.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.info.topology
    }

    /// The noise schedule the network was trained on.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Whether the model has classes and was only trained with one: it cannot
    /// run without a class, and so not with guidance either. Its class table
    /// then has a last row (the one for no class) of zeros.
    #[must_use]
    pub fn is_conditional_only(&self) -> bool {
        self.conditional_only
    }

    /// CRC-32 of the encoded topology: models of one shape have one hash.
    #[must_use]
    pub fn arch_hash(&self) -> u32 {
        self.arch_hash
    }

    /// Bytes of the blob.
    #[must_use]
    pub fn blob_len(&self) -> usize {
        self.blob_len
    }

    /// What the network needs to run.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Length in words of the workspace that [`Unet`](crate::Unet) needs.
    #[must_use]
    pub fn workspace_words(&self) -> usize {
        self.plan.workspace_words()
    }

    /// Length in words of the least workspace in which
    /// [`Unet`](crate::Unet) runs, more slowly and to the same bits.
    #[must_use]
    pub fn least_workspace_words(&self) -> usize {
        self.plan.least_workspace_words()
    }

    /// The layers' records, in the order in which the network runs them.
    #[must_use]
    pub fn records(&self) -> Records<'b> {
        Records::new(self.layers)
    }

    /// Shows every layer to `report`, in the order in which the network runs
    /// them.
    pub fn for_each_layer(&self, report: impl FnMut(&LayerInfo<'b>)) {
        // Checked when the model was loaded. The base address is only for the
        // alignment check, and any part of the blob has one.
        let _ = validate::layers_unaligned(self, report);
    }
}

/// CRC-32 of a topology's postcard encoding.
pub(super) fn arch_hash(topology: &Topology) -> u32 {
    let mut buffer = [0; TOPOLOGY_BYTES];
    postcard::to_slice(topology, &mut buffer).map_or(0, |bytes| crc32(bytes))
}

/// Whether the row for no class, the table's last, is all zeros in a model that
/// has classes.
fn lacks_null_row(classes: &TableRecord<'_>, topology: &Topology) -> bool {
    let bytes = 2 * usize::from(topology.embedding);
    let mut null_row = classes.values.iter().rev().take(bytes);
    topology.classes > 0 && null_row.all(|&byte| byte == 0)
}

fn validate_recommended(recommended: &Recommended, schedule: &Schedule) -> Result<(), BlobError> {
    let steps = 1..=schedule.timesteps();
    let in_range = steps.contains(&recommended.steps)
        && (0.0..=100.0).contains(&recommended.guidance)
        && (0.0..=1.0).contains(&recommended.eta);
    in_range.then_some(()).ok_or(BlobError::Recommended)
}
