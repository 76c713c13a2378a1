//! The batches under construction, one for each worker, and what each worker was told before.

use super::watermark::PartitionClock;
use crate::batch::{Batch, Progress};
use tidewatch_proto::ids::Partition;
use tidewatch_proto::time::PaneNo;

/// What a partition's readers were told last; they are told again when it changes.
type Told = (PaneNo, PaneNo, PaneNo, bool);

/// Batches under construction.
#[derive(Debug)]
pub(super) struct Outbound {
    origin: u32,
    partition: Partition,
    open: Vec<Batch>,
    /// How many batches each worker was sent.
    sent: Vec<u64>,
    /// How many metric names each worker was sent.
    metrics_sent: Vec<usize>,
    hints: Vec<(PaneNo, bool)>,
    told: Vec<Told>,
    finished: Vec<Batch>,
}

impl Outbound {
    pub(super) fn new(origin: usize, peers: usize, partitions: usize) -> Outbound {
        Outbound {
            origin: origin as u32,
            partition: Partition(0),
            open: vec![Batch::default(); peers],
            sent: vec![0; peers],
            metrics_sent: vec![0; peers],
            hints: vec![(PaneNo::NONE, false); partitions],
            told: vec![(PaneNo::NONE, PaneNo::NONE, PaneNo::NONE, false); partitions],
            finished: Vec::new(),
        }
    }

    /// The batch for a worker.
    #[inline]
    pub(super) fn batch(&mut self, target: u16) -> &mut Batch {
        &mut self.open[usize::from(target)]
    }

    pub(super) fn hint(&mut self, partition: Partition, publish_through: PaneNo, idle: bool) {
        self.hints[partition.index()] = (publish_through, idle);
    }

    pub(super) fn progress(&self, partition: Partition, clock: &PartitionClock) -> Progress {
        let (publish_through, idle) = self.hints[partition.index()];
        Progress {
            watermark_ms: clock.watermark_ms(),
            publish_through,
            idle,
        }
    }

    /// Turns to another partition.
    pub(super) fn begin(&mut self, partition: Partition, clocks: &[PartitionClock], metric_names: &[Box<str>]) {
        if partition != self.partition {
            self.flush_messages(clocks, metric_names);
            self.partition = partition;
        }
    }

    /// Finishes the batches that hold messages or names.
    pub(super) fn flush_messages(&mut self, clocks: &[PartitionClock], metric_names: &[Box<str>]) {
        let Some(clock) = clocks.get(self.partition.index()) else {
            return;
        };
        for target in 0..self.open.len() {
            if !self.open[target].messages.is_empty() || !self.open[target].new_devices.is_empty() {
                self.finish(
                    target,
                    self.partition,
                    self.progress(self.partition, clock),
                    metric_names,
                );
            }
        }
    }

    /// Tells every worker how far a partition has come, when that has changed in panes.
    pub(super) fn flush_progress(&mut self, partition: Partition, clock: &PartitionClock, metric_names: &[Box<str>]) {
        let (publish_through, idle) = self.hints[partition.index()];
        let now = (clock.closed(), clock.expired(), publish_through, idle);
        if self.told[partition.index()] != now {
            self.told[partition.index()] = now;
            self.tell_all(partition, clock, metric_names);
        }
    }

    /// Sends every worker a batch with the progress of a partition.
    pub(super) fn tell_all(&mut self, partition: Partition, clock: &PartitionClock, metric_names: &[Box<str>]) {
        for target in 0..self.open.len() {
            self.finish(target, partition, self.progress(partition, clock), metric_names);
        }
    }

    fn finish(&mut self, target: usize, partition: Partition, progress: Progress, metric_names: &[Box<str>]) {
        let mut batch = std::mem::take(&mut self.open[target]);
        batch.target = target as u32;
        batch.origin = self.origin;
        batch.sequence = self.sent[target];
        self.sent[target] += 1;
        batch.partition = partition;
        batch.progress = progress;
        batch.new_metrics = metric_names[self.metrics_sent[target]..].to_vec();
        self.metrics_sent[target] = metric_names.len();
        self.finished.push(batch);
    }

    /// What was finished since the last call.
    pub(super) fn take(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.finished)
    }
}
