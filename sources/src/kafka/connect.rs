//! Finds a topic and its partitions, and opens readers of them.

use super::batch::Fetcher;
use super::commit::Committer;
use super::config::{KafkaSettings, Start};
use super::describe::describe;
use super::native::NativeSource;
use super::source::KafkaSource;
use super::watch::TopicWatch;
use crate::event::{EventHook, SourceEvent, unheard};
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::{ClientContext, Offset as KafkaOffset, TopicPartitionList};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, Source, SourceError, SourceFactory};

/// How long to try to reach a broker before giving up.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one attempt takes, after which the reason for its failure is looked at.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);
/// How long an attempt waits at most for the one before; a string, as the client wants it.
const RECONNECT_BACKOFF_MAX_MS: &str = "250";
/// Errors after which waiting does not help.
const HOPELESS: [RDKafkaErrorCode; 7] = [
    RDKafkaErrorCode::Authentication,
    RDKafkaErrorCode::SaslAuthenticationFailed,
    RDKafkaErrorCode::UnsupportedSASLMechanism,
    RDKafkaErrorCode::IllegalSASLState,
    RDKafkaErrorCode::SSL,
    RDKafkaErrorCode::TopicAuthorizationFailed,
    RDKafkaErrorCode::ClusterAuthorizationFailed,
];

/// Whose clock the log's timestamps are by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's: a producer whose clock is wrong moves the watermark of its partitions.
    CreateTime,
    /// The broker's.
    LogAppendTime,
}

/// A topic that was found, ready to be read.
pub struct KafkaFactory {
    pub(super) settings: KafkaSettings,
    pub(super) names: Vec<String>,
    /// The topic's id; empty when its brokers give none, or don't let it be described.
    pub(super) log: String,
    pub(super) hook: EventHook,
    /// The client that commits positions, made when it is first needed.
    committer: Mutex<Option<Committer>>,
}

impl KafkaFactory {
    /// Finds the topic and its partitions.
    ///
    /// # Errors
    /// When no broker answers within 5 seconds, when the login or the encryption is refused, or when there is no such
    /// topic.
    pub fn connect(settings: &KafkaSettings) -> Result<KafkaFactory, SourceError> {
        let probe = probe(settings)?;
        let metadata = metadata(settings, &probe)?;
        let count = partition_count(settings, &metadata)?;
        // Brokers from before topics had ids have nothing to tell.
        let described = describe(probe.client(), &settings.topic, CONNECT_TIMEOUT);
        Ok(KafkaFactory {
            log: described.map_or_else(|_| String::new(), |described| described.id),
            settings: settings.clone(),
            names: (0..count).map(|index| format!("{}/{index}", settings.topic)).collect(),
            hook: unheard(),
            committer: Mutex::new(None),
        })
    }

    /// Sends what the readers have to say to this hook.
    pub fn with_events(mut self, hook: EventHook) -> KafkaFactory {
        self.hook = hook;
        self
    }

    /// Which topic it is: an id that a topic of the same name that is made anew doesn't have. Empty when the brokers
    /// don't tell.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// What looks whether the topic changes.
    ///
    /// # Errors
    /// When the client can't be set up.
    pub fn watch(&self) -> Result<TopicWatch, SourceError> {
        TopicWatch::new(&self.settings, &self.log, self.names.len())
    }

    /// Whose clock the topic's timestamps are by, as its `message.timestamp.type` says.
    ///
    /// # Errors
    /// When the brokers don't tell, for example because describing a topic is not allowed.
    pub fn timestamp_type(&self) -> Result<TimestampType, SourceError> {
        let refused = |error: &dyn std::fmt::Display| {
            SourceError::new(
                self.settings.object(),
                format!("can't read message.timestamp.type: {error}"),
            )
        };
        let admin: AdminClient<DefaultClientContext> =
            self.settings.connection.create().map_err(|error| refused(&error))?;
        let options = AdminOptions::new().request_timeout(Some(CONNECT_TIMEOUT));
        let asked = [ResourceSpecifier::Topic(&self.settings.topic)];
        let mut answers = block_on(admin.describe_configs(&asked, &options)).map_err(|error| refused(&error))?;
        let topic = answers
            .pop()
            .ok_or_else(|| refused(&"no answer"))?
            .map_err(|error| refused(&error))?;
        match topic
            .get("message.timestamp.type")
            .and_then(|entry| entry.value.as_deref())
        {
            Some("LogAppendTime") => Ok(TimestampType::LogAppendTime),
            Some("CreateTime") => Ok(TimestampType::CreateTime),
            other => Err(refused(&format!("the broker says {other:?}"))),
        }
    }

    /// Commits where reading will go on to the consumer group, for lag tools. Best effort: it doesn't wait, and a
    /// failure is told to the event hook.
    pub fn commit(&self, positions: &[(Partition, Offset)]) {
        if positions.is_empty() {
            return;
        }
        let mut slot = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        let committer = match slot.take() {
            Some(committer) => Ok(committer),
            None => Committer::new(&self.settings, Arc::clone(&self.hook)),
        };
        let sent = committer.and_then(|committer| slot.insert(committer).commit(positions));
        if let Err(error) = sent {
            let object = format!("{}, group {}", self.settings.object(), self.settings.group_id);
            (self.hook)(SourceEvent::CommitFailed {
                object,
                problem: error.to_string(),
            });
        }
    }

    fn consumer(&self) -> Result<Fetcher, SourceError> {
        let consumer: BaseConsumer = self
            .settings
            .reader()
            .create()
            .map_err(|error| refused(&self.settings, &error))?;
        Fetcher::new(consumer).ok_or_else(|| SourceError::new(self.settings.object(), "the consumer has no queue"))
    }

    fn list(&self, assigned: &[Assignment]) -> Result<TopicPartitionList, SourceError> {
        let mut list = TopicPartitionList::new();
        for assignment in assigned {
            let object = || {
                format!(
                    "{}/{} at {}",
                    self.settings.topic, assignment.partition, self.settings.brokers
                )
            };
            if assignment.partition.index() >= self.names.len() {
                let problem = format!("the topic has only {} partitions; was it made anew?", self.names.len());
                return Err(SourceError::new(object(), problem));
            }
            let from = match (assignment.from, self.settings.start) {
                (Some(offset), _) => KafkaOffset::Offset(offset.0),
                (None, Start::Earliest) => KafkaOffset::Beginning,
                (None, Start::Latest) => KafkaOffset::End,
            };
            list.add_partition_offset(&self.settings.topic, assignment.partition.0 as i32, from)
                .map_err(|error| SourceError::new(object(), format!("can't read from {from:?}: {error}")))?;
        }
        Ok(list)
    }
}

impl SourceFactory for KafkaFactory {
    fn partitions(&self) -> &[String] {
        &self.names
    }

    fn open(&self, assigned: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        self.reader(assigned, |fetcher| fetcher)
    }

    fn open_with_headers(&self, assigned: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        self.reader(assigned, Fetcher::with_headers)
    }
}

impl KafkaFactory {
    /// Opens a reader; librdkafka's is told whether to look at headers, ours has them in any case.
    fn reader(
        &self,
        assigned: &[Assignment],
        told: impl FnOnce(Fetcher) -> Fetcher,
    ) -> Result<Box<dyn Source>, SourceError> {
        if assigned.is_empty() {
            return Ok(Box::new(KafkaSource::of_nothing()));
        }
        let list = self.list(assigned)?;
        if let Some(native) = &self.settings.native {
            return Ok(Box::new(NativeSource::open(native, assigned, Arc::clone(&self.hook))?));
        }
        let fetcher = told(self.consumer()?);
        fetcher
            .consumer
            .assign(&list)
            .map_err(|error| refused(&self.settings, &error))?;
        let source = KafkaSource::new(fetcher, &self.settings, assigned, Arc::clone(&self.hook));
        Ok(Box::new(source))
    }
}

fn refused(settings: &KafkaSettings, error: &KafkaError) -> SourceError {
    SourceError::new(settings.object(), format!("the client can't be set up: {error}"))
}

/// A client to look for the topic with.
fn probe(settings: &KafkaSettings) -> Result<BaseConsumer<Reason>, SourceError> {
    let mut client = settings.connection.clone();
    client.set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MAX_MS);
    client
        .create_with_context(Reason::default())
        .map_err(|error| refused(settings, &error))
}

/// Asks the brokers for the topic until one answers.
fn metadata(settings: &KafkaSettings, probe: &BaseConsumer<Reason>) -> Result<Metadata, SourceError> {
    let start = Instant::now();
    loop {
        let problem = match probe.fetch_metadata(Some(&settings.topic), ATTEMPT_TIMEOUT) {
            Ok(metadata) => return Ok(metadata),
            Err(problem) => problem,
        };
        // Events go to the context.
        while probe.poll(Duration::ZERO).is_some() {}
        let (code, reason) = probe
            .context()
            .get()
            .unwrap_or((RDKafkaErrorCode::Fail, problem.to_string()));
        if HOPELESS.contains(&code) || start.elapsed() > CONNECT_TIMEOUT {
            return Err(unreachable(settings, code, &reason));
        }
    }
}

/// Keeps the error that says most about why there is no answer.
#[derive(Default)]
struct Reason(Mutex<Option<(RDKafkaErrorCode, String)>>);

impl Reason {
    fn get(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Reason {
    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are down only follows from what was said before.
        let vague = code == RDKafkaErrorCode::AllBrokersDown;
        if kept.as_ref().is_none_or(|(kept, _)| !vague && !HOPELESS.contains(kept)) {
            *kept = Some((code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Reason {}

fn unreachable(settings: &KafkaSettings, code: RDKafkaErrorCode, reason: &str) -> SourceError {
    let problem = match code {
        RDKafkaErrorCode::SSL => {
            format!("TLS failed ({reason}); check kafka.security_protocol, kafka.ca_file and the brokers' certificates")
        }
        code if HOPELESS.contains(&code) => {
            format!(
                "the login was refused ({reason}); check kafka.username, kafka.password_file and kafka.sasl_mechanism"
            )
        }
        _ => format!(
            "no broker answered within {} s ({reason}); check kafka.brokers, that it runs, and kafka.security_protocol",
            CONNECT_TIMEOUT.as_secs()
        ),
    };
    SourceError::new(format!("kafka.brokers {}", settings.brokers), problem)
}

fn partition_count(settings: &KafkaSettings, metadata: &Metadata) -> Result<usize, SourceError> {
    let topic = metadata.topics().iter().find(|topic| topic.name() == settings.topic);
    let code = topic.and_then(|topic| topic.error()).map(RDKafkaErrorCode::from);
    let count = topic.map_or(0, |topic| topic.partitions().len());
    match code {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Err(SourceError::new(
            settings.object(),
            "reading it is not allowed; give kafka.username the right to",
        )),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) | None if count == 0 => Err(SourceError::new(
            settings.object(),
            "there is no such topic; create it, for instance by `tidewatch topics`",
        )),
        Some(code) if count == 0 => Err(SourceError::new(settings.object(), format!("can't be read: {code}"))),
        _ => Ok(count),
    }
}
