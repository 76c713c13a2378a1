//! Dead letters as the API has them: read where they are stored, and put into their log again.
//!
//! A replay is noted at the letter before it begins, and when it is done; whoever finds one that isn't looks for its record
//! in the log, from where the log ended when it was noted. So a record is there once, whatever was cut off and wherever.

use super::clock::wall_ms;
use super::reader::read_error;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use tidewatch_api::{LetterReader, ReadError, ReadErrorKind, ReplayRefusal};
use tidewatch_failpoints::{Injected, Point, check};
use tidewatch_proto::ids::Partition;
use tidewatch_proto::query::{Letter, LetterQuery, Replay};
use tidewatch_sinks::SinkError;
use tidewatch_sinks::hot::LetterStore;
use tidewatch_sources::SourceError;
use tidewatch_sources::replay::{Again, ReplayError, ReplayLog};

/// Dead letters that are stored.
pub struct Stored {
    store: Arc<dyn LetterStore>,
    /// Where they go again; or why they can't.
    log: Result<Arc<dyn ReplayLog>, String>,
    /// One at a time.
    turn: Mutex<()>,
}

impl Stored {
    /// The letters of a store, which came out of this log.
    pub fn new(store: Arc<dyn LetterStore>, log: Result<Arc<dyn ReplayLog>, String>) -> Stored {
        Stored {
            store,
            log,
            turn: Mutex::new(()),
        }
    }

    /// What is noted at a letter before it is put into the log: again what was cut off, or something new.
    fn begin(&self, letter: &Letter, log: &dyn ReplayLog, to: Partition, force: bool) -> Result<Replay, ReplayRefusal> {
        match letter.replay {
            Some(replay) if replay.offset.is_some() && !force => {
                return Err(ReplayRefusal::Done(letter.partition.clone(), replay));
            }
            Some(replay) if !force => return Ok(replay),
            _ => {}
        }
        let at_ms = wall_ms();
        let replay = Replay {
            id: RandomState::new().hash_one((letter.number, at_ms)),
            at_ms,
            from: log.end(to).map_err(|error| failed(&error))?,
            offset: None,
        };
        let before = letter.replay.map(|replay| replay.id);
        match self
            .store
            .note_replay(letter.number, before, &replay)
            .map_err(store_failed)?
        {
            true => Ok(replay),
            false => {
                let problem = "it has left, or somebody else has just replayed it";
                Err(ReplayRefusal::Failed(ReadError::new(ReadErrorKind::Busy, problem)))
            }
        }
    }
}

impl LetterReader for Stored {
    fn letters(&self, query: &LetterQuery) -> Result<Vec<Letter>, ReadError> {
        self.store.letters(query).map_err(read_error)
    }

    fn replay(&self, number: u64, force: bool) -> Result<(String, Replay), ReplayRefusal> {
        // Nothing is kept behind the lock.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let query = LetterQuery {
            reason: None,
            before: number.checked_add(1),
            limit: 1,
        };
        let found = self.store.letters(&query).map_err(store_failed)?;
        let letter = found.into_iter().find(|letter| letter.number == number);
        let letter = letter.ok_or(ReplayRefusal::Unknown)?;
        let log = self.log.as_ref().map_err(|why| ReplayRefusal::NoLog(why.clone()))?;
        let to = log.partitions().iter().position(|name| *name == letter.partition);
        let to = to.map(|index| Partition(index as u32)).ok_or_else(|| {
            let why = format!(
                "it came from {}, which the source of today doesn't read",
                letter.partition
            );
            ReplayRefusal::NoLog(why)
        })?;
        let replay = self.begin(&letter, &**log, to, force)?;
        check(Point::ReplayNoted).map_err(injected)?;
        let put = log.put_once(&Again {
            id: replay.id,
            partition: to,
            from: replay.from,
            at_ms: replay.at_ms,
            key: letter.key.as_deref(),
            payload: &letter.payload,
        });
        let offset = put.map_err(|error| match error {
            ReplayError::Gone => ReplayRefusal::Lost,
            ReplayError::Refused(error) => {
                ReplayRefusal::Refused(ReadError::new(ReadErrorKind::Failed, error.to_string()))
            }
            ReplayError::Failed(error) => failed(&error),
        })?;
        check(Point::ReplayPut).map_err(injected)?;
        let replay = Replay {
            offset: Some(offset),
            ..replay
        };
        // A letter that has left meanwhile needs no note.
        let noted = self.store.note_replay(number, Some(replay.id), &replay);
        noted.map_err(store_failed)?;
        Ok((letter.partition, replay))
    }
}

fn failed(error: &SourceError) -> ReplayRefusal {
    ReplayRefusal::Failed(ReadError::new(ReadErrorKind::Unavailable, error.to_string()))
}

fn store_failed(error: SinkError) -> ReplayRefusal {
    ReplayRefusal::Failed(read_error(error))
}

fn injected(injected: Injected) -> ReplayRefusal {
    ReplayRefusal::Failed(ReadError::new(ReadErrorKind::Unavailable, injected.to_string()))
}
