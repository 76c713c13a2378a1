//! Open windows as they change, for whoever listens. Nothing is done for them while nobody does.

use crate::stats::Gauge;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::{EPOCH_MS, Epoch, Name};
use tidewatch_proto::row::Job;

/// What is listened to.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Windows of which per-series jobs.
    pub jobs: Vec<Job>,
    /// Windows of these devices; `None` for all.
    pub devices: Option<Arc<HashSet<Name>>>,
    /// Changes are pushed at most once in this time, in steps of an epoch; 0: with every batch.
    pub every_ms: u64,
    /// Bytes that wait to be taken at most. Beyond it changes are put together until there is room again.
    pub bytes_max: usize,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch {
            jobs: vec![Job::Minute],
            devices: None,
            every_ms: 1_000,
            bytes_max: 16 << 20,
        }
    }
}

/// The listening end. All open windows come first, as they stand; then those that take readings, with status `live`.
/// The rows of a series come in order. Listening ends when it is dropped.
#[derive(Debug)]
pub struct Live {
    rows: Receiver<RowList>,
    waiting: Arc<Gauge>,
}

impl Live {
    /// The next rows, waiting for them for a time.
    ///
    /// # Errors
    /// When none come in that time, or when none will ever come.
    pub fn recv_timeout(&self, wait: Duration) -> Result<RowList, RecvTimeoutError> {
        let list = self.rows.recv_timeout(wait)?;
        self.waiting.add(-(list.bytes() as i64));
        Ok(list)
    }
}

/// A worker's end.
#[derive(Clone, Debug)]
pub struct Listener {
    watch: Watch,
    rows: Sender<RowList>,
    waiting: Arc<Gauge>,
    pushed: Option<Epoch>,
}

/// Nobody listens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Listener {
    /// Both ends.
    pub fn pair(watch: Watch) -> (Listener, Live) {
        let (sender, receiver) = mpsc::channel();
        let waiting = Arc::new(Gauge::default());
        let listener = Listener {
            watch,
            rows: sender,
            waiting: waiting.clone(),
            pushed: None,
        };
        let rows = receiver;
        (listener, Live { rows, waiting })
    }

    /// Whether changes are pushed now.
    pub fn is_due(&self, now: Epoch) -> bool {
        let every = self.watch.every_ms.div_ceil(EPOCH_MS);
        let rested = self.pushed.is_none_or(|pushed| now.0 >= pushed.0 + every);
        rested && self.waiting.get() < self.watch.bytes_max as i64
    }

    /// The jobs.
    pub fn jobs(&self) -> &[Job] {
        &self.watch.jobs
    }

    /// The devices, unless it is all.
    pub fn devices(&self) -> Option<&HashSet<Name>> {
        self.watch.devices.as_deref()
    }

    /// Pushes changes.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub fn push(&mut self, now: Epoch, lists: Vec<RowList>) -> Result<(), Gone> {
        self.pushed = Some(now);
        for list in lists {
            self.waiting.add(list.bytes() as i64);
            self.rows.send(list).map_err(|_| Gone)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_proto::row::{Row, Status, Values};
    use tidewatch_proto::time::EventTime;

    fn list() -> Vec<RowList> {
        vec![RowList::Rows(vec![Row {
            job: Job::Minute,
            key: "d".into(),
            metric: "m".into(),
            window_start: EventTime(0),
            window_end: EventTime(60_000),
            values: Values::default(),
            status: Status::Live,
            revision: Epoch(7),
        }])]
    }

    #[test]
    fn changes_wait_for_their_time_and_for_room() {
        let watch = Watch {
            every_ms: 250,
            bytes_max: 1,
            ..Watch::default()
        };
        let (mut listener, live) = Listener::pair(watch);
        assert!(listener.is_due(Epoch(7)));
        listener.push(Epoch(7), list()).unwrap();
        assert!(!listener.is_due(Epoch(10)), "there is no room");
        live.recv_timeout(Duration::ZERO).unwrap();
        assert!(!listener.is_due(Epoch(9)), "it is not time");
        assert!(listener.is_due(Epoch(10)));
        assert_eq!(
            live.recv_timeout(Duration::ZERO).unwrap_err(),
            RecvTimeoutError::Timeout
        );
        drop(live);
        assert_eq!(listener.push(Epoch(10), list()), Err(Gone));
    }
}
