//! What the durable segments hold, and which of them a checkpoint needs.

use std::collections::BTreeMap;
use std::ops::Range;
use tidewatch_dataflow::checkpoint::Part;
use tidewatch_dataflow::checkpoint::file::SegmentRef;
use tidewatch_proto::ids::Epoch;

/// What is in a segment, as far as it matters for how long it is needed.
#[derive(Debug, Default)]
pub struct Contents {
    /// What it weighs in the outbox until it is durable.
    pub weight: i64,
    slices: Vec<SliceInfo>,
    /// Of each chunk of a journal the worker and how many entries came before it.
    chunks: Vec<(usize, u64)>,
    /// The last epoch of which sinks are given anything.
    outbox: Option<Epoch>,
}

/// A slice without what it holds.
#[derive(Clone, Copy, Debug)]
struct SliceInfo {
    worker: usize,
    round: u64,
    number: u32,
    is_last: bool,
    entries: u64,
    through: Epoch,
}

impl Contents {
    /// Notes a part.
    pub fn note(&mut self, part: &Part) {
        match part {
            Part::Begin(..) => {}
            Part::State(slice) => self.slices.push(SliceInfo {
                worker: slice.worker,
                round: slice.round,
                number: slice.number,
                is_last: slice.is_last,
                entries: slice.entries,
                through: slice.through,
            }),
            Part::Journal(chunk) => self.chunks.push((chunk.worker, chunk.entries)),
            Part::Rows(epoch, _) | Part::Rejects(epoch, _) | Part::Stragglers(epoch, _) | Part::Anomalies(epoch, _) => {
                self.note_outbox(*epoch)
            }
        }
    }

    /// Notes rows or rejects of an epoch.
    pub fn note_outbox(&mut self, epoch: Epoch) {
        self.outbox = self.outbox.max(Some(epoch));
    }
}

/// The segments that are durable.
#[derive(Debug, Default)]
pub struct Kept {
    segments: BTreeMap<u64, (u64, Contents)>,
}

impl Kept {
    /// A segment of so many bytes is durable.
    pub fn insert(&mut self, number: u64, bytes: u64, contents: Contents) {
        self.segments.insert(number, (bytes, contents));
    }

    /// Forgets all segments but those that are needed.
    pub fn retain(&mut self, is_needed: impl Fn(u64) -> bool) {
        self.segments.retain(|number, _| is_needed(*number));
    }

    /// The segments that a checkpoint of an epoch needs; `None` while a worker has no whole round of slices.
    pub fn needed(&self, through: Epoch, workers: Range<usize>, delivered: Epoch) -> Option<Vec<SegmentRef>> {
        let mut from = workers.map(|worker| self.needed_of(worker, through));
        let from = from.try_fold(u64::MAX, |least, own| Some(least.min(own?)))?;
        let is_needed = |number: &u64, contents: &Contents| *number >= from || contents.outbox > Some(delivered);
        let segments = self.segments.iter();
        let needed = segments.filter(|(number, (_, contents))| is_needed(number, contents));
        let needed = needed.map(|(number, (bytes, _))| SegmentRef {
            number: *number,
            bytes: *bytes,
        });
        Some(needed.collect())
    }

    fn needed_of(&self, worker: usize, through: Epoch) -> Option<u64> {
        let slices = self.segments.iter().flat_map(|(number, (_, contents))| {
            let own = contents
                .slices
                .iter()
                .filter(move |slice| slice.worker == worker && slice.through <= through);
            own.map(move |slice| (*number, *slice))
        });
        let mut rounds: BTreeMap<u64, (u32, bool, u64, u64)> = BTreeMap::new();
        for (segment, slice) in slices {
            let round = rounds.entry(slice.round).or_insert((0, false, segment, slice.entries));
            round.0 += 1;
            round.1 |= slice.is_last && slice.number + 1 == round.0;
        }
        let whole = rounds.values().rev().find(|round| round.1)?;
        let (_, _, segment, entries) = *whole;
        let chunks = self.segments.iter().flat_map(|(number, (_, contents))| {
            let own = contents
                .chunks
                .iter()
                .filter(move |chunk| chunk.0 == worker && chunk.1 <= entries);
            own.map(move |_| *number)
        });
        Some(chunks.last().map_or(segment, |chunk| segment.min(chunk)))
    }
}
