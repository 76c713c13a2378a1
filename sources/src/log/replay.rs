//! Takes records back. Of two that are alike to the log time one is as good as the other, so one is looked for by all that
//! it has.

use super::source::LogFactory;
use super::writer::{AppendError, LogWriter};
use super::{Batch, Shared};
use crate::replay::{Again, ReplayError, ReplayLog};
use std::time::Duration;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, SourceError, SourceFactory};
use tidewatch_proto::time::LogTime;

/// How long to wait until what was appended is durable.
const DURABLE: Duration = Duration::from_secs(5);
/// How many records are read at once.
const RECORDS: usize = 10_000;

impl ReplayLog for LogWriter {
    fn partitions(&self) -> &[String] {
        &self.shared().names
    }

    fn end(&self, partition: Partition) -> Result<Offset, SourceError> {
        let tail = self.tail(partition).ok_or_else(|| no_partition(self.shared()))?;
        Ok(tail.end)
    }

    fn put_once(&self, again: &Again<'_>) -> Result<Offset, ReplayError> {
        let appended = self.appended(again.partition);
        let appended = appended.ok_or_else(|| ReplayError::Refused(no_partition(self.shared())))?;
        // It may have been appended by an earlier try that didn't wait so long.
        self.durable(again.partition, appended)?;
        if let Some(offset) = find(self.shared(), again, appended)? {
            return Ok(offset);
        }
        let mut batch = Batch::default();
        batch.push(again.key, again.payload, LogTime(again.at_ms));
        let end = self.append_beside(again.partition, &batch).map_err(|error| {
            let about = self.shared().settings.error(error.to_string());
            match error {
                AppendError::Full | AppendError::Closed => ReplayError::Failed(about),
                AppendError::TooLarge | AppendError::NoPartition => ReplayError::Refused(about),
            }
        })?;
        self.durable(again.partition, end)?;
        Ok(Offset(end.0 - 1))
    }
}

impl LogWriter {
    fn durable(&self, partition: Partition, end: Offset) -> Result<(), ReplayError> {
        match self.wait(partition, end, DURABLE) {
            true => Ok(()),
            false => {
                let problem = "what was appended is not durable yet: its disk may be full or slow";
                Err(ReplayError::Failed(self.shared().settings.error(problem.to_owned())))
            }
        }
    }
}

fn no_partition(log: &Shared) -> SourceError {
    log.settings.error(AppendError::NoPartition.to_string())
}

/// Where the record is, if it is between its `from` and `end`.
fn find(log: &std::sync::Arc<Shared>, again: &Again<'_>, end: Offset) -> Result<Option<Offset>, ReplayError> {
    if again.from >= end {
        return Ok(None);
    }
    if again.from < log.parts[again.partition.index()].first() {
        return Err(ReplayError::Gone);
    }
    let factory = LogFactory { log: log.clone() };
    let from = Assignment {
        partition: again.partition,
        from: Some(again.from),
    };
    let mut source = factory.open(&[from]).map_err(ReplayError::Failed)?;
    let mut search = Search {
        again,
        found: None,
        next: again.from,
    };
    while search.found.is_none() && search.next < end {
        let polled = source.poll(&mut search, RECORDS).map_err(ReplayError::Failed)?;
        if polled != Polled::Some {
            break;
        }
    }
    Ok(search.found)
}

/// Looks for a record.
struct Search<'a> {
    again: &'a Again<'a>,
    found: Option<Offset>,
    next: Offset,
}

impl Intake for Search<'_> {
    fn records(&mut self, _: Partition, records: &[Record<'_>]) {
        let (time, again) = (Some(LogTime(self.again.at_ms)), self.again);
        let is_it = |record: &&Record<'_>| {
            record.log_time == time && record.key == again.key && record.payload == again.payload
        };
        let found = records.iter().find(is_it).map(|record| record.offset);
        self.found = self.found.or(found);
        if let Some(last) = records.last() {
            self.next = last.offset.next();
        }
    }

    fn unusable(&mut self, _: Partition, record: Record<'_>, _: Reason, _: String) {
        self.next = record.offset.next();
    }

    fn lag(&mut self, _: Partition, _: u64) {}
}
