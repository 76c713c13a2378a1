//! Series in dense slots: which slot a series has, and which slots a partition's devices fill.

use crate::batch::NO_SHAPE;
use std::collections::HashMap;
use tidewatch_proto::ids::Partition;

/// Slots are given to partitions by the page, so that closing a partition's panes scans only its own.
const PAGE: u32 = 256;

/// A device as the series operator knows it.
#[derive(Clone, Copy, Debug)]
pub struct DeviceState {
    /// The partition whose watermark closes the device's windows: the one it was first seen on.
    pub home: Partition,
    /// The slot of the first series of the device's first message; the others follow.
    base: u32,
    /// How many series lie together from `base`.
    together: u32,
    /// The shape whose metrics' series these are, in its order.
    shape: u32,
}

impl DeviceState {
    /// A device without readings.
    pub const UNSEEN: DeviceState = DeviceState {
        home: Partition(u32::MAX),
        base: 0,
        together: 0,
        shape: NO_SHAPE,
    };

    /// Whether the device has no series yet.
    pub fn is_unseen(&self) -> bool {
        self.home.0 == u32::MAX
    }

    /// The slot where the device's readings probably begin, to fetch.
    pub fn base(&self) -> usize {
        self.base as usize
    }

    /// The slot of the first reading of a message of this shape, if the others follow in the shape's order.
    #[inline]
    pub fn run(&self, shape: u32) -> Option<usize> {
        (self.shape == shape && shape != NO_SHAPE).then_some(self.base as usize)
    }

    /// The slots that lie together.
    pub fn slots(&self) -> std::ops::Range<usize> {
        self.base as usize..(self.base + self.together) as usize
    }
}

/// Which series lives in which slot.
#[derive(Debug, Default)]
pub struct Slots {
    device: Vec<u32>,
    metric: Vec<u32>,
    pages: Vec<Pages>,
    /// By page its place among the pages of its partition.
    places: Vec<u32>,
    /// Series that don't lie together with their device's first ones, by device and metric.
    apart: HashMap<(u32, u32), u32>,
    /// The same by device, ascending.
    apart_of: HashMap<u32, Vec<u32>>,
    series: usize,
}

#[derive(Clone, Debug, Default)]
struct Pages {
    starts: Vec<u32>,
    used_of_last: u32,
}

/// The metric of a slot that was never given to a series.
const NO_METRIC: u32 = u32::MAX;

impl Slots {
    /// The slot of a series, which it gets now if it has none. `hint` is the reading's place in its message.
    #[inline]
    pub fn slot(&mut self, number: u32, device: &DeviceState, metric: u32, hint: usize) -> usize {
        let guess = device.base as usize + hint;
        if hint < device.together as usize && self.metric[guess] == metric {
            return guess;
        }
        self.search(number, device, metric)
    }

    fn search(&mut self, number: u32, device: &DeviceState, metric: u32) -> usize {
        if let Some(slot) = self.find(number, device, metric) {
            return slot;
        }
        let slot = self.allocate(device.home, 1);
        self.fill(slot, number, metric);
        self.apart.insert((number, metric), slot);
        self.apart_of.entry(number).or_default().push(slot);
        slot as usize
    }

    /// The slot of a series, if it has one.
    pub fn find(&self, number: u32, device: &DeviceState, metric: u32) -> Option<usize> {
        if let Some(at) = self.metric[device.slots()].iter().position(|m| *m == metric) {
            return Some(device.base as usize + at);
        }
        self.apart.get(&(number, metric)).map(|slot| *slot as usize)
    }

    /// The slots of a device that don't lie together with its first ones, in the order of their first readings.
    pub fn apart(&self, number: u32) -> &[u32] {
        self.apart_of.get(&number).map_or(&[], Vec::as_slice)
    }

    /// Gives a new device its home and its first series, together: those of the metrics of a shape.
    pub fn settle(&mut self, number: u32, home: Partition, metrics: &[u32], shape: u32) -> DeviceState {
        let together = metrics.len().min(PAGE as usize);
        let base = self.allocate(home, together as u32);
        for (slot, metric) in (base..).zip(&metrics[..together]) {
            self.fill(slot, number, *metric);
        }
        DeviceState {
            home,
            base,
            together: together as u32,
            shape: if together == metrics.len() { shape } else { NO_SHAPE },
        }
    }

    fn fill(&mut self, slot: u32, device: u32, metric: u32) {
        self.device[slot as usize] = device;
        self.metric[slot as usize] = metric;
        self.series += 1;
    }

    fn allocate(&mut self, home: Partition, count: u32) -> u32 {
        if self.pages.len() <= home.index() {
            self.pages.resize_with(home.index() + 1, Pages::default);
        }
        let pages = &mut self.pages[home.index()];
        if pages.starts.is_empty() || pages.used_of_last + count > PAGE {
            self.places.push(pages.starts.len() as u32);
            pages.starts.push(self.device.len() as u32);
            pages.used_of_last = 0;
            self.device.resize(self.device.len() + PAGE as usize, 0);
            self.metric.resize(self.metric.len() + PAGE as usize, NO_METRIC);
        }
        let slot = pages.starts[pages.starts.len() - 1] + pages.used_of_last;
        pages.used_of_last += count;
        slot
    }

    /// A slot's number among those of its partition, ascending with the slot.
    #[inline]
    pub fn local(&self, slot: usize) -> usize {
        let (page, within) = (slot / PAGE as usize, slot % PAGE as usize);
        self.places[page] as usize * PAGE as usize + within
    }

    /// The slot with this number among those of its partition.
    #[inline]
    pub fn global(&self, home: Partition, local: usize) -> usize {
        let (place, within) = (local / PAGE as usize, local % PAGE as usize);
        self.pages[home.index()].starts[place] as usize + within
    }

    /// The slots of a partition's series, ascending; some may be unused.
    pub fn of(&self, home: Partition) -> impl Iterator<Item = usize> + use<> {
        let starts = self
            .pages
            .get(home.index())
            .map(|p| p.starts.clone())
            .unwrap_or_default();
        starts
            .into_iter()
            .flat_map(|start| start as usize..(start + PAGE) as usize)
    }

    /// The device and the metric of a slot that has a series.
    #[inline]
    pub fn series_of(&self, slot: usize) -> (u32, u32) {
        (self.device[slot], self.metric[slot])
    }

    /// The device of a slot that has a series.
    #[inline]
    pub fn device(&self, slot: usize) -> u32 {
        self.device[slot]
    }

    /// The metric of a slot that has a series.
    #[inline]
    pub fn metric(&self, slot: usize) -> u32 {
        self.metric[slot]
    }

    /// Whether the slot has a series.
    pub fn is_used(&self, slot: usize) -> bool {
        self.metric[slot] != NO_METRIC
    }

    /// How many slots there are, unused ones included.
    pub fn capacity(&self) -> usize {
        self.device.len()
    }

    /// How many series there are.
    pub fn series(&self) -> usize {
        self.series
    }
}
