//! The sink for dead letters: the record as it was, and in headers where it stood and what was wrong.
//!
//! Headers are those that Kafka Streams writes (KIP-1034), so that its tools read them, and our own.

use super::config::KafkaSinkSettings;
use super::producer::{Message, Producer, header};
use super::topic::{self, Purpose};
use crate::fence::Fence;
use crate::{ErrorKind, Sink, SinkError};
use rdkafka::message::OwnedHeaders;
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Delivery;

/// Before the reason, where Kafka Streams has the name of an exception.
const EXCEPTION_PREFIX: &str = "tidewatch.reject.";

/// A topic that doesn't even take so many bytes of a payload can't be used.
const PAYLOAD_LEAST: usize = 512;

/// Writes dead letters to a topic. It connects when it first delivers, and anew after an error. A record that is
/// too large for the topic is cut; the header `truncated-from` then says how many bytes it had.
pub struct KafkaDeadLetters {
    producer: Producer,
    partitions: Vec<String>,
}

impl KafkaDeadLetters {
    /// A sink for the topic of dead letters; `partitions` are the names that the source gives its partitions.
    /// Nothing is connected yet.
    pub fn new(settings: KafkaSinkSettings, partitions: &[String], fence: Fence) -> KafkaDeadLetters {
        let topic = settings.dead_letter_topic.clone();
        let producer = Producer::new(settings, &topic, Purpose::Events, fence);
        KafkaDeadLetters {
            producer,
            partitions: partitions.to_vec(),
        }
    }

    /// Connects and sees that the topic is there, so that what is wrong shows at the start. Whoever writes is not
    /// disturbed.
    ///
    /// # Errors
    /// When the brokers can't be reached or lack the topic, with what to do.
    pub fn check(settings: &KafkaSinkSettings) -> Result<(), SinkError> {
        topic::ensure(settings, &settings.dead_letter_topic, Purpose::Events)
    }
}

impl Sink<Reject> for KafkaDeadLetters {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn deliver(&mut self, delivery: &Delivery<Reject>) -> Result<(), SinkError> {
        let mut payload_max = usize::MAX;
        loop {
            let partitions = &self.partitions;
            let sent = self.producer.send(|queue| {
                for reject in &delivery.items {
                    let headers = headers(reject, partitions, delivery);
                    let whole = reject.payload.len();
                    let kept = whole.min(payload_max);
                    queue.put(Message {
                        key: reject.key.as_deref(),
                        payload: &reject.payload[..kept],
                        headers: match kept < whole {
                            true => headers.insert(header("truncated-from", &whole.to_string())),
                            false => headers,
                        },
                    })?;
                }
                Ok(())
            });
            match sent {
                Err(error) if error.kind == ErrorKind::TooLarge && payload_max > PAYLOAD_LEAST => {
                    let longest = delivery.items.iter().map(|reject| reject.payload.len()).max();
                    payload_max = payload_max.min(longest.unwrap_or(0)) / 2;
                }
                sent => return sent,
            }
        }
    }
}

fn headers(reject: &Reject, partitions: &[String], delivery: &Delivery<Reject>) -> OwnedHeaders {
    let number = reject.partition.to_string();
    // A source names its partitions `topic/number`.
    let name = partitions.get(reject.partition.index()).map_or("", String::as_str);
    let (topic, partition) = match name.rsplit_once('/') {
        Some((topic, partition)) if partition.parse::<u32>().is_ok() => (topic, partition),
        _ => (name, number.as_str()),
    };
    let exception = format!("{EXCEPTION_PREFIX}{}", reject.reason.as_str());
    let headers = OwnedHeaders::new_with_capacity(9)
        .insert(header("__streams.errors.topic", topic))
        .insert(header("__streams.errors.partition", partition))
        .insert(header("__streams.errors.offset", &reject.offset.to_string()))
        .insert(header("__streams.errors.exception", &exception))
        .insert(header("__streams.errors.message", &reject.detail))
        .insert(header("reason", reject.reason.as_str()))
        .insert(header("generation", &delivery.generation.to_string()))
        .insert(header("epoch", &delivery.through.to_string()));
    match reject.log_time {
        Some(time) => headers.insert(header("log-time", &time.0.to_string())),
        None => headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::message::Headers;
    use tidewatch_proto::ids::{Epoch, Generation, Offset, Partition};
    use tidewatch_proto::reject::Reason;

    #[test]
    fn the_headers_say_where_it_stood_and_what_was_wrong() {
        let reject = Reject {
            partition: Partition(1),
            offset: Offset(42),
            log_time: None,
            reason: Reason::Future,
            detail: "an hour ahead".into(),
            key: None,
            payload: Vec::new(),
        };
        let names = ["raw.events/0".to_owned(), "raw.events/1".to_owned()];
        let delivery = Delivery {
            generation: Generation(3),
            through: Epoch(9),
            items: Vec::new(),
        };
        let text = |names: &[String]| -> Vec<String> {
            let headers = headers(&reject, names, &delivery);
            let show = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or(b"-")).into_owned();
            headers
                .iter()
                .map(|header| format!("{}={}", header.key, show(header.value)))
                .collect()
        };
        let expected = [
            "__streams.errors.topic=raw.events",
            "__streams.errors.partition=1",
            "__streams.errors.offset=42",
            "__streams.errors.exception=tidewatch.reject.future",
            "__streams.errors.message=an hour ahead",
            "reason=future",
            "generation=3",
            "epoch=9",
        ];
        assert_eq!(text(&names), expected);
        assert_eq!(
            text(&[])[..2],
            ["__streams.errors.topic=", "__streams.errors.partition=1"]
        );
    }
}
