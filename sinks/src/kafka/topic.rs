//! Whether a topic is there, and making one that isn't.

use super::config::KafkaSinkSettings;
use super::producer::Trouble;
use crate::{ErrorKind, SinkError};
use futures_executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use std::time::{Duration, Instant};

/// How long the brokers may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one attempt may take; then we look whether waiting can help.
const ATTEMPT: Duration = Duration::from_millis(500);
/// How long a topic that was just made may take to be known everywhere.
const MADE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// What a topic is for, which says how it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The last message of each key is kept.
    Upserts,
    /// Everything is kept for a time.
    Events,
}

impl Purpose {
    fn cleanup_policy(self) -> &'static str {
        match self {
            Purpose::Upserts => "compact",
            Purpose::Events => "delete",
        }
    }
}

/// Sees that the topic is there.
pub(super) fn ensure(settings: &KafkaSinkSettings, topic: &str, purpose: Purpose) -> Result<(), SinkError> {
    // A consumer's question doesn't make the topic, whatever the brokers are set to.
    let config = &settings.connection;
    let trouble = Trouble::default();
    let client: BaseConsumer<Trouble> = config
        .create_with_context(trouble.clone())
        .map_err(|error| SinkError::stop(&settings.brokers, format!("can't be used: {error}")))?;
    if partitions(&client, &trouble, &settings.brokers, topic)? > 0 {
        return Ok(());
    }
    if !settings.create_topics {
        return Err(missing(settings, topic, purpose));
    }
    create(config, settings, topic, purpose)?;
    let end = Instant::now() + MADE;
    while partitions(&client, &trouble, &settings.brokers, topic)? == 0 {
        if Instant::now() > end {
            return Err(SinkError::retry(
                format!("{}, topic {topic}", settings.brokers),
                "was created, but is not known",
            ));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The error about a topic that isn't there, with how to make it.
pub(super) fn missing(settings: &KafkaSinkSettings, topic: &str, purpose: Purpose) -> SinkError {
    let problem = format!(
        "there is no such topic; set kafka.create_topics = true, or: kafka-topics.sh --bootstrap-server {} --create \
         --topic {topic} --config cleanup.policy={} --config max.message.bytes={}",
        settings.brokers,
        purpose.cleanup_policy(),
        settings.message_bytes_max
    );
    SinkError::stop(format!("{}, topic {topic}", settings.brokers), problem)
}

/// How many partitions the topic has; 0 when there is no such topic.
fn partitions(
    client: &BaseConsumer<Trouble>,
    trouble: &Trouble,
    brokers: &str,
    topic: &str,
) -> Result<usize, SinkError> {
    let end = Instant::now() + TIMEOUT;
    loop {
        let error = match client.fetch_metadata(Some(topic), ATTEMPT) {
            Ok(metadata) => {
                return Ok(metadata
                    .topics()
                    .iter()
                    .find(|found| found.name() == topic)
                    .map_or(0, |found| found.partitions().len()));
            }
            Err(error) => error,
        };
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            return Ok(0);
        }
        // Errors of the connection arrive as events.
        while client.poll(Duration::ZERO).is_some() {}
        let (kind, reason) = trouble.last().unwrap_or((ErrorKind::Retry, error.to_string()));
        if kind == ErrorKind::Stop || Instant::now() > end {
            return Err(SinkError {
                kind,
                object: brokers.to_owned(),
                problem: format!("can't be reached: {reason}"),
            });
        }
    }
}

fn create(config: &ClientConfig, settings: &KafkaSinkSettings, topic: &str, purpose: Purpose) -> Result<(), SinkError> {
    let failed = |problem: String| SinkError::stop(format!("{}, topic {topic}", settings.brokers), problem);
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(|error| failed(error.to_string()))?;
    let bytes_max = settings.message_bytes_max.to_string();
    // -1: the brokers' default.
    let new = NewTopic::new(topic, -1, TopicReplication::Fixed(-1))
        .set("cleanup.policy", purpose.cleanup_policy())
        .set("max.message.bytes", &bytes_max);
    let options = AdminOptions::new()
        .operation_timeout(Some(TIMEOUT))
        .request_timeout(Some(TIMEOUT));
    let results = block_on(admin.create_topics(&[new], &options))
        .map_err(|error| SinkError::retry(format!("{}, topic {topic}", settings.brokers), error.to_string()))?;
    match results.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => Err(failed(format!(
            "there is no such topic, and it can't be created: {code}"
        ))),
        _ => Ok(()),
    }
}
