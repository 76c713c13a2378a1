//! Checkpoints on disk: what the engine's workers give out goes into segments as it comes; once in a while a manifest
//! makes a checkpoint of them, and only then may sinks get what it holds.
//!
//! * [`Checkpoints`] fills segments.
//! * [`Writer`], on a thread of its own, makes them durable, one after the other, then manifests.
//! * [`load()`] finds the newest whole checkpoint; [`Pinned`] holds its files for a copy.
//! * [`Store`] is where they are kept: a [`Folder`], or [`S3`].
//! * [`claim()`] makes a run the newest one: an older one's writer stops.

mod buffers;
mod claim;
pub mod conformance;
mod direct;
mod folder;
mod kept;
mod load;
mod names;
mod pace;
mod pinned;
mod s3;
mod share;
mod store;
mod writer;

pub use buffers::Buffer;
use buffers::Buffers;
pub use claim::{Claimed, Replaced, claim, replaced};
pub use folder::{Folder, RESTORING};
pub use kept::Contents;
pub use load::{Found, load, load_chosen, load_with};
pub use pace::Pace;
pub use pinned::{Pinned, beside};
pub use s3::{S3, S3Error, S3Settings};
pub use share::{Member, Share};
pub use store::{Store, StoreError, Tree};
pub use writer::{Event, Owner, Writer};

use std::sync::mpsc;
use tidewatch_dataflow::capture::StateSlice;
use tidewatch_dataflow::checkpoint::file::SegmentWriter;
use tidewatch_dataflow::checkpoint::{Meta, Outbox, Part, Recorder};
use tidewatch_dataflow::journal::Entry;
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Row;
use tidewatch_proto::straggler::Straggler;

/// What epochs have brought sinks since the last checkpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Brought<'a> {
    /// Rows.
    pub rows: &'a [Row],
    /// Records that can't be used.
    pub rejects: &'a [Reject],
    /// Readings for the storing sink.
    pub stragglers: &'a [Straggler],
    /// What rules have found.
    pub anomalies: &'a [Anomaly],
}

/// What the writer is given to do. A checkpoint comes with a cargo, which its owner gets back when it is durable.
pub enum Job<T> {
    /// A segment to make durable.
    Segment {
        /// Its number.
        number: u64,
        /// All of it.
        bytes: Buffer,
        /// What is in it.
        contents: Contents,
    },
    /// A checkpoint to make of what came before; `delivered` is filled in.
    Seal(Box<Meta>, T),
    /// Another process's share of a checkpoint.
    Share(Box<Share>),
    /// The first process has made a checkpoint durable.
    Durable(Epoch),
    /// Nothing more comes from this process.
    End,
}

/// A segment ends when it has grown to so many bytes.
const SEGMENT_BYTES: u64 = 16 << 20;

/// Fills segments and hands them on.
pub struct Checkpoints<T> {
    generation: Generation,
    member: Member,
    recorder: Recorder,
    segment: SegmentWriter,
    number: u64,
    contents: Contents,
    buffers: Buffers,
    to_writer: mpsc::Sender<Job<T>>,
}

impl<T> Checkpoints<T> {
    /// Checkpoints of a run's process, which go to its writer.
    pub fn new(generation: Generation, member: Member, to_writer: mpsc::Sender<Job<T>>) -> Checkpoints<T> {
        let mut buffers = Buffers::default();
        Checkpoints {
            generation,
            member,
            recorder: Recorder::default(),
            segment: SegmentWriter::over(buffers.take(), generation, member.index as u64),
            buffers,
            number: member.index as u64,
            contents: Contents::default(),
            to_writer,
        }
    }

    /// Takes over what an earlier run had not delivered.
    pub fn inherit(&mut self, outbox: &Outbox) {
        outbox.rows.iter().for_each(|(epoch, rows)| self.rows(*epoch, rows));
        outbox
            .rejects
            .iter()
            .for_each(|(epoch, rejects)| self.rejects(*epoch, rejects));
        for (epoch, stragglers) in &outbox.stragglers {
            self.write(&Part::Stragglers(*epoch, stragglers.clone()));
        }
        for (epoch, anomalies) in &outbox.anomalies {
            self.write(&Part::Anomalies(*epoch, anomalies.clone()));
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
            self.recorder.reuse(part);
        }
    }

    /// Takes a part of a worker's state.
    pub fn state(&mut self, slice: StateSlice) {
        self.contents.weight += slice.bytes() as i64;
        self.write(&Part::State(slice));
    }

    /// Makes a checkpoint of what came so far, with what sinks are to get from it.
    pub fn seal(&mut self, meta: Meta, brought: &Brought<'_>, cargo: T) {
        for part in self.recorder.flush() {
            self.write(&part);
            self.recorder.reuse(part);
        }
        // Rows may be needed for longer than the state beside them.
        self.end_segment();
        if !brought.rows.is_empty() {
            self.rows(meta.epoch, brought.rows);
        }
        if !brought.rejects.is_empty() {
            self.rejects(meta.epoch, brought.rejects);
        }
        if !brought.stragglers.is_empty() {
            self.write(&Part::Stragglers(meta.epoch, brought.stragglers.to_vec()));
        }
        if !brought.anomalies.is_empty() {
            self.write(&Part::Anomalies(meta.epoch, brought.anomalies.to_vec()));
        }
        self.end_segment();
        self.send(Job::Seal(Box::new(meta), cargo));
    }

    fn rows(&mut self, epoch: Epoch, rows: &[Row]) {
        self.contents.note_outbox(epoch);
        self.segment.write_rows(epoch, rows);
        self.end_full_segment();
    }

    fn rejects(&mut self, epoch: Epoch, rejects: &[Reject]) {
        self.contents.note_outbox(epoch);
        self.segment.write_rejects(epoch, rejects);
        self.end_full_segment();
    }

    /// Says that nothing more comes.
    pub fn end(self) {
        self.send(Job::End);
    }

    fn write(&mut self, part: &Part) {
        self.contents.note(part);
        self.segment.write(part);
        self.end_full_segment();
    }

    fn end_full_segment(&mut self) {
        if self.segment.len() >= SEGMENT_BYTES {
            self.end_segment();
        }
    }

    fn end_segment(&mut self) {
        if self.segment.is_empty() {
            return;
        }
        let number = self.number;
        self.number += self.member.processes as u64;
        let bytes = self.buffers.lend(self.segment.take());
        self.segment = SegmentWriter::over(self.buffers.take(), self.generation, self.number);
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
