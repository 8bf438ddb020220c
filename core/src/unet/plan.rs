//! What memory a network needs and how much it computes: from its topology,
//! and from the forms in which its weights are stored.

use super::arena::{Arena, End, Place};
use super::site::{Part, Site, Stage};
use super::walk::{Attention, Conv, Extra, Interpreter, Norm, Shape, walk};
use crate::Topology;
use crate::blob::records::{
    ConvRecord, InputRecord, LinearRecord, MixRecord, NormRecord, Records, TableRecord,
};
use crate::kernels::conv::scratch_words;
use crate::kernels::packing::Form;
use core::convert::Infallible;

/// Memory and work of one run of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Length of the time embedding's vectors.
    pub(super) embedding: usize,
    /// Bytes of activations and of what layers need for themselves.
    pub(super) arena: usize,
    /// Where these reach their peak.
    peak: Site,
    macs: usize,
}

impl Plan {
    /// The plan of a valid topology, all weights stored
    /// [directly](Form::Direct).
    #[must_use]
    pub fn new(topology: &Topology) -> Self {
        Self::make(topology, None)
    }

    /// The plan of a model.
    pub(crate) fn with_records(topology: &Topology, records: Records<'_>) -> Self {
        Self::make(topology, Some(records))
    }

    fn make(topology: &Topology, records: Option<Records<'_>>) -> Self {
        let mut planner = Planner {
            arena: Arena::default(),
            plan: Self {
                embedding: usize::from(topology.embedding.max(topology.time_features)),
                arena: 0,
                peak: Site::new(Stage::Input, Part::Whole),
                macs: 0,
            },
            topology,
            records,
        };
        match walk(&mut planner, topology) {
            Ok(()) => planner.plan,
        }
    }

    /// Words of the workspace.
    #[must_use]
    pub fn workspace_words(&self) -> usize {
        // The embedding is there as floats and as halfwords.
        self.embedding + self.embedding.div_ceil(2) + self.arena.div_ceil(4)
    }

    /// Bytes of activations at the peak, with what the layer there needs for
    /// itself.
    #[must_use]
    pub fn activation_bytes(&self) -> usize {
        self.arena
    }

    /// The layer that makes the peak.
    #[must_use]
    pub fn peak_layer(&self) -> Site {
        self.peak
    }

    /// Multiply-accumulates of one run, convolutions counted directly.
    #[must_use]
    pub fn macs(&self) -> usize {
        self.macs
    }
}

/// Words that a convolution needs for itself: what each channel's sum starts
/// from and becomes, and its kernel's scratch.
pub(super) fn conv_words<D>(conv: &Conv<D>, form: Form) -> usize {
    let skip = conv.skip.as_ref().map_or(0, |skip| skip.shape.channels);
    5 * conv.channels + scratch_words(form, conv.geometry, conv.x.shape.channels, skip)
}

/// Words that a normalisation needs for itself: slope and intercept of each
/// channel.
pub(super) fn norm_words<D>(norm: &Norm<D>) -> usize {
    let skip = norm.skip.as_ref().map_or(0, |skip| skip.shape.channels);
    // The halves of a concatenation take turns.
    2 * skip.max(norm.x.shape.channels)
}

/// Words that an attention needs for itself: a weight for each position.
pub(super) fn attention_words<D>(attention: &Attention<D>) -> usize {
    let side = attention.query.shape.side;
    side * side
}

struct Planner<'t, 'b> {
    arena: Arena,
    plan: Plan,
    topology: &'t Topology,
    /// Where the weights' forms are read.
    records: Option<Records<'b>>,
}

impl<'b> Planner<'_, 'b> {
    /// A layer's output; `words` is what it needs while it is computed.
    fn place(&mut self, site: Site, shape: Shape, end: End, words: usize) -> Option<Place> {
        let place = self.arena.place(end, shape.values());
        self.scratch(site, words);
        place
    }

    fn scratch(&mut self, site: Site, words: usize) {
        if words > 0
            && let Some(scratch) = self.arena.place(End::Low, 4 * words)
        {
            self.arena.release(scratch);
        }
        if self.arena.peak() > self.plan.arena {
            self.plan.arena = self.arena.peak();
            self.plan.peak = site;
        }
    }

    fn record<R: serde::Deserialize<'b>>(&mut self) -> Option<R> {
        self.records.as_mut()?.next_record()
    }
}

impl Interpreter for Planner<'_, '_> {
    /// `None` if more are alive than any network has.
    type Data = Option<Place>;
    type Error = Infallible;

    fn time(&mut self) -> Result<(), Infallible> {
        let features = usize::from(self.topology.time_features);
        let embedding = usize::from(self.topology.embedding);
        self.plan.macs += (features + embedding) * embedding;
        for _ in 0..2 {
            let _: Option<LinearRecord<'_>> = self.record();
        }
        let _: Option<TableRecord<'_>> = self.record();
        Ok(())
    }

    fn input(&mut self, shape: Shape) -> Result<Option<Place>, Infallible> {
        let _: Option<InputRecord> = self.record();
        Ok(self.place(Site::new(Stage::Input, Part::Whole), shape, End::Low, 0))
    }

    fn norm(&mut self, norm: &Norm<Option<Place>>) -> Result<Option<Place>, Infallible> {
        let _: Option<NormRecord<'_>> = self.record();
        Ok(self.place(norm.site, norm.output(), End::Low, norm_words(norm)))
    }

    fn conv(&mut self, conv: &Conv<Option<Place>>) -> Result<Option<Place>, Infallible> {
        let record: Option<ConvRecord<'_>> = self.record();
        let form = record.map_or(Form::Direct, |record| record.form);
        self.plan.macs += conv.macs();
        if matches!(conv.extra, Extra::Embedding) {
            self.plan.macs += usize::from(self.topology.embedding) * conv.channels;
            let _: Option<LinearRecord<'_>> = self.record();
        }
        Ok(self.place(
            conv.site,
            conv.output(),
            End::of(conv),
            conv_words(conv, form),
        ))
    }

    fn attention(
        &mut self,
        attention: &Attention<Option<Place>>,
    ) -> Result<Option<Place>, Infallible> {
        let _: Option<MixRecord> = self.record();
        let shape = attention.query.shape;
        self.plan.macs += 2 * shape.values() * shape.side * shape.side;
        Ok(self.place(attention.site, shape, End::Low, attention_words(attention)))
    }

    fn output(&mut self, conv: &Conv<Option<Place>>) -> Result<(), Infallible> {
        self.plan.macs += conv.macs();
        self.scratch(conv.site, conv_words(conv, Form::Direct));
        Ok(())
    }

    fn release(&mut self, place: Option<Place>) {
        if let Some(place) = place {
            self.arena.release(place);
        }
    }
}
