//! The configuration of the Kafka sinks: as written, and as used.

use crate::SinkError;
use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tidewatch_settings::Span;
use tidewatch_settings::kafka::KafkaConnection;

/// The default of [`KafkaSinkConfig::topic`].
pub const TOPIC: &str = "aggregates.minute";
/// The default of [`KafkaSinkConfig::dead_letter_topic`].
pub const DEAD_LETTER_TOPIC: &str = "raw.events.dead";
/// The default of [`KafkaSinkConfig::transactional_id`].
pub const TRANSACTIONAL_ID: &str = "tidewatch";
/// The default of [`KafkaSinkConfig::delivery_timeout`].
pub const DELIVERY_TIMEOUT: Span = Span::from_secs(30);
/// The longest: brokers let a transaction take 15 minutes, unless they are told otherwise.
pub const DELIVERY_TIMEOUT_MAX: Span = Span::from_secs(600);
/// The default of [`KafkaSinkConfig::message_bytes_max`]: 8 MiB.
pub const MESSAGE_BYTES_MAX: u32 = 8 << 20;
/// How much the producer's queue holds at most, beside the messages on the network.
const QUEUE_KBYTES_MAX: u32 = 64 << 10;
const QUEUE_MESSAGES_MAX: u32 = 100_000;
/// How long messages wait for company; a delivery is there at once, so this only ends its last batch.
const LINGER_MS: u32 = 5;
const LONGEST_NAME: usize = 249;

/// Where rows and dead letters go in Kafka, as written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSinkConfig {
    /// The topic for rows; it should be compacted.
    pub topic: String,
    /// The topic for dead letters.
    pub dead_letter_topic: String,
    /// What the transactional ids of producers begin with: topic and number of the process follow.
    pub transactional_id: String,
    /// Whether a missing topic is created, with the brokers' defaults for partitions and replicas.
    pub create_topics: bool,
    /// How long a message may take to be acknowledged; then the delivery is tried again.
    pub delivery_timeout: Span,
    /// How large a message may be; the topic's own `max.message.bytes` counts as well.
    pub message_bytes_max: u32,
}

impl Default for KafkaSinkConfig {
    fn default() -> KafkaSinkConfig {
        KafkaSinkConfig {
            topic: TOPIC.to_owned(),
            dead_letter_topic: DEAD_LETTER_TOPIC.to_owned(),
            transactional_id: TRANSACTIONAL_ID.to_owned(),
            create_topics: false,
            delivery_timeout: DELIVERY_TIMEOUT,
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

/// Kafka as the sinks use it.
#[derive(Clone)]
pub struct KafkaSinkSettings {
    /// How to reach the brokers.
    pub(super) connection: ClientConfig,
    pub(super) brokers: String,
    pub(super) topic: String,
    pub(super) dead_letter_topic: String,
    pub(super) transactional_id: String,
    pub(super) create_topics: bool,
    pub(super) delivery_timeout: Duration,
    pub(super) message_bytes_max: u32,
}

impl KafkaSinkConfig {
    /// Checks everything that needs no connection, and reads the secrets.
    ///
    /// # Errors
    /// When a value can't be used; the error names the key.
    pub fn resolve(&self, connection: &KafkaConnection) -> Result<KafkaSinkSettings, SinkError> {
        for (key, name) in [
            ("kafka.topic", &self.topic),
            ("kafka.dead_letter_topic", &self.dead_letter_topic),
        ] {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(allowed) {
                return Err(SinkError::stop(key, format!("`{name}` can't be the name of a topic")));
            }
        }
        if self.transactional_id.is_empty() {
            return Err(SinkError::stop("kafka.transactional_id", "must not be empty"));
        }
        if !(Duration::from_secs(1)..=DELIVERY_TIMEOUT_MAX.0).contains(&self.delivery_timeout.0) {
            return Err(SinkError::stop("kafka.delivery_timeout", "must be from `1s` to `10m`"));
        }
        if !(1_000..=1_000_000_000).contains(&self.message_bytes_max) {
            return Err(SinkError::stop(
                "kafka.message_bytes_max",
                "must be from 1000 to 1000000000",
            ));
        }
        Ok(KafkaSinkSettings {
            connection: connection.resolve()?,
            brokers: connection.brokers.clone(),
            topic: self.topic.clone(),
            dead_letter_topic: self.dead_letter_topic.clone(),
            transactional_id: self.transactional_id.clone(),
            create_topics: self.create_topics,
            delivery_timeout: self.delivery_timeout.0,
            message_bytes_max: self.message_bytes_max,
        })
    }
}

impl KafkaSinkSettings {
    /// The topic that dead letters go to.
    pub fn dead_letter_topic(&self) -> &str {
        &self.dead_letter_topic
    }

    /// What the producer of a sink is configured with, but for its transactional id.
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.connection.clone();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("compression.type", "zstd")
            .set("linger.ms", LINGER_MS.to_string())
            .set("message.timeout.ms", self.delivery_timeout.as_millis().to_string())
            .set("message.max.bytes", self.message_bytes_max.to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX.to_string())
            .set("queue.buffering.max.messages", QUEUE_MESSAGES_MAX.to_string());
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let problem = |config: KafkaSinkConfig| match config.resolve(&KafkaConnection::default()) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        };
        let default = KafkaSinkConfig::default;
        assert!(default().resolve(&KafkaConnection::default()).is_ok());
        assert!(
            problem(KafkaSinkConfig {
                topic: "a b".into(),
                ..default()
            })
            .starts_with("kafka.topic: `a b`")
        );
        assert!(
            problem(KafkaSinkConfig {
                message_bytes_max: 1,
                ..default()
            })
            .starts_with("kafka.message_bytes_max")
        );
        let unknown = serde_json::from_str::<KafkaSinkConfig>(r#"{"topics": "x"}"#)
            .unwrap_err()
            .to_string();
        assert!(unknown.contains("unknown field `topics`"), "{unknown}");
    }
}
