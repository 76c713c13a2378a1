//! The latest dead letters in memory.

use super::{MemoryConfig, refuse_older};
use crate::hot::LetterStore;
use crate::{Sink, SinkError};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidewatch_proto::ids::{Generation, Offset, Partition};
use tidewatch_proto::query::{Letter, LetterQuery, Replay};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Delivery;

/// The latest rejects, each (partition, offset) once. Clones share them.
#[derive(Clone, Debug)]
pub struct MemoryDeadLetters {
    letters: Arc<Mutex<Letters>>,
    partitions: Arc<[String]>,
}

#[derive(Debug)]
struct Letters {
    generation: Generation,
    known: BTreeSet<(Partition, Offset)>,
    kept: VecDeque<Kept>,
    bytes: usize,
    evicted: u64,
    letters_max: usize,
    bytes_max: usize,
}

/// A letter, and that it was replayed.
#[derive(Debug)]
struct Kept {
    reject: Reject,
    replay: Option<Replay>,
}

impl MemoryDeadLetters {
    /// Empty, with the bounds for dead letters.
    pub fn new(config: &MemoryConfig) -> MemoryDeadLetters {
        let letters = Letters {
            generation: Generation(0),
            known: BTreeSet::new(),
            kept: VecDeque::new(),
            bytes: 0,
            evicted: 0,
            letters_max: config.dead_letters_max,
            bytes_max: config.dead_letter_bytes_max,
        };
        MemoryDeadLetters {
            letters: Arc::new(Mutex::new(letters)),
            partitions: Arc::new([]),
        }
    }

    /// The same letters, read with the names that the source gives its partitions; one without a name has its number.
    #[must_use]
    pub fn naming(self, partitions: &[String]) -> MemoryDeadLetters {
        MemoryDeadLetters {
            partitions: partitions.into(),
            ..self
        }
    }

    /// The latest `limit` rejects, the latest first.
    pub fn latest(&self, limit: usize) -> Vec<Reject> {
        let letters = self.lock();
        let latest = letters.kept.iter().rev().take(limit);
        latest.map(|kept| kept.reject.clone()).collect()
    }

    /// Rejects held now.
    pub fn len(&self) -> usize {
        self.lock().kept.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rejects that left because of a bound.
    pub fn evicted(&self) -> u64 {
        self.lock().evicted
    }

    // A panic while the lock was held leaves letters that are each whole: they can still be read.
    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink<Reject> for MemoryDeadLetters {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn deliver(&mut self, delivery: &Delivery<Reject>) -> Result<(), SinkError> {
        let mut letters = self.lock();
        refuse_older(letters.generation, delivery.generation)?;
        letters.generation = delivery.generation;
        delivery.items.iter().for_each(|reject| letters.put(reject));
        Ok(())
    }
}

impl LetterStore for MemoryDeadLetters {
    fn letters(&self, query: &LetterQuery) -> Result<Vec<Letter>, SinkError> {
        let letters = self.lock();
        let name = |partition: Partition| match self.partitions.get(partition.index()) {
            Some(name) => name.clone(),
            None => partition.to_string(),
        };
        let matching = letters.numbered().rev().filter(|(number, kept)| {
            let is_before = query.before.is_none_or(|before| *number < before);
            is_before && query.reason.is_none_or(|reason| kept.reject.reason == reason)
        });
        let letter = |(number, Kept { reject, replay }): (u64, &Kept)| Letter {
            number,
            partition: name(reject.partition),
            offset: reject.offset,
            log_time_ms: reject.log_time.map(|time| time.0),
            reason: reject.reason,
            detail: reject.detail.clone(),
            key: reject.key.clone(),
            payload: reject.payload.clone(),
            replay: *replay,
        };
        Ok(matching.take(query.limit).map(letter).collect())
    }

    fn note_replay(&self, number: u64, before: Option<u64>, replay: &Replay) -> Result<bool, SinkError> {
        let mut letters = self.lock();
        let at = number.checked_sub(letters.evicted + 1).map(|at| at as usize);
        let kept = at.and_then(|at| letters.kept.get_mut(at));
        let kept = kept.filter(|kept| kept.replay.map(|replay| replay.id) == before);
        Ok(kept.map(|kept| kept.replay = Some(*replay)).is_some())
    }
}

impl Letters {
    /// The letters with their numbers, which count from 1 all that ever came.
    fn numbered(&self) -> impl DoubleEndedIterator<Item = (u64, &Kept)> {
        let first = self.evicted + 1;
        let numbered = self.kept.iter().enumerate();
        numbered.map(move |(at, kept)| (first + at as u64, kept))
    }

    fn put(&mut self, reject: &Reject) {
        if !self.known.insert((reject.partition, reject.offset)) {
            return;
        }
        self.bytes += size_of_reject(reject);
        self.kept.push_back(Kept {
            reject: reject.clone(),
            replay: None,
        });
        while self.kept.len() > self.letters_max || self.bytes > self.bytes_max {
            let Some(Kept { reject: oldest, .. }) = self.kept.pop_front() else {
                break;
            };
            self.known.remove(&(oldest.partition, oldest.offset));
            self.bytes -= size_of_reject(&oldest);
            self.evicted += 1;
        }
    }
}

fn size_of_reject(reject: &Reject) -> usize {
    size_of::<Reject>() + reject.payload.len() + reject.detail.len() + reject.key.as_ref().map_or(0, Vec::len)
}
