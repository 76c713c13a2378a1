//! Sends readings to the topic that Tidewatch reads: JSON lines come in on standard input, protobuf goes out.
//!
//! ```text
//! my-devices | producer --brokers 127.0.0.1:9092 --topic raw.events
//!
//! {"device_id": "cold-1", "ts": "2026-03-14T10:00:00Z", "metrics": {"temperature": -18.2}}
//! ```
//!
//! What matters in a producer of one's own, in any language: the value is a `Telemetry` of proto/telemetry.proto, the key
//! is the device id (so that a device's messages stay in order, on one partition), and the topic has
//! `message.timestamp.type=LogAppendTime` (so that no device's clock is trusted). It is created so when it isn't there.

use clap::Parser;
use prost::Message;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use serde::Deserialize;
use std::collections::HashMap;
use std::error::Error;
use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tidewatch_proto::wire::Telemetry;

/// Sends JSON lines of standard input to a topic, as Tidewatch reads it.
#[derive(Parser)]
struct Flags {
    /// Kafka's address.
    #[arg(long, default_value = "127.0.0.1:9092")]
    brokers: String,
    /// The topic.
    #[arg(long, default_value = "raw.events")]
    topic: String,
    /// How many partitions the topic gets when it has to be made: as many threads can read it.
    #[arg(long, default_value_t = 12)]
    partitions: i32,
}

/// A line of the input.
#[derive(Deserialize)]
struct Line {
    device_id: String,
    ts: Time,
    metrics: HashMap<String, f64>,
}

/// When the device measured.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    /// Milliseconds since 1970.
    Milliseconds(i64),
    /// RFC 3339, UTC.
    Text(String),
}

impl Time {
    fn milliseconds(&self) -> Result<i64, Box<dyn Error>> {
        match self {
            Time::Milliseconds(ms) => Ok(*ms),
            Time::Text(text) => {
                let since = humantime::parse_rfc3339(text)?.duration_since(SystemTime::UNIX_EPOCH)?;
                Ok(i64::try_from(since.as_millis())?)
            }
        }
    }
}

/// Hears what became of each message.
#[derive(Clone, Default)]
struct Outcome {
    failed: Arc<AtomicU64>,
}

impl rdkafka::ClientContext for Outcome {}

impl ProducerContext for Outcome {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            eprintln!("producer: a message was not taken: {error}");
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &flags.brokers)
        // A message that is sent again is stored once, and none overtakes another.
        .set("enable.idempotence", "true")
        // The partitioner of the Java client: a device stays on its partition whoever else sends for it.
        .set("partitioner", "murmur2_random")
        .set("compression.type", "zstd")
        .set("linger.ms", "20");
    create_topic(&config, &flags)?;
    let outcome = Outcome::default();
    let producer: ThreadedProducer<Outcome> = config.create_with_context(outcome.clone())?;
    let mut sent = 0u64;
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line: Line = serde_json::from_str(&line?).map_err(|error| format!("line {}: {error}", number + 1))?;
        let key = line.device_id.clone();
        let value = Telemetry {
            device_id: line.device_id,
            ts: line.ts.milliseconds()?,
            metrics: line.metrics,
            raw: Vec::new(),
        };
        send(&producer, &flags.topic, &key, &value.encode_to_vec())?;
        sent += 1;
    }
    producer.flush(Duration::from_secs(60))?;
    println!("{sent} messages sent to {}", flags.topic);
    match outcome.failed.load(Ordering::Relaxed) {
        0 => Ok(()),
        failed => Err(format!("{failed} of them were not taken").into()),
    }
}

/// Sends one message; while the client's queue is full it waits.
fn send(producer: &ThreadedProducer<Outcome>, topic: &str, key: &str, value: &[u8]) -> Result<(), KafkaError> {
    let mut record = BaseRecord::to(topic).key(key).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error),
        }
    }
}

/// Makes the topic unless it is there.
fn create_topic(config: &ClientConfig, flags: &Flags) -> Result<(), Box<dyn Error>> {
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    // -1: the brokers' default.
    let topic = NewTopic::new(&flags.topic, flags.partitions, TopicReplication::Fixed(-1))
        .set("message.timestamp.type", "LogAppendTime");
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
    let made = futures_executor::block_on(admin.create_topics(&[topic], &options))?;
    match made.into_iter().next() {
        Some(Err((name, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
            Err(format!("topic {name} can't be made: {code}").into())
        }
        _ => Ok(()),
    }
}
