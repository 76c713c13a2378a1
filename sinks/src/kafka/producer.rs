//! Messages in, everything acknowledged or an error out.

use super::config::KafkaSinkSettings;
use super::topic::{self, Purpose};
use crate::{ErrorKind, SinkError};
use rdkafka::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long to wait for room in a full queue before looking at the time.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(50);
/// After so many messages their reports are taken, so that they don't pile up.
const REPORTS_EVERY: u64 = 1024;
/// What a flush may take beyond the messages' own timeout, after which they have all been reported.
const FLUSH_MARGIN: Duration = Duration::from_secs(5);

/// A message on its way.
pub(super) struct Message {
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Vec<u8>,
    pub(super) headers: OwnedHeaders,
}

/// A producer for one topic, made when it is needed and destroyed after any error.
pub(super) struct Producer {
    settings: KafkaSinkSettings,
    topic: String,
    purpose: Purpose,
    live: Option<BaseProducer<Trouble>>,
}

impl Producer {
    pub(super) fn new(settings: KafkaSinkSettings, topic: &str, purpose: Purpose) -> Producer {
        Producer {
            settings,
            topic: topic.to_owned(),
            purpose,
            live: None,
        }
    }

    /// Sees that the brokers can be reached and have the topic.
    pub(super) fn check(&mut self) -> Result<(), SinkError> {
        if self.live.is_none() {
            topic::ensure(&self.settings, &self.topic, self.purpose)?;
            let producer = self.settings.producer().create_with_context(Trouble::default());
            self.live = Some(producer.map_err(|error| self.error(ErrorKind::Stop, &error))?);
        }
        Ok(())
    }

    /// Sends messages and waits until each is acknowledged. After an error some may have been written.
    pub(super) fn send(&mut self, messages: impl Iterator<Item = Message>) -> Result<(), SinkError> {
        self.check()?;
        let Some(producer) = self.live.take() else {
            return Err(SinkError::retry(&self.settings.brokers, "there is no producer"));
        };
        producer.context().begin();
        match self.send_all(&producer, messages) {
            Ok(()) => {
                self.live = Some(producer);
                Ok(())
            }
            Err(error) => {
                // What is still queued must not be written behind our back.
                producer.purge(PurgeConfig::default().queue().inflight());
                Err(error)
            }
        }
    }

    fn send_all(
        &self,
        producer: &BaseProducer<Trouble>,
        messages: impl Iterator<Item = Message>,
    ) -> Result<(), SinkError> {
        let mut sent = 0;
        for message in messages {
            self.enqueue(producer, &message)?;
            sent += 1;
            if sent % REPORTS_EVERY == 0 {
                producer.poll(Duration::ZERO);
                self.first_failure(producer)?;
            }
        }
        let flushed = producer.flush(self.settings.delivery_timeout + FLUSH_MARGIN);
        self.first_failure(producer)?;
        flushed.map_err(|error| self.error(ErrorKind::Retry, &error))?;
        let acknowledged = producer.context().lock().acknowledged;
        if acknowledged != sent {
            let problem = format!("{acknowledged} of {sent} messages were acknowledged");
            return Err(SinkError::retry(self.object(), problem));
        }
        Ok(())
    }

    /// Puts a message into the queue, waiting while the queue is full.
    fn enqueue(&self, producer: &BaseProducer<Trouble>, message: &Message) -> Result<(), SinkError> {
        let end = Instant::now() + self.settings.delivery_timeout + FLUSH_MARGIN;
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic)
            .payload(&message.payload)
            .headers(message.headers.clone());
        if let Some(key) = &message.key {
            record = record.key(key);
        }
        loop {
            let (error, back) = match producer.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) || Instant::now() > end {
                return Err(self.error(kind(&error), &error));
            }
            producer.poll(QUEUE_FULL_WAIT);
            self.first_failure(producer)?;
            record = back;
        }
    }

    /// The first bad report of the delivery.
    fn first_failure(&self, producer: &BaseProducer<Trouble>) -> Result<(), SinkError> {
        match &producer.context().lock().failure {
            Some(error) => Err(self.error(kind(error), error)),
            None => Ok(()),
        }
    }

    fn object(&self) -> String {
        format!("{}, topic {}", self.settings.brokers, self.topic)
    }

    fn error(&self, kind: ErrorKind, error: &KafkaError) -> SinkError {
        use RDKafkaErrorCode::{MessageSizeTooLarge, MessageTimedOut, UnknownTopic, UnknownTopicOrPartition};
        let problem = match error.rdkafka_error_code() {
            Some(UnknownTopic | UnknownTopicOrPartition) => {
                return topic::missing(&self.settings, &self.topic, self.purpose);
            }
            Some(MessageSizeTooLarge) => {
                format!("{error}: raise the topic's max.message.bytes and kafka.message_bytes_max")
            }
            Some(MessageTimedOut) => "no broker acknowledged in time".to_owned(),
            _ => error.to_string(),
        };
        SinkError {
            kind,
            object: self.object(),
            problem,
        }
    }
}

/// Whether the same may go through later, with a new producer.
fn kind(error: &KafkaError) -> ErrorKind {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => ErrorKind::TooLarge,
        Some(
            Code::InvalidRecord
            | Code::PolicyViolation
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition,
        ) => ErrorKind::Stop,
        _ => ErrorKind::Retry,
    }
}

/// What a client has been told: reports of messages, and trouble with the connection. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Trouble {
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    acknowledged: u64,
    failure: Option<KafkaError>,
    connection: Option<(ErrorKind, String)>,
}

impl Trouble {
    /// The last trouble with the connection, and whether waiting may help.
    pub(super) fn last(&self) -> Option<(ErrorKind, String)> {
        self.lock().connection.clone()
    }

    /// Begins a delivery.
    fn begin(&self) {
        let mut told = self.lock();
        told.acknowledged = 0;
        told.failure = None;
    }

    // A panic while the lock was held leaves numbers that are each right.
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Trouble {
    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let kind = match error.rdkafka_error_code() {
            Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism) => {
                ErrorKind::Stop
            }
            // Said after each broker's own trouble, which tells more.
            Some(Code::AllBrokersDown) => return,
            _ => ErrorKind::Retry,
        };
        self.lock().connection = Some((kind, reason.to_owned()));
    }
}

impl ConsumerContext for Trouble {}

impl ProducerContext for Trouble {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut told = self.lock();
        match result {
            Ok(_) => told.acknowledged += 1,
            Err((error, _)) => {
                told.failure.get_or_insert_with(|| error.clone());
            }
        }
    }
}
