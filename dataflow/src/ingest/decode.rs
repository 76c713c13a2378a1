//! Records in, batches of columns out: the walk of the wire, the limits, the watermark, the routing.

use super::outbound::Outbound;
use super::series::{Known, KnownSeries};
use super::watermark::PartitionClock;
use crate::batch::{Batch, Position, Progress};
use crate::config::EngineConfig;
use crate::stats::Stats;
use std::sync::Arc;
use tidewatch_proto::ids::{Offset, Partition, mix};
use tidewatch_proto::limits::name_is_good;
use tidewatch_proto::reject::{Reason, Reject};
use tidewatch_proto::source::{Intake, Record};
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN, EventTime, PaneNo};
use tidewatch_proto::walk::{Message, Metric, WalkError, walk};

/// Records that are walked before the first is looked up, so that lookups wait for memory together.
const CHUNK: usize = 64;

/// Turns records into batches for each worker. One for each reading worker.
pub struct Decoder {
    config: Arc<EngineConfig>,
    stats: Arc<Stats>,
    clocks: Vec<PartitionClock>,
    known: KnownSeries,
    outbound: Outbound,
    rejects: Vec<Reject>,
    bytes: usize,
    records: u64,
}

/// Why a record can't be used: the reason and what exactly was wrong.
type Refusal = (Reason, String);

impl Decoder {
    /// A decoder on worker `origin` of `peers`, for a source of so many partitions.
    pub fn new(
        config: Arc<EngineConfig>,
        stats: Arc<Stats>,
        origin: usize,
        peers: usize,
        partitions: usize,
    ) -> Decoder {
        let clock = PartitionClock::new(Offset(i64::MIN), i64::MIN, &config);
        Decoder {
            known: KnownSeries::new(config.limits.clone(), peers),
            outbound: Outbound::new(origin, peers, partitions),
            clocks: vec![clock; partitions],
            config,
            stats,
            rejects: Vec::new(),
            bytes: 0,
            records: 0,
        }
    }

    /// Goes on from where a partition was left.
    pub fn restore(&mut self, position: Position) {
        self.clocks[position.partition.index()] = PartitionClock::new(position.next, position.clock_ms, &self.config);
    }

    /// Knows a device and its metrics from before a restart, so that its limits hold on.
    pub fn restore_device(&mut self, home: Partition, device: &str, metrics: &[&str]) {
        self.outbound.begin(home, &self.clocks, self.known.metric_names());
        self.known.restore(device, metrics, &mut self.outbound);
    }

    /// Has an empty batch sent to every worker.
    pub fn farewell(&mut self, partition: Partition) {
        self.outbound.flush_messages(&self.clocks, self.known.metric_names());
        let clock = &self.clocks[partition.index()];
        self.outbound.tell_all(partition, clock, self.known.metric_names());
    }

    /// Sets what is said of a partition beside its watermark.
    pub fn hint(&mut self, partition: Partition, publish_through: PaneNo, idle: bool) {
        self.outbound.hint(partition, publish_through, idle);
    }

    /// The position of a partition, if any record of it was taken.
    pub fn position(&self, partition: Partition) -> Option<Position> {
        let clock = &self.clocks[partition.index()];
        (clock.next.0 != i64::MIN).then_some(Position {
            partition,
            next: clock.next,
            clock_ms: clock.clock_ms,
        })
    }

    /// How far the partition has come.
    pub fn progress(&self, partition: Partition) -> Progress {
        self.outbound.progress(partition, &self.clocks[partition.index()])
    }

    /// Bytes and records taken since the last call.
    pub fn take_volume(&mut self) -> (usize, u64) {
        (std::mem::take(&mut self.bytes), std::mem::take(&mut self.records))
    }

    /// What has been decoded since the last call, with the progress of `partitions`.
    pub fn flush(&mut self, partitions: &[Partition]) -> (Vec<Batch>, Vec<Reject>) {
        self.outbound.flush_messages(&self.clocks, self.known.metric_names());
        for partition in partitions {
            self.outbound
                .flush_progress(*partition, &self.clocks[partition.index()], self.known.metric_names());
        }
        (self.outbound.take(), std::mem::take(&mut self.rejects))
    }

    fn refuse(&mut self, partition: Partition, record: &Record<'_>, (reason, detail): Refusal) {
        self.stats.dead_letters(reason).add(1);
        self.rejects.push(Reject {
            partition,
            offset: record.offset,
            log_time: record.log_time,
            reason,
            detail,
            key: record.key.map(<[u8]>::to_vec),
            payload: record.payload.to_vec(),
        });
    }

    /// Whether the record is new: at or behind the partition's position. It advances the position.
    fn is_new(&mut self, partition: Partition, record: &Record<'_>) -> bool {
        let clock = &mut self.clocks[partition.index()];
        if record.offset < clock.next {
            self.stats.duplicates.add(1);
            return false;
        }
        clock.next = record.offset.next();
        self.bytes += record.payload.len();
        self.records += 1;
        true
    }

    fn accept(
        &mut self,
        partition: Partition,
        record: &Record<'_>,
        walked: &Result<Message<'_>, WalkError>,
        metrics: &[Metric<'_>],
        key: super::devices::Key,
    ) -> Result<(), Refusal> {
        let message = walked.as_ref().map_err(|e| (Reason::Schema, e.to_string()))?;
        let limits = &self.config.limits;
        let known = self.known.find(key, metrics);
        if matches!(known, Known::Nothing) && !name_is_good(message.device_id, limits.device_id_bytes_max) {
            return Err(bad_name(
                Reason::DeviceId,
                "device id",
                message.device_id,
                limits.device_id_bytes_max,
            ));
        }
        if message.raw_bytes > limits.raw_bytes_max {
            let detail = format!(
                "raw has {} bytes; {} are allowed",
                message.raw_bytes, limits.raw_bytes_max
            );
            return Err((Reason::RawTooLarge, detail));
        }
        let cleaned;
        let metrics = match known {
            Known::Shape(_) => metrics,
            _ => {
                cleaned = self.known.clean(metrics)?;
                cleaned.as_slice()
            }
        };
        let event_time = EventTime(message.ts);
        self.check_time(event_time, record)?;
        let clock = &mut self.clocks[partition.index()];
        clock.advance(event_time, record.log_time, &self.config);
        let (closed, pane) = (clock.closed(), PaneNo::of(event_time));
        if pane <= clock.expired() && !metrics.is_empty() {
            let detail = format!(
                "its windows left memory when the watermark passed; it is at {}",
                clock.watermark_ms()
            );
            return Err((Reason::BeyondHorizon, detail));
        }
        if metrics.is_empty() {
            self.stats.messages.add(1);
            return Ok(());
        }
        let device = self
            .known
            .resolve(known, key, message.device_id, metrics, &mut self.outbound)?;
        self.stats.messages.add(1);
        self.stats.readings.add(metrics.len() as u64);
        self.stats.late.add(u64::from(pane <= closed));
        let shape = self.known.shape();
        let mut fingerprint = 0_u64;
        for (hash, (_, value)) in shape.hashes.iter().zip(metrics) {
            fingerprint = fingerprint.wrapping_add(mix(hash ^ value.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        }
        let batch = self.outbound.batch(device.target);
        batch.metric.extend_from_slice(&shape.numbers);
        batch.value.extend(metrics.iter().map(|(_, value)| *value));
        let messages = &mut batch.messages;
        messages.device.push(device.number);
        messages.event_time.push(event_time.0);
        messages.closed.push(closed);
        messages
            .fingerprint
            .push(mix(fingerprint ^ mix(event_time.0 as u64)) | 1);
        messages.offset.push(record.offset);
        messages.readings_end.push(batch.value.len() as u32);
        Ok(())
    }

    fn check_time(&self, event_time: EventTime, record: &Record<'_>) -> Result<(), Refusal> {
        if !(EVENT_TIME_MIN..=EVENT_TIME_MAX).contains(&event_time) {
            return Err((
                Reason::EventTime,
                format!("ts {} is outside of the years 0000 to 5999", event_time.0),
            ));
        }
        let Some(log_time) = record.log_time else { return Ok(()) };
        let ahead = event_time.0.saturating_sub(log_time.0);
        if ahead > self.config.future_max_ms {
            let detail = format!("ts {} is {ahead} ms ahead of the log's {}", event_time.0, log_time.0);
            return Err((Reason::Future, detail));
        }
        let behind = log_time.0.saturating_sub(event_time.0);
        match self.config.age_max_ms {
            Some(age_max) if behind > age_max => Err((
                Reason::TooOld,
                format!("ts {} is {behind} ms behind the log's {}", event_time.0, log_time.0),
            )),
            _ => Ok(()),
        }
    }
}

/// The refusal of a name, which it shows as far as it can be shown.
pub(super) fn bad_name(reason: Reason, what: &str, name: &[u8], bytes_max: usize) -> Refusal {
    let shown: String = String::from_utf8_lossy(&name[..name.len().min(40)])
        .escape_debug()
        .collect();
    (
        reason,
        format!(
            "{what} \"{shown}\" of {} bytes is not 1 to {bytes_max} bytes of text",
            name.len()
        ),
    )
}

impl Intake for Decoder {
    fn records(&mut self, partition: Partition, records: &[Record<'_>]) {
        self.outbound.begin(partition, &self.clocks, self.known.metric_names());
        let mut metrics = Vec::with_capacity(CHUNK * 8);
        let mut walked = Vec::with_capacity(CHUNK);
        for chunk in records.chunks(CHUNK) {
            metrics.clear();
            walked.clear();
            for record in chunk {
                let message = walk(record.payload, &mut metrics);
                let key = match &message {
                    Ok(message) if !message.device_id.is_empty() => self.known.prepare(message.device_id),
                    _ => super::devices::Key::default(),
                };
                walked.push((message, key, metrics.len()));
            }
            let mut begin = 0;
            for (record, (message, key, end)) in chunk.iter().zip(&walked) {
                if self.is_new(partition, record)
                    && let Err(refusal) = self.accept(partition, record, message, &metrics[begin..*end], *key)
                {
                    self.refuse(partition, record, refusal);
                }
                begin = *end;
            }
        }
    }

    fn unusable(&mut self, partition: Partition, record: Record<'_>, reason: Reason, detail: String) {
        if self.is_new(partition, &record) {
            self.refuse(partition, &record, (reason, detail));
        }
    }

    fn lag(&mut self, partition: Partition, records: u64) {
        if let Some(stats) = self.stats.partitions.get(partition.index()) {
            stats.lag_records.set(records as i64);
        }
    }
}
