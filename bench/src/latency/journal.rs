//! When the engine had what: which epoch holds an offset, and when that epoch was complete on all workers.

use super::{Sample, now_us};
use anyhow::{Result, bail};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tidewatch_dataflow::capture::{Captured, reject_bytes};
use tidewatch_dataflow::stats::Stats;
use tidewatch_proto::ids::{Epoch, Offset};

/// How long the engine may take to read and complete what was appended.
const FINISH_MAX: Duration = Duration::from_secs(60);

/// Takes what an engine yields and notes when.
pub(super) struct Journal<'a> {
    captured: &'a Receiver<Captured>,
    stats: Arc<Stats>,
    /// By partition where reading stood at the end of epochs, both growing.
    positions: Vec<Vec<(Epoch, Offset)>>,
    /// By worker the last epoch that it has completed.
    through: Vec<Epoch>,
    /// Epochs that all workers have completed, and when, in microseconds since 1970; both grow.
    complete: Vec<(Epoch, u64)>,
    running: usize,
}

impl<'a> Journal<'a> {
    pub(super) fn new(captured: &'a Receiver<Captured>, stats: Arc<Stats>, threads: usize) -> Self {
        Self {
            captured,
            positions: vec![Vec::new(); stats.partitions.len()],
            stats,
            through: vec![Epoch(0); threads],
            complete: Vec::new(),
            running: threads,
        }
    }

    /// Takes one message, or none when none comes.
    pub(super) fn take(&mut self, wait: Duration) -> Result<()> {
        let captured = match self.captured.recv_timeout(wait) {
            Ok(captured) => captured,
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => bail!("the engine is gone"),
        };
        match captured {
            Captured::Rows(_, list) => self.stats.outbox_bytes.add(-(list.bytes() as i64)),
            Captured::Rejects(_, rejects) => {
                self.stats
                    .outbox_bytes
                    .add(-rejects.iter().map(reject_bytes).sum::<i64>());
            }
            Captured::Positions(epoch, positions) => {
                for position in positions {
                    self.positions[position.partition.index()].push((epoch, position.next));
                }
            }
            Captured::Through { worker, epoch } => {
                self.through[worker] = epoch;
                let slowest = self.through.iter().min().copied().unwrap_or_default();
                if self.complete.last().is_none_or(|(last, _)| *last < slowest) {
                    self.complete.push((slowest, now_us()));
                }
            }
            Captured::Ended {
                worker,
                error: Some(error),
            } => bail!("worker {worker} ended: {error}"),
            Captured::Ended { .. } => self.running -= 1,
            _ => {}
        }
        Ok(())
    }

    /// Takes what comes until every partition was read to its end, as of the end of an epoch.
    pub(super) fn take_until_read(&mut self, ends: &[Offset]) -> Result<()> {
        let begun = Instant::now();
        let lacks = |(positions, end): (&Vec<(Epoch, Offset)>, &Offset)| {
            end.0 > 0 && positions.last().is_none_or(|(_, next)| next < end)
        };
        while self.positions.iter().zip(ends).any(lacks) {
            if begun.elapsed() > FINISH_MAX {
                bail!("the engine does not read to the end");
            }
            self.take(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// Takes what comes until all workers have ended.
    pub(super) fn take_until_ended(&mut self) -> Result<()> {
        let begun = Instant::now();
        while self.running > 0 {
            if begun.elapsed() > FINISH_MAX {
                bail!("the engine does not end");
            }
            self.take(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// When the epoch that holds a record was complete, in microseconds since 1970; `None` when it was not.
    pub(super) fn complete_us(&self, sample: &Sample) -> Option<u64> {
        let positions = self.positions.get(sample.partition as usize)?;
        let place = positions.partition_point(|(_, next)| next.0 <= sample.offset);
        let (epoch, _) = positions.get(place)?;
        let place = self.complete.partition_point(|(complete, _)| complete < epoch);
        self.complete.get(place).map(|(_, us)| *us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tidewatch_dataflow::batch::Position;
    use tidewatch_proto::ids::Partition;

    #[test]
    fn a_record_is_complete_with_its_epoch_on_the_slowest_worker() {
        let (sender, captured) = mpsc::channel();
        let mut journal = Journal::new(&captured, Arc::new(Stats::new(1)), 2);
        let position = |epoch: u64, next: i64| {
            let position = Position {
                partition: Partition(0),
                next: Offset(next),
                clock_ms: 0,
            };
            Captured::Positions(Epoch(epoch), vec![position])
        };
        let through = |worker: usize, epoch: u64| Captured::Through {
            worker,
            epoch: Epoch(epoch),
        };
        for message in [
            position(1, 10),
            through(0, 1),
            through(1, 1),
            position(2, 20),
            through(0, 2),
        ] {
            sender.send(message).unwrap();
            journal.take(Duration::from_secs(5)).unwrap();
        }
        let at = |offset: i64| Sample {
            index: 0,
            partition: 0,
            offset,
        };
        assert!(journal.complete_us(&at(9)).is_some());
        assert_eq!(journal.complete_us(&at(10)), None);
        sender.send(through(1, 3)).unwrap();
        journal.take(Duration::from_secs(5)).unwrap();
        assert!(journal.complete_us(&at(10)) >= journal.complete_us(&at(9)));
        assert_eq!(journal.complete_us(&at(20)), None);
    }
}
