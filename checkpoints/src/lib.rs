//! Checkpoints on disk: what the engine's workers give out goes into segments as it comes; once in a while a manifest
//! makes a checkpoint of them, and only then may sinks get what it holds.
//!
//! * [`Checkpoints`] fills segments.
//! * [`Writer`], on a thread of its own, makes them durable, one after the other, then manifests.
//! * [`load()`] finds the newest whole checkpoint.
//! * [`Store`] is where they are kept; a [`Folder`] is one.

mod folder;
mod kept;
mod load;
mod names;
mod pace;
mod store;
mod writer;

pub use folder::Folder;
pub use kept::Contents;
pub use load::{Found, load};
pub use pace::Pace;
pub use store::{Store, StoreError};
pub use writer::{Event, Owner, Writer};

use std::sync::mpsc;
use tidewatch_dataflow::capture::StateSlice;
use tidewatch_dataflow::checkpoint::file::SegmentWriter;
use tidewatch_dataflow::checkpoint::{Meta, Outbox, Part, Recorder};
use tidewatch_dataflow::journal::Entry;
use tidewatch_proto::ids::Generation;
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Row;

/// What the writer is given to do. A checkpoint comes with a cargo, which its owner gets back when it is durable.
pub enum Job<T> {
    /// A segment to make durable.
    Segment {
        /// Its number.
        number: u64,
        /// All of it.
        bytes: Vec<u8>,
        /// What is in it.
        contents: Contents,
    },
    /// A checkpoint to make of what came before; `delivered` is filled in.
    Seal(Box<Meta>, T),
}

/// A segment ends when it has grown to so many bytes.
const SEGMENT_BYTES: u64 = 16 << 20;

/// Fills segments and hands them on.
pub struct Checkpoints<T> {
    generation: Generation,
    recorder: Recorder,
    segment: SegmentWriter,
    number: u64,
    contents: Contents,
    to_writer: mpsc::Sender<Job<T>>,
}

impl<T> Checkpoints<T> {
    /// Checkpoints of a run, which go to its writer.
    pub fn new(generation: Generation, to_writer: mpsc::Sender<Job<T>>) -> Checkpoints<T> {
        Checkpoints {
            generation,
            recorder: Recorder::default(),
            segment: SegmentWriter::new(generation, 0),
            number: 0,
            contents: Contents::default(),
            to_writer,
        }
    }

    /// Takes over what an earlier run had not delivered.
    pub fn inherit(&mut self, outbox: &Outbox) {
        for (epoch, rows) in &outbox.rows {
            self.write(&Part::Rows(*epoch, rows.clone()));
        }
        for (epoch, rejects) in &outbox.rejects {
            self.write(&Part::Rejects(*epoch, rejects.clone()));
        }
        self.end_segment();
    }

    /// Takes what a worker has done to its series.
    pub fn journal(&mut self, worker: usize, entry: &Entry) {
        if let Entry::Applied(_, batch) = entry {
            self.contents.weight += batch.bytes() as i64;
        }
        if let Some(part) = self.recorder.take(worker, entry) {
            self.write(&part);
        }
    }

    /// Takes a part of a worker's state.
    pub fn state(&mut self, slice: StateSlice) {
        self.contents.weight += slice.bytes() as i64;
        self.write(&Part::State(slice));
    }

    /// Makes a checkpoint of what came so far, with the rows and rejects that sinks are to get from it.
    pub fn seal(&mut self, meta: Meta, rows: &[Row], rejects: &[Reject], cargo: T) {
        self.recorder.flush().iter().for_each(|part| self.write(part));
        // Rows may be needed for longer than the state beside them.
        self.end_segment();
        if !rows.is_empty() {
            self.write(&Part::Rows(meta.epoch, rows.to_vec()));
        }
        if !rejects.is_empty() {
            self.write(&Part::Rejects(meta.epoch, rejects.to_vec()));
        }
        self.end_segment();
        self.send(Job::Seal(Box::new(meta), cargo));
    }

    fn write(&mut self, part: &Part) {
        self.contents.note(part);
        self.segment.write(part);
        if self.segment.len() >= SEGMENT_BYTES {
            self.end_segment();
        }
    }

    fn end_segment(&mut self) {
        if self.segment.is_empty() {
            return;
        }
        let number = self.number;
        self.number += 1;
        let bytes = self.segment.take();
        self.segment = SegmentWriter::new(self.generation, self.number);
        let contents = std::mem::take(&mut self.contents);
        self.send(Job::Segment {
            number,
            bytes,
            contents,
        });
    }

    fn send(&self, job: Job<T>) {
        // A writer that has ended has said why.
        let _ = self.to_writer.send(job);
    }
}
