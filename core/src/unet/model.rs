//! A loaded blob.

use super::plan::Plan;
use crate::blob::BlobError;
use crate::blob::contents::Contents;
use crate::blob::records::{Info, LayerInfo, Record, Records, TableRecord};
use crate::diffusion::sampler::{Method, Settings};
use crate::diffusion::schedule::Schedule;
use crate::graph::Topology;

/// A checked model, borrowed from its blob.
#[derive(Clone, Debug)]
pub struct Model<'b> {
    contents: Contents<'b>,
    plan: Plan,
    conditional_only: bool,
}

impl<'b> Model<'b> {
    /// Checks `blob` from its first to its last byte.
    ///
    /// The bytes may lie at any address. Where they come from a `static`, put
    /// that at a multiple of [`WEIGHT_ALIGN`](crate::blob::records::WEIGHT_ALIGN):
    /// fast kernels want it.
    ///
    /// # Errors
    /// The first [`BlobError`] found.
    pub fn load(blob: &'b [u8]) -> Result<Self, BlobError> {
        let mut table = None;
        let contents = Contents::open(blob, |layer| {
            if let Record::Table(classes) = layer.record {
                table = Some(classes);
            }
        })?;
        let topology = &contents.info.topology;
        Ok(Self {
            plan: Plan::with_records(topology, contents.records()),
            conditional_only: table.is_some_and(|classes| lacks_null_row(&classes, topology)),
            contents,
        })
    }

    /// Description of the model.
    #[must_use]
    pub fn info(&self) -> &Info<'b> {
        &self.contents.info
    }

    /// The network's shape.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.contents.info.topology
    }

    /// The noise schedule the network was trained on.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        self.contents.schedule
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
        self.contents.arch_hash
    }

    /// Bytes of the blob.
    #[must_use]
    pub fn blob_len(&self) -> usize {
        self.contents.blob_len
    }

    /// Memory that the network needs.
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
        self.contents.records()
    }

    /// Shows every layer to `report`, in the order in which the network runs
    /// them.
    pub fn for_each_layer(&self, report: impl FnMut(&LayerInfo<'b>)) {
        self.contents.for_each_layer(report);
    }
}

impl Settings {
    /// The settings that the model's makers found good, without a class:
    /// [`class`](Self::class) sets one. A model with recommended guidance cannot
    /// run without, unless [`guidance`](Self::guidance) is set to 0.
    #[must_use]
    pub fn recommended(model: &Model<'_>) -> Self {
        let recommended = model.info().recommended;
        let eta = recommended.eta;
        Self::new(Method::Ddim { eta }, recommended.steps).guidance(recommended.guidance)
    }
}

/// Whether the row for no class, the table's last, is all zeros in a model that
/// has classes.
fn lacks_null_row(classes: &TableRecord<'_>, topology: &Topology) -> bool {
    let bytes = 2 * usize::from(topology.embedding);
    let mut null_row = classes.values.iter().rev().take(bytes);
    topology.classes > 0 && null_row.all(|&byte| byte == 0)
}
