//! Writes the state as it is saved: device by device what [`super::DeviceSnapshot`] is in postcard, straight from
//! where it lies.

use super::closed::Block;
use super::dirty::Change;
use super::hours::HourWindow;
use super::snapshot::PartitionSnapshot;
use super::walk::{Found, Walk};
use super::{FINGERPRINTS, PartitionState, SeriesState};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use tidewatch_proto::ids::{KeyGroup, Name, Partition};
use tidewatch_proto::pane::Pane;
use tidewatch_proto::time::PaneNo;

/// What postcard writes, one thing after the other: structs have no frame, sequences have their length before them.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn put(&mut self, value: &(impl Serialize + ?Sized)) {
        postcard::to_io(value, &mut self.bytes).expect("every sequence knows its length, and a Vec has no end");
    }

    fn closed(&mut self, found: &Found<'_>, room: &mut Vec<u8>) {
        self.put(&found.number);
        let (bytes, sketch) = found.bytes(room);
        self.put(&bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.put(&sketch);
    }
}

/// What is looked up again and again while the state is written.
struct Source<'a> {
    state: &'a SeriesState,
    /// By partition its blocks, each walked once: slots come in their order and so do the panes of a block.
    walks: Vec<Vec<Walk<'a>>>,
    hours: Vec<i32>,
    changes: HashMap<usize, Vec<(PaneNo, Change)>>,
    /// The closed panes of one series.
    closed: Vec<Found<'a>>,
    room: Vec<u8>,
}

/// How many devices are written before what was written is given out.
const SLICE_DEVICES: usize = 4_096;

impl SeriesState {
    /// How far each partition has come.
    pub fn save_partitions(&self) -> Vec<PartitionSnapshot> {
        let partitions = self.partitions.iter().map(|p| PartitionSnapshot {
            watermark_ms: p.watermark_ms,
            closed: p.closed,
            published: p.published,
            expired: p.expired,
        });
        partitions.collect()
    }

    /// Gives out all series, a slice of the devices at a time: by key group what [`super::GroupState`] is in postcard.
    pub fn save(&self, mut give: impl FnMut(BTreeMap<KeyGroup, Vec<u8>>)) {
        let mut source = Source {
            state: self,
            walks: self.partitions.iter().map(walks).collect(),
            hours: self.hours.numbers(),
            changes: self.dirty.by_slot(),
            closed: Vec::new(),
            room: Vec::new(),
        };
        let names = self.names.borrow();
        let apart = self.slots.apart();
        let each = self.bytes_per_device();
        let mut placed = self.placed();
        loop {
            let numbers = placed.by_ref().take(SLICE_DEVICES);
            let slice: Vec<(KeyGroup, u32)> = numbers
                .map(|number| (KeyGroup::of(names.devices.name(number).as_bytes()), number))
                .collect();
            if slice.is_empty() {
                return;
            }
            let mut groups = begin_groups(&slice, each);
            for (group, number) in slice {
                let out = groups.entry(group).or_default();
                let apart = apart.get(&number).map_or(&[][..], Vec::as_slice);
                source.write_device(out, number, names.devices.name(number), apart);
            }
            give(groups.into_iter().map(|(group, out)| (group, out.bytes)).collect());
        }
    }

    /// The devices with series, in the order of their first slots.
    fn placed(&self) -> impl Iterator<Item = u32> {
        let used = (0..self.slots.capacity()).filter(|slot| self.slots.is_used(*slot));
        let devices = used.map(|slot| (self.slots.device(slot), slot));
        let first = devices.filter(|(number, slot)| self.devices[*number as usize].base() == *slot);
        first.map(|(number, _)| number)
    }

    /// About how many bytes a device takes when it is written.
    fn bytes_per_device(&self) -> usize {
        let blocks = self.partitions.iter().flat_map(|partition| partition.blocks.values());
        let panes: usize = blocks.map(Block::bytes).sum();
        let bytes = panes + self.open.len() * size_of::<Pane>() + self.slots.series() * SERIES_BYTES;
        bytes / self.settled.max(1) + FINGERPRINTS * size_of::<u64>()
    }
}

/// About how many bytes a series takes beside its panes.
const SERIES_BYTES: usize = 16;

/// For each key group how many devices of it follow, written, and room for them.
fn begin_groups(slice: &[(KeyGroup, u32)], each: usize) -> BTreeMap<KeyGroup, Writer> {
    let mut devices: BTreeMap<KeyGroup, usize> = BTreeMap::new();
    for (group, _) in slice {
        *devices.entry(*group).or_default() += 1;
    }
    let begun = devices.into_iter().map(|(group, devices)| {
        let mut out = Writer {
            bytes: Vec::with_capacity(devices * each),
        };
        out.put(&devices);
        (group, out)
    });
    begun.collect()
}

fn walks(partition: &PartitionState) -> Vec<Walk<'_>> {
    partition.blocks.values().map(Block::walk).collect()
}

impl Source<'_> {
    fn write_device(&mut self, out: &mut Writer, number: u32, name: &Name, apart: &[usize]) {
        let device = self.state.devices[number as usize];
        out.put(name);
        out.put(&device.home);
        out.put(&self.state.fingerprints[number as usize]);
        out.put(&(device.slots().len() + apart.len()));
        for slot in device.slots() {
            self.closed.clear();
            let walks = self.walks[device.home.index()].iter_mut();
            self.closed.extend(walks.filter_map(|walk| walk.seek(slot)));
            self.write_series(out, slot);
        }
        for slot in apart {
            self.find_closed(device.home, *slot);
            self.write_series(out, *slot);
        }
    }

    /// Finds the closed panes of a series that doesn't lie beside its device's others.
    fn find_closed(&mut self, home: Partition, slot: usize) {
        self.closed.clear();
        let blocks = self.state.partitions[home.index()].blocks.values();
        self.closed.extend(blocks.filter_map(|block| block.find(slot)));
    }

    fn write_series(&mut self, out: &mut Writer, slot: usize) {
        let state = self.state;
        out.put(state.names.borrow().metrics.name(state.slots.metric(slot)));
        let open = state.open.of(slot);
        out.put(&open.len());
        for (pane, sketch) in open {
            out.put(&pane);
            out.put(&sketch);
        }
        out.put(&self.closed.len());
        for found in &self.closed {
            out.closed(found, &mut self.room);
        }
        let hours = self.hours.iter();
        let hours: Vec<(i32, &HourWindow)> = hours
            .filter_map(|hour| Some((*hour, state.hours.get(*hour, slot)?)))
            .collect();
        out.put(&hours);
        out.put(self.changes.get(&slot).map_or(&[][..], Vec::as_slice));
    }
}
