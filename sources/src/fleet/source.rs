//! A reader of some partitions of the simulated fleet.

use super::config::FleetSettings;
use super::device::{Device, MESSAGES_MAX, id};
use super::partition::of_key;
use crate::clock::{Clock, wall};
use std::sync::Arc;
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceError, SourceFactory};
use tidewatch_proto::time::LogTime;

/// How often a partition's lag is told.
const LAG_INTERVAL_MS: i64 = 1_000;

/// A simulated fleet that can be read.
pub struct FleetFactory {
    settings: Arc<FleetSettings>,
    names: Vec<String>,
    clock: Clock,
}

impl FleetFactory {
    /// A fleet that goes by the clock of this machine.
    pub fn new(settings: FleetSettings) -> FleetFactory {
        FleetFactory::with_clock(settings, wall())
    }

    /// A fleet that goes by a clock.
    pub fn with_clock(settings: FleetSettings, clock: Clock) -> FleetFactory {
        let names = (0..settings.partitions).map(|index| format!("fleet/{index}")).collect();
        FleetFactory {
            settings: Arc::new(settings),
            names,
            clock,
        }
    }

    /// The first place of each partition that is due at its time or later.
    pub(super) fn places(&self, from_ms: &[i64]) -> Vec<Offset> {
        let all = (0..self.settings.partitions).map(|index| Assignment {
            partition: Partition(index),
            from: None,
        });
        let all: Vec<Assignment> = all.collect();
        let logs = all
            .iter()
            .zip(self.devices(&all))
            .map(|(at, devices)| Log::of(at, devices));
        logs.zip(from_ms).map(|(log, ms)| log.at(&self.settings, *ms)).collect()
    }

    /// The devices of some partitions, each spread over the interval in the order of their numbers.
    fn devices(&self, assigned: &[Assignment]) -> Vec<Vec<Device>> {
        let mut numbers = vec![Vec::new(); self.names.len()];
        for number in 0..self.settings.devices {
            numbers[of_key(id(number).as_bytes(), self.settings.partitions) as usize].push(number);
        }
        let spread = |numbers: &Vec<u32>| {
            let phase = |rank: usize| rank as i64 * self.settings.interval_ms / numbers.len() as i64;
            let ranked = numbers.iter().enumerate();
            ranked
                .map(|(rank, number)| Device::new(&self.settings, *number, phase(rank)))
                .collect()
        };
        assigned
            .iter()
            .map(|assignment| spread(&numbers[assignment.partition.index()]))
            .collect()
    }
}

impl SourceFactory for FleetFactory {
    fn partitions(&self) -> &[String] {
        &self.names
    }

    fn open(&self, assigned: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        if let Some(wrong) = assigned
            .iter()
            .find(|assignment| assignment.partition.index() >= self.names.len())
        {
            let problem = format!(
                "there are only {} partitions; was fleet.partitions changed?",
                self.names.len()
            );
            return Err(SourceError::new(format!("fleet/{}", wrong.partition), problem));
        }
        let now_ms = (self.clock)();
        let mut logs = Vec::with_capacity(assigned.len());
        for (assignment, devices) in assigned.iter().zip(self.devices(assigned)) {
            logs.push(Log::open(&self.settings, assignment, devices, now_ms)?);
        }
        Ok(Box::new(FleetSource {
            settings: Arc::clone(&self.settings),
            clock: self.clock.clone(),
            logs,
            turn: 0,
            lag_told_ms: now_ms,
        }))
    }
}

struct FleetSource {
    settings: Arc<FleetSettings>,
    clock: Clock,
    logs: Vec<Log>,
    /// The partition that is served first, so that none waits for ever behind the others.
    turn: usize,
    lag_told_ms: i64,
}

impl Source for FleetSource {
    fn poll(&mut self, intake: &mut dyn Intake, records_max: usize) -> Result<Polled, SourceError> {
        let now_ms = (self.clock)();
        let mut given = 0;
        self.turn += 1;
        for step in 0..self.logs.len() {
            let place = (self.turn + step) % self.logs.len();
            if given < records_max {
                given += self.logs[place].hand_over(&self.settings, now_ms, intake, records_max - given);
            }
        }
        if (now_ms - self.lag_told_ms).abs() >= LAG_INTERVAL_MS {
            self.lag_told_ms = now_ms;
            self.logs
                .iter()
                .for_each(|log| intake.lag(log.partition, log.lag(&self.settings, now_ms)));
        }
        Ok(if given > 0 { Polled::Some } else { Polled::Idle })
    }
}

/// One partition. Its log is, for each interval, for each device, room for [`MESSAGES_MAX`] messages; an offset is a
/// place in that room.
struct Log {
    partition: Partition,
    devices: Vec<Device>,
    /// The next place.
    next: Offset,
    batch: Batch,
}

/// Records that were made and not yet handed over.
#[derive(Default)]
struct Batch {
    payloads: Vec<u8>,
    /// Each record's offset, log time, device, and where its payload ends.
    records: Vec<(Offset, LogTime, usize, usize)>,
}

impl Log {
    fn of(assignment: &Assignment, devices: Vec<Device>) -> Log {
        Log {
            partition: assignment.partition,
            devices,
            next: Offset(0),
            batch: Batch::default(),
        }
    }

    fn open(
        settings: &FleetSettings,
        assignment: &Assignment,
        devices: Vec<Device>,
        now_ms: i64,
    ) -> Result<Log, SourceError> {
        let mut log = Log::of(assignment, devices);
        log.next = match assignment.from {
            None => log.at(settings, now_ms.saturating_sub(settings.history_ms.unwrap_or(0))),
            Some(from) => from.max(log.at(settings, now_ms.saturating_sub(settings.retention_ms))),
        };
        // An interval ahead may be the clock, which was set back; more is another fleet.
        if log.next > log.at(settings, now_ms.saturating_add(2 * settings.interval_ms)) {
            return Err(SourceError::new(
                format!("fleet/{}, offset {}", log.partition, log.next),
                "lies in the future; were fleet.devices, fleet.interval or the clock changed? Restore them, or start with \
                an empty state folder",
            ));
        }
        Ok(log)
    }

    /// The first place that is due at `ms` or later, to within an interval.
    fn at(&self, settings: &FleetSettings, ms: i64) -> Offset {
        let tick = ms.max(0).div_euclid(settings.interval_ms);
        let rank = self
            .devices
            .iter()
            .take_while(|device| device.due_ms(settings, tick) < ms)
            .count() as i64;
        Offset((tick * self.devices.len() as i64 + rank) * MESSAGES_MAX)
    }

    /// Hands over what is due, whole intervals of devices, until `wanted` is reached; returns how many records.
    fn hand_over(&mut self, settings: &FleetSettings, now_ms: i64, intake: &mut dyn Intake, wanted: usize) -> usize {
        let Log {
            partition,
            devices,
            next,
            batch,
        } = self;
        if devices.is_empty() {
            return 0;
        }
        while batch.records.len() < wanted {
            let slot = next.0 / MESSAGES_MAX;
            let (tick, rank) = (slot / devices.len() as i64, (slot % devices.len() as i64) as usize);
            let due_ms = devices[rank].due_ms(settings, tick);
            if due_ms > now_ms {
                break;
            }
            let mut offset = Offset(slot * MESSAGES_MAX);
            devices[rank].messages(settings, tick, |payload| {
                if offset >= *next {
                    batch.payloads.extend_from_slice(payload);
                    batch
                        .records
                        .push((offset, LogTime(due_ms), rank, batch.payloads.len()));
                }
                offset = offset.next();
            });
            *next = Offset((slot + 1) * MESSAGES_MAX);
        }
        batch.hand_over(*partition, devices, intake)
    }

    /// About how many records are due and not handed over.
    fn lag(&self, settings: &FleetSettings, now_ms: i64) -> u64 {
        let due = self.at(settings, now_ms);
        ((due.0 - self.next.0) / MESSAGES_MAX).max(0) as u64
    }
}

impl Batch {
    fn hand_over(&mut self, partition: Partition, devices: &[Device], intake: &mut dyn Intake) -> usize {
        let mut start = 0;
        let mut records = Vec::with_capacity(self.records.len());
        for (offset, log_time, device, end) in self.records.drain(..) {
            let key = Some(devices[device].id().as_bytes());
            records.push(Record {
                offset,
                log_time: Some(log_time),
                key,
                payload: &self.payloads[start..end],
                headers: Headers::NONE,
            });
            start = end;
        }
        if !records.is_empty() {
            intake.records(partition, &records);
        }
        let count = records.len();
        self.payloads.clear();
        count
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
