//! What can be configured about reading from Kafka.

use crate::begin::OnGap;

use super::native::{NativeSettings, Patience};
use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use tidewatch_proto::source::SourceError;
use tidewatch_settings::kafka::{KafkaConnection, SecurityProtocol};
use tidewatch_settings::{Size, Span};

/// The default of [`KafkaSourceConfig::topic`].
pub const TOPIC: &str = "raw.events";
/// The default of [`KafkaSourceConfig::group_id`].
pub const GROUP_ID: &str = "tidewatch";
/// The default of [`KafkaSourceConfig::queue_records_min`].
pub const QUEUE_RECORDS_MIN: u32 = 50_000;
/// The default of [`KafkaSourceConfig::queue_bytes_max`].
pub const QUEUE_BYTES_MAX: Size = Size(32 << 20);
/// The default of [`KafkaSourceConfig::fetch_bytes_max`].
pub const FETCH_BYTES_MAX: Size = Size(4 << 20);
/// The default of [`KafkaSourceConfig::fetch_wait`].
pub const FETCH_WAIT: Span = Span::from_millis(20);

/// How long a partition waits before it asks again after the queue was full.
const FETCH_QUEUE_BACKOFF_MS: u32 = 5;
/// What one answer of a broker may hold at most, over all partitions.
const RESPONSE_BYTES_MAX: u64 = 50 << 20;
/// What librdkafka wants an answer's limit to exceed the fetch's by.
const RESPONSE_OVERHEAD_BYTES: u64 = 1 << 10;

/// How a topic of Apache Kafka is read, as written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSourceConfig {
    /// The topic to read.
    pub topic: String,
    /// What reads the topic: `rdkafka`, or the experimental `native`.
    pub client: Client,
    /// Where to start without a checkpoint: `earliest` or `latest`.
    pub start: Start,
    /// What to do when the log doesn't have what comes next: `stop` or `skip`.
    pub on_gap: OnGap,
    /// The consumer group that positions are committed to, for lag tools; nothing is read from it.
    pub group_id: String,
    /// Whether each batch's checksum is verified. It costs next to nothing.
    pub check_crcs: bool,
    /// How many records a reader tries to have at hand for each partition.
    pub queue_records_min: u32,
    /// How many bytes of records a reader holds at most before it stops fetching.
    pub queue_bytes_max: Size,
    /// How many bytes are asked for at once from a partition. A single larger record is still read.
    pub fetch_bytes_max: Size,
    /// How long a broker may hold back its answer when it has nothing.
    pub fetch_wait: Span,
}

impl Default for KafkaSourceConfig {
    fn default() -> KafkaSourceConfig {
        KafkaSourceConfig {
            topic: TOPIC.to_owned(),
            client: Client::Rdkafka,
            start: Start::Earliest,
            on_gap: OnGap::Stop,
            group_id: GROUP_ID.to_owned(),
            check_crcs: true,
            queue_records_min: QUEUE_RECORDS_MIN,
            queue_bytes_max: QUEUE_BYTES_MAX,
            fetch_bytes_max: FETCH_BYTES_MAX,
            fetch_wait: FETCH_WAIT,
        }
    }
}

/// What reads a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// librdkafka, record by record.
    Rdkafka,
    /// A reader of our own, batch by batch; in the clear and without a login.
    Native,
}

/// Where to start a partition that has no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the oldest record that the log has.
    Earliest,
    /// With the next record that is appended.
    Latest,
}

/// A topic and how to reach it, checked, with the secrets read.
#[derive(Clone)]
pub struct KafkaSettings {
    pub(super) brokers: String,
    pub(super) topic: String,
    pub(super) start: Start,
    pub(super) on_gap: OnGap,
    pub(super) group_id: String,
    /// What the native reader needs, when that is the one.
    pub(super) native: Option<NativeSettings>,
    /// What every client needs to reach the brokers.
    pub(super) connection: ClientConfig,
    /// What a reader needs as well.
    reading: Vec<(&'static str, String)>,
}

impl KafkaSourceConfig {
    /// Checks what was written, and reads the secrets of the connection.
    ///
    /// # Errors
    /// When a value or a file can't be used; the error names its key.
    pub fn resolve(&self, connection: &KafkaConnection) -> Result<KafkaSettings, SourceError> {
        for (key, value) in [("kafka.topic", &self.topic), ("kafka.group_id", &self.group_id)] {
            if value.trim().is_empty() {
                return Err(SourceError::new(key, "is empty"));
            }
        }
        let fetch_limit = RESPONSE_BYTES_MAX - RESPONSE_OVERHEAD_BYTES;
        in_range(
            "kafka.fetch_bytes_max",
            self.fetch_bytes_max,
            Size(1 << 10),
            Size(fetch_limit),
        )?;
        in_range(
            "kafka.queue_bytes_max",
            self.queue_bytes_max,
            Size(1 << 20),
            Size(2 << 30),
        )?;
        Ok(KafkaSettings {
            brokers: connection.brokers.clone(),
            topic: self.topic.clone(),
            start: self.start,
            on_gap: self.on_gap,
            group_id: self.group_id.clone(),
            native: self.native(connection)?,
            connection: connection.resolve()?,
            reading: self.reading(),
        })
    }

    fn native(&self, connection: &KafkaConnection) -> Result<Option<NativeSettings>, SourceError> {
        if self.client == Client::Rdkafka {
            return Ok(None);
        }
        if connection.security_protocol != SecurityProtocol::Plaintext {
            let problem = "can't be used with kafka.client = \"native\", which reads in the clear and without a login; \
                           set kafka.client = \"rdkafka\"";
            return Err(SourceError::new("kafka.security_protocol", problem));
        }
        Ok(Some(NativeSettings {
            brokers: connection.brokers.clone(),
            topic: self.topic.clone(),
            check_crcs: self.check_crcs,
            queue_bytes_max: self.queue_bytes_max.0,
            fetch_bytes_max: self.fetch_bytes_max.0,
            fetch_wait_ms: self.fetch_wait.as_millis(),
            from_latest: self.start == Start::Latest,
            patience: Patience::default(),
        }))
    }

    fn reading(&self) -> Vec<(&'static str, String)> {
        let response_bytes_max = RESPONSE_BYTES_MAX.min(self.queue_bytes_max.0.max(self.fetch_bytes_max.0));
        vec![
            ("group.id", self.group_id.clone()),
            ("enable.auto.commit", "false".to_owned()),
            ("enable.auto.offset.store", "false".to_owned()),
            // A position that the log doesn't have is an error, never a jump.
            ("auto.offset.reset", "error".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            ("isolation.level", "read_committed".to_owned()),
            ("check.crcs", self.check_crcs.to_string()),
            ("queued.min.messages", self.queue_records_min.to_string()),
            ("queued.max.messages.kbytes", (self.queue_bytes_max.0 >> 10).to_string()),
            ("fetch.message.max.bytes", self.fetch_bytes_max.0.to_string()),
            ("fetch.max.bytes", response_bytes_max.to_string()),
            (
                "receive.message.max.bytes",
                (response_bytes_max + RESPONSE_OVERHEAD_BYTES).to_string(),
            ),
            ("fetch.wait.max.ms", self.fetch_wait.as_millis().to_string()),
            ("fetch.queue.backoff.ms", FETCH_QUEUE_BACKOFF_MS.to_string()),
        ]
    }
}

impl KafkaSettings {
    /// The settings of a consumer.
    pub(super) fn reader(&self) -> ClientConfig {
        let mut client = self.connection.clone();
        client.extend(
            self.reading
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone())),
        );
        client
    }

    /// What is read, for errors: `raw.events at 127.0.0.1:9092`.
    pub(super) fn object(&self) -> String {
        format!("topic {} at {}", self.topic, self.brokers)
    }
}

fn in_range(key: &str, value: Size, least: Size, most: Size) -> Result<(), SourceError> {
    match least <= value && value <= most {
        true => Ok(()),
        false => Err(SourceError::new(
            key,
            format!("is {value}, must be from {least} to {most}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_resolves() {
        let settings = KafkaSourceConfig::default()
            .resolve(&KafkaConnection::default())
            .unwrap();
        assert_eq!(settings.object(), "topic raw.events at 127.0.0.1:9092");
        let read = |text| serde_json::from_str::<KafkaSourceConfig>(text);
        assert_eq!(read("{}").unwrap(), KafkaSourceConfig::default());
    }

    #[test]
    fn errors_name_the_key() {
        let check = |text: &str, expected: &str| {
            let config: KafkaSourceConfig = serde_json::from_str(text).unwrap();
            let refused = config.resolve(&KafkaConnection::default()).err();
            assert_eq!(refused.expect("an error").to_string(), expected);
        };
        check(r#"{"topic": " "}"#, "kafka.topic: is empty");
        check(
            r#"{"queue_bytes_max": "4GiB"}"#,
            "kafka.queue_bytes_max: is 4GiB, must be from 1MiB to 2GiB",
        );
    }
    #[test]
    fn the_native_client_reads_in_the_clear_only() {
        let config: KafkaSourceConfig = serde_json::from_str(r#"{"client": "native"}"#).unwrap();
        assert!(config.resolve(&KafkaConnection::default()).is_ok());
        for security_protocol in [
            SecurityProtocol::Ssl,
            SecurityProtocol::SaslPlaintext,
            SecurityProtocol::SaslSsl,
        ] {
            let connection = KafkaConnection {
                security_protocol,
                ..KafkaConnection::default()
            };
            let refused = config.resolve(&connection).err().expect("an error").to_string();
            assert!(refused.starts_with("kafka.security_protocol: "), "{refused}");
            assert!(refused.contains("kafka.client = \"rdkafka\""), "{refused}");
        }
    }
}
