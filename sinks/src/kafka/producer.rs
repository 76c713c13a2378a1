//! Messages in, everything acknowledged or an error out.

use super::config::KafkaSinkSettings;
use super::topic::{self, Purpose};
use crate::fence::Fence;
use crate::{ErrorKind, SinkError};
use rdkafka::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidewatch_failpoints::{Injected, Point, check};

/// How long to take reports before looking whether there is room or everything is acknowledged. The library's `poll`
/// never returns earlier, and its `flush` polls for 100 ms.
const REPORTS_FOR: Duration = Duration::from_millis(1);
/// How long one wait for the last reports grows to, so that a broker that is away costs no processor.
const REPORTS_FOR_MAX: Duration = Duration::from_millis(50);
/// After so many messages their reports are taken, so that they don't pile up.
const REPORTS_EVERY: u64 = 1024;
/// What the last reports may take beyond the messages' own timeout, after which they are all there.
const REPORTS_MARGIN: Duration = Duration::from_secs(5);
/// How long the coordinator of transactions may take to answer.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(5);
/// A transaction that has been filled for so long is committed, and another begins: a large delivery takes several.
const TRANSACTION_FOR: Duration = Duration::from_secs(10);
/// What a transaction may take beyond its messages' own timeout: being filled, the last reports, and its end.
const TRANSACTION_MARGIN: Duration = Duration::from_secs(30);

/// A message on its way.
pub(super) struct Message<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) payload: &'a [u8],
    pub(super) headers: OwnedHeaders,
}

/// A header with a text.
pub(super) fn header<'a>(key: &'a str, value: &'a str) -> Header<'a, &'a str> {
    Header {
        key,
        value: Some(value),
    }
}

/// A producer for one topic, made when it is needed and destroyed after any error.
pub(super) struct Producer {
    settings: KafkaSinkSettings,
    topic: String,
    purpose: Purpose,
    fence: Fence,
    live: Option<BaseProducer<Trouble>>,
}

impl Producer {
    pub(super) fn new(settings: KafkaSinkSettings, topic: &str, purpose: Purpose, fence: Fence) -> Producer {
        Producer {
            settings,
            topic: topic.to_owned(),
            purpose,
            fence,
            live: None,
        }
    }

    /// Sends what `put` puts into the queue and waits until each message is acknowledged and committed. After an error
    /// some may have been written.
    pub(super) fn send(&mut self, put: impl FnOnce(&mut Queue<'_>) -> Result<(), SinkError>) -> Result<(), SinkError> {
        let producer = match self.live.take() {
            Some(live) => live,
            None => self.connect()?,
        };
        producer.context().begin();
        let mut queue = Queue {
            of: self,
            producer: &producer,
            sent: 0,
            open_since: None,
        };
        let of = queue.of;
        let sent = of.pass(1).and_then(|()| put(&mut queue)).and_then(|()| {
            of.pass(2)?;
            queue.finish()?;
            of.pass(4)
        });
        match sent {
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

    /// Makes a producer, which shuts out whoever wrote under its name before.
    fn connect(&mut self) -> Result<BaseProducer<Trouble>, SinkError> {
        self.pass(0)?;
        topic::ensure(&self.settings, &self.topic, self.purpose)?;
        (self.fence.newest)()?;
        for slot in self.fence.former.clone() {
            self.begin_as(slot)?;
        }
        self.fence.former = 0..0;
        let producer = self.begin_as(self.fence.slot)?;
        // A newer run that has begun meanwhile was shut out just now: it comes back, and this one writes nothing.
        (self.fence.newest)()?;
        Ok(producer)
    }

    /// Makes a slot's producer, which ends the transaction that another has left open.
    fn begin_as(&self, slot: usize) -> Result<BaseProducer<Trouble>, SinkError> {
        let timeout = self.settings.delivery_timeout + TRANSACTION_MARGIN;
        let mut config = self.settings.producer();
        config
            .set("transactional.id", self.transactional_id(slot))
            .set("transaction.timeout.ms", timeout.as_millis().to_string());
        let producer = config.create_with_context(Trouble::default());
        let producer: BaseProducer<Trouble> = producer.map_err(|error| self.error(ErrorKind::Stop, &error))?;
        let begun = producer.init_transactions(COORDINATOR_TIMEOUT);
        begun.map_err(|error| self.error(kind(&error), &error))?;
        Ok(producer)
    }

    fn transactional_id(&self, slot: usize) -> String {
        format!("{}-{}-{slot}", self.settings.transactional_id, self.topic)
    }

    /// Passes a place of a producer's way: before it is made, before it sends, all in the queue, all acknowledged, all
    /// committed.
    fn pass(&self, place: usize) -> Result<(), SinkError> {
        let points = match self.purpose {
            Purpose::Upserts => [
                Point::KafkaRowsInit,
                Point::KafkaRowsProduce,
                Point::KafkaRowsFlush,
                Point::KafkaRowsCommit,
                Point::KafkaRowsCommitted,
            ],
            Purpose::Events => [
                Point::KafkaLettersInit,
                Point::KafkaLettersProduce,
                Point::KafkaLettersFlush,
                Point::KafkaLettersCommit,
                Point::KafkaLettersCommitted,
            ],
        };
        check(points[place]).map_err(|injected: Injected| SinkError::retry(self.object(), injected.to_string()))
    }

    fn object(&self) -> String {
        format!("{}, topic {}", self.settings.brokers, self.topic)
    }

    fn error(&self, kind: ErrorKind, error: &KafkaError) -> SinkError {
        use RDKafkaErrorCode::{
            Fenced, InvalidProducerEpoch, InvalidTransactionTimeout, MessageSizeTooLarge, MessageTimedOut,
            ProducerFenced, TransactionalIdAuthorizationFailed, UnknownTopic, UnknownTopicOrPartition,
        };
        let id = || self.transactional_id(self.fence.slot);
        let problem = match error.rdkafka_error_code() {
            Some(UnknownTopic | UnknownTopicOrPartition) => {
                return topic::missing(&self.settings, &self.topic, self.purpose);
            }
            Some(MessageSizeTooLarge) => {
                format!("{error}: raise the topic's max.message.bytes and kafka.message_bytes_max")
            }
            Some(MessageTimedOut) => "no broker acknowledged in time".to_owned(),
            Some(Fenced | InvalidProducerEpoch | ProducerFenced) => {
                format!(
                    "another writes under the transactional id {}: a newer run, or another cluster, which then needs \
                     an output.kafka.transactional_id of its own",
                    id()
                )
            }
            Some(TransactionalIdAuthorizationFailed) => {
                format!(
                    "the transactional id {} is not allowed: allow Write and Describe on it",
                    id()
                )
            }
            Some(InvalidTransactionTimeout) => format!(
                "a transaction may not take so long: lower output.kafka.delivery_timeout, or raise the brokers' \
                 transaction.max.timeout.ms to {}",
                (self.settings.delivery_timeout + TRANSACTION_MARGIN).as_millis()
            ),
            _ => error.to_string(),
        };
        SinkError {
            kind,
            object: self.object(),
            problem,
        }
    }
}

/// The queue of a live producer, while a delivery is put into it.
pub(super) struct Queue<'a> {
    of: &'a Producer,
    producer: &'a BaseProducer<Trouble>,
    sent: u64,
    /// Since when there is a transaction.
    open_since: Option<Instant>,
}

impl Queue<'_> {
    /// Puts a message into the queue, waiting while the queue is full.
    pub(super) fn put(&mut self, message: Message<'_>) -> Result<(), SinkError> {
        if self.open_since.is_none() {
            let begun = self.producer.begin_transaction();
            begun.map_err(|error| self.of.error(kind(&error), &error))?;
            self.open_since = Some(Instant::now());
        }
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.of.topic)
            .payload(message.payload)
            .headers(message.headers);
        if let Some(key) = message.key {
            record = record.key(key);
        }
        if let Err((error, back)) = self.producer.send(record) {
            self.put_when_there_is_room(error, back)?;
        }
        self.sent += 1;
        if self.sent.is_multiple_of(REPORTS_EVERY) {
            self.producer.poll(Duration::ZERO);
            self.first_failure()?;
            if self.open_since.is_some_and(|since| since.elapsed() > TRANSACTION_FOR) {
                self.finish()?;
            }
        }
        Ok(())
    }

    fn put_when_there_is_room(
        &self,
        mut error: KafkaError,
        mut record: BaseRecord<'_, [u8], [u8]>,
    ) -> Result<(), SinkError> {
        let end = Instant::now() + self.of.settings.delivery_timeout + REPORTS_MARGIN;
        while error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) && Instant::now() <= end {
            self.producer.poll(REPORTS_FOR);
            self.first_failure()?;
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => (error, record) = refused,
            }
        }
        Err(self.of.error(kind(&error), &error))
    }

    /// Waits until everything is acknowledged, and commits it.
    fn finish(&mut self) -> Result<(), SinkError> {
        self.wait_acknowledged()?;
        self.of.pass(3)?;
        if self.open_since.take().is_some() {
            let committed = self.producer.commit_transaction(self.of.settings.delivery_timeout);
            committed.map_err(|error| self.of.error(kind(&error), &error))?;
        }
        Ok(())
    }

    fn wait_acknowledged(&self) -> Result<(), SinkError> {
        let end = Instant::now() + self.of.settings.delivery_timeout + REPORTS_MARGIN;
        let mut wait = REPORTS_FOR;
        loop {
            self.first_failure()?;
            let acknowledged = self.producer.context().lock().acknowledged;
            if acknowledged == self.sent {
                return Ok(());
            }
            if Instant::now() > end {
                let problem = format!("{acknowledged} of {} messages were acknowledged", self.sent);
                return Err(SinkError::retry(self.of.object(), problem));
            }
            self.producer.poll(wait);
            wait = (wait * 2).min(REPORTS_FOR_MAX);
        }
    }

    /// The first bad report of the delivery; what made the producer useless says more than what it did to messages.
    fn first_failure(&self) -> Result<(), SinkError> {
        let Some(failure) = self.producer.context().lock().failure.clone() else {
            return Ok(());
        };
        let fatal = self.producer.client().fatal_error();
        let error = fatal.map_or(failure, |(code, _)| KafkaError::Global(code));
        Err(self.of.error(kind(&error), &error))
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
            | Code::TransactionalIdAuthorizationFailed
            | Code::InvalidTransactionTimeout
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
