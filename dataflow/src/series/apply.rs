//! Batches in: panes take readings and close, record by record as the log says.

use super::closed::Block;
use super::long::LongWindows;
use super::open::Added;
use super::slots::DeviceState;
use super::{Origin, SeriesState};
use crate::batch::{Batch, NO_SHAPE};
use crate::capture::letter_of;
use crate::config::Late;
use crate::prefetch::prefetch;
use tidewatch_proto::calendar::Span;
use tidewatch_proto::ids::Partition;
use tidewatch_proto::reject::Reason;
use tidewatch_proto::row::Jobs;
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::{EventTime, PaneNo};

/// Messages whose memory is fetched together.
const CHUNK: usize = 32;

/// A message of a batch.
#[derive(Clone, Copy)]
struct Incoming<'a> {
    batch: &'a Batch,
    /// Its place in the batch.
    at: usize,
    /// The device's number here.
    device: u32,
    /// The shape's number here, or [`NO_SHAPE`].
    shape: u32,
    /// Its metrics by the sender's numbers, if it has no shape.
    metrics: &'a [u32],
}

impl SeriesState {
    /// Takes a batch. Batches of one partition come in the order of its log.
    pub fn apply(&mut self, batch: &Batch) {
        self.learn(batch);
        self.apply_learned(batch);
    }

    /// Takes a batch whose numbers are known.
    pub(super) fn apply_learned(&mut self, batch: &Batch) {
        let (mut from, mut unshaped) = (0, batch.metric.as_slice());
        while from < batch.messages.len() {
            let to = (from + CHUNK).min(batch.messages.len());
            self.fetch(batch, from..to);
            for message in from..to {
                // What this record has closed is closed before it is taken.
                let closed = batch.messages.closed[message];
                if closed > self.partitions[batch.partition.index()].closed {
                    self.close(batch.partition, closed);
                }
                let incoming = self.incoming(batch, message, &mut unshaped);
                self.apply_message(incoming);
            }
            from = to;
        }
        self.advance(batch);
    }

    /// Learns what a batch's numbers mean.
    pub(super) fn learn(&mut self, batch: &Batch) {
        let origin = batch.origin as usize;
        if self.origins.len() <= origin {
            self.origins.resize(origin + 1, Origin::default());
        }
        let origin = &mut self.origins[origin];
        // Names and closing stand on it: a batch out of its turn would be wrong silently.
        assert_eq!(
            batch.sequence, origin.batches,
            "a batch of worker {} came out of its turn",
            batch.origin
        );
        origin.batches += 1;
        let names = &mut self.names;
        for name in &batch.new_devices {
            origin.devices.push(names.devices.intern(name));
        }
        for name in &batch.new_metrics {
            origin.metrics.push(names.metrics.intern(name));
        }
        for shape in &batch.new_shapes {
            let metrics: Vec<u32> = shape.iter().map(|metric| origin.metrics[*metric as usize]).collect();
            origin.shapes.push(self.shapes.intern(&metrics));
        }
        if !batch.new_devices.is_empty() {
            self.grow_devices();
        }
    }

    /// Makes room for every device that has a name.
    pub(super) fn grow_devices(&mut self) {
        let devices = self.names.devices.len();
        self.devices.resize(devices, DeviceState::UNSEEN);
        self.fingerprints.grow(devices);
        self.anomalies.grow(devices);
    }

    fn fetch(&self, batch: &Batch, messages: std::ops::Range<usize>) {
        let numbers = &self.origins[batch.origin as usize].devices;
        for message in messages.clone() {
            prefetch(numbers, batch.messages.device[message] as usize);
        }
        for message in messages.clone() {
            let device = numbers[batch.messages.device[message] as usize] as usize;
            prefetch(&self.devices, device);
            self.fingerprints.prefetch(device);
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

    /// The next message, in the numbers that are used here.
    #[inline]
    fn incoming<'a>(&self, batch: &'a Batch, at: usize, unshaped: &mut &'a [u32]) -> Incoming<'a> {
        let origin = &self.origins[batch.origin as usize];
        let (shape, metrics) = match batch.messages.shape[at] {
            NO_SHAPE => {
                let (metrics, later) = unshaped.split_at(batch.readings(at).len());
                *unshaped = later;
                (NO_SHAPE, metrics)
            }
            shape => (origin.shapes[shape as usize], &[][..]),
        };
        Incoming {
            batch,
            at,
            device: origin.devices[batch.messages.device[at] as usize],
            shape,
            metrics,
        }
    }

    fn apply_message(&mut self, message: Incoming<'_>) {
        let Incoming {
            batch,
            at: place,
            device: number,
            shape,
            ..
        } = message;
        if self.config.drop_duplicates && !self.fingerprints.note(number, batch.messages.fingerprint[place]) {
            self.stats.duplicates.add(1);
            return;
        }
        let mut device = self.devices[number as usize];
        if device.is_unseen() {
            let metrics = self.metrics(message);
            device = self.slots.settle(number, batch.partition, &metrics, shape);
            self.devices[number as usize] = device;
            self.settled += 1;
            self.open.grow(self.slots.capacity());
        }
        let at = EventTime(batch.messages.event_time[place]);
        let pane = PaneNo::of(at);
        let home = &self.partitions[device.home.index()];
        let is_beyond = batch.messages.is_beyond(place) && batch.partition == device.home;
        if is_beyond || pane <= home.expired {
            match is_beyond || self.config.is_stored(at, home.watermark_ms) {
                true => {
                    // By the log alone, unless memory has become too small.
                    let expired = self.config.expired_by_closed(home.closed);
                    let expired = if is_beyond { expired } else { expired.max(home.expired) };
                    let late = self.config.late(pane, home.closed, expired);
                    self.set_aside(message, device, late);
                }
                false => self.refuse(message),
            }
            return;
        }
        let values = &batch.value[batch.readings(place)];
        if let Some(base) = device.run(shape) {
            for (slot, value) in (base..).zip(values) {
                self.add(device.home, slot, (pane, at), *value);
            }
        } else {
            let metrics = self.metrics(message);
            for ((place, metric), value) in metrics.into_iter().enumerate().zip(values) {
                let slot = self.slots.slot(number, &device, metric, place);
                self.open.grow(self.slots.capacity());
                self.add(device.home, slot, (pane, at), *value);
            }
        }
    }

    /// Adds a reading to its pane, open or closed. Of a device that came by another partition, its home's closing
    /// counts as far as it is known here.
    #[inline]
    fn add(&mut self, home: Partition, slot: usize, (pane, at): (PaneNo, EventTime), value: f64) {
        let partition = &mut self.partitions[home.index()];
        let (closed, published) = (partition.closed, partition.published);
        let added = if pane > closed {
            let added = self.open.add(slot, pane, at, value);
            if added == Added::First {
                partition.opened.note(pane, self.slots.local(slot));
            }
            added
        } else {
            self.add_late(home, slot, pane, at, value)
        };
        if let Some(touched) = &mut self.touched {
            touched.set(slot);
        }
        if pane <= published {
            self.dirty.note(slot, pane, published, added == Added::First);
        }
    }

    /// The metrics of a message, by their numbers here.
    fn metrics(&self, message: Incoming<'_>) -> Vec<u32> {
        if message.shape != NO_SHAPE {
            return self.shapes.metrics(message.shape).to_vec();
        }
        let known = &self.origins[message.batch.origin as usize].metrics;
        message.metrics.iter().map(|metric| known[*metric as usize]).collect()
    }

    /// Closes a partition's panes through `through`, minute by minute in the order of their slots, and each hour when its
    /// last minute has closed.
    fn close(&mut self, home: Partition, through: PaneNo) {
        let partition = &mut self.partitions[home.index()];
        let (long, config, slots_of) = (&mut self.long, &self.config, &self.slots);
        let mut hours_closed = partition.closed;
        let mut close_hours = |long: &mut LongWindows, through: PaneNo| {
            if config.day {
                long.close_hours((hours_closed, through), || slots_of.of(home), config);
            }
            hours_closed = hours_closed.max(through);
        };
        let mut closed = 0;
        while let Some((number, slots)) = partition.opened.take(through) {
            close_hours(long, number.plus(-1));
            let block = partition.blocks.entry(number).or_insert_with(|| Block::new(number));
            for slot in slots.map(|local| self.slots.global(home, local)) {
                let Some(pane) = self.open.take(slot, number) else {
                    continue;
                };
                if config.has_long() {
                    long.add_pane(slot, &pane.0, pane.1.as_deref(), config);
                }
                block.insert(slot, pane);
                closed += 1;
            }
        }
        close_hours(long, through);
        partition.closed = through;
        let bytes = closed * config.row_bytes_per_pane();
        partition.unpublished_bytes += bytes;
        self.stats.unpublished_bytes.add(bytes);
    }

    /// Adds a reading of a closed pane.
    fn add_late(&mut self, home: Partition, slot: usize, pane: PaneNo, at: EventTime, value: f64) -> Added {
        let config = &self.config;
        if config.has_long() {
            let late = Late {
                hour: true,
                day: config.day,
                hour_closed: Span::hour(pane).last <= self.partitions[home.index()].closed,
            };
            self.long.add_reading(slot, (at, value), late, config);
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

    /// A message for a store; the long windows that are in memory take it here.
    fn set_aside(&mut self, message: Incoming<'_>, device: DeviceState, late: Late) {
        let mut straggler = self.straggler(message);
        straggler.taken = late.jobs();
        if late.hour || late.day {
            self.add_beyond(message, device, late);
        }
        self.stats.stragglers.add(1);
        self.stragglers.wait(message.device, straggler);
    }

    /// Adds the readings of a message whose panes have left memory to the long windows that haven't.
    fn add_beyond(&mut self, message: Incoming<'_>, device: DeviceState, late: Late) {
        let Incoming { batch, at: place, .. } = message;
        let at = EventTime(batch.messages.event_time[place]);
        let published = self.partitions[device.home.index()].published;
        let metrics = self.metrics(message);
        let values = &batch.value[batch.readings(place)];
        for ((place, metric), value) in metrics.into_iter().enumerate().zip(values) {
            let slot = self.slots.slot(message.device, &device, metric, place);
            self.open.grow(self.slots.capacity());
            self.long.add_reading(slot, (at, *value), late, &self.config);
            if let Some(touched) = &mut self.touched {
                touched.set(slot);
            }
            for job in self.config.long_jobs().filter(|job| late.jobs().has(*job)) {
                let span = self.config.span(job, PaneNo::of(at));
                if span.last <= published {
                    self.dirty.note_long(slot, job, span.first);
                }
            }
        }
    }

    /// A message of a device that came on another partition than its home, which has left it far behind.
    fn refuse(&mut self, message: Incoming<'_>) {
        let detail = "the partition the device was first seen on is past the windows; re-encoded, without raw";
        let straggler = self.straggler(message);
        self.stats.dead_letters(Reason::BeyondHorizon).add(1);
        self.rejects.push(letter_of(&straggler, detail.into()));
    }

    fn straggler(&self, message: Incoming<'_>) -> Straggler {
        let Incoming { batch, at: place, .. } = message;
        let metrics = self.metrics(message);
        let names = &self.names;
        let metrics = metrics.iter().map(|metric| names.metrics.name(*metric).clone());
        Straggler {
            partition: batch.partition,
            offset: batch.messages.offset[place],
            device: names.devices.name(message.device).clone(),
            at: EventTime(batch.messages.event_time[place]),
            readings: metrics
                .zip(batch.value[batch.readings(place)].iter().copied())
                .collect(),
            taken: Jobs::default(),
        }
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
            self.close(batch.partition, closed);
        }
    }
}
