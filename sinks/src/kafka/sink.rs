//! The sink for rows.

use super::config::KafkaSinkSettings;
use super::json;
use super::producer::{Message, Producer, header};
use super::topic::{self, Purpose};
use crate::fence::Fence;
use crate::{Sink, SinkError};
use rdkafka::message::OwnedHeaders;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::{Delivery, Row};

/// Writes rows to a compacted topic. It connects when it first delivers, and anew after an error.
pub struct KafkaSink {
    producer: Producer,
    buffer: Buffer,
}

impl KafkaSink {
    /// A sink for the topic of rows; nothing is connected yet.
    pub fn new(settings: KafkaSinkSettings, fence: Fence) -> KafkaSink {
        let topic = settings.topic.clone();
        KafkaSink {
            producer: Producer::new(settings, &topic, Purpose::Upserts, fence),
            buffer: Buffer::default(),
        }
    }

    /// Connects and sees that the topic is there, so that what is wrong shows at the start. Whoever writes is not
    /// disturbed.
    ///
    /// # Errors
    /// When the brokers can't be reached or lack the topic, with what to do.
    pub fn check(settings: &KafkaSinkSettings) -> Result<(), SinkError> {
        topic::ensure(settings, &settings.topic, Purpose::Upserts)
    }
}

impl Sink<Row> for KafkaSink {
    fn name(&self) -> &'static str {
        "kafka"
    }

    /// Sends every row, of those with the same key each in its turn: the topic keeps the last.
    fn deliver(&mut self, delivery: &Delivery<Row>) -> Result<(), SinkError> {
        let (buffer, mut headers) = (&mut self.buffer, RowHeaders::of(delivery));
        // Encoded as the queue takes them: a delivery is never in memory twice.
        self.producer.send(|queue| {
            for row in &delivery.items {
                let encoded = buffer.encode(row, delivery.through);
                let (key, payload) =
                    encoded.map_err(|error| SinkError::stop("kafka", format!("a row is no JSON: {error}")))?;
                queue.put(Message {
                    key: Some(key),
                    payload,
                    headers: headers.with_revision(row.revision),
                })?;
            }
            Ok(())
        })
    }
}

/// Where one message after the other is encoded.
#[derive(Default)]
struct Buffer {
    key: Vec<u8>,
    payload: Vec<u8>,
}

impl Buffer {
    /// The key and the payload of a row's message.
    fn encode(&mut self, row: &Row, as_of: Epoch) -> serde_json::Result<(&[u8], &[u8])> {
        self.key.clear();
        json::key(&mut self.key, row)?;
        self.payload.clear();
        json::value(&mut self.payload, row, as_of)?;
        Ok((&self.key, &self.payload))
    }
}

/// The headers of a delivery's messages; they differ in the revision, and that changes seldom.
struct RowHeaders {
    of_delivery: OwnedHeaders,
    last: Option<(Epoch, OwnedHeaders)>,
}

impl RowHeaders {
    fn of(delivery: &Delivery<Row>) -> RowHeaders {
        RowHeaders {
            of_delivery: OwnedHeaders::new_with_capacity(3)
                .insert(header("epoch", &delivery.through.to_string()))
                .insert(header("generation", &delivery.generation.to_string())),
            last: None,
        }
    }

    fn with_revision(&mut self, revision: Epoch) -> OwnedHeaders {
        match &self.last {
            Some((of, headers)) if *of == revision => headers.clone(),
            _ => {
                let headers = self.of_delivery.clone();
                let headers = headers.insert(header("revision", &revision.to_string()));
                self.last = Some((revision, headers.clone()));
                headers
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::message::Headers;
    use tidewatch_proto::ids::Generation;

    #[test]
    fn the_headers_say_epoch_generation_and_revision() {
        let mut headers = RowHeaders::of(&Delivery {
            generation: Generation(3),
            through: Epoch(9),
            items: Vec::new(),
        });
        for revision in [7, 7, 8] {
            let text: Vec<String> = headers
                .with_revision(Epoch(revision))
                .iter()
                .map(|header| format!("{}={}", header.key, String::from_utf8_lossy(header.value.unwrap())))
                .collect();
            assert_eq!(text, ["epoch=9", "generation=3", &format!("revision={revision}")]);
        }
    }
}
