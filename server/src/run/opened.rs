//! The source of a run, and the log behind it where there is one: it tells where reading begins, and is told how far
//! checkpoints have come.

use super::RunError;
use super::log::Terminal;
use crate::config::{ConfigError, SourceSettings};
use std::sync::Arc;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{SourceError, SourceFactory};
use tidewatch_sources::begin::Before;
use tidewatch_sources::event::EventHook;
use tidewatch_sources::file::FileFactory;
use tidewatch_sources::fleet::{FleetFactory, FleetSettings};
use tidewatch_sources::kafka::KafkaFactory;
use tidewatch_sources::log::{self, LogFactory, LogWriter};
use tidewatch_sources::replay::ReplayLog;

/// An opened source.
pub struct Opened {
    /// Opens readers.
    pub factory: Arc<dyn SourceFactory>,
    /// The log that is read.
    pub log: Log,
    /// What appends to the embedded log, and the fleet that does, if one does.
    pub feed: Option<(LogWriter, Option<FleetSettings>)>,
}

/// The log that is read. Cheap to clone.
#[derive(Clone)]
pub enum Log {
    /// There is none: the source is read as it is configured.
    None,
    /// A topic of Kafka.
    Kafka(Arc<KafkaFactory>),
    /// The embedded one.
    Embedded(LogFactory),
}

impl Opened {
    /// Opens the source.
    ///
    /// # Errors
    /// When its brokers can't be reached, or its folder is another process's or damaged.
    pub fn open(settings: &SourceSettings, terminal: &Arc<Terminal>) -> Result<Opened, RunError> {
        let config = |error: SourceError| RunError::Config(ConfigError::new(error.object, error.problem));
        let terminal = terminal.clone();
        let hook: EventHook = Arc::new(move |event| terminal.trouble(&event.to_string()));
        Ok(match settings {
            SourceSettings::Fleet(fleet) => Opened::without_log(FleetFactory::new(fleet.clone())),
            SourceSettings::File(file) => Opened::without_log(FileFactory::new(file.clone())),
            SourceSettings::Kafka(kafka) => {
                let connected = KafkaFactory::connect(kafka).map_err(config)?;
                let factory = Arc::new(connected.with_events(hook));
                Opened {
                    factory: factory.clone(),
                    log: Log::Kafka(factory),
                    feed: None,
                }
            }
            SourceSettings::Log(settings, fleet) => {
                let (writer, factory) = log::open(settings, hook).map_err(config)?;
                Opened {
                    factory: Arc::new(factory.clone()),
                    log: Log::Embedded(factory),
                    feed: Some((writer, fleet.clone())),
                }
            }
        })
    }

    /// What takes dead letters back; or why nothing does.
    pub fn takes_back(&self) -> Result<Arc<dyn ReplayLog>, String> {
        match (&self.log, &self.feed) {
            (Log::Kafka(kafka), _) => Ok(kafka.clone()),
            (Log::Embedded(_), Some((writer, _))) => Ok(Arc::new(writer.clone())),
            _ => Err("the source is no log that could take it: only kafka and the embedded log do".to_owned()),
        }
    }

    fn without_log(factory: impl SourceFactory + 'static) -> Opened {
        Opened {
            factory: Arc::new(factory),
            log: Log::None,
            feed: None,
        }
    }
}

impl Log {
    /// Which log it is; empty when nothing tells.
    pub fn id(&self) -> String {
        match self {
            Log::None => String::new(),
            Log::Kafka(kafka) => kafka.log().to_owned(),
            Log::Embedded(log) => log.id(),
        }
    }

    /// The topic, if it is one.
    pub fn kafka(&self) -> Option<&KafkaFactory> {
        match self {
            Log::Kafka(kafka) => Some(kafka),
            Log::None | Log::Embedded(_) => None,
        }
    }

    /// Where reading of each partition begins; nothing when the source says it itself.
    ///
    /// # Errors
    /// When the log doesn't have what comes next.
    pub fn begin(&self, before: Option<Before<'_>>) -> Result<Option<Vec<Offset>>, SourceError> {
        match self {
            Log::None => Ok(None),
            Log::Kafka(kafka) => kafka.begin(before).map(Some),
            Log::Embedded(log) => log.begin(before).map(Some),
        }
    }

    /// Where an archive begins, as [`begin`](Log::begin) says.
    ///
    /// # Errors
    /// The same.
    pub fn positions(&self, before: Option<Before<'_>>) -> Result<Option<Vec<Offset>>, SourceError> {
        match self {
            Log::None | Log::Kafka(_) => self.begin(before),
            Log::Embedded(log) => log.positions(before).map(Some),
        }
    }

    /// An archive still needs what lies from these positions on.
    pub fn hold(&self, positions: &[(Partition, Offset)]) {
        if let Log::Embedded(log) = self {
            log.hold(positions);
        }
    }

    /// A checkpoint with these positions is durable.
    pub fn read_until(&self, positions: &[(Partition, Offset)]) {
        match self {
            Log::None => {}
            Log::Kafka(kafka) => kafka.commit(positions),
            Log::Embedded(log) => log.read_until(positions),
        }
    }
}
