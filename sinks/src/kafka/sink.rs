//! The sink for rows.

use super::config::KafkaSinkSettings;
use super::message::message;
use super::producer::Producer;
use super::topic::Purpose;
use crate::newest::newest;
use crate::{Sink, SinkError};
use tidewatch_proto::row::{Delivery, Row};

/// Writes rows to a compacted topic. It connects when it first delivers, and anew after an error.
pub struct KafkaSink {
    producer: Producer,
}

impl KafkaSink {
    /// A sink for the topic of rows; nothing is connected yet.
    pub fn new(settings: KafkaSinkSettings) -> KafkaSink {
        let topic = settings.topic.clone();
        KafkaSink {
            producer: Producer::new(settings, &topic, Purpose::Upserts),
        }
    }

    /// Connects and sees that the topic is there, so that what is wrong shows at the start.
    ///
    /// # Errors
    /// When the brokers can't be reached or lack the topic, with what to do.
    pub fn check(&mut self) -> Result<(), SinkError> {
        self.producer.check()
    }
}

impl Sink<Row> for KafkaSink {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn deliver(&mut self, delivery: &Delivery<Row>) -> Result<(), SinkError> {
        let rows = newest(&delivery.items);
        // Encoded as the queue takes them: a delivery is never in memory twice.
        let mut wrong = None;
        let messages = rows.into_iter().map_while(|row| {
            message(row, delivery.generation, delivery.through)
                .map_err(|error| wrong = Some(error))
                .ok()
        });
        self.producer.send(messages)?;
        wrong.map_or(Ok(()), Err)
    }
}
