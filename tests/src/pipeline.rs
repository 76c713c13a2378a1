//! What a run needs: a topic of telemetry, a database for its windows, a folder for all else.

use crate::sinks::component;
use crate::sinks::postgres::Database;
use crate::sources::Topic;
use rdkafka::producer::BaseProducer;

/// A topic, where its windows go, and a folder.
pub struct Pipeline {
    /// The topic.
    pub topic: Topic,
    /// Writes to it.
    pub producer: BaseProducer,
    /// Where windows go.
    pub database: Database,
    /// For checkpoints and the like.
    pub folder: tempfile::TempDir,
}

impl Pipeline {
    /// All of it empty, the topic with so many partitions.
    ///
    /// # Panics
    /// When a component doesn't do its part.
    pub fn new(partitions: usize) -> Pipeline {
        let topic = Topic::create(partitions as i32, &[]);
        Pipeline {
            producer: topic.producer(None),
            topic,
            database: Database::new(&component("TIDEWATCH_TEST_POSTGRES")),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// The keys of a run's configuration that name these, and an API on a free port.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("SOURCE__KIND", "kafka".to_owned()),
            ("KAFKA__BROKERS", component("TIDEWATCH_TEST_KAFKA")),
            ("KAFKA__TOPIC", self.topic.name.clone()),
            ("KAFKA__START", "earliest".to_owned()),
            ("POSTGRES__URL", self.database.config.url.clone()),
            ("POSTGRES__SCHEMA", self.database.config.schema.clone()),
            ("API__LISTEN", "127.0.0.1:0".to_owned()),
            ("STATE__FOLDER", self.folder.path().join("state").display().to_string()),
        ]
    }
}
