//! The configuration as the program uses it: nothing optional that has a default, files and secrets read, and the
//! parts checked against each other.

use super::error::ConfigError;
use super::parsed::{Config, DeadLetterKind, Duplicates, EngineSection, SourceKind, StoreKind, Window};
use super::written::Written;
use crate::metrics::{Metrics, MetricsFile};
use crate::registry::RegistryFile;
use crate::rules;
use std::path::PathBuf;
use std::sync::Arc;
use tidewatch_checkpoints::S3Settings;
use tidewatch_cluster::Tls;
use tidewatch_dataflow::config::EngineConfig;
use tidewatch_dataflow::rollup::Level;
use tidewatch_proto::anomaly::Rule;
use tidewatch_proto::row::Job;
use tidewatch_settings::Secret;
use tidewatch_sinks::SinkError;
use tidewatch_sinks::kafka::{KafkaSinkConfig, KafkaSinkSettings};
use tidewatch_sinks::memory::MemoryConfig;
use tidewatch_sinks::postgres::PostgresSettings;
use tidewatch_sinks::sqlite::SqliteSettings;
use tidewatch_sources::SourceError;
use tidewatch_sources::file::FileSettings;
use tidewatch_sources::fleet::FleetSettings;
use tidewatch_sources::kafka::KafkaSettings;
use tidewatch_sources::log::{Feed, LogSettings};

/// The name of the embedded log in the folder of the state.
const LOG_FOLDER: &str = "log";

/// What the program runs by.
pub struct Settings {
    /// The engine.
    pub engine: EngineConfig,
    /// Where readings come from.
    pub source: SourceSettings,
    /// Sites and fleets.
    pub registry: RegistrySettings,
    /// What people should know about metrics.
    pub metrics: MetricsSettings,
    /// Where rows and records that can't be used go.
    pub output: OutputSettings,
    /// Where checkpoints are kept.
    pub state: StateSettings,
    /// Where raw telemetry is archived, if it is.
    pub archive: Option<ArchiveSettings>,
    /// The processes of the cluster, when there is one.
    pub cluster: Option<ClusterSettings>,
    /// The HTTP API.
    pub api: tidewatch_api::Settings,
    /// What was written and is most likely not what was meant, a line each: to be logged once.
    pub advice: Vec<String>,
}

/// Where readings come from.
pub enum SourceSettings {
    /// The embedded log, and the fleet that writes to it, if one does.
    Log(LogSettings, Option<FleetSettings>),
    /// A topic of Apache Kafka.
    Kafka(KafkaSettings),
    /// Files.
    File(FileSettings),
    /// A simulated fleet, without a log.
    Fleet(FleetSettings),
}

/// Where checkpoints are kept.
#[derive(Clone, Debug)]
pub enum StateSettings {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket of S3.
    S3(S3Settings),
}

/// Where raw telemetry is archived, and how.
#[derive(Clone, Debug)]
pub struct ArchiveSettings {
    /// Where.
    pub place: ArchivePlace,
    /// How.
    pub writing: tidewatch_archive::Settings,
}

/// Where raw telemetry is archived.
#[derive(Clone, Debug)]
pub enum ArchivePlace {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket of S3.
    S3(S3Settings),
}

/// The processes of a cluster.
pub struct ClusterSettings {
    /// The cluster's name.
    pub id: String,
    /// Where each process is reached.
    pub addresses: Vec<String>,
    /// What only they know.
    pub secret: Secret,
    /// How their connections are encrypted, when they are.
    pub tls: Option<Tls>,
}

/// Sites and fleets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Which site and fleet each device belongs to.
    pub file: Option<PathBuf>,
    /// What minutes are added up over, each once.
    pub rollups: Vec<Level>,
}

/// What people should know about metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsSettings {
    /// What is known without a file: the simulated fleet's, when it sends.
    pub known: Metrics,
    /// The file, whose lines count before that.
    pub file: Option<PathBuf>,
}

/// Where rows and records that can't be used go.
#[derive(Clone)]
pub struct OutputSettings {
    /// Where the API reads rows.
    pub store: StoreKind,
    /// The embedded store, when rows or dead letters are kept there.
    pub embedded: Option<SqliteSettings>,
    /// Rows to PostgreSQL, when it is on; always with [`StoreKind::Postgres`].
    pub postgres: Option<PostgresSettings>,
    /// Rows to Kafka, when it is on.
    pub kafka: Option<KafkaSinkSettings>,
    /// Where records go that can't be used.
    pub dead_letter: DeadLetterSettings,
    /// The bounds of what is kept in memory.
    pub memory: MemoryConfig,
}

impl OutputSettings {
    /// How long the storing sink keeps rows of these jobs, in milliseconds: as long as there is one to add a reading to.
    /// `None` when there is no such sink.
    pub fn stored_ms(&self, jobs: &[Job]) -> Option<i64> {
        if let Some(postgres) = &self.postgres {
            let kept = jobs.iter().map(|job| postgres.retention(*job).as_millis());
            return kept.max().map(|kept| i64::try_from(kept).unwrap_or(i64::MAX));
        }
        let embedded = self.embedded.as_ref().filter(|_| self.store == StoreKind::Embedded)?;
        jobs.iter().map(|job| embedded.retention_ms(*job)).max()
    }
}

/// Where records go that can't be used.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one of it, made once")]
pub enum DeadLetterSettings {
    /// Into the embedded store of [`OutputSettings::embedded`].
    Embedded,
    /// Into a store in memory, with the bounds of [`OutputSettings::memory`].
    Memory,
    /// Into a table of PostgreSQL.
    Postgres(PostgresSettings),
    /// To a topic of Kafka.
    Kafka(KafkaSinkSettings),
    /// Nowhere; they are counted.
    Discard,
}

/// Resolves what was parsed.
///
/// # Errors
/// The first value, file or relation that can't be used.
pub(super) fn resolve(config: &Config, written: &Written, insecure: bool) -> Result<Settings, ConfigError> {
    let resolver = Resolver { config, written };
    let postgres = config
        .postgres
        .as_ref()
        .map(|postgres| resolver.sink("postgres", postgres.resolve()));
    let postgres = postgres.transpose()?;
    super::tiers::check(config, |key, problem| resolver.wrong(key, problem))?;
    Ok(Settings {
        engine: resolver.engine()?,
        source: resolver.source()?,
        registry: resolver.registry()?,
        metrics: resolver.metrics()?,
        output: OutputSettings {
            store: resolver.store()?,
            embedded: resolver.embedded()?,
            kafka: resolver.kafka()?,
            dead_letter: resolver.dead_letter(postgres.as_ref())?,
            memory: config.memory.clone(),
            postgres,
        },
        state: super::state::resolve(&config.state, |key, problem| resolver.wrong(key, problem))?,
        archive: super::state::archive(
            (&config.archive, &config.state.folder),
            config.source.kind,
            |key, problem| resolver.wrong(key, problem),
        )?,
        cluster: super::cluster::resolve(&config.cluster, |key, problem| resolver.wrong(key, problem))?,
        api: resolver.api(insecure)?,
        advice: super::advice::advice(config, written),
    })
}

struct Resolver<'a> {
    config: &'a Config,
    written: &'a Written,
}

impl Resolver<'_> {
    fn wrong(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::new(key, problem).at(self.written.origin(key))
    }

    /// An error of a connector: about a key, or about something that a key named.
    fn about(&self, near: &str, object: String, problem: String) -> ConfigError {
        if super::keys::key(&object).is_some() {
            return self.wrong(&object, problem);
        }
        self.wrong(near, format!("{object}: {problem}"))
    }

    fn read<T>(&self, near: &str, result: Result<T, SourceError>) -> Result<T, ConfigError> {
        result.map_err(|error| self.about(near, error.object, error.problem))
    }

    fn sink<T>(&self, near: &str, result: Result<T, SinkError>) -> Result<T, ConfigError> {
        result.map_err(|error| self.about(near, error.object, error.problem))
    }

    fn engine(&self) -> Result<EngineConfig, ConfigError> {
        let engine = &self.config.engine;
        if !engine.windows.contains(&Window::Minute) {
            return Err(self.wrong("engine.windows", "lacks \"1m\", which all else is made of: add it"));
        }
        if let Some(age_max) = engine.age_max
            && age_max < engine.lateness
        {
            return Err(self.wrong(
                "engine.age_max",
                "is shorter than engine.lateness: make it longer, or leave it out",
            ));
        }
        let limits = &engine.limits;
        if limits.series_per_device_max > limits.series_per_worker_max {
            return Err(self.wrong(
                "engine.limits.series_per_device_max",
                "is more than series_per_worker_max",
            ));
        }
        let calendar = super::zone::calendar(&engine.time_zone);
        let calendar = calendar.map_err(|problem| self.wrong("engine.time_zone", problem))?;
        Ok(EngineConfig {
            rules: self.rules()?.into(),
            calendar: Arc::new(calendar),
            ..engine_config(engine)
        })
    }

    fn rules(&self) -> Result<Vec<Rule>, ConfigError> {
        match &self.config.rules.file {
            Some(file) => rules::read(file).map_err(|problem| self.wrong("rules.file", problem)),
            None => Ok(rules::defaults(self.config.has_fleet())),
        }
    }

    fn source(&self) -> Result<SourceSettings, ConfigError> {
        let config = self.config;
        match config.source.kind {
            SourceKind::Log => {
                let log = config.log.resolve(&config.state.folder.join(LOG_FOLDER));
                let fleet = (config.log.feed == Feed::Fleet).then(|| config.fleet.resolve());
                let fleet = fleet.map(|fleet| self.read("fleet", fleet)).transpose()?;
                self.read("log", log).map(|log| SourceSettings::Log(log, fleet))
            }
            SourceKind::Fleet => self.read("fleet", config.fleet.resolve()).map(SourceSettings::Fleet),
            SourceKind::File => self.read("file.paths", config.file.resolve()).map(SourceSettings::File),
            SourceKind::Kafka => {
                let kafka = &config.kafka;
                self.read("kafka", kafka.reading.resolve(&kafka.connection))
                    .map(SourceSettings::Kafka)
            }
        }
    }

    fn registry(&self) -> Result<RegistrySettings, ConfigError> {
        let registry = &self.config.registry;
        if let Some(file) = &registry.file {
            let read = RegistryFile::new(file).read();
            read.map_err(|problem| self.wrong("registry.file", problem))?;
        }
        let mut rollups = registry.rollups.clone();
        rollups.sort_unstable();
        rollups.dedup();
        Ok(RegistrySettings {
            file: registry.file.clone(),
            rollups,
        })
    }

    fn metrics(&self) -> Result<MetricsSettings, ConfigError> {
        let file = self.config.metrics.file.clone();
        if let Some(file) = &file {
            let read = MetricsFile::new(file).read();
            read.map_err(|problem| self.wrong("metrics.file", problem))?;
        }
        let known = self.config.has_fleet().then(tidewatch_sources::fleet::metrics);
        let known = known.into_iter().flatten();
        Ok(MetricsSettings {
            known: known.map(|(metric, about)| (metric.into(), about)).collect(),
            file,
        })
    }

    fn store(&self) -> Result<StoreKind, ConfigError> {
        match (self.config.store(), &self.config.postgres) {
            (StoreKind::Postgres, None) => Err(self.wrong(
                "output.store",
                "is \"postgres\", but there is no section [postgres]: add it, with a url",
            )),
            (store, _) => Ok(store),
        }
    }

    fn embedded(&self) -> Result<Option<SqliteSettings>, ConfigError> {
        let config = self.config;
        if config.store() != StoreKind::Embedded && config.letters() != DeadLetterKind::Embedded {
            return Ok(None);
        }
        let resolved = config.embedded.resolve(&config.state.folder);
        self.sink("embedded", resolved).map(Some)
    }

    fn kafka(&self) -> Result<Option<KafkaSinkSettings>, ConfigError> {
        let Some(output) = &self.config.output.kafka else {
            return Ok(None);
        };
        self.not_the_source("output.kafka.topic", &output.topic)?;
        self.producer(output).map(Some)
    }

    fn dead_letter(&self, postgres: Option<&PostgresSettings>) -> Result<DeadLetterSettings, ConfigError> {
        let section = &self.config.dead_letter;
        match (self.config.letters(), postgres) {
            (DeadLetterKind::Embedded, _) => Ok(DeadLetterSettings::Embedded),
            (DeadLetterKind::Memory, _) => Ok(DeadLetterSettings::Memory),
            (DeadLetterKind::Discard, _) => Ok(DeadLetterSettings::Discard),
            (DeadLetterKind::Postgres, Some(postgres)) => Ok(DeadLetterSettings::Postgres(postgres.clone())),
            (DeadLetterKind::Postgres, None) => {
                let problem = "is \"postgres\", but there is no section [postgres]: add it, with a url";
                Err(self.wrong("dead_letter.kind", problem))
            }
            (DeadLetterKind::Kafka, _) => {
                self.not_the_source("dead_letter.topic", &section.topic)?;
                let rows = self.config.output.kafka.as_ref().map(|output| output.topic.as_str());
                if rows == Some(section.topic.as_str()) {
                    return Err(self.wrong("dead_letter.topic", "is the topic of the rows: name another"));
                }
                let output = self.config.output.kafka.clone().unwrap_or_default();
                self.producer(&output).map(DeadLetterSettings::Kafka)
            }
        }
    }

    /// A topic that was read and written would feed itself.
    fn not_the_source(&self, key: &str, topic: &str) -> Result<(), ConfigError> {
        if self.config.source.kind == SourceKind::Kafka && topic == self.config.kafka.reading.topic {
            return Err(self.wrong(key, format!("is {topic}, the topic that is read: name another")));
        }
        Ok(())
    }

    fn producer(&self, output: &KafkaSinkConfig) -> Result<KafkaSinkSettings, ConfigError> {
        let with_letters = KafkaSinkConfig {
            dead_letter_topic: self.config.dead_letter.topic.clone(),
            ..output.clone()
        };
        with_letters.resolve(&self.config.kafka.connection).map_err(|error| {
            let object = match error.object.strip_prefix("kafka.") {
                Some("dead_letter_topic") => "dead_letter.topic".to_owned(),
                Some(key) if super::keys::key(&format!("output.kafka.{key}")).is_some() => {
                    format!("output.kafka.{key}")
                }
                _ => error.object,
            };
            self.about("output.kafka", object, error.problem)
        })
    }

    fn api(&self, insecure: bool) -> Result<tidewatch_api::Settings, ConfigError> {
        self.config.api.clone().resolve(insecure).map_err(|error| match error {
            tidewatch_api::Error::Config { key, problem } => self.wrong(key, problem),
            other @ tidewatch_api::Error::Bind { .. } => self.wrong("api.listen", other.to_string()),
        })
    }
}

/// The engine's own settings; what can't be configured stays as it is by default, and so do the days.
pub(super) fn engine_config(engine: &EngineSection) -> EngineConfig {
    let bytes = |size: tidewatch_settings::Size| usize::try_from(size.0).unwrap_or(usize::MAX);
    EngineConfig {
        threads: engine.threads,
        lateness_ms: engine.lateness.as_millis(),
        correction_horizon_ms: engine.correction_horizon.as_millis(),
        correction_bytes_max: bytes(engine.correction_bytes),
        idle_ms: engine.idle.as_millis(),
        future_max_ms: engine.future_max.as_millis(),
        age_max_ms: engine.age_max.map(|age| age.as_millis()),
        drop_duplicates: engine.duplicates == Duplicates::Drop,
        quantiles: engine.quantiles,
        five_minutes: engine.windows.contains(&Window::FiveMinutes),
        hour: engine.windows.contains(&Window::Hour),
        day: engine.windows.contains(&Window::Day),
        limits: (&engine.limits).into(),
        epoch_bytes_max: bytes(engine.epoch_bytes),
        outbox_bytes_max: bytes(engine.outbox_bytes),
        ..EngineConfig::default()
    }
}
