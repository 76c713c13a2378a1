//! The first half of the bare chain: walks records, numbers devices, drops what is late, and writes columns for the
//! worker that owns the device.

use super::super::SliceLog;
use super::Batch;
use crate::w1::tally::device_number;
use crate::w1::{LATENESS_MS, METRICS, WINDOW_MS};
use anyhow::{Context, Result};
use hashbrown::HashMap;
use tidewatch_proto::walk::{Metric, walk};

/// One partition on its way.
struct Lane {
    partition: usize,
    next: usize,
    ts_max_ms: i64,
    /// Minutes up to this one have closed.
    closed: i64,
    devices: HashMap<Vec<u8>, Owner>,
    /// By worker how many devices of the partition it owns.
    owned: Vec<u32>,
    /// By worker what was read since the last step or closing.
    out: Vec<Batch>,
}

/// Who keeps a device, and as which one of this partition.
#[derive(Clone, Copy)]
struct Owner {
    worker: usize,
    place: u32,
}

/// Reads the partitions of one worker.
pub(super) struct Reader {
    log: SliceLog,
    lanes: Vec<Lane>,
    turn: usize,
    done: Vec<Batch>,
}

impl Reader {
    /// Reads the share of a worker of so many.
    pub(super) fn new(log: SliceLog, worker: usize, workers: usize) -> Self {
        let lanes = (worker..log.lanes.len()).step_by(workers).map(|partition| {
            let closed = i64::MIN;
            Lane {
                partition,
                next: 0,
                ts_max_ms: i64::MIN,
                closed,
                devices: HashMap::new(),
                owned: vec![0; workers],
                out: (0..workers).map(|target| empty(target, partition, closed)).collect(),
            }
        });
        Self {
            lanes: lanes.collect(),
            log,
            turn: 0,
            done: Vec::new(),
        }
    }

    /// Reads up to so many messages of the next partition, and says how many; 0 at the end of all.
    pub(super) fn step(&mut self, messages_max: usize) -> Result<usize> {
        let mut metrics = Vec::with_capacity(METRICS.len());
        for _ in 0..self.lanes.len() {
            self.turn = (self.turn + 1) % self.lanes.len();
            let lane = &mut self.lanes[self.turn];
            let records = &self.log.lanes[lane.partition];
            let end = records.len().min(lane.next + messages_max);
            let read = end - lane.next;
            for index in lane.next..end {
                // A record borrows from the log, the list of its metrics does not outlive it.
                lane.take(records.value(index), &mut metrics, &mut self.done)?;
            }
            lane.next = end;
            if read > 0 {
                lane.hand_over(&mut self.done, false);
                return Ok(read);
            }
        }
        Ok(0)
    }

    /// What was read since it was last asked.
    pub(super) fn take(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.done)
    }
}

impl Lane {
    fn take<'a>(&mut self, value: &'a [u8], metrics: &mut Vec<Metric<'a>>, done: &mut Vec<Batch>) -> Result<()> {
        metrics.clear();
        let message = walk(value, metrics)?;
        self.ts_max_ms = self.ts_max_ms.max(message.ts);
        let closed = (self.ts_max_ms - LATENESS_MS).div_euclid(WINDOW_MS) - 1;
        if closed > self.closed {
            self.hand_over(done, true);
            self.closed = closed;
            self.out.iter_mut().for_each(|batch| batch.closed = closed);
        }
        let minute = message.ts.div_euclid(WINDOW_MS);
        if metrics.is_empty() || minute <= self.closed {
            return Ok(());
        }
        let owner = self.owner(message.device_id)?;
        let batch = &mut self.out[owner.worker];
        batch.places.push(owner.place);
        batch.minutes.push(minute);
        batch.values.push(values(metrics)?);
        Ok(())
    }

    fn owner(&mut self, device: &[u8]) -> Result<Owner> {
        if let Some(owner) = self.devices.get(device) {
            return Ok(*owner);
        }
        let number = device_number(device).context("a device without a number")?;
        let worker = number as usize % self.owned.len();
        let owner = Owner {
            worker,
            place: self.owned[worker],
        };
        self.owned[worker] += 1;
        self.out[worker].new.push(number);
        self.devices.insert(device.to_vec(), owner);
        Ok(owner)
    }

    /// Puts what there is aside for the other half; with `all` empty batches too, which tell what has closed.
    fn hand_over(&mut self, done: &mut Vec<Batch>, all: bool) {
        for (target, batch) in self.out.iter_mut().enumerate() {
            if all || !batch.places.is_empty() {
                let next = empty(target, self.partition, self.closed);
                done.push(std::mem::replace(batch, next));
            }
        }
    }
}

fn empty(target: usize, partition: usize, closed: i64) -> Batch {
    Batch {
        target,
        partition,
        closed,
        ..Batch::default()
    }
}

/// The values of the four metrics, in the order of their numbers.
fn values(metrics: &[Metric<'_>]) -> Result<[f64; METRICS.len()]> {
    let mut values = [0.0; METRICS.len()];
    for (turn, (name, value)) in metrics.iter().enumerate() {
        let is = |known: &&str| known.as_bytes() == *name;
        let metric = match METRICS.get(turn).is_some_and(is) {
            true => turn,
            false => {
                let place = METRICS.iter().position(|known| known.as_bytes() == *name);
                place.context("an unknown metric")?
            }
        };
        values[metric] = *value;
    }
    Ok(values)
}
