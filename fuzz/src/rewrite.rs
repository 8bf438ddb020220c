//! The blob of a model, written anew from what was read.

use std::convert::Infallible;

use tiny_ddpm::Model;
use tiny_ddpm::blob::Writer;
use tiny_ddpm::blob::records::{
    ConvRecord, InputRecord, LinearRecord, MixRecord, NormRecord, OutputRecord, Records,
    TableRecord,
};
use tiny_ddpm::graph::{Attention, Conv, Interpreter, Linear, Norm, Shape, Table, walk};

/// The bytes that the library's writer makes of a model.
///
/// # Panics
/// Where a record is missing, or they are longer than the model's own.
#[must_use]
pub fn rewritten(model: &Model<'_>) -> Vec<u8> {
    // Something more, so that a longer one is seen.
    let mut buffer = vec![0; model.blob_len() + 64];
    let writer = Writer::new(&mut buffer, model.info()).expect("as long as the model's");
    let mut rewriter = Rewriter {
        writer,
        records: model.records(),
    };
    let Ok(()) = walk(&mut rewriter, model.topology());
    assert_eq!(rewriter.records.remaining(), 0);
    let length = rewriter.writer.finish();
    buffer.truncate(length);
    buffer
}

struct Rewriter<'w, 'b> {
    writer: Writer<'w>,
    records: Records<'b>,
}

/// Copies the next record: one that begins with aligned weights, or any other.
macro_rules! copy {
    ($self:ident, aligned $record:ident) => {{
        let record: $record<'_> = $self.records.next_record().expect("was loaded");
        let length = record.weights.len();
        let written = $self
            .writer
            .aligned(length, |padding| $record { padding, ..record });
        written.expect("as long as the model's");
    }};
    ($self:ident, $record:ty) => {{
        let record: $record = $self.records.next_record().expect("was loaded");
        $self
            .writer
            .record(&record)
            .expect("as long as the model's");
    }};
}

impl Interpreter for Rewriter<'_, '_> {
    type Data = ();
    type Error = Infallible;

    fn timestep(&mut self, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn linear(&mut self, _: &Linear) -> Result<(), Infallible> {
        copy!(self, aligned LinearRecord);
        Ok(())
    }

    fn classes(&mut self, _: &Table) -> Result<(), Infallible> {
        copy!(self, TableRecord<'_>);
        Ok(())
    }

    fn input(&mut self, _: Shape) -> Result<(), Infallible> {
        copy!(self, InputRecord);
        Ok(())
    }

    fn norm(&mut self, _: &Norm<()>) -> Result<(), Infallible> {
        copy!(self, NormRecord<'_>);
        Ok(())
    }

    fn conv(&mut self, _: &Conv<()>) -> Result<(), Infallible> {
        copy!(self, aligned ConvRecord);
        Ok(())
    }

    fn attention(&mut self, _: &Attention<()>) -> Result<(), Infallible> {
        copy!(self, MixRecord);
        Ok(())
    }

    fn output(&mut self, _: &Conv<()>) -> Result<(), Infallible> {
        copy!(self, aligned OutputRecord);
        Ok(())
    }

    fn release(&mut self, (): ()) {}
}
