//! What memory a network needs and how much it computes, from its topology.

use super::arena::Arena;
use super::site::{Part, Site, Stage};
use super::walk::{Attention, Conv, Extra, Interpreter, Norm, Shape, walk};
use crate::Topology;
use core::convert::Infallible;

/// Memory and work of one run of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Length of the time embedding's vectors.
    pub(super) embedding: usize,
    /// Words of per-channel parameters of the widest layer.
    pub(super) params: usize,
    /// Bytes of the longest row that a convolution gathers.
    pub(super) patch: usize,
    /// Bytes of activations.
    pub(super) activations: usize,
    /// Where the activations reach their peak.
    peak: Site,
    macs: usize,
}

impl Plan {
    /// The plan of a valid topology.
    #[must_use]
    pub fn new(topology: &Topology) -> Self {
        let mut planner = Planner {
            arena: Arena::default(),
            plan: Self {
                embedding: usize::from(topology.embedding.max(topology.time_features)),
                params: 0,
                patch: 0,
                activations: 0,
                peak: Site::new(Stage::Input, Part::Whole),
                macs: 0,
            },
            topology,
        };
        match walk(&mut planner, topology) {
            Ok(()) => planner.plan,
        }
    }

    /// Words of the workspace.
    #[must_use]
    pub fn workspace_words(&self) -> usize {
        // The embedding is there as floats and as halfwords.
        self.embedding
            + self.embedding.div_ceil(2)
            + self.params
            + self.patch.div_ceil(4)
            + self.activations.div_ceil(4)
    }

    /// Bytes of activations at the peak.
    #[must_use]
    pub fn activation_bytes(&self) -> usize {
        self.activations
    }

    /// The layer whose output makes the peak.
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

struct Planner<'t> {
    arena: Arena,
    plan: Plan,
    topology: &'t Topology,
}

impl Planner<'_> {
    /// Where a layer's output begins.
    fn place(&mut self, site: Site, shape: Shape) -> usize {
        let start = self
            .arena
            .place(shape.values())
            .map_or(0, |range| range.start);
        if self.arena.peak() > self.plan.activations {
            self.plan.activations = self.arena.peak();
            self.plan.peak = site;
        }
        start
    }

    fn count_conv(&mut self, conv: &Conv<usize>) {
        self.params(2 * conv.channels);
        self.plan.patch = self.plan.patch.max(conv.fan_in());
        self.plan.macs += conv.macs();
    }

    fn params(&mut self, words: usize) {
        self.plan.params = self.plan.params.max(words);
    }
}

impl Interpreter for Planner<'_> {
    type Data = usize;
    type Error = Infallible;

    fn time(&mut self) -> Result<(), Infallible> {
        let features = usize::from(self.topology.time_features);
        let embedding = usize::from(self.topology.embedding);
        self.plan.macs += (features + embedding) * embedding;
        Ok(())
    }

    fn input(&mut self, shape: Shape) -> Result<usize, Infallible> {
        Ok(self.place(Site::new(Stage::Input, Part::Whole), shape))
    }

    fn norm(&mut self, norm: &Norm<usize>) -> Result<usize, Infallible> {
        let skip = norm.skip.map_or(0, |skip| skip.shape.channels);
        // The halves of a concatenation take turns.
        self.params(2 * skip.max(norm.x.shape.channels));
        Ok(self.place(norm.site, norm.output()))
    }

    fn conv(&mut self, conv: &Conv<usize>) -> Result<usize, Infallible> {
        self.count_conv(conv);
        if matches!(conv.extra, Extra::Embedding) {
            self.plan.macs += usize::from(self.topology.embedding) * conv.channels;
        }
        Ok(self.place(conv.site, conv.output()))
    }

    fn attention(&mut self, attention: &Attention<usize>) -> Result<usize, Infallible> {
        let shape = attention.query.shape;
        let positions = shape.side * shape.side;
        self.params(positions);
        self.plan.macs += 2 * shape.values() * positions;
        Ok(self.place(attention.site, shape))
    }

    fn output(&mut self, conv: &Conv<usize>) -> Result<(), Infallible> {
        self.count_conv(conv);
        Ok(())
    }

    fn release(&mut self, start: usize) {
        self.arena.release(start);
    }
}
