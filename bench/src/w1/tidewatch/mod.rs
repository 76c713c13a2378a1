//! W1 on Tidewatch's own engine: starts it, takes its rows, and ends it when the log is at its end.

mod clock;
mod collect;

pub use collect::Collector;

use super::tally::Tallies;
use super::topic;
use crate::measure::own_rss_bytes;
use anyhow::{Context, Result, bail, ensure};
use clock::RunClock;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tidewatch_dataflow::batch::Position;
use tidewatch_dataflow::capture::{Captured, ROW_BYTES, reject_bytes};
use tidewatch_dataflow::config::epochs_of;
use tidewatch_dataflow::engine::EFFECT_AFTER;
use tidewatch_dataflow::stats::Stats;
use tidewatch_dataflow::{Engine, EngineConfig};
use tidewatch_proto::ids::{Epoch, Offset, Partition};
use tidewatch_proto::source::SourceFactory;
use tidewatch_settings::kafka::KafkaConnection;
use tidewatch_sources::kafka::{KafkaFactory, KafkaSourceConfig};

/// How long the engine may be silent; it says at every epoch that it is done with it.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Which aggregates are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Count, sum, least, greatest and mean by the minute: what W1 asks for.
    Minutes,
    /// Everything that the engine keeps by default: quantiles, five-minute and one-hour windows too.
    Full,
}

impl Set {
    /// The engine's settings. What a service needs is on in both: limits, dead letters, dropped duplicates,
    /// corrections, positions.
    pub fn config(self, threads: usize) -> EngineConfig {
        let full = self == Self::Full;
        EngineConfig {
            threads,
            quantiles: full,
            five_minutes: full,
            hour: full,
            ..EngineConfig::default()
        }
    }
}

/// When a run is at its end.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// When the source says so.
    Finished,
    /// When each partition was read up to its offset: the log may get more.
    Offsets(Vec<Offset>),
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Seconds to the last row.
    pub run_s: f64,
    /// Seconds from there to the end of the workers.
    pub stop_s: f64,
    /// The rows of minutes.
    pub minutes: Tallies,
    /// The rows of five-minute windows.
    pub hops: Tallies,
    /// Rows of all jobs.
    pub rows: u64,
    /// Those among them that corrected an earlier one.
    pub corrected: u64,
    /// Messages taken in.
    pub messages: u64,
    /// Readings in them.
    pub readings: u64,
    /// Messages that came after their minute had closed.
    pub late: u64,
    /// Messages dropped as sent twice.
    pub duplicates: u64,
    /// Records in the dead letter.
    pub rejects: u64,
    /// Resident bytes at the last row.
    pub rss_bytes: u64,
}

/// As a RESULT line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RESULT run_s={:.2} {} messages={} readings={} rows_all={} corrected={} late={} duplicates={} rejects={} \
             stop_s={:.2} rss_mib={}",
            self.run_s,
            self.minutes,
            self.messages,
            self.readings,
            self.rows,
            self.corrected,
            self.late,
            self.duplicates,
            self.rejects,
            self.stop_s,
            self.rss_bytes >> 20
        )
    }
}

/// Reads a topic from its start to its present end.
pub fn run_topic(brokers: &str, topic: &str, config: EngineConfig) -> Result<Outcome> {
    let begun = Instant::now();
    let ends = topic::ends(brokers, topic)?;
    let connection = KafkaConnection {
        brokers: brokers.into(),
        ..KafkaConnection::default()
    };
    let kafka = KafkaSourceConfig {
        topic: topic.into(),
        ..KafkaSourceConfig::default()
    };
    let factory =
        KafkaFactory::connect(&kafka.resolve(&connection)?)?.with_events(Arc::new(|event| eprintln!("{event}")));
    run(begun, config, Arc::new(factory), End::Offsets(ends))
}

/// Runs the engine over a source until its end; seconds are counted from `begun`.
pub fn run(begun: Instant, config: EngineConfig, source: Arc<dyn SourceFactory>, end: End) -> Result<Outcome> {
    let (interval, threads) = (epochs_of(config.correction_interval_ms), config.threads);
    let clock = Arc::new(RunClock::start());
    let (engine, captured) = Engine::start(config, source, clock.clone(), None);
    let handle = engine.handle();
    let mut taker = Taker::new(&captured, handle.stats.clone(), threads);
    if let End::Offsets(ends) = &end {
        while !taker.has_read(ends) {
            taker.take()?;
        }
        // What was corrected lately is published when its interval is over, which may as well be now.
        let settled = Epoch(clock.skip(interval + 1).0 - 1);
        while !taker.is_through(settled) {
            taker.take()?;
        }
        taker.run_s = begun.elapsed().as_secs_f64();
        taker.rss_bytes = own_rss_bytes();
        handle.stop();
        clock.skip(EFFECT_AFTER + 1);
    }
    while taker.running > 0 {
        taker.take()?;
    }
    engine.join();
    taker.outcome(begun, &end)
}

/// Takes what the engine yields.
struct Taker<'a> {
    captured: &'a Receiver<Captured>,
    stats: Arc<Stats>,
    collector: Collector,
    positions: BTreeMap<Partition, Position>,
    /// By worker the last epoch that it has completed.
    through: Vec<Epoch>,
    running: usize,
    rejects: u64,
    run_s: f64,
    rss_bytes: u64,
}

impl<'a> Taker<'a> {
    fn new(captured: &'a Receiver<Captured>, stats: Arc<Stats>, threads: usize) -> Self {
        Self {
            captured,
            stats,
            collector: Collector::default(),
            positions: BTreeMap::new(),
            through: vec![Epoch(0); threads],
            running: threads,
            rejects: 0,
            run_s: 0.0,
            rss_bytes: 0,
        }
    }

    /// Takes one message of the engine.
    fn take(&mut self) -> Result<()> {
        let captured = self
            .captured
            .recv_timeout(SILENCE_MAX)
            .context("the engine is silent")?;
        match captured {
            Captured::Rows(_, rows) => {
                for row in &rows {
                    self.collector.take(row)?;
                }
                self.stats.outbox_bytes.add(-(rows.len() as i64 * ROW_BYTES));
            }
            Captured::Rejects(_, rejects) => {
                self.rejects += rejects.len() as u64;
                let bytes: i64 = rejects.iter().map(reject_bytes).sum();
                self.stats.outbox_bytes.add(-bytes);
            }
            Captured::Positions(_, positions) => {
                let positions = positions.into_iter().map(|position| (position.partition, position));
                self.positions.extend(positions);
            }
            Captured::Through { worker, epoch } => self.through[worker] = epoch,
            Captured::State(_) => {}
            Captured::Ended { worker, error } => {
                if let Some(error) = error {
                    bail!("worker {worker} ended: {error}");
                }
                self.running -= 1;
            }
        }
        Ok(())
    }

    /// Was every partition read up to its end, as of the end of an epoch?
    fn has_read(&self, ends: &[Offset]) -> bool {
        (0..).map(Partition).zip(ends).all(|(partition, end)| {
            let position = self.positions.get(&partition);
            end.0 == 0 || position.is_some_and(|position| position.next >= *end)
        })
    }

    /// Has every worker completed this epoch?
    fn is_through(&self, epoch: Epoch) -> bool {
        self.through.iter().all(|through| *through >= epoch)
    }

    fn outcome(&self, begun: Instant, end: &End) -> Result<Outcome> {
        let whole_s = begun.elapsed().as_secs_f64();
        let run_s = match end {
            End::Finished => whole_s,
            End::Offsets(_) => self.run_s,
        };
        let left = self.stats.outbox_bytes.get();
        ensure!(left == 0, "the outbox still counts {left} bytes although all was taken");
        let Collector { minutes, hops, .. } = self.collector;
        Ok(Outcome {
            run_s,
            stop_s: whole_s - run_s,
            minutes,
            hops,
            rows: self.collector.rows,
            corrected: self.stats.rows_corrected.get(),
            messages: self.stats.messages.get(),
            readings: self.stats.readings.get(),
            late: self.stats.late.get(),
            duplicates: self.stats.duplicates.get(),
            rejects: self.rejects,
            rss_bytes: match end {
                End::Finished => own_rss_bytes(),
                End::Offsets(_) => self.rss_bytes,
            },
        })
    }
}
