//! Batches in: panes take readings and close, record by record as the log says.

use super::closed::Block;
use super::open::Added;
use super::slots::DeviceState;
use super::{FINGERPRINTS, Origin, SeriesState};
use crate::batch::Batch;
use crate::prefetch::prefetch;
use tidewatch_proto::ids::Partition;
use tidewatch_proto::reject::{Reason, Reject};
use tidewatch_proto::time::{EventTime, PaneNo};
use tidewatch_proto::wire::Telemetry;

/// Messages whose memory is fetched together.
const CHUNK: usize = 32;

impl SeriesState {
    /// Takes a batch. Batches of one partition come in the order of its log.
    pub fn apply(&mut self, batch: &Batch) {
        self.learn(batch);
        let mut from = 0;
        while from < batch.messages.len() {
            let to = (from + CHUNK).min(batch.messages.len());
            self.fetch(batch, from..to);
            for message in from..to {
                self.apply_message(batch, message);
            }
            from = to;
        }
        self.advance(batch);
    }

    fn learn(&mut self, batch: &Batch) {
        let origin = batch.origin as usize;
        if self.origins.len() <= origin {
            self.origins.resize(origin + 1, Origin::default());
        }
        // Names and closing stand on it: a batch out of its turn would be wrong silently.
        assert_eq!(
            batch.sequence, self.origins[origin].batches,
            "a batch of worker {origin} came out of its turn"
        );
        self.origins[origin].batches += 1;
        let mut names = self.names.borrow_mut();
        for name in &batch.new_devices {
            self.origins[origin].devices.push(names.devices.intern(name));
        }
        for name in &batch.new_metrics {
            self.origins[origin].metrics.push(names.metrics.intern(name));
        }
        drop(names);
        if !batch.new_devices.is_empty() {
            self.grow_devices();
        }
    }

    /// Makes room for every device that has a name.
    pub(super) fn grow_devices(&mut self) {
        let devices = self.names.borrow().devices.len();
        self.devices.resize(devices, DeviceState::UNSEEN);
        self.fingerprints.resize(devices, [0; FINGERPRINTS]);
    }

    fn fetch(&self, batch: &Batch, messages: std::ops::Range<usize>) {
        let numbers = &self.origins[batch.origin as usize].devices;
        for message in messages.clone() {
            prefetch(numbers, batch.messages.device[message] as usize);
        }
        for message in messages.clone() {
            let device = numbers[batch.messages.device[message] as usize] as usize;
            prefetch(&self.devices, device);
            prefetch(&self.fingerprints, device);
        }
        for message in messages {
            let device = numbers[batch.messages.device[message] as usize] as usize;
            let pane = PaneNo::of(EventTime(batch.messages.event_time[message]));
            let base = self.devices[device].base();
            for slot in base..base + batch.readings(message).len().min(8) {
                self.open.prefetch(slot, pane);
            }
        }
    }

    fn apply_message(&mut self, batch: &Batch, message: usize) {
        let number = self.origins[batch.origin as usize].devices[batch.messages.device[message] as usize];
        if self.config.drop_duplicates && self.is_repeated(number, batch.messages.fingerprint[message]) {
            self.stats.duplicates.add(1);
            return;
        }
        let device = self.settle(number, batch, message);
        let at = EventTime(batch.messages.event_time[message]);
        let pane = PaneNo::of(at);
        let closed = batch.messages.closed[message];
        let home = &self.partitions[device.home.index()];
        if pane <= home.expired {
            self.refuse(batch, message);
            return;
        }
        let published = home.published;
        // Of a device that came by another partition, the home's closing counts as far as it is known here.
        let closed = if device.home == batch.partition {
            closed.max(home.closed)
        } else {
            home.closed
        };
        let late = pane <= closed;
        for (place, reading) in batch.readings(message).enumerate() {
            let metric = self.origins[batch.origin as usize].metrics[batch.metric[reading] as usize];
            let slot = self.slots.slot(number, &device, metric, place);
            self.open.grow(self.slots.capacity());
            let value = batch.value[reading];
            let added = if late {
                self.close(device.home, slot, closed);
                self.add_late(device.home, slot, pane, at, value)
            } else {
                if self
                    .open
                    .occupant(slot, pane)
                    .is_some_and(|occupant| occupant <= closed)
                {
                    self.close(device.home, slot, closed);
                }
                self.open.add(slot, pane, at, value)
            };
            if pane <= published {
                self.dirty.note(slot, pane, published, added == Added::First);
            }
        }
    }

    fn is_repeated(&mut self, device: u32, fingerprint: u64) -> bool {
        let last = &mut self.fingerprints[device as usize];
        if last.contains(&fingerprint) {
            return true;
        }
        last.copy_within(0..FINGERPRINTS - 1, 1);
        last[0] = fingerprint;
        false
    }

    #[inline]
    fn settle(&mut self, number: u32, batch: &Batch, message: usize) -> DeviceState {
        let device = self.devices[number as usize];
        if !device.is_unseen() {
            return device;
        }
        let known = &self.origins[batch.origin as usize].metrics;
        let metrics: Vec<u32> = batch.metric[batch.readings(message)]
            .iter()
            .map(|m| known[*m as usize])
            .collect();
        let device = self.slots.settle(number, batch.partition, &metrics);
        self.devices[number as usize] = device;
        device
    }

    /// Closes a slot's panes through `through`, in their order.
    pub(super) fn close(&mut self, home: Partition, slot: usize, through: PaneNo) {
        let SeriesState {
            open,
            partitions,
            hours,
            config,
            ..
        } = self;
        let blocks = &mut partitions[home.index()].blocks;
        open.close(slot, through, |pane| {
            if config.hour {
                hours.add_pane(slot, &pane.0, pane.1.as_deref(), config.quantiles);
            }
            let block = blocks.entry(pane.0.number);
            block.or_insert_with(|| Block::new(pane.0.number)).insert(slot, pane);
        });
    }

    /// Adds a reading of a closed pane.
    fn add_late(&mut self, home: Partition, slot: usize, pane: PaneNo, at: EventTime, value: f64) -> Added {
        let config = &self.config;
        if config.hour {
            self.hours.add_reading(slot, at, value, config.quantiles);
        }
        let block = self.partitions[home.index()].blocks.entry(pane);
        let block = block.or_insert_with(|| Block::new(pane));
        if block.add(slot, at, value, config.quantiles) {
            return Added::More;
        }
        let mut fresh = (tidewatch_proto::pane::Pane::empty(pane), None);
        super::open::add_reading(&mut fresh.0, config.quantiles.then_some(&mut fresh.1), at, value);
        block.insert(slot, fresh);
        Added::First
    }

    /// A reading of a device that came on another partition than its home, which has left it far behind.
    fn refuse(&mut self, batch: &Batch, message: usize) {
        let names = self.names.borrow();
        let origin = &self.origins[batch.origin as usize];
        let device = names
            .devices
            .name(origin.devices[batch.messages.device[message] as usize]);
        let metric = |m: u32| names.metrics.name(origin.metrics[m as usize]).to_string();
        let telemetry = Telemetry {
            device_id: device.to_string(),
            ts: batch.messages.event_time[message],
            metrics: batch
                .readings(message)
                .map(|r| (metric(batch.metric[r]), batch.value[r]))
                .collect(),
            raw: Vec::new(),
        };
        self.stats.dead_letters(Reason::BeyondHorizon).add(1);
        self.rejects.push(Reject {
            partition: batch.partition,
            offset: batch.messages.offset[message],
            log_time: None,
            reason: Reason::BeyondHorizon,
            detail: "the partition the device was first seen on is past the windows; re-encoded, without raw".into(),
            key: Some(device.as_bytes().to_vec()),
            payload: prost::Message::encode_to_vec(&telemetry),
        });
    }

    /// Takes the partition's progress: closes what the log has closed.
    fn advance(&mut self, batch: &Batch) {
        let progress = batch.progress;
        let partition = &mut self.partitions[batch.partition.index()];
        partition.idle = progress.idle;
        if progress.watermark_ms > partition.watermark_ms {
            partition.watermark_ms = progress.watermark_ms;
        }
        let closed = match partition.watermark_ms {
            i64::MIN => PaneNo::NONE,
            watermark => PaneNo::closed_by(EventTime(watermark)),
        };
        partition.due = partition.due.max(closed).max(progress.publish_through);
        if closed > partition.closed {
            for slot in self.slots.of(batch.partition) {
                self.close(batch.partition, slot, closed);
            }
            self.partitions[batch.partition.index()].closed = closed;
        }
    }
}
