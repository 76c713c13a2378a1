//! Looks whether a topic that is read gets more partitions, or is made anew.

use super::begin::made_anew;
use super::config::KafkaSettings;
use super::describe::{Description, describe};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::time::Duration;
use tidewatch_proto::source::SourceError;

/// How long one look takes at most.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// What has changed about a topic.
#[derive(Debug)]
pub enum Change {
    /// It has so many partitions now, more than are read.
    Grown(usize),
    /// It is another topic of the same name: what is read does not follow what was read.
    Anew(SourceError),
}

/// Watches a topic.
pub struct TopicWatch {
    settings: KafkaSettings,
    read: Description,
    /// A consumer, since a producer's questions make topics that are gone.
    client: BaseConsumer,
}

impl TopicWatch {
    pub(super) fn new(settings: &KafkaSettings, log: &str, partitions: usize) -> Result<TopicWatch, SourceError> {
        let client = settings
            .connection
            .create()
            .map_err(|error| SourceError::new(settings.object(), format!("the client can't be set up: {error}")))?;
        Ok(TopicWatch {
            settings: settings.clone(),
            read: Description {
                id: log.to_owned(),
                partitions,
            },
            client,
        })
    }

    /// What has changed since the topic was found, if anything. Brokers that don't answer have nothing to say: the
    /// readers tell of them. It blocks for some seconds at most.
    pub fn look(&self) -> Option<Change> {
        // It reads nothing: only errors come, and they wait in memory until they are taken.
        while self.client.poll(Duration::ZERO).is_some() {}
        let now = describe(self.client.client(), &self.settings.topic, LOOK_TIMEOUT).ok()?;
        let has_ids = !now.id.is_empty() && !self.read.id.is_empty();
        if has_ids && now.id != self.read.id {
            return Some(Change::Anew(made_anew(&self.settings, &self.read.id, &now.id)));
        }
        (now.partitions > self.read.partitions).then_some(Change::Grown(now.partitions))
    }
}
