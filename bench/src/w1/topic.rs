//! Kafka topics: made anew, counted, listed.

use anyhow::{Context, Result, anyhow, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use std::time::Duration;
use tidewatch_proto::ids::Offset;

/// The broker that is asked when none is named and none is there for tests.
const BROKERS: &str = "127.0.0.1:9092";

/// Kafka's address when none is given: the one that is there for tests.
pub fn brokers_default() -> String {
    std::env::var("TIDEWATCH_TEST_KAFKA").unwrap_or_else(|_| BROKERS.into())
}

/// What a program is told that reads a topic from start to end.
#[derive(clap::Args)]
pub struct ReadFlags {
    /// The topic.
    #[arg(long, env = "IN_TOPIC", default_value = "w1.s")]
    pub topic: String,
    /// Kafka's address.
    #[arg(long, env = "KAFKA_BROKERS", default_value_t = brokers_default())]
    pub brokers: String,
    /// Threads, each with its share of the partitions.
    #[arg(long, env = "THREADS", default_value_t = 2)]
    pub threads: usize,
}

/// How long a broker may take to answer a question about a topic.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A topic that is being deleted can't be created: how often it is tried, and the pause between two tries.
const CREATE_TRIES_MAX: u32 = 40;
const CREATE_PAUSE: Duration = Duration::from_millis(500);

/// Deletes a topic if it exists and creates it with so many partitions, kept for ever.
pub fn recreate(brokers: &str, topic: &str, partitions: u32) -> Result<()> {
    administer(brokers, async |admin, options| {
        delete(admin, options, topic).await?;
        create(admin, options, topic, partitions).await
    })
}

/// Deletes a topic if it exists.
pub fn remove(brokers: &str, topic: &str) -> Result<()> {
    administer(brokers, async |admin, options| delete(admin, options, topic).await)
}

fn administer(
    brokers: &str,
    task: impl AsyncFnOnce(&AdminClient<DefaultClientContext>, &AdminOptions) -> Result<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let admin = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT));
    runtime.block_on(task(&admin, &options))
}

async fn delete(admin: &AdminClient<DefaultClientContext>, options: &AdminOptions, topic: &str) -> Result<()> {
    for outcome in admin.delete_topics(&[topic], options).await? {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((name, code)) => bail!("cannot delete topic {name}: {code}"),
        }
    }
    Ok(())
}

/// Creates a topic, waiting for an older one of the same name to be gone.
async fn create(
    admin: &AdminClient<DefaultClientContext>,
    options: &AdminOptions,
    topic: &str,
    partitions: u32,
) -> Result<()> {
    let new = NewTopic::new(topic, partitions as i32, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    for _ in 0..CREATE_TRIES_MAX {
        let outcome = admin
            .create_topics([&new], options)
            .await?
            .pop()
            .context("no answer about the new topic")?;
        match outcome {
            Ok(_) => return Ok(()),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => std::thread::sleep(CREATE_PAUSE),
            Err((name, code)) => bail!("cannot create topic {name}: {code}"),
        }
    }
    bail!("topic {topic} is still being deleted")
}

/// The partitions of a topic, empty when there is no such topic.
pub fn partitions(brokers: &str, topic: &str) -> Result<Vec<i32>> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    partitions_seen(&consumer, topic)
}

/// Records in a topic, 0 when there is no such topic; only for topics whose offsets have no holes.
pub fn records(brokers: &str, topic: &str) -> Result<u64> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let mut records = 0;
    for partition in partitions_seen(&consumer, topic)? {
        let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER_TIMEOUT)?;
        records += (high - low) as u64;
    }
    Ok(records)
}

/// The offset after the last record of each partition, in their order.
pub fn ends(brokers: &str, topic: &str) -> Result<Vec<Offset>> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let partitions = partitions_seen(&consumer, topic)?;
    ensure!(!partitions.is_empty(), "there is no topic {topic}");
    let ends = partitions.into_iter().map(|partition| {
        let (_, high) = consumer.fetch_watermarks(topic, partition, ANSWER_TIMEOUT)?;
        Ok(Offset(high))
    });
    ends.collect()
}

fn partitions_seen(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>> {
    let metadata = consumer
        .fetch_metadata(Some(topic), ANSWER_TIMEOUT)
        .context("no broker answers")?;
    let seen = metadata
        .topics()
        .first()
        .ok_or_else(|| anyhow!("no answer about topic {topic}"))?;
    let mut partitions: Vec<i32> = seen.partitions().iter().map(|partition| partition.id()).collect();
    partitions.sort_unstable();
    Ok(partitions)
}
