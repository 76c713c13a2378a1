//! A small stream through everything: the generator, the oracle, the engine, the bare loop. Answers are checked, no
//! time is.

use super::answer::Answer;
use super::bare::{self, Mode};
use super::contestant::Lateness;
use super::memory::MemoryOutput;
use super::oracle::Oracle;
use super::outputs::{ColumnsOutput, Output, generate};
use super::publish::KafkaOutput;
use super::spec::Spec;
use super::tidewatch::{End, Outcome, Set, run, run_topic};
use super::topic;
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

/// When the last five-minute window of the stream has ended for sure.
const HOP_END_MS: i64 = super::generate::BASE_MS + SPEC.span_ms + 3_600_000;

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
        let oracle = Oracle::compute(columns.as_slice(), Some(HOP_END_MS))?;
        Ok(Self {
            partitions,
            oracle: Answer::parse(&oracle.to_string())?,
        })
    }

    /// Is the outcome the oracle's?
    fn check(&self, outcome: &Outcome, set: Set) -> Result<()> {
        Lateness::Kept.check(&Answer::parse(&outcome.to_string())?, &self.oracle)?;
        if set == Set::Full {
            let hops = (outcome.hops.steady, outcome.hops.flaky);
            let expected = (self.oracle.tally("hop")?, self.oracle.tally("all hop flaky")?);
            ensure!(hops == expected, "five-minute windows {hops:?}, not {expected:?}");
        }
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

/// Tries everything in this process, and through Kafka when its address is given.
pub fn smoke(brokers: Option<&str>) -> Result<()> {
    let small = Small::make()?;
    for set in [Set::Minutes, Set::Full] {
        for threads in THREADS {
            let log = MemoryFactory::finished(small.partitions.clone());
            let outcome = run(Instant::now(), set.config(threads), Arc::new(log), End::Finished)?;
            small
                .check(&outcome, set)
                .with_context(|| format!("{set:?} on {threads} threads from memory"))?;
            println!("memory, {set:?}, {threads} threads: right, {:.1} s", outcome.run_s);
        }
    }
    match brokers {
        Some(brokers) => through_kafka(brokers, &small),
        None => {
            println!("Kafka: not tried, TIDEWATCH_TEST_KAFKA is not set");
            Ok(())
        }
    }
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
        let outcome = run_topic(brokers, topic, Set::Minutes.config(threads))?;
        small
            .check(&outcome, Set::Minutes)
            .with_context(|| format!("{threads} threads from Kafka"))?;
        println!("Kafka, {threads} threads: right, {:.1} s", outcome.run_s);
    }
    Ok(())
}
