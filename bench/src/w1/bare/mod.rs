//! The bare loop: W1 written by hand on librdkafka, nothing that a service needs, as the mark for all else.
//!
//! Each thread reads its share of the partitions and keeps its own state; a window is emitted once, when its own
//! partition's watermark passes its end, and what comes later is dropped.

mod aggregate;
mod decode;

use super::tally::Tallies;
use super::topic;
use aggregate::Aggregator;
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::ValueEnum;
use decode::Event;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::fmt;
use std::time::{Duration, Instant};

/// How long a partition may be silent before its end.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How much of the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Messages are read and their bytes counted.
    Consume,
    /// They are decoded too.
    Decode,
    /// And aggregated: the whole answer.
    Aggregate,
}

/// What one run of the loop did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Messages read, flush messages included.
    pub messages: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Metrics decoded.
    pub metrics: u64,
    /// The answer, empty unless aggregated.
    pub tallies: Tallies,
    /// Seconds from before the first connection to the end of all threads.
    pub run_s: f64,
}

/// As a RESULT line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            bytes,
            metrics,
            tallies,
            run_s,
        } = self;
        write!(
            f,
            "RESULT run_s={run_s:.2} {tallies} messages={messages} bytes={bytes} metrics={metrics}"
        )
    }
}

/// Reads a topic from its start to its present end on so many threads.
pub fn run(brokers: &str, topic: &str, threads: usize, mode: Mode) -> Result<Outcome> {
    let start = Instant::now();
    let partitions = topic::partitions(brokers, topic)?;
    ensure!(!partitions.is_empty(), "there is no topic {topic}");
    let mut shares = vec![Vec::new(); threads.clamp(1, partitions.len())];
    for (turn, partition) in partitions.into_iter().enumerate() {
        let threads = shares.len();
        shares[turn % threads].push(partition);
    }
    let outcomes: Vec<Result<Outcome>> = std::thread::scope(|scope| {
        let workers: Vec<_> = shares
            .iter()
            .map(|share| scope.spawn(|| read(&consumer(brokers, topic, share)?, share.len(), mode)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| anyhow!("a thread panicked"))?)
            .collect()
    });
    let mut whole = Outcome::default();
    for outcome in outcomes {
        let part = outcome?;
        whole.messages += part.messages;
        whole.bytes += part.bytes;
        whole.metrics += part.metrics;
        whole.tallies += part.tallies;
    }
    whole.run_s = start.elapsed().as_secs_f64();
    Ok(whole)
}

/// A consumer at the start of some partitions.
fn consumer(brokers: &str, topic: &str, partitions: &[i32]) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "w1-bare")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "false")
        .set("fetch.message.max.bytes", "4194304")
        .set("queued.max.messages.kbytes", "65536")
        .set("queued.min.messages", "1000000")
        // The default of a second stalls a reader that is faster than the fetch.
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in partitions {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

/// Reads so many partitions to their ends.
fn read(consumer: &BaseConsumer, partitions: usize, mode: Mode) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut aggregator = Aggregator::default();
    let mut ended = 0;
    while ended < partitions {
        let message = match consumer.poll(SILENCE_MAX) {
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(_))) => {
                ended += 1;
                continue;
            }
            Some(Err(error)) => return Err(error.into()),
            None => bail!("no message for {} s", SILENCE_MAX.as_secs()),
        };
        let value = message.payload().unwrap_or_default();
        outcome.messages += 1;
        outcome.bytes += value.len() as u64;
        if mode == Mode::Consume {
            continue;
        }
        let event = Event::decode(value).with_context(|| format!("not telemetry, offset {}", message.offset()))?;
        outcome.metrics += event.metrics().len() as u64;
        if mode == Mode::Aggregate {
            aggregator.add(message.partition(), &event)?;
        }
    }
    outcome.tallies = aggregator.tallies;
    Ok(outcome)
}
