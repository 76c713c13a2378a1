//! W1 on Tidewatch's own engine: starts it, takes its rows, and ends it when the log is at its end.

mod clock;
mod collect;
mod output;
mod saving;
mod set;
mod taker;

pub use clock::RunClock;
pub use collect::Collector;
pub(crate) use saving::Saving;
pub use set::Set;
pub use taker::Taker;

use super::spec::Spec;
use super::tally::{Tallies, Tally};
use super::topic;
use crate::fetch::Client;
use anyhow::Result;
use output::{Output, kafka_sink};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tidewatch_dataflow::config::epochs_of;
use tidewatch_dataflow::engine::EFFECT_AFTER;
use tidewatch_dataflow::{Engine, EngineConfig};
use tidewatch_proto::ids::{Epoch, Offset};
use tidewatch_proto::source::SourceFactory;
use tidewatch_sinks::kafka::KafkaSink;

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
    /// CPU seconds to the last row of all threads but the one that takes the rows.
    pub engine_cpu_s: f64,
    /// The rows of minutes.
    pub minutes: Tallies,
    /// The rows of five-minute windows, those that end with the stream or before.
    pub hops: Tallies,
    /// The rows of sites' minutes.
    pub sites: Tally,
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
    /// CPU seconds to the last row of the whole process.
    pub process_cpu_s: f64,
    /// The checkpoints, if there were any.
    pub saved: Option<Saved>,
}

/// The checkpoints of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Saved {
    /// How many there were.
    pub made: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Seconds between two of them, as chosen at the end.
    pub interval_s: f64,
}

/// As a RESULT line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RESULT run_s={:.3} {} messages={} readings={} rows_all={} corrected={} late={} duplicates={} rejects={} \
             stop_s={:.2} rss_mib={} engine_cpu_s={:.3} process_cpu_s={:.3}",
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
            self.rss_bytes >> 20,
            self.engine_cpu_s,
            self.process_cpu_s
        )?;
        if self.hops.steady.rows > 0 {
            write!(f, " hop {} hop flaky {}", self.hops.steady, self.hops.flaky)?;
        }
        if self.sites.rows > 0 {
            write!(f, " site {}", self.sites)?;
        }
        if let Some(saved) = self.saved {
            write!(
                f,
                " ck_made={} ck_bytes={} ck_interval_s={:.1}",
                saved.made, saved.bytes, saved.interval_s
            )?;
        }
        Ok(())
    }
}

/// What is computed, of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The aggregates.
    pub set: Set,
    /// Worker threads.
    pub threads: usize,
    /// The stream that is read, when it is known: which devices have sites, and which five-minute windows count.
    pub spec: Option<Spec>,
}

/// A topic that is read, and where rows go besides.
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    /// Kafka's address.
    pub brokers: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// What reads it.
    pub client: Client,
    /// A topic for the rows, which are discarded otherwise.
    pub output: Option<&'a str>,
    /// A folder for checkpoints, which are not made otherwise.
    pub checkpoints: Option<&'a Path>,
    /// Rows are in the checkpoints too, as if no sink ever took them.
    pub full_outbox: bool,
}

impl<'a> Log<'a> {
    /// A topic, whose rows are discarded.
    pub fn of(brokers: &'a str, topic: &'a str) -> Log<'a> {
        Log {
            brokers,
            topic,
            client: Client::Rdkafka,
            output: None,
            checkpoints: None,
            full_outbox: false,
        }
    }
}

/// Reads a topic from its start to its present end.
pub fn run_topic(log: Log<'_>, job: Job) -> Result<Outcome> {
    let Log {
        brokers,
        topic,
        client,
        output,
        checkpoints,
        full_outbox,
    } = log;
    let begun = Instant::now();
    let sink = output.map(|topic| kafka_sink(brokers, topic)).transpose()?;
    let ends = topic::ends(brokers, topic)?;
    let factory = client.connect(brokers, topic)?;
    run_into(
        begun,
        job,
        Arc::new(factory),
        End::Offsets(ends),
        sink,
        checkpoints.map(|folder| (folder, full_outbox)),
    )
}

/// Runs the engine over a source until its end; seconds are counted from `begun`.
pub fn run(begun: Instant, job: Job, source: Arc<dyn SourceFactory>, end: End) -> Result<Outcome> {
    run_into(begun, job, source, end, None, None)
}

fn run_into(
    begun: Instant,
    job: Job,
    source: Arc<dyn SourceFactory>,
    end: End,
    sink: Option<KafkaSink>,
    checkpoints: Option<(&Path, bool)>,
) -> Result<Outcome> {
    let config = EngineConfig {
        journal: checkpoints.is_some(),
        ..job.set.config(job.threads)
    };
    let (interval, border) = (epochs_of(config.correction_interval_ms), config.border_epochs);
    let clock = Arc::new(RunClock::start());
    let partitions = source.partitions().to_vec();
    let (engine, captured) = Engine::start_with(
        config,
        source,
        clock.clone(),
        None,
        &job.set.first_commands(job.spec),
        None,
    );
    let handle = engine.handle();
    let output = sink.map(|sink| Output::start(sink, handle.stats.clone())).transpose()?;
    let saving = checkpoints.map(|(folder, full_outbox)| {
        let saving = Saving::start(folder, job.threads, &partitions, border, handle.stats.clone())?;
        Ok::<Saving, anyhow::Error>(saving.with_full_outbox(full_outbox))
    });
    let taker = Taker::new(&captured, handle.stats.clone(), job)?;
    let mut taker = taker.with_output(output).with_saving(saving.transpose()?);
    if let End::Offsets(ends) = &end {
        while !taker.has_read(ends) {
            taker.take()?;
        }
        // What was corrected lately is published when its interval is over, which may as well be now.
        let settled = Epoch(clock.skip(interval + 1).0 - 1);
        while !taker.is_through(settled) {
            taker.take()?;
        }
        taker.finish_output()?;
        handle.stop();
        clock.skip(EFFECT_AFTER + 1);
    }
    while taker.is_running() {
        taker.take()?;
    }
    engine.join();
    taker.finish_output()?;
    taker.finish_saving()?;
    taker.outcome(begun)
}
