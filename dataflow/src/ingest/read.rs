//! Records as they are read before their devices are looked up, so that the lookups wait for memory together.

use super::devices::Key;
use super::series::KnownSeries;
use std::ops::Range;
use tidewatch_proto::source::Record;
use tidewatch_proto::walk::{Message, Metric, WalkError, walk};

/// How many records are read before the first is looked up.
pub(super) const CHUNK: usize = 64;

/// A few records that were read.
#[derive(Default)]
pub(super) struct Chunk<'a> {
    /// The shape that was expected.
    pub(super) shape: u32,
    /// The records, in their order.
    pub(super) reads: Vec<Read<'a>>,
    values: Vec<f64>,
    metrics: Vec<Metric<'a>>,
}

/// A record that was read.
pub(super) struct Read<'a> {
    pub(super) form: Form<'a>,
    pub(super) key: Key,
    /// Where its values or its metrics lie among those of the chunk.
    range: Range<usize>,
}

/// What a record turned out to be.
pub(super) enum Form<'a> {
    /// It has the form of the shape that was expected; its values were read.
    Expected(Message<'a>),
    /// It was walked; its metrics were read.
    Walked(Message<'a>),
    /// It is no message.
    Broken(WalkError),
}

impl<'a> Chunk<'a> {
    /// Reads records in the place of those before, expecting the shape that was resolved last.
    pub(super) fn read(&mut self, records: &[Record<'a>], known: &KnownSeries) {
        self.reads.clear();
        self.values.clear();
        self.metrics.clear();
        self.shape = known.shape_number();
        let template = known.shape().template.as_ref();
        for record in records {
            let before = (self.values.len(), self.metrics.len());
            let expected = template.and_then(|template| template.read(record.payload, &mut self.values));
            let (form, range) = match expected {
                Some(message) => (Form::Expected(message), before.0..self.values.len()),
                None => match walk(record.payload, &mut self.metrics) {
                    Ok(message) => (Form::Walked(message), before.1..self.metrics.len()),
                    Err(error) => (Form::Broken(error), 0..0),
                },
            };
            let key = match &form {
                Form::Expected(message) | Form::Walked(message) if !message.device_id.is_empty() => {
                    known.prepare(message.device_id)
                }
                _ => Key::default(),
            };
            self.reads.push(Read { form, key, range });
        }
    }

    /// The values of a record of the expected form.
    pub(super) fn values(&self, read: &Read<'a>) -> &[f64] {
        &self.values[read.range.clone()]
    }

    /// The metrics of a record that was walked.
    pub(super) fn metrics(&self, read: &Read<'a>) -> &[Metric<'a>] {
        &self.metrics[read.range.clone()]
    }
}
