//! Latency: from the moment at which a record is due at the producer until the engine has it, at an even pace.
//!
//! Records are due at an even pace whatever happens, so a stall counts for all that fall into it. Two moments are
//! measured: an open window that holds the record reaches who listens, and the epoch that holds the record is complete
//! on all workers.

mod journal;
mod listener;
mod producer;

pub use producer::{Pace, Sample, now_us, produce};

use crate::w1::answer::Answer;
use crate::w1::tidewatch::{RunClock, Set};
use crate::w1::topic;
use anyhow::{Context, Result, anyhow, ensure};
use journal::Journal;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidewatch_dataflow::Engine;
use tidewatch_proto::ids::Offset;
use tidewatch_settings::kafka::KafkaConnection;
use tidewatch_sources::kafka::{KafkaFactory, KafkaSourceConfig};

/// Partitions of the topic.
pub const PARTITIONS: u32 = 4;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Worker threads.
    pub threads: usize,
    /// Aggregates.
    pub set: Set,
    /// Records that are due before those that count.
    pub warm: u64,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    /// How many were measured.
    pub count: usize,
    /// The one in the middle.
    pub p50_ms: f64,
    /// The one that one in a hundred exceeds.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Quantiles {
    /// Of latencies in microseconds.
    pub(crate) fn of(mut latencies_us: Vec<u64>) -> Self {
        latencies_us.sort_unstable();
        let at = |share: f64| {
            let place = ((latencies_us.len() as f64 * share).ceil() as usize).max(1) - 1;
            latencies_us.get(place).map_or(0.0, |us| *us as f64 / 1e3)
        };
        Self {
            count: latencies_us.len(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        }
    }

    /// Reads them from a RESULT line, where their names begin with a prefix.
    ///
    /// # Errors
    /// When one is missing.
    pub fn parse(answer: &Answer, prefix: &str) -> Result<Self> {
        let number = |name: &str| answer.number(&format!("{prefix}_{name}"));
        Ok(Self {
            count: number("count")? as usize,
            p50_ms: number("p50_ms")?,
            p99_ms: number("p99_ms")?,
            max_ms: number("max_ms")?,
        })
    }

    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, prefix: &str) -> fmt::Result {
        let Self {
            count,
            p50_ms,
            p99_ms,
            max_ms,
        } = self;
        write!(
            f,
            " {prefix}_count={count} {prefix}_p50_ms={p50_ms:.2} {prefix}_p99_ms={p99_ms:.2} {prefix}_max_ms={max_ms:.2}"
        )
    }
}

/// What one run found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Records taken in.
    pub messages: u64,
    /// Until an open window with the record reached who listens.
    pub pushed: Quantiles,
    /// Until the record's epoch was complete.
    pub epoch: Quantiles,
}

/// As a RESULT line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RESULT messages={}", self.messages)?;
        self.pushed.write(f, "pushed")?;
        self.epoch.write(f, "epoch")
    }
}

/// Runs the engine on a topic that `appends` fills at a pace, and gives the latencies of its sample.
///
/// # Errors
/// When the engine or the producer fails, or a record is missing.
pub fn run(pace: &Pace, trial: Trial, appends: impl FnOnce() -> Result<Vec<Sample>> + Send) -> Result<Outcome> {
    let connection = KafkaConnection {
        brokers: pace.brokers.clone(),
        ..KafkaConnection::default()
    };
    let kafka = KafkaSourceConfig {
        topic: pace.topic.clone(),
        ..KafkaSourceConfig::default()
    };
    let factory =
        KafkaFactory::connect(&kafka.resolve(&connection)?)?.with_events(Arc::new(|event| eprintln!("{event}")));
    let clock = Arc::new(RunClock::start());
    let config = trial.set.config(trial.threads);
    let (engine, captured) = Engine::start(config, Arc::new(factory), clock, None);
    let handle = engine.handle();
    let live = handle.watch(listener::all());
    let stop_listening = AtomicBool::new(false);
    let mut journal = Journal::new(&captured, handle.stats.clone(), trial.threads);
    let (samples, pushed_us) = std::thread::scope(|scope| -> Result<_> {
        let producer = scope.spawn(appends);
        let stop = &stop_listening;
        let listener = scope.spawn(move || listener::listen(&live, pace, stop));
        let mut taken = Ok(());
        while taken.is_ok() && !producer.is_finished() {
            taken = journal.take(Duration::from_millis(10));
        }
        // Also when the engine has failed: nothing else ends the listening.
        stop_listening.store(true, Ordering::Release);
        taken?;
        let pushed = listener.join().map_err(|_| anyhow!("listening panicked"))?;
        let samples = producer.join().map_err(|_| anyhow!("the producer panicked"))??;
        Ok((samples, pushed))
    })?;
    let ends: Vec<Offset> = topic::ends(&pace.brokers, &pace.topic)?;
    journal.take_until_read(&ends)?;
    handle.stop();
    journal.take_until_ended()?;
    engine.join();
    let stats = &handle.stats;
    let taken = (stats.messages.get(), stats.dead_letters_total(), stats.duplicates.get());
    ensure!(taken == (pace.records, 0, 0), "{taken:?} of {} records", pace.records);
    let counted = samples.iter().filter(|sample| sample.index >= trial.warm);
    let epoch_us: Option<Vec<u64>> = counted
        .map(|sample| Some(journal.complete_us(sample)?.saturating_sub(pace.due_us(sample.index))))
        .collect();
    let pushed_us = pushed_us.into_iter().filter(|(index, _)| *index >= trial.warm);
    let pushed_us: Vec<u64> = pushed_us
        .map(|(index, seen_us)| seen_us.saturating_sub(pace.due_us(index)))
        .collect();
    Ok(Outcome {
        messages: taken.0,
        pushed: Quantiles::of(pushed_us),
        epoch: Quantiles::of(epoch_us.context("a record is in no epoch")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_latencies() {
        let outcome = Outcome {
            messages: 5,
            pushed: Quantiles::of((1..=100).rev().map(|ms| ms * 1_000).collect()),
            epoch: Quantiles::of(vec![7_000]),
        };
        assert_eq!(
            (outcome.pushed.p50_ms, outcome.pushed.p99_ms, outcome.pushed.max_ms),
            (50.0, 99.0, 100.0)
        );
        assert_eq!((outcome.epoch.p50_ms, outcome.epoch.max_ms), (7.0, 7.0));
        let answer = Answer::parse(&outcome.to_string()).unwrap();
        assert_eq!(Quantiles::parse(&answer, "pushed").unwrap(), outcome.pushed);
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }
}
