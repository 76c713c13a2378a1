//! Rows into Kafka: through the sink, and by a bare producer that has the same messages in memory.

use super::turns::{self, Turn};
use super::{deliver, own_name, rows};
use crate::w1::topic;
use anyhow::{Context, Result, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidewatch_proto::ids::Generation;
use tidewatch_proto::row::{Delivery, Row};
use tidewatch_settings::kafka::KafkaConnection;
use tidewatch_sinks::Sink as _;
use tidewatch_sinks::fence::Fence;
use tidewatch_sinks::kafka::{KafkaSink, KafkaSinkConfig, KafkaSinkSettings};

const PARTITIONS: u32 = 4;
/// How long reading back waits for a message, and the bare producer for its last acknowledgements.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages between two looks at the producer's reports.
const POLL_EVERY: usize = 1024;

/// Runs the sink and the bare producer in turn over topics of their own, and gives the table.
///
/// # Errors
/// When Kafka can't be used, or a topic doesn't hold what was delivered.
pub fn compare(brokers: &str, rounds: usize, deliveries: &[Delivery<Row>]) -> Result<String> {
    let name = own_name("rows");
    let made = run(brokers, &name, rounds, deliveries);
    topic::remove(brokers, &name)?;
    made
}

fn run(brokers: &str, topic: &str, rounds: usize, deliveries: &[Delivery<Row>]) -> Result<String> {
    // What the sink writes is read back: the bare producer sends exactly that, in the order of the rows.
    through_sink(brokers, topic, deliveries)?;
    let messages = in_order(read_back(brokers, topic, rows(deliveries))?, deliveries)?;
    let mut contestants = [
        Turn {
            name: "Kafka sink".into(),
            is_reference: false,
            run: Box::new(|| through_sink(brokers, topic, deliveries)),
        },
        Turn {
            name: "bare producer".into(),
            is_reference: true,
            run: Box::new(|| bare(brokers, topic, &messages)),
        },
    ];
    let entries = turns::in_turn(rounds, &mut contestants)?;
    let bytes: usize = messages.iter().map(|one| one.key.len() + one.payload.len()).sum();
    let head = format!(
        "## Rows into Kafka\n\nKeys and values of {} bytes on average, three headers, {PARTITIONS} partitions.\n\n",
        bytes / messages.len().max(1)
    );
    Ok(head + &turns::table(rows(deliveries), &entries))
}

/// The settings of the sink, as the server resolves them.
fn settings(brokers: &str, topic: &str) -> Result<KafkaSinkSettings> {
    let connection = KafkaConnection {
        brokers: brokers.into(),
        ..KafkaConnection::default()
    };
    let config = KafkaSinkConfig {
        topic: topic.into(),
        ..KafkaSinkConfig::default()
    };
    Ok(config.resolve(&connection)?)
}

/// Seconds that the sink takes for all deliveries into the emptied topic.
fn through_sink(brokers: &str, topic: &str, deliveries: &[Delivery<Row>]) -> Result<f64> {
    topic::recreate(brokers, topic, PARTITIONS)?;
    let mut sink = KafkaSink::new(settings(brokers, topic)?, Fence::alone());
    sink.deliver(&Delivery::nothing(Generation(1)))?;
    let begun = Instant::now();
    deliver(&mut sink, deliveries)?;
    let seconds = begun.elapsed().as_secs_f64();
    expect_messages(brokers, topic, rows(deliveries))?;
    Ok(seconds)
}

/// Sees that a topic holds so many messages; the marks of transactions are none.
fn expect_messages(brokers: &str, topic: &str, expected: usize) -> Result<()> {
    let mut messages = 0;
    each_message(brokers, topic, |_| {
        messages += 1;
        Ok(())
    })?;
    ensure!(
        messages == expected,
        "topic {topic} holds {messages} messages, not {expected}"
    );
    Ok(())
}

/// Hands over every message that a topic holds.
fn each_message(brokers: &str, topic: &str, mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<()>) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", topic)
        .set("enable.partition.eof", "true")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in topic::partitions(brokers, topic)? {
        partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let mut left = partitions.count();
    while left > 0 {
        match consumer.poll(PATIENCE).context("no broker answers")? {
            Ok(message) => take(&message)?,
            Err(KafkaError::PartitionEOF(_)) => left -= 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A message in memory.
struct Encoded {
    key: Vec<u8>,
    payload: Vec<u8>,
    headers: OwnedHeaders,
}

/// Every message of a topic, by its key.
fn read_back(brokers: &str, topic: &str, expected: usize) -> Result<HashMap<Vec<u8>, Encoded>> {
    let mut messages = HashMap::with_capacity(expected);
    each_message(brokers, topic, |message| {
        let key = message.key().context("a message without a key")?.to_vec();
        let headers = message.headers().context("a message without headers")?;
        let encoded = Encoded {
            key: key.clone(),
            payload: message.payload().context("a message without a value")?.to_vec(),
            headers: headers.iter().fold(OwnedHeaders::new(), OwnedHeaders::insert::<[u8]>),
        };
        ensure!(messages.insert(key, encoded).is_none(), "a key came twice");
        Ok(())
    })?;
    Ok(messages)
}

/// The messages in the order of the rows.
fn in_order(mut messages: HashMap<Vec<u8>, Encoded>, deliveries: &[Delivery<Row>]) -> Result<Vec<Encoded>> {
    let rows = deliveries.iter().flat_map(|delivery| &delivery.items);
    let keys = rows.map(|row| serde_json::to_vec(&(row.job.as_str(), &*row.key, &*row.metric, row.window_start.0)));
    keys.map(|key| messages.remove(&key?).context("a row without a message"))
        .collect()
}

/// Counts what was acknowledged.
#[derive(Default)]
struct Reports(AtomicU64);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.fetch_add(u64::from(result.is_ok()), Ordering::Relaxed);
    }
}

/// Seconds that a producer with the sink's settings takes for all messages, acknowledged, into the emptied topic.
fn bare(brokers: &str, topic: &str, messages: &[Encoded]) -> Result<f64> {
    topic::recreate(brokers, topic, PARTITIONS)?;
    let config = settings(brokers, topic)?.producer();
    let producer: BaseProducer<Reports> = config.create_with_context(Reports::default())?;
    producer.client().fetch_metadata(Some(topic), PATIENCE)?;
    let ready: Vec<(&Encoded, OwnedHeaders)> = messages.iter().map(|one| (one, one.headers.clone())).collect();
    let begun = Instant::now();
    for (place, (message, headers)) in ready.into_iter().enumerate() {
        let mut record = BaseRecord::to(topic)
            .key(&message.key)
            .payload(&message.payload)
            .headers(headers);
        loop {
            record = match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => back,
                Err((error, _)) => bail!("cannot send to topic {topic}: {error}"),
            };
            producer.poll(Duration::from_millis(5));
        }
        if place % POLL_EVERY == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE)?;
    let seconds = begun.elapsed().as_secs_f64();
    let acknowledged = producer.context().0.load(Ordering::Relaxed);
    ensure!(
        acknowledged == messages.len() as u64,
        "only {acknowledged} messages were acknowledged"
    );
    expect_messages(brokers, topic, messages.len())?;
    Ok(seconds)
}
