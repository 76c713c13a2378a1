//! What the engine's tests share: a log in memory, a quick clock, an oracle that knows nothing of the engine.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod anomalies;
pub mod logs;
pub mod oracle;
pub mod script;

use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tidewatch_dataflow::capture::Captured;
use tidewatch_dataflow::checkpoint::{Meta, Part};
use tidewatch_dataflow::{Clock, Engine, EngineConfig, Restored, Saved};
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::{Epoch, Generation, Offset, Partition};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::{Job, Row, Status};
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceError, SourceFactory};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::LogTime;
use tidewatch_proto::wire::Telemetry;

/// One record of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Msg {
    pub device: String,
    pub ts: i64,
    pub log: Option<i64>,
    pub metrics: Vec<(String, f64)>,
}

impl Msg {
    pub fn new(device: &str, ts: i64, metrics: &[(&str, f64)]) -> Msg {
        let metrics = metrics.iter().map(|(name, value)| (name.to_string(), *value)).collect();
        Msg {
            device: device.into(),
            ts,
            log: None,
            metrics,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let metrics = self.metrics.iter().cloned().collect();
        Telemetry {
            device_id: self.device.clone(),
            ts: self.ts,
            metrics,
            raw: Vec::new(),
        }
        .encode_to_vec()
    }
}

/// A log of partitions, read `step` records at a time.
#[derive(Clone)]
pub struct Log {
    pub partitions: Vec<Vec<(Vec<u8>, Option<i64>)>>,
    pub names: Vec<String>,
    pub step: usize,
    pub finishes: bool,
    pub read: Arc<AtomicU64>,
}

impl Log {
    pub fn of(partitions: &[Vec<Msg>], step: usize) -> Log {
        Log {
            names: (0..partitions.len()).map(|p| format!("log/{p}")).collect(),
            partitions: partitions
                .iter()
                .map(|list| list.iter().map(|m| (m.bytes(), m.log)).collect())
                .collect(),
            step,
            finishes: true,
            read: Arc::default(),
        }
    }
}

struct LogReader {
    log: Log,
    at: Vec<(usize, usize)>,
}

impl Source for LogReader {
    fn poll(&mut self, intake: &mut dyn Intake, _records_max: usize) -> Result<Polled, SourceError> {
        let mut found = false;
        for (partition, at) in &mut self.at {
            let list = &self.log.partitions[*partition];
            let to = (*at + self.log.step).min(list.len());
            let records: Vec<Record<'_>> = (*at..to)
                .map(|i| Record {
                    offset: Offset(i as i64),
                    log_time: list[i].1.map(LogTime),
                    key: None,
                    payload: &list[i].0,
                    headers: Headers::NONE,
                })
                .collect();
            if !records.is_empty() {
                found = true;
                self.log.read.fetch_add(records.len() as u64, Ordering::SeqCst);
                intake.records(Partition(*partition as u32), &records);
            }
            *at = to;
        }
        Ok(match (found, self.log.finishes) {
            (true, _) => Polled::Some,
            (false, true) => Polled::Finished,
            (false, false) => Polled::Idle,
        })
    }
}

impl SourceFactory for Log {
    fn partitions(&self) -> &[String] {
        &self.names
    }

    fn open(&self, assigned: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        let at = assigned
            .iter()
            .map(|a| (a.partition.index(), a.from.map_or(0, |o| o.0 as usize)))
            .collect();
        Ok(Box::new(LogReader { log: self.clone(), at }))
    }
}

/// An epoch a millisecond, so that a short run has many of them.
pub struct QuickClock {
    begun: Instant,
    base: u64,
    pub wall_ms: i64,
}

impl QuickClock {
    pub fn from(base: u64) -> Arc<QuickClock> {
        Arc::new(QuickClock {
            begun: Instant::now(),
            base,
            wall_ms: i64::MAX / 4,
        })
    }
}

impl Clock for QuickClock {
    fn epoch(&self) -> Epoch {
        Epoch(self.base + self.begun.elapsed().as_millis() as u64)
    }

    fn wall_ms(&self) -> i64 {
        self.wall_ms
    }
}

/// The key of a row.
pub type Key = (Job, String, String, i64);

/// All that a run yielded.
#[derive(Default)]
pub struct Outcome {
    pub rows: Vec<Row>,
    pub rejects: Vec<Reject>,
    pub stragglers: Vec<(Epoch, Straggler)>,
    pub anomalies: Vec<Anomaly>,
    pub parts: Vec<Part>,
    pub partitions: usize,
    pub workers: usize,
    pub positions: BTreeMap<Partition, tidewatch_dataflow::batch::Position>,
    pub through: u64,
    pub late: u64,
    pub duplicates: u64,
    pub errors: Vec<String>,
}

impl Outcome {
    /// The last row of each key. It checks on the way that revisions grow and that `final` comes first.
    pub fn last_rows(&self) -> BTreeMap<Key, Row> {
        let mut last: BTreeMap<Key, Row> = BTreeMap::new();
        for row in &self.rows {
            let key = (row.job, row.key.to_string(), row.metric.to_string(), row.window_start.0);
            match last.get(&key) {
                None => assert_eq!(row.status, Status::Final, "the first row of {key:?}"),
                Some(before) => {
                    assert!(before.revision < row.revision, "{key:?} again at {}", row.revision);
                    assert_eq!(row.status, Status::Corrected, "a later row of {key:?}");
                }
            }
            last.insert(key, row.clone());
        }
        last
    }

    /// What the run saved at its end.
    pub fn saved(&self) -> Saved {
        Saved {
            meta: Meta {
                generation: Generation(1),
                epoch: Epoch(self.through),
                workers: self.workers,
                settings: 42,
                rules: Vec::new(),
                partition_names: (0..self.partitions).map(|p| format!("log/{p}")).collect(),
                log: String::new(),
                positions: self.positions.values().copied().collect(),
                delivered: Epoch(self.through),
            },
            parts: self.parts.clone(),
        }
    }

    /// What a later run goes on from.
    pub fn restored(&self) -> Restored {
        let saved = self.saved();
        saved
            .clone()
            .into_restored(&saved.meta.partition_names, &EngineConfig::default())
            .unwrap()
    }
}

/// Takes what a run yields until all workers have ended.
pub fn drain(captured: &std::sync::mpsc::Receiver<Captured>, threads: usize, outcome: &mut Outcome) {
    let mut running = threads;
    while running > 0 {
        match captured.recv().expect("workers say that they end") {
            Captured::Rows(_, list) => outcome.rows.extend(list.into_rows()),
            Captured::Rejects(_, rejects) => outcome.rejects.extend(rejects),
            Captured::Stragglers(epoch, list) => outcome.stragglers.extend(list.into_iter().map(|one| (epoch, one))),
            Captured::Anomalies(_, list) => outcome.anomalies.extend(list),
            Captured::Positions(_, list) => list.into_iter().for_each(|p| {
                outcome.positions.insert(p.partition, p);
            }),
            Captured::Through { epoch, .. } => outcome.through = outcome.through.max(epoch.0),
            Captured::State(slice) => {
                outcome.through = outcome.through.max(slice.through.0);
                outcome.workers = threads;
                outcome.partitions = slice.partitions.len();
                outcome.parts.push(Part::State(*slice));
            }
            Captured::Journal { .. } => unreachable!("it is off"),
            // Why comes with its end.
            Captured::Crashed { .. } => {}
            Captured::Ended { error, .. } => {
                outcome.errors.extend(error);
                running -= 1;
            }
        }
    }
}

/// Runs the engine over a log that ends.
pub fn run(log: &Log, config: &EngineConfig) -> Outcome {
    let (engine, captured) = Engine::start(config.clone(), Arc::new(log.clone()), QuickClock::from(1), None);
    let stats = engine.handle().stats;
    let mut outcome = Outcome::default();
    drain(&captured, config.threads, &mut outcome);
    engine.join();
    assert_eq!(outcome.errors, Vec::<String>::new());
    (outcome.late, outcome.duplicates) = (stats.late.get(), stats.duplicates.get());
    outcome
}
