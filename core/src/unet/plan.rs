//! Memory that a network needs, given its topology and the layouts of its
//! weights.

use super::arena::{Arena, End, Place};
use crate::blob::records::{
    ConvRecord, InputRecord, LinearRecord, MixRecord, NormRecord, Records, TableRecord,
};
use crate::graph::{
    Attention, Conv, Interpreter, LayerId, Linear, Norm, Part, Shape, Stage, Table, Topology, walk,
};
use crate::kernels::conv::{least_scratch_words, scratch_words};
use crate::kernels::engine::LANES;
use crate::kernels::packing::WeightLayout;
use core::convert::Infallible;

/// Bytes for full speed, and those without which nothing runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bytes {
    full: usize,
    least: usize,
}

impl Bytes {
    fn max(self, other: Self) -> Self {
        Self {
            full: self.full.max(other.full),
            least: self.least.max(other.least),
        }
    }
}

/// Words that a layer needs for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// For full speed.
    pub full: usize,
    /// Without which it cannot run.
    pub least: usize,
}

impl From<usize> for Words {
    fn from(words: usize) -> Self {
        Self {
            full: words,
            least: words,
        }
    }
}

/// Memory and work of one run of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Length of the time embedding's vectors, in whole words of halfwords.
    pub(super) embedding: usize,
    /// Bytes of activations and of what layers need for themselves.
    arena: Bytes,
    /// The same in the second of a guided step's two runs, which keeps the
    /// last activation of the first.
    guided: Bytes,
    /// Where these reach their peak.
    peak: LayerId,
}

impl Plan {
    /// The plan of a valid topology, all weights stored
    /// [directly](WeightLayout::Direct).
    #[must_use]
    pub fn new(topology: &Topology) -> Self {
        Self::make(topology, None)
    }

    /// The plan of a model.
    pub(crate) fn with_records(topology: &Topology, records: Records<'_>) -> Self {
        Self::make(topology, Some(records))
    }

    fn make(topology: &Topology, records: Option<Records<'_>>) -> Self {
        let embedding = usize::from(topology.embedding.max(topology.time_features));
        let embedding = embedding.next_multiple_of(2);
        // Until the first activation the embedding is there as floats.
        let start = Bytes {
            full: 4 * embedding,
            least: 4 * embedding,
        };
        let mut planner = Planner {
            arena: Arena::default(),
            plan: Self {
                embedding,
                arena: start,
                guided: start,
                peak: LayerId::new(Stage::Input, Part::Whole),
            },
            records,
        };
        match walk(&mut planner, topology) {
            Ok(()) => planner.plan,
        }
    }

    /// Words of the workspace with which everything runs at full speed; of
    /// guidance [in place](crate::InPlace), see
    /// [`guided_workspace_words`](Self::guided_workspace_words).
    #[must_use]
    pub fn workspace_words(&self) -> usize {
        self.words(self.arena.full)
    }

    /// Words of the least workspace in which the network runs: what does not
    /// fit at once is convolved in parts, to the same bits.
    #[must_use]
    pub fn least_workspace_words(&self) -> usize {
        self.words(self.arena.least)
    }

    /// [`workspace_words`](Self::workspace_words) for guidance in place.
    #[must_use]
    pub fn guided_workspace_words(&self) -> usize {
        self.words(self.guided.full)
    }

    /// [`least_workspace_words`](Self::least_workspace_words) for guidance in
    /// place.
    #[must_use]
    pub fn least_guided_workspace_words(&self) -> usize {
        self.words(self.guided.least)
    }

    fn words(&self, arena: usize) -> usize {
        self.embedding / 2 + arena.div_ceil(4)
    }

    /// Bytes of activations at the peak, with what the layer there needs for
    /// itself.
    #[must_use]
    pub fn activation_bytes(&self) -> usize {
        self.arena.full
    }

    /// The layer that makes the peak.
    #[must_use]
    pub fn peak_layer(&self) -> LayerId {
        self.peak
    }
}

/// Words that a convolution needs for itself: what each channel's sum starts
/// from and becomes, and its kernel's scratch.
pub(super) fn conv_words<D>(conv: &Conv<D>, layout: WeightLayout) -> Words {
    let (x, outputs) = (conv.x.shape.channels, conv.channels);
    let skip = conv.skip.as_ref().map_or(0, |skip| skip.shape.channels);
    let least = least_scratch_words(layout, conv.geometry, x, skip, outputs);
    Words {
        full: 5 * outputs + scratch_words(layout, conv.geometry, x, skip),
        least: 5 * outputs + least,
    }
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

/// Bytes in which an activation is kept from one run to the next.
pub(super) fn kept_bytes(shape: Shape) -> usize {
    shape.values().next_multiple_of(4)
}

/// Values of the conditional prediction that are there at once.
pub(super) fn part_values<D>(conv: &Conv<D>) -> usize {
    LANES * conv.channels
}

struct Planner<'b> {
    arena: Arena,
    plan: Plan,
    /// Where the weights' layouts are read.
    records: Option<Records<'b>>,
}

impl<'b> Planner<'b> {
    /// A layer's output; `words` is what it needs while it is computed.
    fn place(
        &mut self,
        layer: LayerId,
        shape: Shape,
        end: End,
        words: impl Into<Words>,
    ) -> Option<Place> {
        let place = self.arena.place(end, shape.values());
        self.scratch(layer, words.into());
        place
    }

    fn scratch(&mut self, layer: LayerId, words: Words) {
        let needed = self.needed(words);
        if needed.full > self.plan.arena.full {
            self.plan.peak = layer;
        }
        self.plan.arena = self.plan.arena.max(needed);
    }

    fn needed(&self, words: Words) -> Bytes {
        Bytes {
            full: self.arena.needed(4 * words.full),
            least: self.arena.needed(4 * words.least),
        }
    }

    fn record<R: serde::Deserialize<'b>>(&mut self) -> Option<R> {
        self.records.as_mut()?.next_record()
    }
}

impl Interpreter for Planner<'_> {
    /// `None` if more are alive than any network has.
    type Data = Option<Place>;
    type Error = Infallible;

    fn timestep(&mut self, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn linear(&mut self, _: &Linear) -> Result<(), Infallible> {
        let _: Option<LinearRecord<'_>> = self.record();
        Ok(())
    }

    fn classes(&mut self, _: &Table) -> Result<(), Infallible> {
        let _: Option<TableRecord<'_>> = self.record();
        Ok(())
    }

    fn input(&mut self, shape: Shape) -> Result<Option<Place>, Infallible> {
        let _: Option<InputRecord> = self.record();
        Ok(self.place(LayerId::new(Stage::Input, Part::Whole), shape, End::Low, 0))
    }

    fn norm(&mut self, norm: &Norm<Option<Place>>) -> Result<Option<Place>, Infallible> {
        let _: Option<NormRecord<'_>> = self.record();
        Ok(self.place(norm.id, norm.output(), End::Low, norm_words(norm)))
    }

    fn conv(&mut self, conv: &Conv<Option<Place>>) -> Result<Option<Place>, Infallible> {
        let record: Option<ConvRecord<'_>> = self.record();
        let layout = record.map_or(WeightLayout::Direct, |record| record.layout);
        Ok(self.place(
            conv.id,
            conv.output(),
            End::of(conv),
            conv_words(conv, layout),
        ))
    }

    fn attention(
        &mut self,
        attention: &Attention<Option<Place>>,
    ) -> Result<Option<Place>, Infallible> {
        let _: Option<MixRecord> = self.record();
        let shape = attention.query.shape;
        Ok(self.place(attention.id, shape, End::Low, attention_words(attention)))
    }

    fn output(&mut self, conv: &Conv<Option<Place>>) -> Result<(), Infallible> {
        let words = conv_words(conv, WeightLayout::Direct);
        self.scratch(conv.id, words);
        // The last activation is kept from the first run on; in the end the
        // prediction from it joins the other's, a few positions at a time.
        let kept = kept_bytes(conv.x.shape);
        let prediction = self.arena.place(End::Low, 4 * part_values(conv));
        let last = self.needed(words);
        if let Some(prediction) = prediction {
            self.arena.release(prediction);
        }
        let Bytes { full, least } = self.plan.arena.max(last);
        self.plan.guided = Bytes {
            full: full + kept,
            least: least + kept,
        };
        Ok(())
    }

    fn release(&mut self, place: Option<Place>) {
        if let Some(place) = place {
            self.arena.release(place);
        }
    }
}
