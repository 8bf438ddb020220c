//! Models drawn from a fuzzer's bytes: any shape that there may be, in small,
//! and numbers at and within their limits, sometimes one beyond.

use std::cell::RefCell;
use std::convert::Infallible;
use std::ops::RangeInclusive;

use arbitrary::Unstructured;
use tiny_ddpm::blob::records::{
    ConvRecord, Info, InputRecord, LinearRecord, MAX_SHIFT, MixRecord, NormRecord, OutputRecord,
    Packing, Quant, Recommended, TableRecord, WeightLayout,
};
use tiny_ddpm::blob::{HEADER_LEN, Writer};
use tiny_ddpm::graph::{Attention, Conv, Extra, Interpreter, Linear, Norm, Shape, Table, walk};
use tiny_ddpm::kernels::packing::{MAX_PHASE, MAX_WINOGRAD};
use tiny_ddpm::{Level, Prediction, Schedule, ScheduleKind, Topology};

thread_local! {
    /// Where models are written: more than any that is drawn takes.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 1 << 19]);
}

/// A model, and what a loader must say of it.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// Its bytes behind the header.
    pub body: Vec<u8>,
    /// Whether every number is within its limits.
    pub valid: bool,
}

/// A model from a fuzzer's bytes; `None` where they ask for a network that is
/// too large to be tried often.
///
/// # Errors
/// Never: bytes that are missing count as 0.
pub fn draw(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Option<Drawn>> {
    let topology = topology(bytes)?;
    let schedule = schedule(bytes)?;
    let packings = [Packing::Portable, Packing::Transformed, Packing::Int4];
    let info = Info {
        name: ["", "drawn", "größer", "a name"][bytes.choose_index(4)?],
        topology,
        schedule,
        timesteps: [1, 2, 10, 1000, 4000, 0, 4001][bytes.choose_index(7)?],
        prediction: *bytes.choose(&[Prediction::Epsilon, Prediction::X0, Prediction::V])?,
        packing: *bytes.choose(&packings)?,
        recommended: Recommended {
            steps: 1,
            guidance: *bytes.choose(&[0.0, 0.5, 100.0])?,
            eta: *bytes.choose(&[0.0, 0.5, 1.0])?,
        },
    };
    let valid =
        info.topology.validate().is_ok() && Schedule::new(info.schedule, info.timesteps).is_ok();
    Ok(BUFFER.with_borrow_mut(|buffer| write(bytes, &info, valid, buffer)))
}

/// Draws the records of a model, if there is room for them.
fn write(
    bytes: &mut Unstructured<'_>,
    info: &Info<'_>,
    valid: bool,
    buffer: &mut [u8],
) -> Option<Drawn> {
    let writer = Writer::new(buffer, info).ok()?;
    let mut drawing = Drawing {
        bytes,
        writer,
        info,
        valid,
        full: false,
    };
    // Without a possible shape there is nothing to walk.
    if info.topology.validate().is_ok() {
        let Ok(()) = walk(&mut drawing, &info.topology);
    }
    let (valid, full) = (drawing.valid, drawing.full);
    let length = drawing.writer.finish();
    let body = buffer.get(HEADER_LEN..length)?.to_vec();
    (!full).then_some(Drawn { body, valid })
}

/// Mostly a possible shape.
fn topology(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Topology> {
    let group = bytes.int_in_range(1..=4)?;
    let patch = bytes.int_in_range(1..=3)?;
    let count = bytes.int_in_range(0..=3_u8)?;
    // 0: points.
    let side = match count {
        0 => 0,
        levels => bytes.int_in_range(1..=3_u8)? << (levels - 1),
    };
    let mut levels = Vec::new();
    for _ in 0..count.max(1) {
        levels.push(Level {
            channels: bytes.int_in_range(1..=3_u16)? * u16::from(group),
            attention: count > 0 && bytes.ratio(1, 3)?,
        });
    }
    Ok(Topology {
        image_size: side * patch,
        patch,
        levels: levels.into_iter().collect(),
        blocks: bytes.int_in_range(1..=2)?,
        mid_attention: count > 0 && bytes.arbitrary()?,
        heads: bytes.int_in_range(1..=3)?,
        group_channels: group,
        time_features: 2 * bytes.int_in_range(1..=4)?,
        embedding: bytes.int_in_range(1..=9)?,
        classes: bytes.int_in_range(0..=3)?,
    })
}

fn schedule(bytes: &mut Unstructured<'_>) -> arbitrary::Result<ScheduleKind> {
    if bytes.ratio(1, 2)? {
        return Ok(ScheduleKind::Cosine);
    }
    let betas = [1e-4, 0.02, 1e-12, 0.999, 1e-13, 1.0, f64::NAN, -0.1];
    Ok(ScheduleKind::Linear {
        beta_start: *bytes.choose(&betas)?,
        beta_end: *bytes.choose(&betas)?,
    })
}

struct Drawing<'d, 'u, 'w> {
    bytes: &'d mut Unstructured<'u>,
    writer: Writer<'w>,
    info: &'d Info<'d>,
    valid: bool,
    /// Whether the buffer had no room for all of it.
    full: bool,
}

impl Drawing<'_, '_, '_> {
    /// Missing bytes count as 0.
    fn byte(&mut self) -> u8 {
        self.bytes.arbitrary().unwrap_or(0)
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// A number within limits, or rarely the next one above.
    fn number(&mut self, limits: RangeInclusive<i64>) -> i64 {
        let (low, high) = limits.into_inner();
        match self.byte() {
            0..40 => low,
            40..80 => high,
            80..110 => 0.clamp(low, high),
            110..130 => 1.clamp(low, high),
            130..150 => (-1).clamp(low, high),
            255 => {
                self.valid = false;
                high + 1
            }
            _ => self.bytes.int_in_range(low..=high).unwrap_or(low),
        }
    }

    /// Never beyond the limits: where those are the type's own, or where none
    /// are checked.
    fn within(&mut self, limits: RangeInclusive<i64>) -> i64 {
        let valid = self.valid;
        let number = self.number(limits.clone());
        self.valid = valid;
        number.min(*limits.end())
    }

    /// `count` numbers: all one, or each its own.
    fn array<const N: usize>(
        &mut self,
        count: usize,
        mut draw: impl FnMut(&mut Self) -> i64,
        bytes: impl Fn(i64) -> [u8; N],
    ) -> Vec<u8> {
        if self.byte().is_multiple_of(2) {
            let one = match count {
                0 => [0; N],
                _ => bytes(draw(self)),
            };
            return one.repeat(count);
        }
        (0..count).flat_map(|_| bytes(draw(self))).collect()
    }

    fn words(&mut self, count: usize, limit: i64) -> Vec<u8> {
        let draw = |me: &mut Self| me.number(-limit..=limit);
        self.array(count, draw, |word| (word as i32).to_le_bytes())
    }

    fn halfwords(&mut self, count: usize) -> Vec<u8> {
        let draw = |me: &mut Self| me.within(-32_768..=32_767);
        self.array(count, draw, |word| (word as i16).to_le_bytes())
    }

    fn scale(&mut self) -> f32 {
        match self.byte() {
            254 => {
                self.valid = false;
                self.one_of(&[0.0, -0.03, 1e-40, f32::INFINITY, f32::NAN])
            }
            _ => self.one_of(&[0.03, f32::MIN_POSITIVE, 1e-10, 1e-4, 1.0, 1e10, f32::MAX]),
        }
    }

    fn scales(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .flat_map(|_| self.scale().to_le_bytes())
            .collect()
    }

    fn floats(&mut self, count: usize) -> Vec<u8> {
        let choices = [0.0, 1e-4, -1.0, 1e-40, f32::MAX, f32::MIN];
        let one = self.one_of(&choices);
        let alike = self.byte().is_multiple_of(2);
        let mut floats = Vec::new();
        for _ in 0..count {
            let mut float = if alike { one } else { self.one_of(&choices) };
            if !alike && self.byte() == 255 {
                self.valid = false;
                float = f32::NAN;
            }
            floats.extend(float.to_le_bytes());
        }
        floats
    }

    fn quant(&mut self) -> Quant {
        Quant {
            scale: self.scale(),
            zero_point: self.within(-128..=127) as i8,
        }
    }

    fn weights<D>(&mut self, layout: WeightLayout, conv: &Conv<D>) -> Vec<u8> {
        let bytes = layout.bytes(conv.geometry, conv.input_channels(), conv.channels);
        let limit = match layout {
            WeightLayout::Winograd => i64::from(MAX_WINOGRAD),
            WeightLayout::Phases => i64::from(MAX_PHASE),
            WeightLayout::Int4 => {
                let draw = |me: &mut Self| {
                    let [low, high] = [(); 2].map(|()| me.number(-7..=7) & 15);
                    high << 4 | low
                };
                return self.array(bytes, draw, |byte| [byte as u8]);
            }
            _ => {
                // The next one above 127 is -128.
                let draw = |me: &mut Self| me.number(-127..=127);
                return self.array(bytes, draw, |byte| [byte as u8]);
            }
        };
        let draw = |me: &mut Self| me.number(-limit..=limit);
        self.array(bytes / 2, draw, |half| (half as i16).to_le_bytes())
    }

    /// A layout that is possible, and rarely one that is not announced.
    fn layout<D>(&mut self, conv: &Conv<D>) -> WeightLayout {
        let fastest = WeightLayout::fastest(conv.geometry);
        let packing = self.info.packing;
        let layouts: &[WeightLayout] = match packing {
            Packing::Transformed => &[WeightLayout::Direct, fastest],
            Packing::Int4 => &[WeightLayout::Direct, fastest, WeightLayout::Int4],
            _ if self.byte() == 255 => {
                self.valid = false;
                &[WeightLayout::Int4]
            }
            _ => &[WeightLayout::Direct],
        };
        self.one_of(layouts)
    }

    fn record<R: serde::Serialize>(&mut self, record: &R) {
        self.full |= self.writer.record(record).is_err();
    }
}

impl Interpreter for Drawing<'_, '_, '_> {
    type Data = ();
    type Error = Infallible;

    fn timestep(&mut self, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn linear(&mut self, linear: &Linear) -> Result<(), Infallible> {
        let weights = self.halfwords(linear.inputs * linear.outputs);
        let (scales, bias) = (self.floats(linear.outputs), self.floats(linear.outputs));
        let written = self.writer.aligned(weights.len(), |padding| LinearRecord {
            padding,
            weights: &weights,
            scales: &scales,
            bias: &bias,
        });
        self.full |= written.is_err();
        Ok(())
    }

    fn classes(&mut self, table: &Table) -> Result<(), Infallible> {
        let values = self.halfwords(table.rows * table.width);
        let scale = self.scale();
        self.record(&TableRecord {
            values: &values,
            scale,
        });
        Ok(())
    }

    fn input(&mut self, _: Shape) -> Result<(), Infallible> {
        let output = self.quant();
        self.record(&InputRecord { output });
        Ok(())
    }

    fn norm(&mut self, norm: &Norm<()>) -> Result<(), Infallible> {
        let channels = norm.output().channels;
        let (gains, offsets) = (self.words(channels, 1 << 22), self.words(channels, 1 << 22));
        let multiplier = self.number(0..=32_767) as i32;
        let output = self.quant();
        self.record(&NormRecord {
            gains: &gains,
            offsets: &offsets,
            multiplier,
            output,
        });
        Ok(())
    }

    fn conv(&mut self, conv: &Conv<()>) -> Result<(), Infallible> {
        let outputs = conv.channels;
        let layout = self.layout(conv);
        let weights = self.weights(layout, conv);
        let bias = self.words(outputs, 1 << 29);
        // The next one above is negative.
        let factor = |me: &mut Self| me.number(0..=i32::MAX.into());
        let multipliers = self.array(outputs, factor, |word| (word as i32).to_le_bytes());
        let residual = match conv.extra {
            Extra::Residual(_) => factor(self) as i32,
            _ => self.number(0..=0) as i32,
        };
        let scale = self.scale();
        let symmetric = conv.symmetric;
        let (mut shifts, mut zero_points) = (Vec::new(), Vec::new());
        for _ in 0..outputs {
            let most = if symmetric { 0 } else { MAX_SHIFT.into() };
            let shift = self.number(0..=most);
            shifts.push(shift as u8);
            let limit = (256 << shift.min(most)) - 1;
            let zero = if symmetric {
                self.number(0..=0)
            } else if conv.readers.padded {
                self.within(-128..=127)
            } else {
                self.number(-limit..=limit)
            };
            zero_points.extend((zero as i16).to_le_bytes());
        }
        let written = self.writer.aligned(weights.len(), |padding| ConvRecord {
            padding,
            weights: &weights,
            bias: &bias,
            multipliers: &multipliers,
            residual,
            scale,
            shifts: &shifts,
            zero_points: &zero_points,
            layout,
        });
        self.full |= written.is_err();
        Ok(())
    }

    fn attention(&mut self, _: &Attention<()>) -> Result<(), Infallible> {
        let logit = self.number(0..=i32::MAX.into()) as i32;
        let value = self.number(0..=1 << 23) as i32;
        let output = self.quant();
        self.record(&MixRecord {
            logit,
            value,
            output,
        });
        Ok(())
    }

    fn output(&mut self, conv: &Conv<()>) -> Result<(), Infallible> {
        let weights = self.weights(WeightLayout::Direct, conv);
        let bias = self.words(conv.channels, 1 << 29);
        let scales = self.scales(conv.channels);
        let written = self.writer.aligned(weights.len(), |padding| OutputRecord {
            padding,
            weights: &weights,
            bias: &bias,
            scales: &scales,
        });
        self.full |= written.is_err();
        Ok(())
    }

    fn release(&mut self, (): ()) {}
}

/// Changes a few of a body's bytes; says whether any was.
///
/// # Errors
/// Where there are too few bytes to say which.
pub fn edit(body: &mut Vec<u8>, bytes: &mut Unstructured<'_>) -> arbitrary::Result<bool> {
    let before = body.clone();
    for _ in 0..bytes.int_in_range(0..=3)? {
        if body.is_empty() {
            break;
        }
        // Half of the time where the structure is.
        let last = body.len() - 1;
        let at = match bytes.arbitrary()? {
            true => bytes.int_in_range(0..=last.min(127))?,
            false => bytes.int_in_range(0..=last)?,
        };
        match bytes.int_in_range(0..=6)? {
            0 => body[at] = bytes.arbitrary()?,
            1 => body[at] ^= 1 << bytes.int_in_range(0..=7)?,
            2 => body.insert(at, bytes.arbitrary()?),
            3 => drop(body.remove(at)),
            4 => body.truncate(at),
            // A number in more bytes than it needs.
            5 => {
                body[at] |= 0x80;
                body.insert(at + 1, 0);
            }
            _ => {
                let end = (at + bytes.int_in_range(1..=32)?).min(body.len());
                let part = body[at..end].to_vec();
                body.splice(at..at, part);
            }
        }
    }
    Ok(*body != before)
}
