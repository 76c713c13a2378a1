//! The configuration as it was written: optional where it may be, and not yet checked as a whole.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tidewatch_api::ApiConfig;
use tidewatch_dataflow::rollup::Level;
use tidewatch_proto::limits::Limits;
use tidewatch_settings::kafka::KafkaConnection;
use tidewatch_settings::{Size, Span};
use tidewatch_sinks::kafka::KafkaSinkConfig;
use tidewatch_sinks::memory::MemoryConfig;
use tidewatch_sinks::postgres::PostgresConfig;
use tidewatch_sinks::sqlite::SqliteConfig;
use tidewatch_sources::file::FileConfig;
use tidewatch_sources::fleet::FleetConfig;
use tidewatch_sources::kafka::KafkaSourceConfig;
use tidewatch_sources::log::{Feed, LogConfig};

/// The default of [`StateSection::folder`].
pub const STATE_FOLDER: &str = "tidewatch-data";

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where readings come from.
    pub source: SourceSection,
    /// Apache Kafka: how to reach it, and how the source reads it.
    pub kafka: KafkaSection,
    /// The embedded log.
    pub log: LogConfig,
    /// Files.
    pub file: FileConfig,
    /// A simulated fleet.
    pub fleet: FleetConfig,
    /// The engine.
    pub engine: EngineSection,
    /// Which anomalies are looked for.
    pub rules: RulesSection,
    /// Sites and fleets.
    pub registry: RegistrySection,
    /// What people should know about metrics.
    pub metrics: MetricsSection,
    /// Where rows go.
    pub output: OutputSection,
    /// The embedded store.
    pub embedded: SqliteConfig,
    /// Rows to PostgreSQL, when the section is there.
    pub postgres: Option<PostgresConfig>,
    /// The bounds of what is kept in memory.
    pub memory: MemoryConfig,
    /// Where records go that can't be used.
    pub dead_letter: DeadLetterSection,
    /// What a clean stop leaves.
    pub state: StateSection,
    /// Raw telemetry as Parquet.
    pub archive: ArchiveSection,
    /// The other processes of a cluster.
    pub cluster: ClusterSection,
    /// The HTTP API.
    pub api: ApiConfig,
}

impl Config {
    /// Where the API reads rows.
    pub fn store(&self) -> StoreKind {
        let otherwise = match self.postgres {
            Some(_) => StoreKind::Postgres,
            None => StoreKind::Embedded,
        };
        self.output.store.unwrap_or(otherwise)
    }

    /// Where dead letters go.
    pub fn letters(&self) -> DeadLetterKind {
        let otherwise = match self.store() {
            StoreKind::Embedded => DeadLetterKind::Embedded,
            StoreKind::Memory | StoreKind::Postgres | StoreKind::Discard => DeadLetterKind::Memory,
        };
        self.dead_letter.kind.unwrap_or(otherwise)
    }

    /// Whether the simulated fleet sends, into the log or without one.
    pub fn has_fleet(&self) -> bool {
        match self.source.kind {
            SourceKind::Fleet => true,
            SourceKind::Log => self.log.feed == Feed::Fleet,
            SourceKind::Kafka | SourceKind::File => false,
        }
    }
}

/// The section `[source]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceSection {
    /// Which source is read.
    pub kind: SourceKind,
}

/// Which source is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// The embedded log.
    #[default]
    Log,
    /// A topic of Apache Kafka.
    Kafka,
    /// Files.
    File,
    /// A simulated fleet, without a log.
    Fleet,
}

/// The section `[kafka]`. Its parts let unknown keys pass; the table of keys doesn't.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KafkaSection {
    /// How to reach it, for the source and the outputs.
    #[serde(flatten)]
    pub connection: KafkaConnection,
    /// How the source reads its topic.
    #[serde(flatten)]
    pub reading: KafkaSourceConfig,
}

/// The section `[engine]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSection {
    /// Worker threads.
    pub threads: usize,
    /// How far the watermark stays behind the log.
    pub lateness: Span,
    /// How long after its closing a window can still be corrected.
    pub correction_horizon: Span,
    /// How much memory each thread's closed windows take at most.
    pub correction_bytes: Size,
    /// After so long without a record that moves its watermark a partition's windows are published.
    pub idle: Span,
    /// How far an event time may be ahead of the log.
    pub future_max: Span,
    /// How far an event time may be behind the log.
    pub age_max: Option<Span>,
    /// What becomes of a message that a device sends again.
    pub duplicates: Duplicates,
    /// Whether quantiles are kept.
    pub quantiles: bool,
    /// The windows of each series.
    pub windows: Vec<Window>,
    /// The time zone that days are of.
    pub time_zone: String,
    /// How many bytes a thread takes into one epoch.
    pub epoch_bytes: Size,
    /// How many bytes sinks may have left to confirm.
    pub outbox_bytes: Size,
    /// What is accepted.
    pub limits: LimitsSection,
}

/// What becomes of a message that a device sends again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// It is dropped, and counted as a duplicate.
    Drop,
    /// It counts like any other.
    Count,
}

/// A window of each series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Window {
    /// One minute, tumbling.
    #[serde(rename = "1m")]
    Minute,
    /// Five minutes, hopping by one.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// One hour, tumbling.
    #[serde(rename = "1h")]
    Hour,
    /// One day of the time zone.
    #[serde(rename = "1d")]
    Day,
}

impl Default for EngineSection {
    fn default() -> EngineSection {
        EngineSection {
            threads: 1,
            lateness: Span::from_millis(10_000),
            correction_horizon: Span::from_millis(15 * 60_000),
            correction_bytes: Size(4 << 30),
            idle: Span::from_millis(10_000),
            future_max: Span::from_millis(10 * 60_000),
            age_max: None,
            duplicates: Duplicates::Drop,
            quantiles: true,
            windows: vec![Window::Minute, Window::FiveMinutes, Window::Hour, Window::Day],
            time_zone: "UTC".to_owned(),
            epoch_bytes: Size(256 << 20),
            outbox_bytes: Size(512 << 20),
            limits: LimitsSection::default(),
        }
    }
}

/// The section `[engine.limits]`; its defaults are those of [`Limits`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Bytes of a device id at most.
    pub device_id_bytes_max: usize,
    /// Bytes of a metric name at most.
    pub metric_name_bytes_max: usize,
    /// Metrics in one message at most.
    pub metrics_per_message_max: usize,
    /// Bytes of the field `raw` at most.
    pub raw_bytes_max: usize,
    /// Series of one device at most.
    pub series_per_device_max: usize,
    /// Series that one thread takes in at most.
    pub series_per_worker_max: usize,
}

impl Default for LimitsSection {
    fn default() -> LimitsSection {
        let limits = Limits::default();
        LimitsSection {
            device_id_bytes_max: limits.device_id_bytes_max,
            metric_name_bytes_max: limits.metric_name_bytes_max,
            metrics_per_message_max: limits.metrics_per_message_max,
            raw_bytes_max: limits.raw_bytes_max,
            series_per_device_max: limits.series_per_device_max,
            series_per_worker_max: limits.series_per_worker_max,
        }
    }
}

impl From<&LimitsSection> for Limits {
    fn from(section: &LimitsSection) -> Limits {
        Limits {
            device_id_bytes_max: section.device_id_bytes_max,
            metric_name_bytes_max: section.metric_name_bytes_max,
            metrics_per_message_max: section.metrics_per_message_max,
            raw_bytes_max: section.raw_bytes_max,
            series_per_device_max: section.series_per_device_max,
            series_per_worker_max: section.series_per_worker_max,
        }
    }
}

/// The section `[rules]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesSection {
    /// What is looked for.
    pub file: Option<PathBuf>,
}

/// The section `[registry]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrySection {
    /// Which site and fleet each device belongs to.
    pub file: Option<PathBuf>,
    /// What minutes are added up over.
    pub rollups: Vec<Level>,
}

impl Default for RegistrySection {
    fn default() -> RegistrySection {
        RegistrySection {
            file: None,
            rollups: vec![Level::Site, Level::Fleet],
        }
    }
}

/// The section `[metrics]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSection {
    /// What is called how, in which unit.
    pub file: Option<PathBuf>,
}

/// The section `[output]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputSection {
    /// Where the API reads rows.
    pub store: Option<StoreKind>,
    /// Rows to Kafka, when the section is there.
    pub kafka: Option<KafkaSinkConfig>,
}

/// Where the API reads rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// From the embedded store.
    Embedded,
    /// From a bounded store in memory.
    Memory,
    /// From PostgreSQL.
    Postgres,
    /// Nowhere.
    Discard,
}

/// The section `[dead_letter]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterSection {
    /// Where dead letters go.
    pub kind: Option<DeadLetterKind>,
    /// The topic for dead letters in Kafka.
    pub topic: String,
}

impl Default for DeadLetterSection {
    fn default() -> DeadLetterSection {
        let topic = tidewatch_sinks::kafka::config::DEAD_LETTER_TOPIC.to_owned();
        DeadLetterSection { kind: None, topic }
    }
}

/// Where dead letters go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterKind {
    /// Into the embedded store.
    Embedded,
    /// Into a bounded store in memory.
    Memory,
    /// Into a table of PostgreSQL.
    Postgres,
    /// To a topic of Kafka.
    Kafka,
    /// Nowhere.
    Discard,
}

/// The section `[state]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateSection {
    /// Where checkpoints are kept.
    pub store: StateKind,
    /// The folder of the state.
    pub folder: PathBuf,
    /// The bucket of the state.
    pub s3: S3Section,
}

impl Default for StateSection {
    fn default() -> StateSection {
        StateSection {
            store: StateKind::Folder,
            folder: STATE_FOLDER.into(),
            s3: S3Section::default(),
        }
    }
}

/// Where checkpoints are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// In a folder.
    Folder,
    /// In a bucket of S3.
    S3,
}

/// The section `[state.s3]`; that of the archive has the same keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Section {
    /// The bucket.
    pub bucket: Option<String>,
    /// What the names of all objects begin with, if not by what the section is for.
    pub prefix: Option<String>,
    /// The address of what is not AWS.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// Whether the bucket is a part of the path, not of the host's name.
    pub path_style: bool,
    /// An access key's id.
    pub access_key_id: Option<String>,
    /// A file whose first line is that key's secret.
    pub secret_key_file: Option<PathBuf>,
}

impl Default for S3Section {
    fn default() -> S3Section {
        S3Section {
            bucket: None,
            prefix: None,
            endpoint: None,
            region: "us-east-1".to_owned(),
            path_style: false,
            access_key_id: None,
            secret_key_file: None,
        }
    }
}

/// The section `[archive]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveSection {
    /// Where raw telemetry is archived.
    pub kind: Option<ArchiveKind>,
    /// The folder; by default one in that of the state.
    pub folder: Option<PathBuf>,
    /// How long records stay.
    pub retention: Option<Span>,
    /// How long a record waits at most.
    pub object_time: Span,
    /// How large an object becomes at most.
    pub object_bytes: Size,
    /// How much memory is taken at most.
    pub memory_bytes: Size,
    /// The level of zstd.
    pub compression_level: i32,
    /// Whether small objects are merged.
    pub compaction: bool,
    /// How long a file stays that no manifest names.
    pub grace: Span,
    /// The bucket.
    pub s3: S3Section,
}

impl Default for ArchiveSection {
    fn default() -> ArchiveSection {
        let settings = tidewatch_archive::Settings::default();
        ArchiveSection {
            kind: None,
            folder: None,
            retention: settings.retention.map(Span),
            object_time: Span(settings.object_time),
            object_bytes: Size(settings.object_bytes),
            memory_bytes: Size(settings.memory_bytes),
            compression_level: settings.level,
            compaction: settings.compaction,
            grace: Span(settings.grace),
            s3: S3Section::default(),
        }
    }
}

/// Where raw telemetry is archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveKind {
    /// Nowhere.
    Off,
    /// In a folder.
    Folder,
    /// In a bucket of S3.
    S3,
}

/// The section `[cluster]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSection {
    /// The cluster's name.
    pub id: String,
    /// Where each process is reached.
    pub addresses: Vec<String>,
    /// A file whose first line is the secret that all processes share.
    pub secret_file: Option<PathBuf>,
    /// A PEM file of the authorities that the processes' certificates are checked against.
    pub ca_file: Option<PathBuf>,
    /// A PEM file of this process's certificate.
    pub cert_file: Option<PathBuf>,
    /// A PEM file of that certificate's private key.
    pub key_file: Option<PathBuf>,
}

impl Default for ClusterSection {
    fn default() -> ClusterSection {
        ClusterSection {
            id: "tidewatch".into(),
            addresses: Vec::new(),
            secret_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}
