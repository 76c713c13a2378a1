//! `tidewatch topics`: the topics of Kafka that a configuration needs, and how to create them.

use crate::config::parsed::{DeadLetterKind, SourceKind};
use crate::config::written::variable_name;
use crate::config::{Config, ConfigError, DeadLetterSettings, Input, load};
use std::io::Write;
use tidewatch_settings::kafka::SecurityProtocol;
use tidewatch_sinks::kafka::{KafkaDeadLetters, KafkaSink};

/// How many partitions are suggested for the topic that is read: it bounds how many threads can read it.
const PARTITIONS: u32 = 12;

/// A topic that a configuration needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub purpose: &'static str,
    /// Whether Tidewatch writes it.
    pub is_ours: bool,
    /// The flags to create it with.
    flags: String,
}

/// The topics that the configuration needs.
pub fn topics(config: &Config) -> Vec<Topic> {
    let mut topics = Vec::new();
    if config.source.kind == SourceKind::Kafka {
        topics.push(Topic {
            name: config.kafka.reading.topic.clone(),
            purpose: "telemetry, read",
            is_ours: false,
            flags: format!("--partitions {PARTITIONS} --config message.timestamp.type=LogAppendTime"),
        });
    }
    let bytes_max = config.output.kafka.clone().unwrap_or_default().message_bytes_max;
    let written = |name: &str, purpose, policy: &str| Topic {
        name: name.to_owned(),
        purpose,
        is_ours: true,
        flags: format!("--config cleanup.policy={policy} --config max.message.bytes={bytes_max}"),
    };
    if let Some(output) = &config.output.kafka {
        topics.push(written(&output.topic, "rows, written", "compact"));
    }
    if config.letters() == DeadLetterKind::Kafka {
        topics.push(written(&config.dead_letter.topic, "dead letters, written", "delete"));
    }
    topics
}

/// The command that creates the topic.
pub fn command(config: &Config, topic: &Topic) -> String {
    let security = match config.kafka.connection.security_protocol {
        SecurityProtocol::Plaintext => "",
        _ => " --command-config client.properties",
    };
    let (brokers, name, flags) = (&config.kafka.connection.brokers, &topic.name, &topic.flags);
    format!("kafka-topics.sh --bootstrap-server {brokers}{security} --create --topic {name} {flags}")
}

/// Prints the topics and their commands; with `create` those that Tidewatch writes are created first.
///
/// # Errors
/// When the configuration can't be used or a topic can't be created.
pub fn run(input: &Input, create: bool, out: &mut dyn Write) -> Result<(), ConfigError> {
    let loaded = load(input)?;
    let topics = topics(&loaded.config);
    let mut lines = Vec::new();
    if topics.is_empty() {
        lines.push("# no topic of Kafka is needed".to_owned());
    }
    if create {
        create_ours(input, &loaded.config)?;
    }
    for topic in topics {
        let done = if create && topic.is_ours { "; it is there" } else { "" };
        lines.push(format!("# {}: {}{done}", topic.name, topic.purpose));
        if done.is_empty() {
            lines.push(command(&loaded.config, &topic));
        }
    }
    // Whoever closed the pipe has read enough.
    let _ = writeln!(out, "{}", lines.join("\n"));
    Ok(())
}

fn create_ours(input: &Input, config: &Config) -> Result<(), ConfigError> {
    let settings = load(&creating(input, true))?.settings;
    if let (Some(_), Some(kafka)) = (&config.output.kafka, settings.output.kafka) {
        KafkaSink::check(&kafka)?;
    }
    if let DeadLetterSettings::Kafka(kafka) = settings.output.dead_letter {
        KafkaDeadLetters::check(&kafka)?;
    }
    Ok(())
}

/// The same input, with missing topics created or not whatever was written.
pub(crate) fn creating(input: &Input, create: bool) -> Input {
    let mut input = input.clone();
    input
        .environment
        .push((variable_name("output.kafka.create_topics"), create.to_string()));
    input
}
