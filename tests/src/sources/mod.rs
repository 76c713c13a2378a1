//! What the tests of the sources need: topics, what is written to them, and a second opinion on what they hold.

mod node;

pub use node::Node;

use crate::sinks::{component, unique};
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedHeaders, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset as At, TopicPartitionList};
use std::time::{Duration, Instant};
use tidewatch_proto::ids::Offset;
use tidewatch_proto::time::LogTime;
use tidewatch_settings::kafka::KafkaConnection;
use tidewatch_sources::conformance::Seen;
use tidewatch_sources::kafka::{Client, KafkaFactory, KafkaSourceConfig};

/// How long anything with a broker may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The time of a topic's first record, unless its brokers stamp it; the others follow a second apart.
pub const START: i64 = 1_767_225_600_000;

/// Connects to a topic.
///
/// # Panics
/// When that fails.
pub fn connect(connection: &KafkaConnection, config: &KafkaSourceConfig) -> KafkaFactory {
    let settings = config.resolve(connection).unwrap_or_else(|error| panic!("{error}"));
    KafkaFactory::connect(&settings).unwrap_or_else(|error| panic!("{error}"))
}

/// A topic that only this test uses.
pub struct Topic {
    /// Its name.
    pub name: String,
    brokers: String,
    partitions: i32,
    client: Client,
}

impl Topic {
    /// Creates a topic with settings such as `message.timestamp.type`.
    ///
    /// # Panics
    /// When there is no broker, or it refuses.
    pub fn create(partitions: i32, settings: &[(&str, &str)]) -> Topic {
        Topic::create_at(&component("TIDEWATCH_TEST_KAFKA"), partitions, settings)
    }

    /// Creates a topic at other brokers.
    ///
    /// # Panics
    /// When there is no broker, or it refuses.
    pub fn create_at(brokers: &str, partitions: i32, settings: &[(&str, &str)]) -> Topic {
        let (name, brokers) = (unique("sources"), brokers.to_owned());
        let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let answers = block_on(admin(&brokers).create_topics(&[topic], &AdminOptions::new()));
        answers
            .expect("an answer")
            .pop()
            .expect("one answer")
            .expect("the topic is created");
        let topic = Topic {
            name,
            brokers,
            partitions,
            client: Client::Rdkafka,
        };
        topic.wait_until_led();
        topic
    }

    /// The same topic, read by this client.
    pub fn read_by(self, client: Client) -> Topic {
        Topic { client, ..self }
    }

    /// The plain listener.
    pub fn connection(&self) -> KafkaConnection {
        KafkaConnection {
            brokers: self.brokers.clone(),
            ..KafkaConnection::default()
        }
    }

    /// What reads this topic.
    pub fn config(&self) -> KafkaSourceConfig {
        KafkaSourceConfig {
            topic: self.name.clone(),
            client: self.client,
            ..KafkaSourceConfig::default()
        }
    }

    /// Connects through the plain listener.
    ///
    /// # Panics
    /// When that fails.
    pub fn connect(&self, config: &KafkaSourceConfig) -> KafkaFactory {
        connect(&self.connection(), config)
    }

    /// A producer; with an id a transactional one.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn producer(&self, transactional_id: Option<&str>) -> BaseProducer {
        let id = transactional_id.map(|id| ("transactional.id", id));
        self.producer_with(id.as_slice())
    }

    /// A producer with settings such as `compression.type`, which is zstd otherwise.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn producer_with(&self, settings: &[(&str, &str)]) -> BaseProducer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("enable.idempotence", "true")
            .set("compression.type", "zstd")
            .set("linger.ms", "5");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config.create().expect("a producer")
    }

    /// Sends a record: the `n`th of a partition.
    ///
    /// # Panics
    /// When it doesn't go through.
    pub fn send(&self, producer: &BaseProducer, partition: i32, n: i64) {
        let key = format!("dev-{n}");
        self.send_as(producer, partition, n, (n % 5 != 0).then_some(key.as_str()));
    }

    /// Sends a record with a key: the `n`th of the first partition.
    ///
    /// # Panics
    /// When it doesn't go through.
    pub fn send_keyed(&self, producer: &BaseProducer, key: &str, n: i64) {
        self.send_as(producer, 0, n, Some(key));
    }

    fn send_as(&self, producer: &BaseProducer, partition: i32, n: i64, key: Option<&str>) {
        let payload = payload(partition, n);
        loop {
            let mut record = BaseRecord::<str, [u8]>::to(&self.name)
                .partition(partition)
                .timestamp(START + 1_000 * n);
            record.payload = Some(&payload);
            record.key = key;
            record.headers = headers(n);
            match producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(rdkafka::types::RDKafkaErrorCode::QueueFull), _)) => {
                    producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => panic!("{error}"),
            }
        }
    }

    /// Fills a partition with so many records, durably.
    ///
    /// # Panics
    /// When that fails.
    pub fn fill(&self, partition: i32, count: i64) {
        let producer = self.producer(None);
        (0..count).for_each(|n| self.send(&producer, partition, n));
        producer.flush(TIMEOUT).expect("delivered");
    }

    /// Removes the records of a partition before an offset, as retention does.
    ///
    /// # Panics
    /// When the broker refuses.
    pub fn remove_before(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, At::Offset(offset))
            .expect("an offset");
        block_on(admin(&self.brokers).delete_records(&list, &AdminOptions::new())).expect("removed");
    }

    /// Adds partitions: so many are there then.
    ///
    /// # Panics
    /// When the broker refuses.
    pub fn grow(&mut self, partitions: i32) {
        let more = NewPartitions::new(&self.name, partitions as usize);
        let answers = block_on(admin(&self.brokers).create_partitions(&[more], &AdminOptions::new()));
        answers
            .expect("an answer")
            .pop()
            .expect("one answer")
            .expect("it has more partitions");
        self.partitions = partitions;
        self.wait_until_led();
    }

    /// Deletes the topic and makes another one of the same name.
    ///
    /// # Panics
    /// When the broker refuses.
    pub fn make_anew(&self) {
        let (admin, options) = (admin(&self.brokers), AdminOptions::new());
        let deleted = block_on(admin.delete_topics(&[&self.name], &options)).expect("an answer");
        deleted.into_iter().for_each(|one| drop(one.expect("deleted")));
        let begun = Instant::now();
        let topic = NewTopic::new(&self.name, self.partitions, TopicReplication::Fixed(1));
        // It is gone a moment after it was deleted.
        while block_on(admin.create_topics([&topic], &options)).expect("an answer")[0].is_err() {
            assert!(begun.elapsed() < TIMEOUT, "{} can't be made anew", self.name);
        }
        self.wait_until_led();
    }

    /// What each partition holds, read record by record by the client library's own way.
    ///
    /// # Panics
    /// When it can't be read.
    pub fn holds(&self) -> Vec<Vec<Seen>> {
        let consumer = self.consumer(&unique("oracle"));
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition_offset(&self.name, partition, At::Beginning)
                .expect("an offset");
        }
        consumer.assign(&list).expect("assigned");
        let mut held = vec![Vec::new(); self.partitions as usize];
        let mut ended = vec![false; self.partitions as usize];
        while ended.contains(&false) {
            match consumer.poll(TIMEOUT).expect("a record or an end") {
                Ok(message) => held[message.partition() as usize].push(Seen {
                    offset: Offset(message.offset()),
                    log_time: message.timestamp().to_millis().map(LogTime),
                    key: message.key().map(<[u8]>::to_vec),
                    payload: message.payload().unwrap_or_default().to_vec(),
                    headers: message.headers().map(held_headers).unwrap_or_default(),
                    unusable: None,
                }),
                Err(KafkaError::PartitionEOF(partition)) => ended[partition as usize] = true,
                Err(error) => panic!("{error}"),
            }
        }
        held
    }

    /// Where a group's next record of a partition is, as lag tools see it.
    ///
    /// # Panics
    /// When the broker doesn't answer.
    pub fn committed(&self, group: &str, partition: i32) -> Option<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.name, partition);
        let list = self
            .consumer(group)
            .committed_offsets(list, TIMEOUT)
            .expect("an answer");
        match list.elements()[0].offset() {
            At::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("group.id", group);
        config
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true");
        config.create().expect("a consumer")
    }

    /// Waits for leaders: a new topic is known a moment before its partitions have them.
    ///
    /// # Panics
    /// When they don't get any.
    pub fn wait_until_led(&self) {
        let consumer = self.consumer("waiting");
        let begun = Instant::now();
        loop {
            let metadata = consumer.fetch_metadata(Some(&self.name), TIMEOUT).expect("metadata");
            let partitions = metadata.topics()[0].partitions();
            if partitions.len() == self.partitions as usize && partitions.iter().all(|p| p.error().is_none()) {
                return;
            }
            assert!(begun.elapsed() < TIMEOUT, "{} has no leaders", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The headers of the `n`th record: most have some, of which a key comes again, and a value may be null or empty.
fn headers(n: i64) -> Option<OwnedHeaders> {
    let header = |headers: OwnedHeaders, at: i64| {
        let value = format!("{at}:{n}");
        let value = ((n + at) % 3 > 0).then_some(&value[(n + at) as usize % 2 * value.len()..]);
        headers.insert(Header {
            key: ["device-id", "schema-version"][(at % 2) as usize],
            value,
        })
    };
    (n % 4 > 0).then(|| (0..n % 4).fold(OwnedHeaders::new(), header))
}

fn held_headers(headers: &BorrowedHeaders) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let held = headers
        .iter()
        .map(|header| (header.key.as_bytes().to_vec(), header.value.map(<[u8]>::to_vec)));
    held.collect()
}

/// The bytes of the `n`th record of a partition, of all lengths.
pub fn payload(partition: i32, n: i64) -> Vec<u8> {
    format!("{partition}/{n};").repeat(n as usize % 23).into_bytes()
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .expect("an admin client")
}
