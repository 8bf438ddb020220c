//! The network as the chip rounds it, in floats.
//!
//! Training that is to know what quantisation does (`train::qat`) multiplies
//! with these weights and moves every activation onto these grids. Both come
//! from the functions that [`pack`](super::pack()) writes a blob with, so they
//! cannot differ from what is exported.

use std::collections::BTreeMap;

use anyhow::Result;
use tiny_ddpm::Topology;
use tiny_ddpm::graph::{
    Attention, Conv, Interpreter, LayerId, Linear, Norm, Part, Shape, Stage, Table, walk,
};

use super::pack::{Rounder, inputs_of, norm_steps};
use super::ranges::{Range, Ranges};
use super::rounding::WeightBits;
use super::weights::Weights;

/// A convolution whose weights are multiples of their channel's unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoundedConv {
    /// `[out, in, kh, kw]`, row by row.
    pub weight: Vec<f32>,
    /// `[out]`, with what rounding the weights changes on average taken back.
    pub bias: Vec<f32>,
    /// `[out]`: what 1 in the accumulator stands for.
    pub units: Vec<f32>,
}

/// What an activation is rounded from, on the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Pixels: halves away from 0.
    Pixels,
    /// An accumulator: halves upwards.
    Sum,
    /// A normalisation: first to [`OUTPUT_BITS`](tiny_ddpm::kernels::norm::OUTPUT_BITS) fraction bits, then halves
    /// upwards.
    Norm,
}

/// The values that an activation can have on the chip: for each channel
/// step * (q - zero), where q is -128 to 127.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// For each channel.
    pub steps: Vec<f32>,
    /// Steps in 1 as the kernel multiplies with them, for each channel: in a
    /// normalisation its own fixed-point number, else 1 / step.
    pub inverse: Vec<f32>,
    /// For each channel.
    pub zeros: Vec<f32>,
    /// How q is rounded.
    pub origin: Origin,
}

impl Grid {
    fn new(range: &Range, origin: Origin) -> Self {
        let channels = range.shifts.len();
        let steps: Vec<f32> = (0..channels).map(|c| range.step(c) as f32).collect();
        Self {
            inverse: steps.iter().map(|step| 1.0 / step).collect(),
            steps,
            zeros: range.zero_points.iter().map(|&zero| zero.into()).collect(),
            origin,
        }
    }
}

/// The grid of every activation.
///
/// # Errors
/// Where a range is missing or is for another number of channels.
pub fn grids(topology: &Topology, ranges: &Ranges) -> Result<BTreeMap<LayerId, Grid>> {
    let mut reader = Reader {
        ranges,
        rounder: None,
        grids: BTreeMap::new(),
        convs: BTreeMap::new(),
    };
    walk(&mut reader, topology)?;
    Ok(reader.grids)
}

/// Every convolution with its weights rounded to `bits`.
///
/// # Errors
/// Where a parameter or range is missing, or a parameter is not finite.
pub fn rounded_convs(
    topology: &Topology,
    weights: &Weights,
    ranges: &Ranges,
    bits: WeightBits,
) -> Result<BTreeMap<LayerId, RoundedConv>> {
    let mut reader = Reader {
        ranges,
        rounder: Some(Rounder { weights, bits }),
        grids: BTreeMap::new(),
        convs: BTreeMap::new(),
    };
    walk(&mut reader, topology)?;
    Ok(reader.convs)
}

struct Reader<'a> {
    ranges: &'a Ranges,
    /// `None` where only the grids are wanted.
    rounder: Option<Rounder<'a>>,
    grids: BTreeMap<LayerId, Grid>,
    convs: BTreeMap<LayerId, RoundedConv>,
}

impl<'a> Reader<'a> {
    fn range(&mut self, layer: LayerId, channels: usize, origin: Origin) -> Result<&'a Range> {
        let range = self.ranges.get(layer, channels)?;
        self.grids.insert(layer, Grid::new(range, origin));
        Ok(range)
    }

    fn round(&mut self, conv: &Conv<&'a Range>) -> Result<()> {
        let Some(rounder) = &self.rounder else {
            return Ok(());
        };
        let quantised = rounder.quantise(conv)?;
        let (taps, inputs) = (conv.geometry.taps(), conv.input_channels());
        let inputs_of: Vec<(f64, i64)> = inputs_of(conv)
            .into_iter()
            .map(|(range, c)| (range.step(c), range.zero_points[c].into()))
            .collect();
        let mut layer = RoundedConv::default();
        let rows = quantised.weights.chunks_exact(taps * inputs);
        for ((row, sum), unit) in rows.zip(&quantised.bias).zip(&quantised.units) {
            for input in 0..inputs {
                let step = inputs_of[input].0;
                // From the kernels' order, channels innermost, to training's.
                let weights = row[input..].iter().step_by(inputs);
                let weights = weights.map(|&weight| (f64::from(weight) * unit / step) as f32);
                layer.weight.extend(weights);
            }
            let zeros = row.iter().zip(inputs_of.iter().cycle());
            let folded: i64 = zeros.map(|(&w, (_, zero))| i64::from(w) * zero).sum();
            let bias = (i64::from(*sum) + folded) as f64 * unit;
            layer.bias.push(bias as f32);
            layer.units.push(*unit as f32);
        }
        self.convs.insert(conv.id, layer);
        Ok(())
    }
}

impl<'a> Interpreter for Reader<'a> {
    type Data = &'a Range;
    type Error = anyhow::Error;

    fn timestep(&mut self, _: usize) -> Result<()> {
        Ok(())
    }

    fn linear(&mut self, _: &Linear) -> Result<()> {
        Ok(())
    }

    fn classes(&mut self, _: &Table) -> Result<()> {
        Ok(())
    }

    fn input(&mut self, shape: Shape) -> Result<&'a Range> {
        let layer = LayerId::new(Stage::Input, Part::Whole);
        self.range(layer, shape.channels, Origin::Pixels)
    }

    fn norm(&mut self, norm: &Norm<&'a Range>) -> Result<&'a Range> {
        let channels = norm.output().channels;
        let range = self.range(norm.id, channels, Origin::Norm)?;
        if let Some(grid) = self.grids.get_mut(&norm.id) {
            grid.inverse = vec![norm_steps(range) as f32; channels];
        }
        Ok(range)
    }

    fn conv(&mut self, conv: &Conv<&'a Range>) -> Result<&'a Range> {
        self.round(conv)?;
        self.range(conv.id, conv.channels, Origin::Sum)
    }

    fn attention(&mut self, attention: &Attention<&'a Range>) -> Result<&'a Range> {
        let channels = attention.query.shape.channels;
        self.range(attention.id, channels, Origin::Sum)
    }

    fn output(&mut self, conv: &Conv<&'a Range>) -> Result<()> {
        self.round(conv)
    }

    fn release(&mut self, _: &'a Range) {}
}
