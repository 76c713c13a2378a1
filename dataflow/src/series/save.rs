//! Writes the state as it is saved: device by device what [`super::DeviceSnapshot`] is in postcard, straight from
//! where it lies.

use super::closed::Block;
use super::long::LongWindow;
use super::snapshot::PartitionSnapshot;
use super::walk::{Found, Walk};
use super::{FINGERPRINTS, PartitionState, SeriesState};
use crate::checkpoint::Stateful;
use serde::Serialize;
use std::collections::BTreeMap;
use tidewatch_proto::ids::{KeyGroup, Name, Partition};
use tidewatch_proto::pane::Pane;
use tidewatch_proto::row::Job;
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

/// What is looked up again and again while devices are written.
struct Source<'a> {
    state: &'a SeriesState,
    /// By partition its blocks, each walked once: slots come in their order and so do the panes of a block.
    walks: Vec<Vec<Walk<'a>>>,
    /// The long windows in memory.
    longs: [(Job, Vec<PaneNo>); 2],
    /// The closed panes of one series.
    closed: Vec<Found<'a>>,
    room: Vec<u8>,
    /// Where in there what each operator keeps ends.
    ends: Vec<usize>,
}

impl SeriesState {
    /// How far each partition has come.
    pub fn save_partitions(&self) -> Vec<PartitionSnapshot> {
        let partitions = self.partitions.iter().map(|p| PartitionSnapshot {
            watermark_ms: p.watermark_ms,
            closed: p.closed,
            due: p.due,
            published: p.published,
            expired: p.expired,
        });
        partitions.collect()
    }

    /// How many slices there are. A device is always part of the same one.
    pub fn slices(&self) -> u32 {
        self.slots.capacity().div_ceil(self.config.slice_slots) as u32
    }

    /// The series of a slice of the devices, by key group: what [`super::Devices`] reads.
    pub fn save_slice(&self, number: u32) -> BTreeMap<KeyGroup, Vec<u8>> {
        let from = number as usize * self.config.slice_slots;
        let slots = from..self.slots.capacity().min(from + self.config.slice_slots);
        let mut source = Source {
            state: self,
            walks: self.partitions.iter().map(|partition| walks(partition, from)).collect(),
            longs: [Job::Hour, Job::Day].map(|job| (job, self.long.of(job).spans().map(|span| span.first).collect())),
            closed: Vec::new(),
            room: Vec::new(),
            ends: Vec::new(),
        };
        let operators = self.stateful().map(Stateful::name);
        let names = &self.names;
        let numbered = self.placed(slots).map(|number| {
            let group = KeyGroup::of(names.devices.name(number).as_bytes());
            (group, number)
        });
        let slice: Vec<(KeyGroup, u32)> = numbered.collect();
        let mut groups = begin_groups(&slice, &operators, self.bytes_per_device());
        for (group, number) in slice {
            let out = groups.entry(group).or_default();
            source.write_device(out, number, names.devices.name(number));
        }
        groups.into_iter().map(|(group, out)| (group, out.bytes)).collect()
    }

    /// The devices whose first series lies in one of these slots, in their order.
    fn placed(&self, slots: std::ops::Range<usize>) -> impl Iterator<Item = u32> {
        let used = slots.filter(|slot| self.slots.is_used(*slot));
        let devices = used.map(|slot| (self.slots.device(slot), slot));
        let first = devices.filter(|(number, slot)| self.devices[*number as usize].base() == *slot);
        first.map(|(number, _)| number)
    }

    /// About how many bytes all slices take.
    pub fn save_bytes(&self) -> usize {
        self.bytes_per_device() * self.settled
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

/// For each key group the operators' names and how many devices of it follow, written, and room for them.
fn begin_groups(slice: &[(KeyGroup, u32)], operators: &[&str], each: usize) -> BTreeMap<KeyGroup, Writer> {
    let mut devices: BTreeMap<KeyGroup, usize> = BTreeMap::new();
    for (group, _) in slice {
        *devices.entry(*group).or_default() += 1;
    }
    let begun = devices.into_iter().map(|(group, devices)| {
        let mut out = Writer {
            bytes: Vec::with_capacity(devices * each),
        };
        out.put(&(operators, devices));
        (group, out)
    });
    begun.collect()
}

fn walks(partition: &PartitionState, from: usize) -> Vec<Walk<'_>> {
    partition.blocks.values().map(|block| Walk::from(block, from)).collect()
}

impl Source<'_> {
    fn write_device(&mut self, out: &mut Writer, number: u32, name: &Name) {
        let apart = self.state.slots.apart(number);
        let device = self.state.devices[number as usize];
        out.put(name);
        out.put(&device.home);
        out.put(&(device.slots().len() + apart.len()));
        for slot in device.slots() {
            self.closed.clear();
            let walks = self.walks[device.home.index()].iter_mut();
            self.closed.extend(walks.filter_map(|walk| walk.seek(slot)));
            self.write_series(out, slot);
        }
        for slot in apart {
            self.find_closed(device.home, *slot as usize);
            self.write_series(out, *slot as usize);
        }
        self.write_kept(out, number);
    }

    /// Writes what operators keep of a device beside its series.
    fn write_kept(&mut self, out: &mut Writer, number: u32) {
        self.room.clear();
        self.ends.clear();
        for operator in self.state.stateful() {
            operator.save(number, &mut self.room);
            self.ends.push(self.room.len());
        }
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let ranges = starts.zip(self.ends.iter().copied()).enumerate();
        let kept = ranges.filter(|(_, (start, end))| start < end);
        out.put(&kept.clone().count());
        for (place, (start, end)) in kept {
            out.put(&(place as u32, end - start));
            out.bytes.extend_from_slice(&self.room[start..end]);
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
        out.put(state.names.metrics.name(state.slots.metric(slot)));
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
        for (job, firsts) in &self.longs {
            let windows = firsts.iter();
            let windows: Vec<(PaneNo, &LongWindow)> = windows
                .filter_map(|first| Some((*first, state.long.of(*job).get(*first, slot)?)))
                .collect();
            out.put(&windows);
        }
        out.put(&state.dirty.of(slot));
        out.put(&state.dirty.longs_of(slot));
    }
}
