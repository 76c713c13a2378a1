//! Reading a topic and nothing else, by either client of Kafka: what the way into the engine costs.

pub mod compare;

use crate::w1::topic;
use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, SourceFactory};
use tidewatch_settings::kafka::KafkaConnection;
use tidewatch_sources::kafka::{KafkaFactory, KafkaSourceConfig};

/// How many records a poll takes: as many as the engine's.
const POLL_RECORDS_MAX: usize = 4_096;
/// The pause after a poll that found nothing: as long as the engine's first.
const IDLE_WAIT: Duration = Duration::from_micros(200);
/// How long a topic may be silent before its end.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What reads the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// librdkafka, record by record.
    Rdkafka,
    /// Tidewatch's own, batch by batch.
    Native,
}

impl Client {
    /// Both, the mark first.
    pub const ALL: [Client; 2] = [Client::Rdkafka, Client::Native];

    /// Connects to a topic as a service does by default.
    ///
    /// # Errors
    /// When the topic can't be found.
    pub fn connect(self, brokers: &str, topic: &str) -> Result<KafkaFactory> {
        let connection = KafkaConnection {
            brokers: brokers.into(),
            ..KafkaConnection::default()
        };
        let config = KafkaSourceConfig {
            topic: topic.into(),
            client: self.into(),
            ..KafkaSourceConfig::default()
        };
        let factory = KafkaFactory::connect(&config.resolve(&connection)?)?;
        Ok(factory.with_events(Arc::new(|event| eprintln!("{event}"))))
    }
}

impl From<Client> for tidewatch_sources::kafka::Client {
    fn from(client: Client) -> Self {
        match client {
            Client::Rdkafka => Self::Rdkafka,
            Client::Native => Self::Native,
        }
    }
}

/// As the flag is written.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rdkafka => "rdkafka",
            Self::Native => "native",
        })
    }
}

/// What one run read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Messages.
    pub messages: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// A sum over all of their bytes that doesn't depend on the order of partitions.
    pub sum: u64,
    /// Seconds from before the first connection to the end of all threads.
    pub run_s: f64,
}

/// As a RESULT line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            bytes,
            sum,
            run_s,
        } = self;
        write!(
            f,
            "RESULT run_s={run_s:.3} messages={messages} bytes={bytes} sum={sum:x}"
        )
    }
}

/// Looks at the ends of what it gets, and counts.
#[derive(Debug, Default)]
struct Counter {
    outcome: Outcome,
    /// By partition the offset behind what came.
    next: Vec<Offset>,
    unusable: u64,
}

impl Intake for Counter {
    fn records(&mut self, partition: Partition, records: &[Record<'_>]) {
        for record in records {
            let (key, payload) = (record.key.unwrap_or(&[]), record.payload);
            self.outcome.bytes += (key.len() + payload.len()) as u64;
            self.outcome.sum = self.outcome.sum.wrapping_add(mark(key) ^ mark(payload).rotate_left(8));
            self.next[partition.index()] = record.offset.next();
        }
        self.outcome.messages += records.len() as u64;
    }

    fn unusable(&mut self, _: Partition, _: Record<'_>, _: Reason, _: String) {
        self.unusable += 1;
    }

    fn lag(&mut self, _: Partition, _: u64) {}
}

/// Touches the ends of some bytes, and its length.
fn mark(bytes: &[u8]) -> u64 {
    let (first, last) = (bytes.first().copied(), bytes.last().copied());
    u64::from(first.unwrap_or(0)) << 32 | u64::from(last.unwrap_or(0)) << 16 | bytes.len() as u64
}

/// Reads a topic from its start to its present end, each thread its share of the partitions.
///
/// # Errors
/// When the topic can't be read, or is silent before its end.
pub fn run(client: Client, brokers: &str, topic: &str, threads: usize) -> Result<Outcome> {
    let begun = Instant::now();
    let ends = topic::ends(brokers, topic)?;
    let factory = client.connect(brokers, topic)?;
    let threads = threads.clamp(1, ends.len());
    let outcomes: Vec<Result<Outcome>> = std::thread::scope(|scope| {
        let share = |thread: usize| (0..ends.len()).skip(thread).step_by(threads).collect::<Vec<_>>();
        let (factory, ends) = (&factory, &ends);
        let readers: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || read(factory, &share(thread), ends)))
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().map_err(|_| anyhow!("a thread panicked"))?)
            .collect()
    });
    let mut whole = Outcome::default();
    for outcome in outcomes {
        let part = outcome?;
        whole.messages += part.messages;
        whole.bytes += part.bytes;
        whole.sum = whole.sum.wrapping_add(part.sum);
    }
    whole.run_s = begun.elapsed().as_secs_f64();
    Ok(whole)
}

/// Reads so many partitions to their ends.
fn read(factory: &KafkaFactory, share: &[usize], ends: &[Offset]) -> Result<Outcome> {
    let assigned: Vec<Assignment> = share
        .iter()
        .map(|index| Assignment {
            partition: Partition(*index as u32),
            from: None,
        })
        .collect();
    let mut source = factory.open(&assigned)?;
    let mut counter = Counter {
        next: vec![Offset(0); ends.len()],
        ..Counter::default()
    };
    let mut heard = Instant::now();
    while share.iter().any(|index| counter.next[*index] < ends[*index]) {
        match source.poll(&mut counter, POLL_RECORDS_MAX)? {
            Polled::Some => heard = Instant::now(),
            Polled::Idle => std::thread::sleep(IDLE_WAIT),
            Polled::Finished => return Err(anyhow!("a topic has no end")),
        }
        ensure!(
            heard.elapsed() < SILENCE_MAX,
            "no message for {} s",
            SILENCE_MAX.as_secs()
        );
    }
    ensure!(counter.unusable == 0, "{} records are unusable", counter.unusable);
    Ok(counter.outcome)
}

/// The figures of a RESULT line, by name.
fn figure<'a>(result: &'a str, name: &str) -> Result<&'a str> {
    let mut words = result.split_ascii_whitespace();
    words
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .with_context(|| format!("no {name} in: {result}"))
}
