//! A stream into a Kafka topic.

use super::generate::Telemetry;
use super::outputs::Output;
use super::record::Record;
use super::spec::Spec;
use super::topic;
use anyhow::{Context, Result, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Uncompressed bytes in a batch at most: what consumers pay for a message depends on it.
const BATCH_BYTES: &str = "131072";

/// Records between two looks at the producer's events.
const POLL_EVERY: u32 = 4096;

/// How long the last batches may take to be acknowledged.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(120);

/// Counts the records that the broker refused.
#[derive(Default)]
struct Refusals(AtomicU64);

impl ClientContext for Refusals {}

impl ProducerContext for Refusals {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A topic that a stream is written to, with its headers and, at the end, its flush messages.
pub struct KafkaOutput {
    producer: BaseProducer<Refusals>,
    topic: String,
    spec: Spec,
    since_poll: u32,
}

impl KafkaOutput {
    /// Empties the topic, creating it if need be, and opens it for writing.
    pub fn create(brokers: &str, topic: &str, spec: Spec) -> Result<Self> {
        topic::recreate(brokers, topic, spec.partitions)?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("compression.type", "zstd")
            .set("batch.size", BATCH_BYTES)
            .set("batch.num.messages", "100000")
            .set("linger.ms", "50")
            .set("queue.buffering.max.messages", "400000")
            .set("delivery.report.only.error", "true")
            .create_with_context(Refusals::default())?;
        Ok(Self {
            producer,
            topic: topic.into(),
            spec,
            since_poll: 0,
        })
    }

    /// Hands a record to the producer, waiting while its queue is full.
    fn send(&self, record: &Record) -> Result<()> {
        let headers = OwnedHeaders::new_with_capacity(3)
            .insert(Header {
                key: "device-id",
                value: Some(&record.key),
            })
            .insert(Header {
                key: "schema-version",
                value: Some("1"),
            })
            .insert(Header {
                key: "ingest-node-id",
                value: Some(record.node),
            });
        let mut unsent = BaseRecord::to(&self.topic)
            .partition(record.partition as i32)
            .key(&record.key)
            .payload(&record.value)
            .headers(headers);
        loop {
            unsent = match self.producer.send(unsent) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => back,
                Err((error, _)) => bail!("cannot send to topic {}: {error}", self.topic),
            };
            self.producer.poll(Duration::from_millis(10));
        }
    }

    fn check_refusals(&self) -> Result<()> {
        let refused = self.producer.context().0.load(Ordering::Relaxed);
        ensure!(refused == 0, "{refused} records of topic {} were refused", self.topic);
        Ok(())
    }
}

impl Output for KafkaOutput {
    fn write(&mut self, _telemetry: &Telemetry, record: &Record) -> Result<()> {
        self.send(record)?;
        self.since_poll += 1;
        if self.since_poll == POLL_EVERY {
            self.since_poll = 0;
            self.producer.poll(Duration::ZERO);
            self.check_refusals()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        for partition in 0..self.spec.partitions {
            self.send(&Record::flush(&self.spec, partition))?;
        }
        self.producer
            .flush(FLUSH_TIMEOUT)
            .with_context(|| format!("topic {} is not fully written", self.topic))?;
        self.check_refusals()
    }
}
