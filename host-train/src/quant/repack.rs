//! The same model with its weights stored in another way.
//!
//! Nothing is lost either way: [`WeightLayout`]s hold the same weights, and every
//! device computes the same pictures from them. What changes is how much flash
//! they take, and how many multiplications. Weights that 4 bits hold are stored
//! in 4 bits, unless they are transformed.

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use tiny_ddpm::Model;
use tiny_ddpm::blob::records::{
    ConvRecord, Info, InputRecord, LinearRecord, MixRecord, NormRecord, OutputRecord, Packing,
    Records, TableRecord, WeightLayout,
};
use tiny_ddpm::blob::{WriteError, Writer};
use tiny_ddpm::graph::{Attention, Conv, Geometry, Interpreter, Linear, Norm, Shape, Table, walk};
use tiny_ddpm::kernels::packing::is_int4;

/// What a blob is to run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Anything: the smallest blob
    #[default]
    Portable,
    /// Cortex-M4, M7 and M33: transformed weights, as many as fit --flash
    CortexM4,
    /// Cortex-M0 and M0+: as portable
    CortexM0,
    /// RV32: as portable
    Riscv32,
}

/// Input channels from which on a transformation pays.
const MIN_INPUTS: usize = 8;

/// Repacks a blob for a target: at most `flash` bytes, unless even the
/// smallest layout has more.
///
/// # Errors
/// Where `blob` is no model, or has transformed weights that no weights of 8
/// bits give: they have no other layout.
pub fn repack(blob: &[u8], target: Target, flash: usize) -> Result<Vec<u8>> {
    let model = Model::load(blob)?;
    let mut choices = choices(&model)?;
    let mut layouts: Vec<WeightLayout> = choices.iter().map(|choice| choice.smallest).collect();
    let portable = rewrite(&model, &layouts)?;
    if target != Target::CortexM4 {
        return Ok(portable);
    }
    // The best bargains first: multiplications saved for a byte.
    choices.retain(|choice| choice.saved() > 0);
    choices.sort_by(|a, b| b.bargain().total_cmp(&a.bargain()));
    let mut size = portable.len();
    for choice in &choices {
        if choice.inputs >= MIN_INPUTS && size + choice.extra_bytes() <= flash {
            size += choice.extra_bytes();
            layouts[choice.index] = choice.layout;
        }
    }
    rewrite(&model, &layouts)
}

/// A convolution whose weights could be transformed.
#[derive(Clone, Copy, Debug)]
struct Choice {
    /// Counts all convolutions with an activation as output.
    index: usize,
    /// That takes the least flash.
    smallest: WeightLayout,
    /// That takes the fewest multiplications.
    layout: WeightLayout,
    geometry: Geometry,
    side: usize,
    inputs: usize,
    outputs: usize,
}

impl Choice {
    /// Multiplications that the transformation saves.
    fn saved(&self) -> usize {
        let channels = self.inputs * self.outputs;
        let (direct, transformed) = match self.layout {
            WeightLayout::Winograd => (9 * self.side.pow(2), 16 * self.side.div_ceil(2).pow(2)),
            WeightLayout::Phases => (9 * (2 * self.side).pow(2), 4 * (2 * self.side).pow(2)),
            _ => return 0,
        };
        channels * direct.saturating_sub(transformed)
    }

    fn extra_bytes(&self) -> usize {
        let bytes = |layout: WeightLayout| layout.bytes(self.geometry, self.inputs, self.outputs);
        // And what aligning it may add.
        bytes(self.layout) - bytes(self.smallest) + 16
    }

    fn bargain(&self) -> f64 {
        self.saved() as f64 / self.extra_bytes() as f64
    }
}

fn choices(model: &Model<'_>) -> Result<Vec<Choice>> {
    let mut collector = Collector {
        records: model.records(),
        choices: Vec::new(),
    };
    walk(&mut collector, model.topology())?;
    Ok(collector.choices)
}

struct Collector<'b> {
    records: Records<'b>,
    choices: Vec<Choice>,
}

impl<'b> Collector<'b> {
    fn next<R: serde::Deserialize<'b>>(&mut self) -> Result<R> {
        self.records.next_record().context("a record is missing")
    }
}

impl Interpreter for Collector<'_> {
    type Data = ();
    type Error = anyhow::Error;

    fn timestep(&mut self, _: usize) -> Result<()> {
        Ok(())
    }

    fn linear(&mut self, _: &Linear) -> Result<()> {
        self.next::<LinearRecord<'_>>().map(drop)
    }

    fn classes(&mut self, _: &Table) -> Result<()> {
        self.next::<TableRecord<'_>>().map(drop)
    }

    fn input(&mut self, _: Shape) -> Result<()> {
        self.next::<InputRecord>().map(drop)
    }

    fn norm(&mut self, _: &Norm<()>) -> Result<()> {
        self.next::<NormRecord<'_>>().map(drop)
    }

    fn conv(&mut self, conv: &Conv<()>) -> Result<()> {
        let record: ConvRecord<'_> = self.next()?;
        let rows = rows(conv, &record);
        ensure!(
            gives(&rows, conv, &record),
            "layer {}: its transformed weights are not those of any 8-bit weights, so that they cannot be stored in another way; export the model again",
            conv.id
        );
        self.choices.push(Choice {
            index: self.choices.len(),
            smallest: smallest(&rows),
            layout: WeightLayout::fastest(conv.geometry),
            geometry: conv.geometry,
            side: conv.x.shape.side,
            inputs: conv.input_channels(),
            outputs: conv.channels,
        });
        Ok(())
    }

    fn attention(&mut self, _: &Attention<()>) -> Result<()> {
        self.next::<MixRecord>().map(drop)
    }

    fn output(&mut self, _: &Conv<()>) -> Result<()> {
        self.next::<OutputRecord<'_>>().map(drop)
    }

    fn release(&mut self, (): ()) {}
}

/// The layout in which these weights take the least flash. What was never trained
/// is all 0, and no reason for a blob that older readers refuse.
fn smallest(rows: &[i8]) -> WeightLayout {
    let trained = rows.iter().any(|&weight| weight != 0);
    if trained && rows.iter().all(|&weight| is_int4(weight)) {
        WeightLayout::Int4
    } else {
        WeightLayout::Direct
    }
}

/// Weights of a convolution as training knows them.
fn rows<D>(conv: &Conv<D>, record: &ConvRecord<'_>) -> Vec<i8> {
    let mut rows = vec![0; conv.fan_in() * conv.channels];
    let inputs = conv.input_channels();
    let layout = record.layout;
    layout.unpack(conv.geometry, inputs, record.weights, &mut rows);
    rows
}

/// Whether these rows are the record's weights: others can be run as well, but
/// only as they are.
fn gives<D>(rows: &[i8], conv: &Conv<D>, record: &ConvRecord<'_>) -> bool {
    if matches!(record.layout, WeightLayout::Direct | WeightLayout::Int4) {
        return true;
    }
    let mut packed = vec![0; record.weights.len()];
    let inputs = conv.input_channels();
    record.layout.pack(conv.geometry, inputs, rows, &mut packed);
    packed == record.weights && !rows.contains(&i8::MIN)
}

/// Writes the model again, its convolutions in these layouts.
fn rewrite(model: &Model<'_>, layouts: &[WeightLayout]) -> Result<Vec<u8>> {
    let mut size = 4 * model.blob_len() + (1 << 12);
    loop {
        let mut buffer = vec![0; size];
        match rewrite_into(&mut buffer, model, layouts) {
            Ok(length) => {
                buffer.truncate(length);
                Model::load(&buffer).context("the repacked model does not load")?;
                return Ok(buffer);
            }
            Err(error) if error.is::<WriteError>() => size *= 2,
            Err(error) => return Err(error),
        }
    }
}

fn rewrite_into(buffer: &mut [u8], model: &Model<'_>, layouts: &[WeightLayout]) -> Result<usize> {
    let packing = if layouts.contains(&WeightLayout::Int4) {
        Packing::Int4
    } else if layouts.iter().all(|layout| *layout == WeightLayout::Direct) {
        Packing::Portable
    } else {
        Packing::Transformed
    };
    let info = Info {
        packing,
        ..model.info().clone()
    };
    let mut rewriter = Rewriter {
        records: model.records(),
        writer: Writer::new(buffer, &info)?,
        layouts: layouts.iter(),
    };
    walk(&mut rewriter, model.topology())?;
    Ok(rewriter.writer.finish())
}

struct Rewriter<'b, 'w, 'f> {
    records: Records<'b>,
    writer: Writer<'w>,
    layouts: std::slice::Iter<'f, WeightLayout>,
}

impl<'b> Rewriter<'b, '_, '_> {
    fn next<R: serde::Deserialize<'b>>(&mut self) -> Result<R> {
        self.records.next_record().context("a record is missing")
    }

    fn copy<R: serde::Deserialize<'b> + serde::Serialize>(&mut self) -> Result<()> {
        let record: R = self.next()?;
        Ok(self.writer.record(&record)?)
    }
}

/// Weights of a convolution in another layout.
fn reform<D>(conv: &Conv<D>, record: &ConvRecord<'_>, to: WeightLayout) -> Vec<u8> {
    let inputs = conv.input_channels();
    let mut packed = vec![0; to.bytes(conv.geometry, inputs, conv.channels)];
    to.pack(conv.geometry, inputs, &rows(conv, record), &mut packed);
    packed
}

impl Interpreter for Rewriter<'_, '_, '_> {
    type Data = ();
    type Error = anyhow::Error;

    fn timestep(&mut self, _: usize) -> Result<()> {
        Ok(())
    }

    fn linear(&mut self, _: &Linear) -> Result<()> {
        let record: LinearRecord<'_> = self.next()?;
        self.writer
            .aligned(record.weights.len(), |padding| LinearRecord {
                padding,
                ..record
            })?;
        Ok(())
    }

    fn classes(&mut self, _: &Table) -> Result<()> {
        self.copy::<TableRecord<'_>>()
    }

    fn input(&mut self, _: Shape) -> Result<()> {
        self.copy::<InputRecord>()
    }

    fn norm(&mut self, _: &Norm<()>) -> Result<()> {
        self.copy::<NormRecord<'_>>()
    }

    fn conv(&mut self, conv: &Conv<()>) -> Result<()> {
        let record: ConvRecord<'_> = self.next()?;
        let layout = self.layouts.next().copied().unwrap_or_default();
        let weights = reform(conv, &record, layout);
        self.writer.aligned(weights.len(), |padding| ConvRecord {
            padding,
            weights: &weights,
            layout,
            ..record
        })?;
        Ok(())
    }

    fn attention(&mut self, _: &Attention<()>) -> Result<()> {
        self.copy::<MixRecord>()
    }

    fn output(&mut self, _: &Conv<()>) -> Result<()> {
        let record: OutputRecord<'_> = self.next()?;
        self.writer
            .aligned(record.weights.len(), |padding| OutputRecord {
                padding,
                ..record
            })?;
        Ok(())
    }

    fn release(&mut self, (): ()) {}
}
