//! Checks every record of a model, in the order of the network.
//!
//! Accepted models can be run: array lengths are those the kernels
//! index by, and numbers are within the limits from which each kernel derives
//! that nothing overflows.

use super::error::{BlobError, ParamError};
use super::records::{
    ConvRecord, Info, InputRecord, LayerInfo, LinearRecord, MAX_SHIFT, MAX_ZERO, MixRecord,
    NormRecord, OutputRecord, Packing, Record, Records, TableRecord, WEIGHT_ALIGN, WeightLayout,
};
use crate::graph::{
    Attention, Conv, Extra, Geometry, Interpreter, LayerId, Linear, Norm, Part, Shape, Stage,
    Table, walk,
};
use crate::kernels::limits::{MAX_BIAS, MAX_GAIN, MAX_NORM_MULTIPLIER, MAX_VALUE_FACTOR};
use crate::kernels::little_endian::{floats, halfwords, words};
use crate::kernels::packing::{MAX_PHASE, MAX_WINOGRAD};
use serde::{Deserialize, Serialize};

/// Checks all layers and shows each to `report`. Without `blob`, whose address
/// is then no longer known, weights may lie anywhere.
pub(super) fn layers<'b>(
    info: &Info<'b>,
    records: Records<'b>,
    blob: Option<&'b [u8]>,
    report: impl FnMut(&LayerInfo<'b>),
) -> Result<(), BlobError> {
    let topology = &info.topology;
    let mut validator = Validator {
        packing: info.packing,
        records,
        blob,
        report,
    };
    walk(&mut validator, topology)?;
    match validator.records.remaining() {
        0 => Ok(()),
        count => Err(BlobError::TrailingBytes { count }),
    }
}

struct Validator<'b, F> {
    packing: Packing,
    records: Records<'b>,
    blob: Option<&'b [u8]>,
    report: F,
}

/// A check that a layer's numbers did or did not pass.
type Check = Result<(), ParamError>;

fn ensure(condition: bool, error: ParamError) -> Check {
    condition.then_some(()).ok_or(error)
}

fn length(bytes: &[u8], expected: usize) -> Check {
    let found = bytes.len();
    ensure(found == expected, ParamError::Length { expected, found })
}

fn scale(scale: f32) -> Check {
    ensure(scale > 0.0 && scale.is_normal(), ParamError::Scale)
}

fn all_finite(bytes: &[u8]) -> Check {
    ensure(floats(bytes).all(f32::is_finite), ParamError::NotFinite)
}

fn magnitudes(bytes: &[u8], limit: i32, error: ParamError) -> Check {
    ensure(words(bytes).all(|w| (-limit..=limit).contains(&w)), error)
}

fn within(halves: &[u8], limit: i16) -> bool {
    halfwords(halves).all(|w| (-limit..=limit).contains(&w))
}

impl<'b, F: FnMut(&LayerInfo<'b>)> Validator<'b, F> {
    fn next<R>(&mut self, layer: LayerId) -> Result<R, BlobError>
    where
        R: Deserialize<'b> + Serialize,
    {
        let record = self.records.next_checked();
        record.ok_or(BlobError::Record { layer })
    }

    fn report(
        &mut self,
        layer: LayerId,
        check: Check,
        output: Shape,
        fan_in: usize,
        macs: u64,
        record: Record<'b>,
    ) -> Result<(), BlobError> {
        check.map_err(|what| BlobError::Param { layer, what })?;
        (self.report)(&LayerInfo {
            id: layer,
            output,
            fan_in,
            macs,
            record,
        });
        Ok(())
    }

    fn linear_record(&self, record: &LinearRecord<'_>, inputs: usize, outputs: usize) -> Check {
        length(record.weights, 2 * inputs * outputs)?;
        self.alignment(record.padding, record.weights)?;
        length(record.scales, 4 * outputs)?;
        length(record.bias, 4 * outputs)?;
        all_finite(record.scales)?;
        all_finite(record.bias)
    }

    fn alignment(&self, padding: &[u8], weights: &[u8]) -> Check {
        let aligned = self.blob.is_none_or(|blob| {
            let offset = weights.as_ptr().addr().wrapping_sub(blob.as_ptr().addr());
            offset.is_multiple_of(WEIGHT_ALIGN)
        });
        let padded = padding.len() < WEIGHT_ALIGN && padding.iter().all(|&byte| byte == 0);
        ensure(aligned && padded, ParamError::Alignment)
    }

    fn weights(
        &self,
        padding: &[u8],
        weights: &[u8],
        layout: WeightLayout,
        conv: &Conv<&[u8]>,
    ) -> Check {
        let packed = match layout {
            WeightLayout::Direct => true,
            WeightLayout::Winograd | WeightLayout::Phases => self.packing != Packing::Portable,
            WeightLayout::Int4 => self.packing == Packing::Int4,
        };
        let allowed = packed && layout.fits(conv.geometry);
        ensure(allowed, ParamError::WeightLayout)?;
        let inputs = conv.input_channels();
        length(weights, layout.bytes(conv.geometry, inputs, conv.channels))?;
        self.alignment(padding, weights)?;
        let in_range = match layout {
            WeightLayout::Direct => weights.iter().all(|&w| w != 0x80),
            WeightLayout::Winograd => within(weights, MAX_WINOGRAD),
            WeightLayout::Phases => within(weights, MAX_PHASE),
            // -8 is -128 where it is used.
            WeightLayout::Int4 => weights
                .iter()
                .all(|&w| w & 0xf0 != 0x80 && w & 0x0f != 0x08),
        };
        ensure(in_range, ParamError::Weight)
    }

    fn conv_record(&self, record: &ConvRecord<'_>, conv: &Conv<&[u8]>) -> Check {
        let outputs = conv.channels;
        // Padding holds zero points, and no skip is ever padded.
        let fits = |zero| (-128..=127).contains(&zero);
        ensure(
            conv.geometry == Geometry::Pointwise || halfwords(conv.x.data).all(fits),
            ParamError::ZeroPoint,
        )?;
        self.weights(record.padding, record.weights, record.layout, conv)?;
        length(record.bias, 4 * outputs)?;
        length(record.multipliers, 4 * outputs)?;
        magnitudes(record.bias, MAX_BIAS, ParamError::Bias)?;
        let residual = matches!(conv.extra, Extra::Residual(_));
        ensure(
            words(record.multipliers).all(|m| m >= 0)
                && record.residual >= 0
                && (residual || record.residual == 0),
            ParamError::Multiplier,
        )?;
        length(record.shifts, outputs)?;
        length(record.zero_points, 2 * outputs)?;
        let most = if conv.symmetric { 0 } else { MAX_SHIFT };
        ensure(
            record.shifts.iter().all(|&shift| shift <= most),
            ParamError::Shift,
        )?;
        let mut zero_points = halfwords(record.zero_points).zip(record.shifts);
        let in_range = |(zero, &shift): (i16, &u8)| {
            let limit = i32::from(MAX_ZERO) << shift;
            i32::from(zero).abs() < limit && (zero == 0 || !conv.symmetric)
        };
        ensure(zero_points.all(in_range), ParamError::ZeroPoint)?;
        scale(record.scale)
    }
}

/// The shape of something that has no positions.
fn vector(channels: usize) -> Shape {
    Shape { side: 1, channels }
}

impl<'b, F: FnMut(&LayerInfo<'b>)> Interpreter for Validator<'b, F> {
    /// The zero points of its channels; empty where they fit `i8` anyway.
    type Data = &'b [u8];
    type Error = BlobError;

    fn timestep(&mut self, _: usize) -> Result<(), BlobError> {
        Ok(())
    }

    fn linear(&mut self, linear: &Linear) -> Result<(), BlobError> {
        let record: LinearRecord<'b> = self.next(linear.id)?;
        self.report(
            linear.id,
            self.linear_record(&record, linear.inputs, linear.outputs),
            vector(linear.outputs),
            linear.inputs,
            linear.macs(),
            Record::Linear(record),
        )
    }

    fn classes(&mut self, table: &Table) -> Result<(), BlobError> {
        let record: TableRecord<'b> = self.next(table.id)?;
        let values = length(record.values, 2 * table.rows * table.width);
        let check = values.and_then(|()| scale(record.scale));
        let record = Record::Table(record);
        self.report(table.id, check, vector(table.width), 0, 0, record)
    }

    fn input(&mut self, shape: Shape) -> Result<&'b [u8], BlobError> {
        let layer = LayerId::new(Stage::Input, Part::Whole);
        let record: InputRecord = self.next(layer)?;
        let check = scale(record.output.scale);
        self.report(layer, check, shape, 0, 0, Record::Input(record))?;
        Ok(&[])
    }

    fn norm(&mut self, norm: &Norm<&'b [u8]>) -> Result<&'b [u8], BlobError> {
        let record: NormRecord<'b> = self.next(norm.id)?;
        let output = norm.output();
        let check = || {
            length(record.gains, 4 * output.channels)?;
            length(record.offsets, 4 * output.channels)?;
            magnitudes(record.gains, MAX_GAIN, ParamError::Gain)?;
            magnitudes(record.offsets, MAX_GAIN, ParamError::Gain)?;
            let multipliers = 0..=MAX_NORM_MULTIPLIER;
            ensure(
                multipliers.contains(&record.multiplier),
                ParamError::Multiplier,
            )?;
            scale(record.output.scale)
        };
        self.report(norm.id, check(), output, 0, 0, Record::Norm(record))?;
        Ok(&[])
    }

    fn conv(&mut self, conv: &Conv<&'b [u8]>) -> Result<&'b [u8], BlobError> {
        let record: ConvRecord<'b> = self.next(conv.id)?;
        let check = self.conv_record(&record, conv);
        self.report(
            conv.id,
            check,
            conv.output(),
            conv.fan_in(),
            conv.macs(),
            Record::Conv(record),
        )?;
        Ok(record.zero_points)
    }

    fn attention(&mut self, attention: &Attention<&'b [u8]>) -> Result<&'b [u8], BlobError> {
        let record: MixRecord = self.next(attention.id)?;
        let factors = record.logit >= 0 && (0..=MAX_VALUE_FACTOR).contains(&record.value);
        let check = ensure(factors, ParamError::Multiplier);
        let check = check.and_then(|()| scale(record.output.scale));
        let shape = attention.query.shape;
        let (macs, record) = (attention.macs(), Record::Mix(record));
        self.report(attention.id, check, shape, 0, macs, record)?;
        Ok(&[])
    }

    fn output(&mut self, conv: &Conv<&'b [u8]>) -> Result<(), BlobError> {
        let record: OutputRecord<'b> = self.next(conv.id)?;
        let outputs = conv.channels;
        let check = || {
            self.weights(record.padding, record.weights, WeightLayout::Direct, conv)?;
            length(record.bias, 4 * outputs)?;
            length(record.scales, 4 * outputs)?;
            magnitudes(record.bias, MAX_BIAS, ParamError::Bias)?;
            floats(record.scales).try_for_each(scale)
        };
        let check = check();
        self.report(
            conv.id,
            check,
            conv.output(),
            conv.fan_in(),
            conv.macs(),
            Record::Output(record),
        )
    }

    fn release(&mut self, _: &'b [u8]) {}
}
