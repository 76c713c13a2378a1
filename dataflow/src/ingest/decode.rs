//! Records in, batches of columns out: the walk of the wire, the limits, the watermark, the routing.

use super::devices::Key;
use super::outbound::Outbound;
use super::read::{CHUNK, Chunk, Form};
use super::refusal::{self, Refusal};
use super::series::{Known, KnownSeries, Resolved};
use super::suspects::{Suspects, Verdict};
use super::watermark::PartitionClock;
use crate::batch::{Batch, NO_SHAPE, Position, Progress};
use crate::config::EngineConfig;
use crate::stats::Stats;
use crate::witness::{self, Crash};
use std::sync::Arc;
use tidewatch_failpoints::{Bug, has_bug};
use tidewatch_proto::ids::{Name, Offset, Partition, mix};
use tidewatch_proto::limits::name_is_good;
use tidewatch_proto::reject::{Reason, Reject};
use tidewatch_proto::source::{Intake, Record};
use tidewatch_proto::time::{EventTime, PANE_MS, PaneNo};
use tidewatch_proto::walk::{Message, Metric, walk};

/// Turns records into batches for each worker. One for each reading worker.
pub struct Decoder {
    config: Arc<EngineConfig>,
    stats: Arc<Stats>,
    clocks: Vec<PartitionClock>,
    known: KnownSeries,
    outbound: Outbound,
    rejects: Vec<Reject>,
    taken: Taken,
    suspects: Suspects,
}

/// What was taken in since the counters were brought up to date: they are shared by all workers.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    bytes: usize,
    messages: u64,
    readings: u64,
    late: u64,
}

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
            taken: Taken::default(),
            suspects: Suspects::default(),
        }
    }

    /// Goes on from where a partition was left.
    pub fn restore(&mut self, position: Position) {
        self.clocks[position.partition.index()] = PartitionClock::new(position.next, position.clock_ms, &self.config);
    }

    /// Knows a device and its metrics from before a restart, so that its limits hold on.
    pub fn restore_device(&mut self, home: Partition, device: &str, metrics: &[Name]) {
        self.outbound.begin(home, &self.clocks, self.known.vocabulary());
        self.known.restore(device, metrics, &mut self.outbound);
    }

    /// Is careful with the records at which workers have crashed.
    pub fn suspect(&mut self, crashes: &[Crash]) {
        self.suspects = Suspects::new(crashes);
    }

    /// Has an empty batch sent to every worker.
    pub fn farewell(&mut self, partition: Partition) {
        self.outbound.flush_messages(&self.clocks, self.known.vocabulary());
        let clock = &self.clocks[partition.index()];
        self.outbound.tell_all(partition, clock, self.known.vocabulary());
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

    /// What has been decoded since the last call, with the progress of `partitions`.
    pub fn flush(&mut self, partitions: &[Partition]) -> (Vec<Batch>, Vec<Reject>) {
        self.outbound.flush_messages(&self.clocks, self.known.vocabulary());
        for partition in partitions {
            self.outbound
                .flush_progress(*partition, &self.clocks[partition.index()], self.known.vocabulary());
        }
        (self.outbound.take(), std::mem::take(&mut self.rejects))
    }

    /// Brings the counters up to date, and gives the bytes taken since the last call.
    pub fn count(&mut self) -> usize {
        let taken = std::mem::take(&mut self.taken);
        self.stats.bytes.add(taken.bytes as u64);
        self.stats.messages.add(taken.messages);
        self.stats.readings.add(taken.readings);
        self.stats.late.add(taken.late);
        taken.bytes
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
        self.taken.bytes += record.payload.len();
        true
    }

    /// Takes a message of the shape that was expected: `false` when its device is another's.
    #[inline]
    fn take_expected(
        &mut self,
        partition: Partition,
        record: &Record<'_>,
        message: &Message<'_>,
        (key, shape): (Key, u32),
        values: &[f64],
    ) -> Result<bool, Refusal> {
        let Some(device) = self.known.resolve_shaped(key, shape) else {
            return Ok(false);
        };
        refusal::check_raw(message, &self.config.limits)?;
        #[cfg(feature = "failpoints")]
        witness::trip(witness::POISON_TO_DECODE, message.ts);
        let closed = self.admit(partition, record, EventTime(message.ts), true)?;
        self.push(device, record, (EventTime(message.ts), closed), values.iter().copied());
        Ok(true)
    }

    /// Takes a message that was walked.
    fn take_walked(
        &mut self,
        partition: Partition,
        record: &Record<'_>,
        message: &Message<'_>,
        key: Key,
        metrics: &[Metric<'_>],
    ) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        let known = self.known.find(key, metrics);
        if matches!(known, Known::Nothing) && !name_is_good(message.device_id, limits.device_id_bytes_max) {
            let refused = (message.device_id, limits.device_id_bytes_max);
            return Err(refusal::bad_name(Reason::DeviceId, "device id", refused));
        }
        refusal::check_raw(message, limits)?;
        let cleaned;
        let metrics = match known {
            Known::Shape(_) => metrics,
            _ => {
                cleaned = self.known.clean(metrics)?;
                cleaned.as_slice()
            }
        };
        #[cfg(feature = "failpoints")]
        witness::trip(witness::POISON_TO_DECODE, message.ts);
        let event_time = EventTime(message.ts);
        let closed = self.admit(partition, record, event_time, !metrics.is_empty())?;
        if metrics.is_empty() {
            self.taken.messages += 1;
            return Ok(());
        }
        let outbound = &mut self.outbound;
        let device = self.known.resolve(known, key, message.device_id, metrics, outbound)?;
        let values = metrics.iter().map(|(_, value)| *value);
        self.push(device, record, (event_time, closed), values);
        Ok(())
    }

    /// Takes the record's times, and says which pane the log has closed with it, and whether it is for a store.
    #[inline]
    fn admit(
        &mut self,
        partition: Partition,
        record: &Record<'_>,
        event_time: EventTime,
        has_metrics: bool,
    ) -> Result<(PaneNo, bool), Refusal> {
        refusal::check_time(event_time, record, &self.config)?;
        let clock = &mut self.clocks[partition.index()];
        clock.advance(event_time, record.log_time, &self.config);
        if has_metrics && PaneNo::of(event_time) <= clock.expired() {
            return match self.config.is_stored(event_time, clock.watermark_ms()) {
                true => Ok((clock.closed(), true)),
                false => Err(refusal::beyond_horizon(clock.watermark_ms())),
            };
        }
        Ok((clock.closed(), false))
    }

    /// Puts a message of the shape that was resolved last into the batch for its worker.
    #[inline]
    fn push(
        &mut self,
        device: Resolved,
        record: &Record<'_>,
        (event_time, (closed, is_beyond)): (EventTime, (PaneNo, bool)),
        values: impl ExactSizeIterator<Item = f64> + Clone,
    ) {
        let event_time = match has_bug(Bug::WindowEdge) && event_time.0 % PANE_MS == 0 {
            true => EventTime(event_time.0 - 1),
            false => event_time,
        };
        self.taken.messages += 1;
        self.taken.readings += values.len() as u64;
        self.taken.late += u64::from(PaneNo::of(event_time) <= closed && !is_beyond);
        let (shape, number) = (self.known.shape(), self.known.shape_number());
        let mut fingerprint = 0_u64;
        for (hash, value) in shape.hashes.iter().zip(values.clone()) {
            fingerprint = fingerprint.wrapping_add(mix(hash ^ value.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        }
        let batch = self.outbound.batch(device.target);
        if number == NO_SHAPE {
            batch.metric.extend_from_slice(&shape.numbers);
        }
        batch.value.extend(values);
        let messages = &mut batch.messages;
        if is_beyond {
            messages.beyond.push(messages.len() as u32);
        }
        messages.device.push(device.number);
        messages.shape.push(number);
        messages.event_time.push(event_time.0);
        messages.closed.push(closed);
        messages
            .fingerprint
            .push(mix(fingerprint ^ mix(event_time.0 as u64)) | 1);
        messages.offset.push(record.offset);
        messages.readings_end.push(batch.value.len() as u32);
    }

    /// Takes records, and says where it is so that a crash can be told from it.
    fn take(&mut self, partition: Partition, records: &[Record<'_>]) {
        self.outbound.begin(partition, &self.clocks, self.known.vocabulary());
        let mut chunk = Chunk::default();
        for records in records.chunks(CHUNK) {
            witness::begin(partition, records[0].offset, records[records.len() - 1].offset);
            chunk.read(records, &self.known);
            for (record, read) in records.iter().zip(&chunk.reads) {
                if !self.is_new(partition, record) {
                    continue;
                }
                let taken = match &read.form {
                    Form::Expected(message) => {
                        let expected = (read.key, chunk.shape);
                        match self.take_expected(partition, record, message, expected, chunk.values(read)) {
                            Ok(false) => self.take_unexpected(partition, record, read.key),
                            taken => taken.map(drop),
                        }
                    }
                    Form::Walked(message) => {
                        self.take_walked(partition, record, message, read.key, chunk.metrics(read))
                    }
                    Form::Broken(error) => Err(refusal::broken(*error)),
                };
                if let Err(refused) = taken {
                    self.refuse(partition, record, refused);
                }
            }
        }
        witness::end();
    }

    /// Takes records among which are some at which a worker has crashed: these go into batches of their own.
    #[cold]
    fn take_with_care(&mut self, partition: Partition, records: &[Record<'_>]) {
        for record in records {
            match self.suspects.verdict(partition, record.offset) {
                Verdict::Clear => self.take(partition, std::slice::from_ref(record)),
                Verdict::Suspect => {
                    self.outbound.flush_messages(&self.clocks, self.known.vocabulary());
                    self.take(partition, std::slice::from_ref(record));
                    self.outbound.flush_messages(&self.clocks, self.known.vocabulary());
                }
                Verdict::Poison(detail) => {
                    if self.is_new(partition, record) {
                        self.refuse(partition, record, (Reason::Poison, detail));
                    }
                }
            }
        }
    }

    /// Takes a record that looked as expected but is of a device with other metrics, or of a new one.
    #[cold]
    fn take_unexpected(&mut self, partition: Partition, record: &Record<'_>, key: Key) -> Result<(), Refusal> {
        let mut metrics = Vec::new();
        let message = walk(record.payload, &mut metrics).map_err(refusal::broken)?;
        self.take_walked(partition, record, &message, key, &metrics)
    }
}

impl Intake for Decoder {
    fn records(&mut self, partition: Partition, records: &[Record<'_>]) {
        match self.suspects.concern(partition, records) {
            false => self.take(partition, records),
            true => self.take_with_care(partition, records),
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
