//! A blob taken apart.

use super::error::BlobError;
use super::header::{self, HEADER_LEN};
use super::records::{Info, LayerInfo, Packing, Recommended, Records, take_shortest};
use super::validate;
use crate::diffusion::schedule::Schedule;

/// A blob's parts, all of them checked.
#[derive(Clone, Debug)]
pub(crate) struct Contents<'b> {
    pub info: Info<'b>,
    pub schedule: Schedule,
    /// CRC-32 of the encoded topology.
    pub arch_hash: u32,
    /// The layers' records, in the order in which the network runs them.
    pub layers: &'b [u8],
    /// Bytes of the blob.
    pub blob_len: usize,
}

impl<'b> Contents<'b> {
    /// Checks `blob` from its first to its last byte, and shows every layer to
    /// `report`.
    ///
    /// # Errors
    /// The first [`BlobError`] found.
    pub fn open(blob: &'b [u8], report: impl FnMut(&LayerInfo<'b>)) -> Result<Self, BlobError> {
        let (stored, body) = header::open(blob)?;
        let (info, layers) = take_shortest::<Info<'b>>(body).ok_or(BlobError::Info)?;
        info.topology.validate().map_err(BlobError::Topology)?;
        let computed = header::arch_hash(&info.topology);
        if computed != stored {
            return Err(BlobError::ArchMismatch { computed, stored });
        }
        if let Packing::Unknown(found) = info.packing {
            return Err(BlobError::Packing { found });
        }
        let schedule = Schedule::new(info.schedule, info.timesteps).map_err(BlobError::Schedule)?;
        validate_recommended(&info.recommended, &schedule)?;
        let contents = Self {
            info,
            schedule,
            arch_hash: stored,
            layers,
            blob_len: HEADER_LEN + body.len(),
        };
        validate::layers(&contents.info, contents.records(), Some(blob), report)?;
        Ok(contents)
    }

    /// The layers' records, from the first on.
    pub fn records(&self) -> Records<'b> {
        Records::new(self.layers)
    }

    /// Shows every layer to `report`, in the order in which the network runs
    /// them.
    pub fn for_each_layer(&self, report: impl FnMut(&LayerInfo<'b>)) {
        // Checked when the blob was opened. Its base address is only for the
        // alignment check.
        let _ = validate::layers(&self.info, self.records(), None, report);
    }
}

fn validate_recommended(recommended: &Recommended, schedule: &Schedule) -> Result<(), BlobError> {
    let steps = 1..=schedule.timesteps();
    let in_range = steps.contains(&recommended.steps)
        && (0.0..=100.0).contains(&recommended.guidance)
        && (0.0..=1.0).contains(&recommended.eta);
    in_range.then_some(()).ok_or(BlobError::Recommended)
}
