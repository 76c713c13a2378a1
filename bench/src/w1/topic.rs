//! Kafka topics: made anew, counted, listed.

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use std::time::Duration;

/// The broker that is asked when none is named.
pub const BROKERS_DEFAULT: &str = "127.0.0.1:9092";

/// How long a broker may take to answer a question about a topic.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A topic that is being deleted can't be created: how often it is tried, and the pause between two tries.
const CREATE_TRIES_MAX: u32 = 40;
const CREATE_PAUSE: Duration = Duration::from_millis(500);

/// Deletes a topic if it exists and creates it with so many partitions, kept for ever.
pub fn recreate(brokers: &str, topic: &str, partitions: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    runtime.block_on(async {
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT));
        for outcome in admin.delete_topics(&[topic], &options).await? {
            match outcome {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((name, code)) => bail!("cannot delete topic {name}: {code}"),
            }
        }
        create(&admin, &options, topic, partitions).await
    })
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
