//! An engine under full control: its clock stands still until it is told, its source holds what was put there.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tidewatch_dataflow::batch::Position;
use tidewatch_dataflow::capture::Captured;
use tidewatch_dataflow::checkpoint::{Meta, Part, Recorder};
use tidewatch_dataflow::command::Command;
use tidewatch_dataflow::{Clock, Engine, EngineConfig, Handle, Restored, Saved};
use tidewatch_proto::anomaly::{Anomaly, Rule};
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::{Epoch, Generation, Offset, Partition};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Row;
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceError, SourceFactory};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::LogTime;

/// A clock that is moved by hand.
#[derive(Debug, Default)]
pub struct HandClock {
    pub epoch: AtomicU64,
    pub wall_ms: AtomicI64,
}

impl Clock for HandClock {
    fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::SeqCst)
    }
}

/// A record as it was put.
#[derive(Clone, Debug)]
pub struct Put {
    pub offset: i64,
    pub log: Option<i64>,
    pub payload: Vec<u8>,
}

/// What a partition does to whoever polls it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Panic,
    Fail,
}

/// A log that grows while it is read. Its partitions can fail.
#[derive(Default)]
pub struct Growing {
    pub names: Vec<String>,
    pub records: Mutex<Vec<Vec<Put>>>,
    pub read: AtomicU64,
    pub polls: AtomicU64,
    pub finished: AtomicBool,
    pub fault: Mutex<Option<(u32, Fault)>>,
}

impl Growing {
    pub fn new(partitions: usize) -> Arc<Growing> {
        Arc::new(Growing {
            names: (0..partitions).map(|p| format!("log/{p}")).collect(),
            records: Mutex::new(vec![Vec::new(); partitions]),
            ..Growing::default()
        })
    }

    pub fn put(&self, partition: usize, put: Put) {
        self.records.lock().unwrap()[partition].push(put);
    }
}

/// The factory: a log that several runs read one after the other.
pub struct GrowingLog(pub Arc<Growing>);

struct GrowingReader {
    log: Arc<Growing>,
    at: Vec<(usize, usize)>,
}

impl SourceFactory for GrowingLog {
    fn partitions(&self) -> &[String] {
        &self.0.names
    }

    fn open(&self, assigned: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        let records = self.0.records.lock().unwrap();
        let place = |a: &Assignment| {
            let list = &records[a.partition.index()];
            a.from.map_or(0, |from| {
                list.iter().position(|put| put.offset >= from.0).unwrap_or(list.len())
            })
        };
        let at = assigned.iter().map(|a| (a.partition.index(), place(a))).collect();
        Ok(Box::new(GrowingReader {
            log: self.0.clone(),
            at,
        }))
    }
}

impl Source for GrowingReader {
    fn poll(&mut self, intake: &mut dyn Intake, records_max: usize) -> Result<Polled, SourceError> {
        self.log.polls.fetch_add(1, Ordering::SeqCst);
        let fault = *self.log.fault.lock().unwrap();
        match fault.filter(|(p, _)| self.at.iter().any(|(own, _)| *own == *p as usize)) {
            Some((p, Fault::Panic)) => panic!("the source of partition {p} broke"),
            Some((p, Fault::Fail)) => return Err(SourceError::new(format!("log/{p}"), "the disk is gone")),
            None => {}
        }
        let finished = self.log.finished.load(Ordering::SeqCst);
        let mut left = records_max;
        for (partition, at) in &mut self.at {
            let list = self.log.records.lock().unwrap()[*partition].clone();
            let to = (*at + left).min(list.len());
            let record = |put: &'_ Put| (Offset(put.offset), put.log.map(LogTime));
            let records: Vec<Record<'_>> = list[*at..to]
                .iter()
                .map(|put| Record {
                    offset: record(put).0,
                    log_time: record(put).1,
                    key: None,
                    payload: &put.payload,
                    headers: Headers::NONE,
                })
                .collect();
            if !records.is_empty() {
                intake.records(Partition(*partition as u32), &records);
            }
            left -= records.len();
            self.log.read.fetch_add(records.len() as u64, Ordering::SeqCst);
            *at = to;
        }
        Ok(match (left < records_max, finished) {
            (true, _) => Polled::Some,
            (false, true) => Polled::Finished,
            (false, false) => Polled::Idle,
        })
    }
}

/// A run under control.
pub struct Run {
    pub log: Arc<Growing>,
    pub clock: Arc<HandClock>,
    pub handle: Handle,
    engine: Option<Engine>,
    captured: mpsc::Receiver<Captured>,
    through: Vec<u64>,
    pub threads: usize,
    rules: Arc<[Rule]>,
    pub rows: Vec<(Epoch, Row)>,
    pub rejects: Vec<(Epoch, Reject)>,
    pub stragglers: Vec<(Epoch, Straggler)>,
    pub anomalies: Vec<(Epoch, Anomaly)>,
    pub positions: BTreeMap<Partition, BTreeMap<Epoch, Position>>,
    pub parts: Vec<Part>,
    recorder: Recorder,
    pub errors: Vec<String>,
    running: usize,
    read: u64,
}

/// After so long without an answer a run counts as hung.
pub const HUNG: Duration = Duration::from_secs(30);

impl Run {
    pub fn start(log: Arc<Growing>, clock: Arc<HandClock>, config: &EngineConfig, restored: Option<Restored>) -> Run {
        Run::start_with(log, clock, config, restored, &[])
    }

    pub fn start_with(
        log: Arc<Growing>,
        clock: Arc<HandClock>,
        config: &EngineConfig,
        restored: Option<Restored>,
        first: &[Command],
    ) -> Run {
        let mut read = log.read.load(Ordering::SeqCst);
        if let Some(restored) = &restored {
            let next = |p: usize| {
                restored
                    .positions
                    .iter()
                    .find(|at| at.partition.index() == p)
                    .map(|at| at.next.0)
            };
            for (partition, list) in log.records.lock().unwrap().iter().enumerate() {
                read += list
                    .iter()
                    .filter(|put| next(partition).is_none_or(|next| put.offset >= next))
                    .count() as u64;
            }
        }
        let factory = Arc::new(GrowingLog(log.clone()));
        let (engine, captured) = Engine::start_with(config.clone(), factory, clock.clone(), restored, first, None);
        Run {
            log,
            clock,
            handle: engine.handle(),
            engine: Some(engine),
            captured,
            through: vec![0; config.threads],
            threads: config.threads,
            rules: config.rules.clone(),
            rows: Vec::new(),
            rejects: Vec::new(),
            stragglers: Vec::new(),
            anomalies: Vec::new(),
            positions: BTreeMap::new(),
            parts: Vec::new(),
            recorder: Recorder::default(),
            errors: Vec::new(),
            running: config.threads,
            read,
        }
    }

    /// Puts a record and waits until it was read.
    pub fn put(&mut self, partition: usize, put: Put) {
        self.push(partition, put);
        self.wait_until_read();
    }

    /// Puts a record; the next tick waits until it was read.
    pub fn push(&mut self, partition: usize, put: Put) {
        self.log.put(partition, put);
        self.read += 1;
    }

    fn wait_until_read(&mut self) {
        let read = self.read;
        self.wait("a record to be read", |run| run.log.read.load(Ordering::SeqCst) >= read);
    }

    /// Moves the clock and waits for nothing.
    pub fn bump(&mut self) {
        self.clock.epoch.fetch_add(1, Ordering::SeqCst);
        self.wait("nothing", |_| true);
    }

    /// Waits until all is read, moves the clock, and waits until all epochs before are complete.
    pub fn tick(&mut self, epochs: u64) {
        self.wait_until_read();
        let now = self.clock.epoch.fetch_add(epochs, Ordering::SeqCst) + epochs;
        self.wait("an epoch to complete", |run| {
            run.through.iter().all(|through| *through + 1 >= now)
        });
    }

    pub fn wait(&mut self, what: &str, done: impl Fn(&Run) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            if let Ok(captured) = self.captured.recv_timeout(Duration::from_millis(1)) {
                self.take(captured);
            }
            assert!(begun.elapsed() < HUNG, "waiting for {what}; errors: {:?}", self.errors);
        }
        while let Ok(captured) = self.captured.try_recv() {
            self.take(captured);
        }
    }

    fn take(&mut self, captured: Captured) {
        match captured {
            Captured::Rows(epoch, list) => self.rows.extend(list.into_rows().into_iter().map(|row| (epoch, row))),
            Captured::Rejects(epoch, list) => self.rejects.extend(list.into_iter().map(|reject| (epoch, reject))),
            Captured::Stragglers(epoch, list) => self.stragglers.extend(list.into_iter().map(|one| (epoch, one))),
            Captured::Anomalies(epoch, list) => self.anomalies.extend(list.into_iter().map(|one| (epoch, one))),
            Captured::Positions(epoch, list) => list.into_iter().for_each(|position| {
                self.positions
                    .entry(position.partition)
                    .or_default()
                    .insert(epoch, position);
            }),
            Captured::Through { worker, epoch } => {
                assert!(self.through[worker] <= epoch.0, "worker {worker} has gone back");
                self.through[worker] = epoch.0;
            }
            Captured::State(slice) => self.parts.push(Part::State(*slice)),
            Captured::Journal { worker, entry } => self.parts.extend(self.recorder.take(worker, &entry)),
            // Why comes with its end.
            Captured::Crashed { .. } => {}
            Captured::Ended { error, .. } => {
                self.errors.extend(error);
                self.running -= 1;
            }
        }
    }

    /// The last epoch that all workers have completed.
    pub fn through_all(&self) -> u64 {
        self.through.iter().copied().min().unwrap_or(0)
    }

    /// Waits until all workers have ended and their threads are joined.
    pub fn end(&mut self) {
        self.wait("all workers to end", |run| run.running == 0);
        let engine = self.engine.take().unwrap();
        let (sender, joined) = mpsc::channel();
        std::thread::spawn(move || {
            engine.join();
            let _ = sender.send(());
        });
        joined.recv_timeout(HUNG).expect("all threads end");
        while let Ok(captured) = self.captured.try_recv() {
            self.take(captured);
        }
    }

    /// Lets the input end, and waits for the end.
    pub fn finish(&mut self) {
        self.log.finished.store(true, Ordering::SeqCst);
        self.end();
    }

    /// Stops the run, and gives what a later one goes on from.
    pub fn stop(&mut self) -> Saved {
        let epoch = self.handle.stop();
        self.clock.epoch.store(epoch.0 + 1, Ordering::SeqCst);
        self.end();
        let slices = self.parts.iter().filter_map(|part| match part {
            Part::State(slice) => Some(slice.through),
            _ => None,
        });
        let last = slices.max().unwrap();
        self.saved(last)
    }

    /// A checkpoint of an epoch that all workers have completed.
    pub fn saved(&mut self, epoch: Epoch) -> Saved {
        let last = |positions: &BTreeMap<Epoch, Position>| positions.range(..=epoch).next_back().map(|(_, p)| *p);
        self.parts.extend(self.recorder.flush());
        Saved {
            meta: Meta {
                generation: Generation(1),
                epoch,
                workers: self.threads,
                settings: 0,
                rules: self.rules.to_vec(),
                partition_names: self.log.names.clone(),
                log: String::new(),
                positions: self.positions.values().filter_map(last).collect(),
                delivered: epoch,
            },
            parts: self.parts.clone(),
        }
    }
}
