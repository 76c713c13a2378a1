//! A small stream through everything: the generator, the oracle, the engine, the bare loop. Answers are checked, no
//! time is.

use super::answer::Answer;
use super::bare::{self, Mode};
use super::contestant::{Check, Lateness};
use super::memory::MemoryOutput;
use super::oracle::Oracle;
use super::outputs::{ColumnsOutput, Output, generate};
use super::publish::KafkaOutput;
use super::spec::Spec;
use super::tidewatch::{End, Job, Log, Outcome, Set, run, run_topic};
use super::topic;
use crate::in_process::{self, SliceLog};
use crate::{growth, latency};
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::time::Instant;
use tidewatch_sources::memory::{MemoryFactory, MemoryRecord};

/// The stream: enough for late messages and for many minutes.
const SPEC: Spec = Spec {
    messages: 50_000,
    devices: 1_000,
    span_ms: 1_200_000,
    seed: 45,
    partitions: 4,
};

/// Devices of the growth run.
const DEVICES: u32 = 1_000;

/// Numbers of worker threads that it is tried with.
const THREADS: [usize; 2] = [1, 2];

/// The stream and its right answer.
struct Small {
    partitions: Vec<Vec<MemoryRecord>>,
    oracle: Answer,
}

impl Small {
    fn make() -> Result<Self> {
        let (mut partitions, mut columns) = (Vec::new(), Vec::new());
        let mut outputs: Vec<Box<dyn Output + '_>> = vec![
            Box::new(MemoryOutput::new(SPEC, &mut partitions)),
            Box::new(ColumnsOutput::new(&mut columns)),
        ];
        generate(SPEC, &mut outputs)?;
        drop(outputs);
        let oracle = Oracle::compute(columns.as_slice(), None)?;
        Ok(Self {
            partitions,
            oracle: Answer::parse(&oracle.to_string())?,
        })
    }

    /// Is the outcome the oracle's?
    fn check(&self, outcome: &Outcome, set: Set) -> Result<()> {
        Check::of_set(set).check(&Answer::parse(&outcome.to_string())?, &self.oracle, &SPEC)?;
        ensure!(
            (outcome.rejects, outcome.duplicates) == (0, 0),
            "some were not taken: {outcome}"
        );
        ensure!(outcome.late > 0, "nothing was late: {outcome}");
        let records = SPEC.records();
        ensure!(
            outcome.messages == records,
            "{} messages, not {records}",
            outcome.messages
        );
        Ok(())
    }
}

fn job(set: Set, threads: usize) -> Job {
    Job {
        set,
        threads,
        spec: Some(SPEC),
    }
}

/// Tries everything in this process, and through Kafka when its address is given.
pub fn smoke(brokers: Option<&str>) -> Result<()> {
    let small = Small::make()?;
    for set in [Set::Minutes, Set::W2, Set::Full, Set::Sites] {
        for threads in THREADS {
            let log = MemoryFactory::finished(small.partitions.clone());
            let outcome = run(Instant::now(), job(set, threads), Arc::new(log), End::Finished)?;
            small
                .check(&outcome, set)
                .with_context(|| format!("{set:?} on {threads} threads from memory"))?;
            println!("memory, {set:?}, {threads} threads: right, {:.1} s", outcome.run_s);
        }
    }
    from_slices(&small)?;
    let outcome = growth::run(DEVICES, SPEC.messages, Set::Full).context("growth")?;
    println!("growth: right, {:.1} s", outcome.run_s);
    match brokers {
        Some(brokers) => {
            through_kafka(brokers, &small)?;
            latency_of(brokers)
        }
        None => {
            println!("Kafka: not tried, TIDEWATCH_TEST_KAFKA is not set");
            Ok(())
        }
    }
}

/// The records where they lie, through the engine and the bare chain.
fn from_slices(small: &Small) -> Result<()> {
    let log = SliceLog::of_stream(SPEC)?;
    for threads in THREADS {
        let outcome = in_process::engine(&log, SPEC, Set::Quantiles, threads)?;
        small
            .check(&outcome, Set::Quantiles)
            .with_context(|| format!("slices on {threads} threads"))?;
        let chain = in_process::chain::run(&log, threads)?;
        Lateness::PerPartition
            .check(&Answer::parse(&chain.to_string())?, &small.oracle)
            .with_context(|| format!("the bare chain on {threads} threads"))?;
        println!("slices, {threads} threads: right, {:.1} s", outcome.run_s);
    }
    Ok(())
}

/// Few records at an even pace.
fn latency_of(brokers: &str) -> Result<()> {
    let topic = format!("bench.smoke.{}", std::process::id());
    topic::recreate(brokers, &topic, latency::PARTITIONS)?;
    let pace = latency::Pace {
        brokers: brokers.into(),
        topic: topic.clone(),
        partitions: latency::PARTITIONS,
        devices: 100,
        per_s: 1_000,
        records: 3_000,
        start_us: latency::now_us(),
    };
    let trial = latency::Trial {
        threads: 2,
        set: Set::Full,
        warm: 0,
    };
    let outcome = latency::run(&pace, trial, || latency::produce(&pace));
    let removed = topic::remove(brokers, &topic);
    println!("latency: {}", outcome.context("latency")?);
    removed
}

fn through_kafka(brokers: &str, small: &Small) -> Result<()> {
    let topic = format!("w1.smoke.{}", std::process::id());
    let outcome = on_topic(brokers, &topic, small);
    // Also when it failed; that error says more than one about the topic.
    let removed = topic::remove(brokers, &topic);
    outcome.and(removed)
}

fn on_topic(brokers: &str, topic: &str, small: &Small) -> Result<()> {
    generate(SPEC, &mut [Box::new(KafkaOutput::create(brokers, topic, SPEC)?)])?;
    let outcome = bare::run(brokers, topic, 2, Mode::Aggregate)?;
    Lateness::PerPartition
        .check(&Answer::parse(&outcome.to_string())?, &small.oracle)
        .context("the bare loop")?;
    println!("Kafka, bare: right, {:.1} s", outcome.run_s);
    for threads in THREADS {
        let outcome = run_topic(Log::of(brokers, topic), job(Set::Minutes, threads))?;
        small
            .check(&outcome, Set::Minutes)
            .with_context(|| format!("{threads} threads from Kafka"))?;
        println!("Kafka, {threads} threads: right, {:.1} s", outcome.run_s);
    }
    Ok(())
}
