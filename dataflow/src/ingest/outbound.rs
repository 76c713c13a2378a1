//! The batches under construction, one for each worker, and what each worker was told before.

use super::series::Vocabulary;
use super::watermark::PartitionClock;
use crate::batch::{Batch, Messages, Progress};
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
    /// How many metric names and how many shapes each worker was sent.
    explained: Vec<(usize, usize)>,
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
            explained: vec![(0, 0); peers],
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
    pub(super) fn begin(&mut self, partition: Partition, clocks: &[PartitionClock], vocabulary: Vocabulary<'_>) {
        if partition != self.partition {
            self.flush_messages(clocks, vocabulary);
            self.partition = partition;
        }
    }

    /// Finishes the batches that hold messages or names.
    pub(super) fn flush_messages(&mut self, clocks: &[PartitionClock], vocabulary: Vocabulary<'_>) {
        let Some(clock) = clocks.get(self.partition.index()) else {
            return;
        };
        for target in 0..self.open.len() {
            if !self.open[target].messages.is_empty() || !self.open[target].new_devices.is_empty() {
                self.finish(target, self.partition, self.progress(self.partition, clock), vocabulary);
            }
        }
    }

    /// Tells every worker how far a partition has come, when that has changed in panes.
    pub(super) fn flush_progress(&mut self, partition: Partition, clock: &PartitionClock, vocabulary: Vocabulary<'_>) {
        let (publish_through, idle) = self.hints[partition.index()];
        let now = (clock.closed(), clock.expired(), publish_through, idle);
        if self.told[partition.index()] != now {
            self.told[partition.index()] = now;
            self.tell_all(partition, clock, vocabulary);
        }
    }

    /// Sends every worker a batch with the progress of a partition.
    pub(super) fn tell_all(&mut self, partition: Partition, clock: &PartitionClock, vocabulary: Vocabulary<'_>) {
        for target in 0..self.open.len() {
            self.finish(target, partition, self.progress(partition, clock), vocabulary);
        }
    }

    fn finish(&mut self, target: usize, partition: Partition, progress: Progress, vocabulary: Vocabulary<'_>) {
        let mut batch = Batch {
            new_devices: std::mem::take(&mut self.open[target].new_devices),
            ..Batch::default()
        };
        let open = &mut self.open[target];
        if !open.messages.is_empty() {
            // The next one will be about as large.
            (batch.messages, batch.value) = (
                Messages::with_capacity(open.messages.len()),
                Vec::with_capacity(open.value.len()),
            );
            std::mem::swap(&mut batch.messages, &mut open.messages);
            std::mem::swap(&mut batch.value, &mut open.value);
            std::mem::swap(&mut batch.metric, &mut open.metric);
        }
        batch.target = target as u32;
        batch.origin = self.origin;
        batch.sequence = self.sent[target];
        self.sent[target] += 1;
        batch.partition = partition;
        batch.progress = progress;
        let (metrics, shapes) = self.explained[target];
        batch.new_metrics = vocabulary.metrics[metrics..].to_vec();
        batch.new_shapes = vocabulary.shapes.since(shapes).map(Box::from).collect();
        self.explained[target] = (metrics + batch.new_metrics.len(), shapes + batch.new_shapes.len());
        self.finished.push(batch);
    }

    /// What was finished since the last call.
    pub(super) fn take(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.finished)
    }
}
