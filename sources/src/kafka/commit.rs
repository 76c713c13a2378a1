//! Commits positions to the consumer group, for lag tools.

use super::config::KafkaSettings;
use crate::event::{EventHook, SourceEvent};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientContext, Offset as KafkaOffset, TopicPartitionList};
use std::time::Duration;
use tidewatch_proto::ids::{Offset, Partition};

/// How many answers are looked at before each commit.
const ANSWERS_MAX: usize = 16;

/// A client that commits and reads nothing. It is no member of the group, so it never takes part in a rebalance.
pub(super) struct Committer {
    consumer: BaseConsumer<Told>,
    topic: String,
}

impl Committer {
    pub(super) fn new(settings: &KafkaSettings, hook: EventHook) -> KafkaResult<Committer> {
        let object = format!("{}, group {}", settings.object(), settings.group_id);
        let consumer = settings.reader().create_with_context(Told { object, hook })?;
        Ok(Committer {
            consumer,
            topic: settings.topic.clone(),
        })
    }

    /// Sends positions and doesn't wait; the answers come out of the hook by a later call.
    pub(super) fn commit(&self, positions: &[(Partition, Offset)]) -> KafkaResult<()> {
        for _ in 0..ANSWERS_MAX {
            // It has no partition, so all that comes are answers and errors, which the context takes.
            self.consumer.poll(Duration::ZERO);
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            list.add_partition_offset(&self.topic, partition.0 as i32, KafkaOffset::Offset(offset.0))?;
        }
        self.consumer.commit(&list, CommitMode::Async)
    }
}

/// Tells failures to the hook.
struct Told {
    object: String,
    hook: EventHook,
}

impl ClientContext for Told {
    fn error(&self, _: KafkaError, _: &str) {
        // The readers tell the same about the same brokers.
    }
}

impl ConsumerContext for Told {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            (self.hook)(SourceEvent::CommitFailed {
                object: self.object.clone(),
                problem: error.to_string(),
            });
        }
    }
}
