//! What writer and readers of the log share.

use super::config::LogSettings;
use super::frame::Tail;
use super::health::Health;
use super::segment::{Id, Segment};
use crate::clock::Clock;
use crate::event::EventHook;
use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidewatch_failpoints::{Bug, has_bug};
use tidewatch_proto::ids::{Offset, Partition};

/// The log.
pub(super) struct Shared {
    pub(super) settings: LogSettings,
    /// Which log it is.
    pub(super) id: Id,
    /// The names of the partitions.
    pub(super) names: Vec<String>,
    pub(super) parts: Vec<Part>,
    pub(super) hook: EventHook,
    pub(super) clock: Clock,
    pub(super) health: Health,
    /// The file that is locked while the log is open.
    pub(super) _lock: File,
}

/// A partition: what of it is durable.
pub(super) struct Part {
    /// Which one it is.
    pub(super) partition: Partition,
    /// Where its files are.
    pub(super) folder: PathBuf,
    segments: Mutex<VecDeque<Arc<Segment>>>,
    tail: Mutex<Tail>,
    /// The end of the tail, for those who only look whether there is more.
    end: AtomicI64,
    /// Nothing when nobody reads it.
    kept: Mutex<Option<Kept>>,
    /// What lies from here on is still needed by another reader.
    held: AtomicI64,
}

/// What the reader may come back to: two checkpoints are kept, and their records with them.
#[derive(Clone, Copy, Debug)]
struct Kept {
    older: Offset,
    newer: Offset,
}

impl Part {
    /// A partition with these files, the last of which is written.
    pub(super) fn new(partition: Partition, folder: PathBuf, segments: Vec<Arc<Segment>>, tail: Tail) -> Part {
        // Until a reader says where it goes on.
        let first = segments.first().map_or(tail.end, |segment| segment.base);
        let kept = Kept {
            older: first,
            newer: first,
        };
        Part {
            partition,
            folder,
            segments: Mutex::new(segments.into()),
            tail: Mutex::new(tail),
            end: AtomicI64::new(tail.end.0),
            kept: Mutex::new(Some(kept)),
            held: AtomicI64::new(i64::MAX),
        }
    }

    /// Its files.
    pub(super) fn segments(&self) -> MutexGuard<'_, VecDeque<Arc<Segment>>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset of its first record.
    pub(super) fn first(&self) -> Offset {
        self.segments().front().map_or(Offset(0), |segment| segment.base)
    }

    /// The offset after its last durable record.
    pub(super) fn end(&self) -> Offset {
        Offset(self.end.load(Ordering::Acquire))
    }

    /// How it ends.
    pub(super) fn tail(&self) -> Tail {
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets readers have what is durable now.
    pub(super) fn publish(&self, tail: Tail) {
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = tail;
        self.end.store(tail.end.0, Ordering::Release);
    }

    /// The file that has a record, or will have it.
    pub(super) fn find(&self, offset: Offset) -> Option<Arc<Segment>> {
        let segments = self.segments();
        segments.iter().rev().find(|segment| segment.base <= offset).cloned()
    }

    /// Begins a new file.
    pub(super) fn push(&self, segment: Arc<Segment>) {
        let mut segments = self.segments();
        // One that could not be written is replaced.
        if segments.back().is_some_and(|last| last.base == segment.base) {
            segments.pop_back();
        }
        segments.push_back(segment);
    }

    /// The reader begins here.
    pub(super) fn begin(&self, offset: Offset) {
        *self.kept() = Some(Kept {
            older: offset,
            newer: offset,
        });
    }

    /// A checkpoint that goes on from here is durable: what lies before the one before it is not needed any more.
    pub(super) fn read_until(&self, offset: Offset) {
        let mut kept = self.kept();
        let older = kept.map_or(offset, |kept| kept.newer);
        *kept = Some(Kept { older, newer: offset });
    }

    /// Nobody reads it.
    pub(super) fn let_go(&self) {
        *self.kept() = None;
    }

    /// Another reader still needs what lies from here on.
    pub(super) fn hold(&self, offset: Offset) {
        self.held.store(offset.0, Ordering::Release);
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody who reads it comes back to this file.
    pub(super) fn is_read(&self, segment: &Segment) -> bool {
        let is_held = segment.end().0 > self.held.load(Ordering::Acquire);
        if has_bug(Bug::LogLetsGo) {
            return true;
        }
        !is_held && self.kept().is_none_or(|kept| segment.end() <= kept.older)
    }
}
