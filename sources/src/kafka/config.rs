//! What can be configured about reading from Kafka.

use super::security::{SaslMechanism, SecurityProtocol};
use crate::units::{Secret, Size, Span};
use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tidewatch_proto::source::SourceError;

/// The default of [`KafkaConfig::brokers`].
pub const BROKERS: &str = "127.0.0.1:9092";
/// The default of [`KafkaConfig::topic`].
pub const TOPIC: &str = "raw.events";
/// The default of [`KafkaConfig::group_id`].
pub const GROUP_ID: &str = "tidewatch";
/// The default of [`KafkaConfig::queue_records_min`].
pub const QUEUE_RECORDS_MIN: u32 = 200_000;
/// The default of [`KafkaConfig::queue_bytes_max`].
pub const QUEUE_BYTES_MAX: Size = Size(64 << 20);
/// The default of [`KafkaConfig::fetch_bytes_max`].
pub const FETCH_BYTES_MAX: Size = Size(4 << 20);
/// The default of [`KafkaConfig::fetch_wait`].
pub const FETCH_WAIT: Span = Span::from_millis(20);

/// How long a partition waits before it asks again after the queue was full.
const FETCH_QUEUE_BACKOFF_MS: u32 = 5;
/// How long to wait at most between attempts to reach a broker.
const RECONNECT_BACKOFF_MAX_MS: u32 = 1_000;
/// What one answer of a broker may hold at most, over all partitions.
const RESPONSE_BYTES_MAX: u64 = 50 << 20;
/// What librdkafka wants an answer's limit to exceed the fetch's by.
const RESPONSE_OVERHEAD_BYTES: u64 = 1 << 10;

/// The section `[kafka]` of a source: a topic of Apache Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// Addresses to find the cluster by, `host:port`, with commas between them.
    pub brokers: String,
    /// The topic to read.
    pub topic: String,
    /// Where to start without a checkpoint: `earliest` or `latest`.
    pub start: Start,
    /// The consumer group that positions are committed to, for lag tools; nothing is read from it.
    pub group_id: String,
    /// How to talk to the brokers: `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    pub security_protocol: SecurityProtocol,
    /// How to log in, with a SASL protocol: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub sasl_mechanism: SaslMechanism,
    /// Whom to log in as; needed with a SASL protocol.
    pub username: Option<String>,
    /// A file whose first line is the password; needed with a SASL protocol.
    pub password_file: Option<PathBuf>,
    /// A PEM file of the authorities that the brokers' certificates are checked against; by default the system's.
    pub ca_file: Option<PathBuf>,
    /// A PEM file of the certificate to show to the brokers, for mutual TLS.
    pub cert_file: Option<PathBuf>,
    /// A PEM file of that certificate's private key.
    pub key_file: Option<PathBuf>,
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

impl Default for KafkaConfig {
    fn default() -> KafkaConfig {
        KafkaConfig {
            brokers: BROKERS.to_owned(),
            topic: TOPIC.to_owned(),
            start: Start::Earliest,
            group_id: GROUP_ID.to_owned(),
            security_protocol: SecurityProtocol::Plaintext,
            sasl_mechanism: SaslMechanism::ScramSha256,
            username: None,
            password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            check_crcs: true,
            queue_records_min: QUEUE_RECORDS_MIN,
            queue_bytes_max: QUEUE_BYTES_MAX,
            fetch_bytes_max: FETCH_BYTES_MAX,
            fetch_wait: FETCH_WAIT,
        }
    }
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

/// A [`KafkaConfig`] that was checked, with its secrets read.
#[derive(Clone)]
pub struct KafkaSettings {
    pub(super) brokers: String,
    pub(super) topic: String,
    pub(super) start: Start,
    pub(super) group_id: String,
    /// What every client needs to reach the brokers.
    pub(super) connection: ClientConfig,
    /// What a reader needs as well.
    reading: Vec<(&'static str, String)>,
}

impl KafkaConfig {
    /// Checks what was written and reads the password.
    ///
    /// # Errors
    /// When a value or a file can't be used; the error names its key.
    pub fn resolve(&self) -> Result<KafkaSettings, SourceError> {
        for (key, value) in [
            ("kafka.brokers", &self.brokers),
            ("kafka.topic", &self.topic),
            ("kafka.group_id", &self.group_id),
        ] {
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
            brokers: self.brokers.clone(),
            topic: self.topic.clone(),
            start: self.start,
            group_id: self.group_id.clone(),
            connection: self.connection()?,
            reading: self.reading(),
        })
    }

    fn connection(&self) -> Result<ClientConfig, SourceError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "tidewatch")
            .set("security.protocol", self.security_protocol.as_str())
            .set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MAX_MS.to_string());
        if self.security_protocol.logs_in() {
            let username = self.username.as_deref();
            let username = username.ok_or_else(|| missing("kafka.username", self.security_protocol))?;
            let file = self.password_file.as_deref();
            let file = file.ok_or_else(|| missing("kafka.password_file", self.security_protocol))?;
            client
                .set("sasl.mechanisms", self.sasl_mechanism.as_str())
                .set("sasl.username", username)
                .set("sasl.password", Secret::read(file, "kafka.password_file")?.expose());
        }
        if self.security_protocol.encrypts() {
            set_file(&mut client, "ssl.ca.location", "kafka.ca_file", self.ca_file.as_deref())?;
            set_file(
                &mut client,
                "ssl.certificate.location",
                "kafka.cert_file",
                self.cert_file.as_deref(),
            )?;
            set_file(
                &mut client,
                "ssl.key.location",
                "kafka.key_file",
                self.key_file.as_deref(),
            )?;
        }
        Ok(client)
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

fn missing(key: &str, protocol: SecurityProtocol) -> SourceError {
    SourceError::new(
        key,
        format!(
            "is missing; kafka.security_protocol = \"{}\" needs it",
            protocol.as_str()
        ),
    )
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

fn set_file(client: &mut ClientConfig, setting: &str, key: &str, path: Option<&Path>) -> Result<(), SourceError> {
    let Some(path) = path else { return Ok(()) };
    std::fs::File::open(path)
        .map_err(|error| SourceError::new(key, format!("can't read {}: {error}", path.display())))?;
    let text = path
        .to_str()
        .ok_or_else(|| SourceError::new(key, "the path is not UTF-8"))?;
    client.set(setting, text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_resolves() {
        let settings = KafkaConfig::default().resolve().unwrap();
        assert_eq!(settings.object(), "topic raw.events at 127.0.0.1:9092");
        let read = |text| serde_json::from_str::<KafkaConfig>(text);
        assert_eq!(read("{}").unwrap(), KafkaConfig::default());
        assert!(
            read(r#"{"broker": "a:1"}"#)
                .unwrap_err()
                .to_string()
                .contains("unknown field `broker`")
        );
    }

    #[test]
    fn errors_name_the_key() {
        let check = |text: &str, expected: &str| {
            let config: KafkaConfig = serde_json::from_str(text).unwrap();
            assert_eq!(config.resolve().err().expect("an error").to_string(), expected);
        };
        check(r#"{"topic": " "}"#, "kafka.topic: is empty");
        check(
            r#"{"security_protocol": "sasl_ssl"}"#,
            "kafka.username: is missing; kafka.security_protocol = \"sasl_ssl\" needs it",
        );
        check(
            r#"{"security_protocol": "ssl", "ca_file": "/nowhere/ca.pem"}"#,
            "kafka.ca_file: can't read /nowhere/ca.pem: No such file or directory (os error 2)",
        );
        check(
            r#"{"queue_bytes_max": "4GiB"}"#,
            "kafka.queue_bytes_max: is 4GiB, must be from 1MiB to 2GiB",
        );
    }
}
