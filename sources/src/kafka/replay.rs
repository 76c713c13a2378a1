//! Takes records back. Each has its id in a header, by which it is found again, and is written in a transaction under an
//! id of its own: who begins under that shuts out whoever tried before, so that nothing of theirs comes later.

use super::connect::KafkaFactory;
use crate::replay::{Again, ReplayError, ReplayLog};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset as KafkaOffset, TopicPartitionList};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{SourceError, SourceFactory};

/// The header that has the id.
const HEADER: &str = "tidewatch-replay";
/// How long one question to the brokers may take.
const WAIT: Duration = Duration::from_secs(5);
/// How long a transaction may take.
const TRANSACTION_MS: &str = "30000";
/// How long may pass without a record while the log is searched.
const SILENCE: Duration = Duration::from_secs(20);
/// How long to wait for the next one.
const POLL: Duration = Duration::from_millis(100);
/// What a message may have beside its key and payload.
const OVERHEAD_BYTES: usize = 4_096;

impl ReplayLog for KafkaFactory {
    fn partitions(&self) -> &[String] {
        SourceFactory::partitions(self)
    }

    fn end(&self, partition: Partition) -> Result<Offset, SourceError> {
        let (_, end) = self.extent(&self.reading("read_committed")?, partition)?;
        Ok(Offset(end))
    }

    fn put_once(&self, again: &Again<'_>) -> Result<Offset, ReplayError> {
        let producer = self.producer(again)?;
        if let Some(offset) = self.find(again)? {
            return Ok(offset);
        }
        let error = |error: KafkaError| self.failed(again, &error);
        producer.begin_transaction().map_err(error)?;
        let id = id(again);
        let header = Header {
            key: HEADER,
            value: Some(&id),
        };
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.settings.topic)
            .partition(again.partition.0 as i32)
            .timestamp(again.at_ms)
            .headers(OwnedHeaders::new().insert(header))
            .payload(again.payload);
        if let Some(key) = again.key {
            record = record.key(key);
        }
        producer.send(record).map_err(|(refused, _)| error(refused))?;
        let begun = Instant::now();
        let offset = loop {
            producer.poll(POLL);
            if let Some(written) = producer.context().take() {
                break written.map_err(error)?;
            }
            if begun.elapsed() > 2 * WAIT {
                return Err(ReplayError::Failed(
                    self.about(again, "no broker acknowledged it in time"),
                ));
            }
        };
        producer.commit_transaction(2 * WAIT).map_err(error)?;
        Ok(offset)
    }
}

impl KafkaFactory {
    /// A producer for this record alone; whoever had its id before writes no more.
    fn producer(&self, again: &Again<'_>) -> Result<BaseProducer<Written>, ReplayError> {
        let bytes = again.payload.len() + again.key.map_or(0, <[u8]>::len) + OVERHEAD_BYTES;
        let mut config = self.settings.connection.clone();
        config
            .set(
                "transactional.id",
                format!("tidewatch-replay-{}-{}", self.settings.topic, id(again)),
            )
            .set("transaction.timeout.ms", TRANSACTION_MS)
            .set("message.timeout.ms", (2 * WAIT).as_millis().to_string())
            .set("message.max.bytes", bytes.max(1_000_000).to_string())
            .set("linger.ms", "0");
        let producer = config.create_with_context(Written::default());
        let producer: BaseProducer<Written> = producer.map_err(|error| self.failed(again, &error))?;
        producer
            .init_transactions(WAIT)
            .map_err(|error| self.failed(again, &error))?;
        Ok(producer)
    }

    /// Where the record is, if it is there.
    fn find(&self, again: &Again<'_>) -> Result<Option<Offset>, ReplayError> {
        let partition = again.partition;
        // Transactions of others may hold back what is committed: so it is read to the very end.
        let all = self.reading("read_uncommitted").map_err(ReplayError::Failed)?;
        let (first, end) = self.extent(&all, partition).map_err(ReplayError::Failed)?;
        if again.from.0 >= end {
            return Ok(None);
        }
        if again.from.0 < first {
            return Err(ReplayError::Gone);
        }
        let consumer = self.reading("read_committed").map_err(ReplayError::Failed)?;
        let mut list = TopicPartitionList::new();
        let from = KafkaOffset::Offset(again.from.0);
        let error = |error: KafkaError| self.failed(again, &error);
        list.add_partition_offset(&self.settings.topic, partition.0 as i32, from)
            .map_err(error)?;
        consumer.assign(&list).map_err(error)?;
        let (id, mut heard) = (id(again), Instant::now());
        loop {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let mut headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                    if headers.any(|header| header.key == HEADER && header.value == Some(id.as_bytes())) {
                        return Ok(Some(Offset(message.offset())));
                    }
                    heard = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(_))) | None => {
                    let position = consumer.position().map_err(error)?;
                    let place = position.find_partition(&self.settings.topic, partition.0 as i32);
                    let next = place.and_then(|place| place.offset().to_raw());
                    if next.is_some_and(|next| next >= end) {
                        return Ok(None);
                    }
                }
                Some(Err(failed)) => return Err(error(failed)),
            }
            if heard.elapsed() > SILENCE {
                let problem = "it can't be read to its end, where it may be: transactions of other producers are open";
                return Err(ReplayError::Failed(self.about(again, problem)));
            }
        }
    }

    fn reading(&self, isolation: &str) -> Result<BaseConsumer, SourceError> {
        let mut config = self.settings.reader();
        config.set("isolation.level", isolation);
        let problem = |error| SourceError::new(self.settings.object(), format!("the client can't be set up: {error}"));
        config.create().map_err(problem)
    }

    fn about(&self, again: &Again<'_>, problem: &str) -> SourceError {
        let object = format!(
            "{}/{} at {}",
            self.settings.topic, again.partition, self.settings.brokers
        );
        SourceError::new(object, problem)
    }

    fn failed(&self, again: &Again<'_>, error: &KafkaError) -> ReplayError {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge | Code::InvalidRecord | Code::PolicyViolation) => {
                ReplayError::Refused(self.about(again, &error.to_string()))
            }
            Some(Code::TopicAuthorizationFailed | Code::TransactionalIdAuthorizationFailed) => {
                let problem = format!(
                    "{error}: allow kafka.username Write on the topic and on transactional ids that begin with \
                     tidewatch-replay-{}-",
                    self.settings.topic
                );
                ReplayError::Refused(self.about(again, &problem))
            }
            _ => ReplayError::Failed(self.about(again, &error.to_string())),
        }
    }
}

fn id(again: &Again<'_>) -> String {
    format!("{:016x}", again.id)
}

/// What became of the one message.
#[derive(Default)]
struct Written(Mutex<Option<Result<Offset, KafkaError>>>);

impl Written {
    fn take(&self) -> Option<Result<Offset, KafkaError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Written {
    fn error(&self, _: KafkaError, _: &str) {
        // The readers tell the same about the same brokers.
    }
}

impl ProducerContext for Written {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let written = match result {
            Ok(message) => Ok(Offset(message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(written);
    }
}
