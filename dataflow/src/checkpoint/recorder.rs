//! From what workers give out to the parts of a segment.

use super::{Chunk, Part};
use crate::journal::{Entry, JournalWriter};

/// Makes chunks of the journals of a run's workers.
#[derive(Debug, Default)]
pub struct Recorder {
    journals: Vec<Journal>,
}

#[derive(Debug, Default)]
struct Journal {
    writer: JournalWriter,
    /// How many entries came before the chunk that is being written.
    before: u64,
}

/// A chunk is given out when it has grown to so many bytes: each says all its names again.
const CHUNK_BYTES: usize = 4 << 20;

impl Recorder {
    /// Takes what a worker has done; gives a part when there is enough for one.
    pub fn take(&mut self, worker: usize, entry: &Entry) -> Option<Part> {
        if self.journals.len() <= worker {
            self.journals.resize_with(worker + 1, Journal::default);
        }
        let journal = &mut self.journals[worker];
        journal.writer.write(entry);
        (journal.writer.len() >= CHUNK_BYTES).then(|| journal.part(worker))
    }

    /// Takes back the memory of a part that it gave and that is written.
    pub fn reuse(&mut self, part: Part) {
        if let Part::Journal(chunk) = part
            && let Some(journal) = self.journals.get_mut(chunk.worker)
        {
            journal.writer.reuse(chunk.bytes);
        }
    }

    /// Gives out what there is.
    pub fn flush(&mut self) -> Vec<Part> {
        let journals = self.journals.iter_mut().enumerate();
        let begun = journals.filter(|(_, journal)| !journal.writer.is_empty());
        begun.map(|(worker, journal)| journal.part(worker)).collect()
    }
}

impl Journal {
    fn part(&mut self, worker: usize) -> Part {
        let entries = std::mem::replace(&mut self.before, self.writer.entries());
        let bytes = self.writer.take();
        Part::Journal(Chunk { worker, entries, bytes })
    }
}
