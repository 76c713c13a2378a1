//! Which devices and series a reading worker knows: names become numbers, and limits are kept.

use super::devices::{Devices, Key};
use super::metrics::{Metrics, Shape, Shapes};
use super::outbound::Outbound;
use super::refusal::bad_name;
use crate::batch::NO_SHAPE;
use std::collections::{HashMap, HashSet};
use tidewatch_proto::ids::{KeyGroup, Name};
use tidewatch_proto::limits::{Limits, name_is_good};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::walk::{Metric, drop_repeated};

/// Devices, metrics and the series they make.
#[derive(Debug)]
pub(super) struct KnownSeries {
    limits: Limits,
    peers: usize,
    devices: Devices,
    metrics: Metrics,
    shapes: Shapes,
    /// The metrics of devices that have sent more than one shape, by target and number.
    mixed: HashMap<(u16, u32), HashSet<u32>>,
    /// Devices numbered so far, by target.
    numbered: Vec<u32>,
    series: usize,
    /// The shape of the message that was resolved last.
    last: Shape,
    last_number: u32,
}

/// The metrics and shapes known so far.
#[derive(Clone, Copy)]
pub(super) struct Vocabulary<'a> {
    pub(super) metrics: &'a [Box<str>],
    pub(super) shapes: &'a Shapes,
}

/// What is known of a message's device.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// Nothing.
    Nothing,
    /// The device, in this slot, but with other metrics.
    Device(usize),
    /// The device, in this slot, and just these metrics.
    Shape(usize),
}

/// Where a message goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved {
    pub(super) target: u16,
    pub(super) number: u32,
}

impl KnownSeries {
    pub(super) fn new(limits: Limits, peers: usize) -> KnownSeries {
        KnownSeries {
            limits,
            peers,
            devices: Devices::default(),
            metrics: Metrics::default(),
            shapes: Shapes::default(),
            mixed: HashMap::new(),
            numbered: vec![0; peers],
            series: 0,
            last: Shape::default(),
            last_number: NO_SHAPE,
        }
    }

    /// All that workers must be told of names but the devices.
    pub(super) fn vocabulary(&self) -> Vocabulary<'_> {
        Vocabulary {
            metrics: self.metrics.names(),
            shapes: &self.shapes,
        }
    }

    /// Prepares a lookup, whose memory is fetched meanwhile.
    #[inline]
    pub(super) fn prepare(&self, device_id: &[u8]) -> Key {
        let key = self.devices.key(device_id);
        self.devices.prefetch(key);
        key
    }

    #[inline]
    pub(super) fn find(&mut self, key: Key, metrics: &[Metric<'_>]) -> Known {
        if key == Key::default() {
            return Known::Nothing;
        }
        match self.devices.find(key) {
            None => Known::Nothing,
            Some(slot) => match self.shapes.get(self.devices.at(slot).shape) {
                Some(shape) if shape.matches(metrics) => Known::Shape(slot),
                _ => Known::Device(slot),
            },
        }
    }

    /// Where a message goes that has the form of a shape, if that is its device's shape too;
    /// [`KnownSeries::shape`] is then this shape.
    #[inline]
    pub(super) fn resolve_shaped(&mut self, key: Key, shape: u32) -> Option<Resolved> {
        if key == Key::default() {
            return None;
        }
        let slot = self.devices.find(key)?;
        let device = self.devices.at(slot);
        if device.shape != shape || shape == NO_SHAPE {
            return None;
        }
        self.last_number = shape;
        Some(Resolved {
            target: device.target,
            number: device.number,
        })
    }

    /// The number of the shape of the message that was resolved last.
    #[inline]
    pub(super) fn shape_number(&self) -> u32 {
        self.last_number
    }

    /// The message's metrics as a map has them, with names checked.
    pub(super) fn clean<'a>(&self, metrics: &[Metric<'a>]) -> Result<Vec<Metric<'a>>, (Reason, String)> {
        let mut metrics = metrics.to_vec();
        drop_repeated(&mut metrics);
        let limits = &self.limits;
        if metrics.len() > limits.metrics_per_message_max {
            let detail = format!(
                "{} metrics; {} are allowed",
                metrics.len(),
                limits.metrics_per_message_max
            );
            return Err((Reason::TooManyMetrics, detail));
        }
        match metrics
            .iter()
            .find(|(name, _)| !name_is_good(name, limits.metric_name_bytes_max))
        {
            Some((name, _)) => Err(bad_name(
                Reason::MetricName,
                "metric name",
                (name, limits.metric_name_bytes_max),
            )),
            None => Ok(metrics),
        }
    }

    /// Numbers the message's device and metrics; [`KnownSeries::shape`] is then its shape.
    #[inline]
    pub(super) fn resolve(
        &mut self,
        known: Known,
        key: Key,
        device_id: &[u8],
        metrics: &[Metric<'_>],
        outbound: &mut Outbound,
    ) -> Result<Resolved, (Reason, String)> {
        match known {
            Known::Shape(slot) => {
                let device = *self.devices.at(slot);
                self.last_number = device.shape;
                Ok(Resolved {
                    target: device.target,
                    number: device.number,
                })
            }
            Known::Device(slot) => self.widen(slot, metrics),
            Known::Nothing => self.enter(key, device_id, metrics, outbound),
        }
    }

    /// The shape of the message that was resolved last.
    #[inline]
    pub(super) fn shape(&self) -> &Shape {
        self.shapes.get(self.last_number).unwrap_or(&self.last)
    }

    fn enter(
        &mut self,
        key: Key,
        device_id: &[u8],
        metrics: &[Metric<'_>],
        outbound: &mut Outbound,
    ) -> Result<Resolved, (Reason, String)> {
        self.check_series(0, metrics.len())?;
        let group = KeyGroup::of(device_id);
        let target = group.worker(self.peers);
        let numbers = self.numbers(metrics);
        let shape = self.remember(&numbers);
        let number = self.numbered[target];
        self.numbered[target] += 1;
        if shape == NO_SHAPE {
            self.mixed
                .insert((target as u16, number), numbers.iter().copied().collect());
        }
        self.devices.insert(key, number, group, self.peers, shape);
        self.series += numbers.len();
        outbound.batch(target as u16).new_devices.push(text(device_id).into());
        Ok(Resolved {
            target: target as u16,
            number,
        })
    }

    fn widen(&mut self, slot: usize, metrics: &[Metric<'_>]) -> Result<Resolved, (Reason, String)> {
        let device = *self.devices.at(slot);
        let id = (device.target, device.number);
        if !self.mixed.contains_key(&id) {
            let own = self
                .shapes
                .get(device.shape)
                .map(|s| s.numbers.iter().copied().collect());
            self.mixed.insert(id, own.unwrap_or_default());
        }
        let own = &self.mixed[&id];
        let fresh = metrics.iter().filter(|(name, _)| match self.metrics.find(text(name)) {
            Some(number) => !own.contains(&number),
            None => true,
        });
        let fresh = fresh.count();
        self.check_series(own.len(), fresh)?;
        let numbers = self.numbers(metrics);
        self.series += fresh;
        if let Some(own) = self.mixed.get_mut(&id) {
            own.extend(&numbers);
        }
        self.devices.at(slot).shape = self.remember(&numbers);
        Ok(Resolved {
            target: device.target,
            number: device.number,
        })
    }

    fn check_series(&self, own: usize, fresh: usize) -> Result<(), (Reason, String)> {
        let limits = &self.limits;
        if own + fresh > limits.series_per_device_max {
            let detail = format!(
                "{fresh} new series beside {own}; a device may have {}",
                limits.series_per_device_max
            );
            return Err((Reason::DeviceSeries, detail));
        }
        if self.series + fresh > limits.series_per_worker_max {
            let detail = format!(
                "{fresh} new series beside {}; a worker takes {}",
                self.series, limits.series_per_worker_max
            );
            return Err((Reason::WorkerSeries, detail));
        }
        Ok(())
    }

    fn numbers(&mut self, metrics: &[Metric<'_>]) -> Vec<u32> {
        metrics
            .iter()
            .map(|(name, _)| self.metrics.intern(text(name)))
            .collect()
    }

    fn remember(&mut self, numbers: &[u32]) -> u32 {
        self.last_number = self.shapes.intern(numbers, &self.metrics);
        if self.last_number == NO_SHAPE {
            self.last = Shape::of(numbers, &self.metrics);
        }
        self.last_number
    }

    /// Knows a device and its series from before a restart.
    pub(super) fn restore(&mut self, device: &str, metrics: &[Name], outbound: &mut Outbound) {
        let key = self.devices.key(device.as_bytes());
        let metrics: Vec<Metric<'_>> = metrics.iter().map(|name| (name.as_bytes(), 0.0)).collect();
        let slot = self.devices.find(key);
        // Limits may have been lowered since: what is restored is known all the same.
        let limits = std::mem::replace(
            &mut self.limits,
            Limits {
                series_per_device_max: usize::MAX,
                series_per_worker_max: usize::MAX,
                ..Limits::default()
            },
        );
        let _ = match slot {
            Some(slot) => self.widen(slot, &metrics),
            None => self.enter(key, device.as_bytes(), &metrics, outbound),
        };
        self.limits = limits;
    }
}

/// A name that was checked before as text.
fn text(name: &[u8]) -> &str {
    std::str::from_utf8(name).unwrap_or_default()
}
