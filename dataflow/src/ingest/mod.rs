//! From a source to batches: reading, decoding, watermarks, idleness. No timely in here.

mod decode;
mod devices;
mod metrics;
mod outbound;
mod read;
mod refusal;
mod series;
mod suspects;
mod watermark;

pub use decode::Decoder;
pub use watermark::PartitionClock;

use crate::batch::{Batch, Position};
use crate::config::{Clock, EngineConfig, epochs_of};
use crate::stats::Stats;
use std::sync::Arc;
use tidewatch_proto::ids::{Epoch, Partition};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::source::{Polled, Source, SourceError};
use tidewatch_proto::time::{EventTime, PaneNo};

/// One worker's reader: a source, its decoder, and when each partition's watermark last moved.
pub struct Reader {
    source: Box<dyn Source>,
    decoder: Decoder,
    clock: Arc<dyn Clock>,
    config: Arc<EngineConfig>,
    stats: Arc<Stats>,
    partitions: Vec<Partition>,
    heard: Vec<Heard>,
    looked: Epoch,
    finished: bool,
}

/// When a partition's watermark last moved, and where it stood then.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Epoch,
    watermark_ms: i64,
    idle: bool,
}

impl Reader {
    /// A reader of the partitions that `source` was opened with.
    pub fn new(
        source: Box<dyn Source>,
        decoder: Decoder,
        partitions: Vec<Partition>,
        clock: Arc<dyn Clock>,
        config: Arc<EngineConfig>,
        stats: Arc<Stats>,
    ) -> Reader {
        let at = clock.epoch();
        let heard = partitions
            .iter()
            .map(|p| Heard {
                at,
                watermark_ms: decoder.progress(*p).watermark_ms,
                idle: false,
            })
            .collect();
        Reader {
            source,
            decoder,
            clock,
            config,
            stats,
            partitions,
            heard,
            looked: at,
            finished: false,
        }
    }

    /// Takes what the source has, once, and looks for idle partitions as of `now`, which is not after the poll.
    /// The bytes taken come with the answer.
    ///
    /// # Errors
    /// When reading can't go on.
    pub fn poll(&mut self, now: Epoch) -> Result<(Polled, usize), SourceError> {
        if self.finished {
            return Ok((Polled::Finished, 0));
        }
        let polled = self.source.poll(&mut self.decoder, self.config.poll_records_max)?;
        let bytes = self.decoder.count();
        if polled == Polled::Finished {
            self.finished = true;
            for partition in &self.partitions {
                self.decoder.hint(*partition, PaneNo(i32::MAX), true);
            }
        } else {
            self.look_for_idle(now);
        }
        Ok((polled, bytes))
    }

    /// Says that reading is held back: what has passed since the last look is no partition's silence.
    pub fn hold_back(&mut self, now: Epoch) {
        let held = now.0.saturating_sub(self.looked.0);
        self.heard.iter_mut().for_each(|heard| heard.at.0 += held);
        self.looked = now;
    }

    /// Says to every worker that this is the last epoch, so that all of them know which one it was.
    pub fn farewell(&mut self) {
        if let Some(partition) = self.partitions.first() {
            self.decoder.farewell(*partition);
        }
    }

    /// What was decoded since the last call, in the order of the log; with it goes the partitions' progress.
    pub fn take(&mut self) -> (Vec<Batch>, Vec<Reject>) {
        self.decoder.flush(&self.partitions)
    }

    fn look_for_idle(&mut self, now: Epoch) {
        self.looked = now;
        for (partition, heard) in self.partitions.iter().zip(&mut self.heard) {
            let watermark_ms = self.decoder.progress(*partition).watermark_ms;
            if watermark_ms != heard.watermark_ms {
                *heard = Heard {
                    at: now,
                    watermark_ms,
                    idle: false,
                };
                self.decoder.hint(*partition, PaneNo::NONE, false);
            } else if now.0.saturating_sub(heard.at.0) >= epochs_of(self.config.idle_ms) {
                heard.idle = true;
                let wall = EventTime(self.clock.wall_ms().saturating_sub(self.config.lateness_ms));
                self.decoder.hint(*partition, PaneNo::closed_by(wall), true);
            }
        }
    }

    /// The positions of the partitions, for the end of an epoch.
    pub fn positions(&self) -> Vec<Position> {
        let heard = self.partitions.iter().zip(&self.heard);
        heard
            .filter_map(|(partition, heard)| {
                let position = self.decoder.position(*partition)?;
                if let Some(stats) = self.stats.partitions.get(partition.index()) {
                    stats.next_offset.set(position.next.0);
                    stats.watermark_ms.set(self.decoder.progress(*partition).watermark_ms);
                    stats.idle.set(i64::from(heard.idle));
                }
                Some(position)
            })
            .collect()
    }
}
