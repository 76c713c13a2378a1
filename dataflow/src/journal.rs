//! The journal: what a worker has applied and completed, one thing after the other, as bytes and back.
//!
//! State at a point of the journal, and the journal from there on, give the state at any later point: all that a
//! worker does to its series follows from its batches and from what it completed between them. So a checkpoint is
//! parts of the state, each taken at its own point, and the journal since the earliest of these points; what changes
//! between two checkpoints costs what was read, not what was touched.
//!
//! A chunk of the journal explains all its numbers itself: a batch goes by the sending worker's numbers, whose names
//! may have come long before.

use crate::batch::{Batch, Messages, NO_SHAPE, Progress};
pub use crate::packing::Malformed;
use crate::packing::{read_integers, read_values, write_integers, write_values};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use tidewatch_proto::ids::{Epoch, Name, Offset, Partition};
use tidewatch_proto::time::PaneNo;

/// One thing that a worker has done to its series.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// It has applied a batch that was read in an epoch.
    Applied(Epoch, Box<Batch>),
    /// It has completed an epoch.
    Completed(Completion),
}

/// What completing an epoch came to, beyond what the state itself says: what depended on memory or on what else ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The epoch.
    pub epoch: Epoch,
    /// Whether corrections were published.
    pub corrections: bool,
    /// By partition the last pane that can't change any more.
    pub expired: Vec<PaneNo>,
}

/// Writes a worker's journal, chunk by chunk.
#[derive(Debug, Default)]
pub struct JournalWriter {
    origins: BTreeMap<u32, Vocabulary>,
    /// How many chunks were begun: a name is explained once in each.
    chunk: u32,
    bytes: Vec<u8>,
    entries: u64,
}

/// What a sending worker's numbers mean, and in which chunk each was last explained.
#[derive(Debug, Default)]
struct Vocabulary {
    devices: Vec<Name>,
    /// Apart from the names: it is looked up for every message.
    devices_said: Vec<u32>,
    metrics: Vec<(Name, u32)>,
    shapes: Vec<(Box<[u32]>, u32)>,
}

/// What a batch's numbers mean, as far as its chunk has not said yet.
#[derive(Default, Serialize, Deserialize)]
struct Explained {
    devices: Vec<(u32, Name)>,
    metrics: Vec<(u32, Name)>,
    shapes: Vec<(u32, Box<[u32]>)>,
}

const APPLIED: u8 = 1;
const COMPLETED: u8 = 2;

impl JournalWriter {
    /// How many bytes the chunk has so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written since the last chunk was taken.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many entries were written in all.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The chunk so far; what comes begins the next.
    pub fn take(&mut self) -> Vec<u8> {
        self.chunk += 1;
        std::mem::take(&mut self.bytes)
    }

    /// Gives back the memory of a chunk, if there is no other for the next.
    pub fn reuse(&mut self, mut chunk: Vec<u8>) {
        if self.bytes.capacity() == 0 {
            chunk.clear();
            self.bytes = chunk;
        }
    }

    /// Writes an entry.
    pub fn write(&mut self, entry: &Entry) {
        self.entries += 1;
        match entry {
            Entry::Applied(epoch, batch) => {
                self.bytes.push(APPLIED);
                put(&mut self.bytes, &(epoch, batch.origin, batch.partition, batch.progress));
                let explained = self.explain(batch);
                put(&mut self.bytes, &explained);
                write_columns(&mut self.bytes, batch);
            }
            Entry::Completed(completion) => {
                self.bytes.push(COMPLETED);
                put(&mut self.bytes, completion);
            }
        }
    }

    /// Learns the names that a batch brings, and gives those of its numbers that the chunk lacks.
    fn explain(&mut self, batch: &Batch) -> Explained {
        let vocabulary = self.origins.entry(batch.origin).or_default();
        let never = self.chunk.wrapping_sub(1);
        let names = |names: &[Box<str>]| -> Vec<(Name, u32)> {
            names.iter().map(|name| (Name::from(name.as_ref()), never)).collect()
        };
        let devices = batch.new_devices.iter();
        vocabulary.devices.extend(devices.map(|name| Name::from(name.as_ref())));
        vocabulary.devices_said.resize(vocabulary.devices.len(), never);
        vocabulary.metrics.extend(names(&batch.new_metrics));
        let shapes = batch.new_shapes.iter();
        vocabulary.shapes.extend(shapes.map(|shape| (shape.clone(), never)));
        let (chunk, mut explained) = (self.chunk, Explained::default());
        for number in &batch.messages.device {
            let said = &mut vocabulary.devices_said[*number as usize];
            if *said != chunk {
                *said = chunk;
                let name = vocabulary.devices[*number as usize].clone();
                explained.devices.push((*number, name));
            }
        }
        let mut metric = |number: u32| {
            let (name, said) = &mut vocabulary.metrics[number as usize];
            if *said != chunk {
                *said = chunk;
                explained.metrics.push((number, name.clone()));
            }
        };
        batch.metric.iter().for_each(|number| metric(*number));
        let mut last = NO_SHAPE;
        for number in batch.messages.shape.iter().copied() {
            if number == last || number == NO_SHAPE {
                continue;
            }
            last = number;
            let (metrics, said) = &mut vocabulary.shapes[number as usize];
            if *said != chunk {
                *said = chunk;
                metrics.iter().for_each(|number| metric(*number));
                explained.shapes.push((number, metrics.clone()));
            }
        }
        explained
    }
}

fn put(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    postcard::to_io(value, out).expect("every sequence knows its length, and a Vec has no end");
}

/// Appends the columns of a batch. What seldom differs from message to message goes in runs.
fn write_columns(out: &mut Vec<u8>, batch: &Batch) {
    let messages = &batch.messages;
    put(out, &(messages.len(), batch.value.len()));
    runs(out, messages.shape.iter().copied());
    runs(out, messages.closed.iter().map(|pane| pane.0));
    put(out, &messages.beyond);
    runs(
        out,
        (0..messages.len()).map(|message| batch.readings(message).len() as u32),
    );
    write_integers(out, messages.event_time.iter().copied());
    write_offsets(out, &messages.offset);
    write_integers(out, messages.device.iter().map(|number| i64::from(*number)));
    messages
        .fingerprint
        .iter()
        .for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
    write_integers(out, batch.metric.iter().map(|number| i64::from(*number)));
    write_values(out, &batch.value);
}

/// Appends offsets: the first, and the others unless they follow it one by one.
fn write_offsets(out: &mut Vec<u8>, offsets: &[Offset]) {
    let base = offsets.first().map_or(0, |offset| offset.0);
    let in_a_row = (0..).zip(offsets).all(|(by, offset)| offset.0.wrapping_sub(base) == by);
    put(out, &(base, in_a_row));
    if !in_a_row {
        write_integers(out, offsets.iter().map(|offset| offset.0));
    }
}

fn runs<T: Copy + PartialEq + Serialize>(out: &mut Vec<u8>, column: impl Iterator<Item = T>) {
    let mut runs: Vec<(u32, T)> = Vec::new();
    for value in column {
        match runs.last_mut().filter(|run| run.1 == value) {
            Some(run) => run.0 += 1,
            None => runs.push((1, value)),
        }
    }
    put(out, &runs);
}

/// Reads a chunk of a journal.
///
/// # Errors
/// What is wrong with the bytes.
pub fn read(chunk: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let mut reader = ChunkReader {
        rest: chunk,
        origins: BTreeMap::new(),
    };
    let mut entries = Vec::new();
    while !reader.rest.is_empty() {
        entries.push(reader.entry()?);
    }
    Ok(entries)
}

/// Reads entries. Numbers are given anew, as if the chunk's first batch of an origin were the origin's first.
struct ChunkReader<'a> {
    rest: &'a [u8],
    origins: BTreeMap<u32, Renumbered>,
}

/// By the origin's number the number in this chunk.
#[derive(Default)]
struct Renumbered {
    batches: u64,
    devices: HashMap<u32, u32>,
    metrics: HashMap<u32, u32>,
    shapes: HashMap<u32, u32>,
}

impl ChunkReader<'_> {
    fn entry(&mut self) -> Result<Entry, Malformed> {
        match self.take::<u8>()? {
            APPLIED => self.applied(),
            COMPLETED => self.take().map(Entry::Completed),
            _ => Err("an entry is of no known kind"),
        }
    }

    fn applied(&mut self) -> Result<Entry, Malformed> {
        let (epoch, origin, partition, progress): (Epoch, u32, Partition, Progress) = self.take()?;
        let explained: Explained = self.take()?;
        let mut batch = self.columns()?;
        (batch.origin, batch.partition, batch.progress) = (origin, partition, progress);
        let numbers = self.origins.entry(origin).or_default();
        batch.sequence = numbers.batches;
        numbers.batches += 1;
        for (number, name) in explained.devices {
            numbers.devices.insert(number, numbers.devices.len() as u32);
            batch.new_devices.push(name.as_ref().into());
        }
        for (number, name) in explained.metrics {
            numbers.metrics.insert(number, numbers.metrics.len() as u32);
            batch.new_metrics.push(name.as_ref().into());
        }
        for (number, metrics) in explained.shapes {
            let metrics: Option<Box<[u32]>> = metrics.iter().map(|m| numbers.metrics.get(m).copied()).collect();
            numbers.shapes.insert(number, numbers.shapes.len() as u32);
            batch.new_shapes.push(metrics.ok_or(UNEXPLAINED)?);
        }
        translate(batch.messages.device.iter_mut(), &numbers.devices)?;
        translate(batch.metric.iter_mut(), &numbers.metrics)?;
        let shapes = batch.messages.shape.iter_mut();
        translate(shapes.filter(|shape| **shape != NO_SHAPE), &numbers.shapes)?;
        Ok(Entry::Applied(epoch, Box::new(batch)))
    }

    fn columns(&mut self) -> Result<Batch, Malformed> {
        let (count, values): (usize, usize) = self.take()?;
        // Each takes more than a byte: no more room is made than there can be content for.
        if count.saturating_add(values) > self.rest.len() {
            return Err("a batch is longer than its chunk");
        }
        let shape: Vec<u32> = self.runs(count)?;
        let closed: Vec<i32> = self.runs(count)?;
        let beyond: Vec<u32> = self.take()?;
        let readings: Vec<u32> = self.runs(count)?;
        let mut end = 0_u32;
        let ends = readings.iter().map(|readings| {
            end = end.saturating_add(*readings);
            end
        });
        let readings_end: Vec<u32> = ends.collect();
        if end as usize != values {
            return Err("readings and values differ in number");
        }
        let unshaped = shape.iter().zip(&readings).filter(|(shape, _)| **shape == NO_SHAPE);
        let metrics = unshaped.map(|(_, readings)| *readings as usize).sum();
        Ok(Batch {
            messages: Messages {
                shape,
                event_time: read_integers(&mut self.rest, count)?,
                closed: closed.into_iter().map(PaneNo).collect(),
                beyond,
                offset: self.offsets(count)?,
                device: self.numbers(count)?,
                fingerprint: self.fingerprints(count)?,
                readings_end,
            },
            metric: self.numbers(metrics)?,
            value: read_values(&mut self.rest, values)?,
            ..Batch::default()
        })
    }

    fn offsets(&mut self, count: usize) -> Result<Vec<Offset>, Malformed> {
        let (base, in_a_row): (i64, bool) = self.take()?;
        match in_a_row {
            true => Ok((0..count as i64).map(|by| Offset(base.wrapping_add(by))).collect()),
            false => Ok(read_integers(&mut self.rest, count)?.into_iter().map(Offset).collect()),
        }
    }

    fn take<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T, Malformed> {
        let (value, rest) = postcard::take_from_bytes(self.rest).map_err(|_| "an entry is cut short or garbled")?;
        self.rest = rest;
        Ok(value)
    }

    fn numbers(&mut self, count: usize) -> Result<Vec<u32>, Malformed> {
        let numbers = read_integers(&mut self.rest, count)?.into_iter();
        let numbers = numbers.map(|number| u32::try_from(number).map_err(|_| "a number is none of ours"));
        numbers.collect()
    }

    fn fingerprints(&mut self, count: usize) -> Result<Vec<u64>, Malformed> {
        let (hashes, rest) = self.rest.split_at_checked(count * 8).ok_or("a column is cut short")?;
        self.rest = rest;
        let hashes = hashes.as_chunks::<8>().0;
        Ok(hashes.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
    }

    fn runs<T: Copy + for<'de> Deserialize<'de>>(&mut self, count: usize) -> Result<Vec<T>, Malformed> {
        let runs: Vec<(u32, T)> = self.take()?;
        let sum: u64 = runs.iter().map(|(times, _)| u64::from(*times)).sum();
        if sum != count as u64 {
            return Err("a column has not as many values as there are messages");
        }
        let values = runs
            .iter()
            .flat_map(|(times, value)| std::iter::repeat_n(*value, *times as usize));
        Ok(values.collect())
    }
}

const UNEXPLAINED: Malformed = "a number is not explained";

fn translate<'a>(mut numbers: impl Iterator<Item = &'a mut u32>, to: &HashMap<u32, u32>) -> Result<(), Malformed> {
    numbers.try_for_each(|number| {
        *number = *to.get(number).ok_or(UNEXPLAINED)?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message: its device, its event time, its metrics, and whether these are a shape.
    type Message = (u32, i64, Vec<u32>, bool);

    fn message() -> impl Strategy<Value = Message> {
        let time = prop_oneof![4 => 0..100_000_i64, 1 => any::<i64>()];
        (0..5_u32, time, prop::collection::vec(0..4_u32, 0..4), any::<bool>())
    }

    /// A batch that brings the names it is the first to use, as a sender makes it.
    fn batch(messages: &[Message], known: &mut (u32, u32, Vec<Vec<u32>>), closed: i32) -> Batch {
        let mut batch = Batch::default();
        for (device, time, metrics, shaped) in messages {
            while known.0 <= *device {
                batch.new_devices.push(format!("d{}", known.0).into());
                known.0 += 1;
            }
            while known.1 <= metrics.iter().copied().max().unwrap_or(0) {
                batch.new_metrics.push(format!("m{}", known.1).into());
                known.1 += 1;
            }
            let shape = known.2.iter().position(|shape| shape == metrics);
            let shape = shape.unwrap_or(known.2.len());
            if *shaped && shape == known.2.len() {
                known.2.push(metrics.clone());
                batch.new_shapes.push(metrics.as_slice().into());
            }
            batch.messages.device.push(*device);
            batch.messages.shape.push(if *shaped { shape as u32 } else { NO_SHAPE });
            batch.messages.event_time.push(*time);
            if closed % 3 == 0 {
                batch.messages.beyond.push(batch.messages.len() as u32);
            }
            batch.messages.closed.push(PaneNo(closed));
            batch.messages.fingerprint.push(time.unsigned_abs());
            batch.messages.offset.push(match time % 3 {
                0 => Offset(*time),
                _ => Offset(batch.messages.offset.last().map_or(5, |last| last.0.wrapping_add(1))),
            });
            if !shaped {
                batch.metric.extend(metrics);
            }
            batch
                .value
                .extend(metrics.iter().map(|metric| f64::from(*metric) + 0.5));
            batch.messages.readings_end.push(batch.value.len() as u32);
        }
        batch
    }

    /// What a batch says, by names.
    fn told(batches: &[Batch]) -> Vec<String> {
        let (mut devices, mut metrics, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
        let mut told = Vec::new();
        for batch in batches {
            devices.extend(batch.new_devices.iter().cloned());
            metrics.extend(batch.new_metrics.iter().cloned());
            shapes.extend(batch.new_shapes.iter().cloned());
            let mut unshaped = batch.metric.iter();
            for at in 0..batch.messages.len() {
                let named: Vec<&str> = match batch.messages.shape[at] {
                    NO_SHAPE => unshaped
                        .by_ref()
                        .take(batch.readings(at).len())
                        .map(|m| &*metrics[*m as usize])
                        .collect(),
                    shape => shapes[shape as usize].iter().map(|m| &*metrics[*m as usize]).collect(),
                };
                let (device, values) = (
                    &devices[batch.messages.device[at] as usize],
                    &batch.value[batch.readings(at)],
                );
                let messages = &batch.messages;
                let rest = (
                    messages.event_time[at],
                    messages.closed[at],
                    messages.fingerprint[at],
                    messages.offset[at],
                    batch.progress,
                );
                told.push(format!("{device} {named:?} {values:?} {rest:?}"));
            }
        }
        told
    }

    proptest! {
        #[test]
        fn a_journal_comes_back_by_name_chunk_by_chunk(
            batches in prop::collection::vec((prop::collection::vec(message(), 0..6), -2..3_i32, any::<bool>()), 1..12)
        ) {
            let (mut writer, mut known) = (JournalWriter::default(), (0, 0, Vec::new()));
            let (mut written, mut chunks): (Vec<Batch>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
            for (messages, closed, ends) in &batches {
                let batch = batch(messages, &mut known, *closed);
                let entry = Entry::Applied(Epoch(7), Box::new(batch));
                writer.write(&entry);
                let Entry::Applied(_, batch) = entry else { unreachable!() };
                written.push(*batch);
                let completion = Completion { epoch: Epoch(9), corrections: *ends, expired: vec![PaneNo(*closed)] };
                writer.write(&Entry::Completed(completion));
                if *ends {
                    chunks.push(writer.take());
                }
            }
            chunks.push(writer.take());
            prop_assert_eq!(writer.entries() as usize, 2 * batches.len());
            let mut back = Vec::new();
            for chunk in &chunks {
                let entries = read(chunk).unwrap();
                let batches = entries.into_iter().filter_map(|entry| match entry {
                    Entry::Applied(Epoch(7), batch) => Some(*batch),
                    _ => None,
                });
                back.extend(told(&batches.collect::<Vec<Batch>>()));
            }
            prop_assert_eq!(back, told(&written));
        }
    }
}
