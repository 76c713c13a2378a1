//! The topic as the harness has it: messages in, and out again behind what checkpoints have.

use super::Problem;
use super::ledger::Ledger;
use super::workload::{PARTITIONS, Sent};
use crate::sources::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset as At, TopicPartitionList};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// By partition an offset.
pub type Offsets = [i64; PARTITIONS];

/// A topic that is written, followed and cut.
pub struct Feed {
    topic: Topic,
    producer: BaseProducer,
    group: BaseConsumer,
    ledger: Option<Ledger>,
    written: Offsets,
    cut: Offsets,
}

impl Feed {
    /// An empty topic, whose reader commits its positions to a group; what it holds goes to a file.
    ///
    /// # Panics
    /// When the brokers don't do their part.
    pub fn new(brokers: &str, group: &str, ledger: &Path) -> Feed {
        let topic = Topic::create_at(
            brokers,
            PARTITIONS as i32,
            &[("message.timestamp.type", "CreateTime"), ("retention.ms", "-1")],
        );
        let group = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", group)
            .create()
            .expect("a consumer");
        Feed {
            producer: topic.producer_with(&[("compression.type", "lz4")]),
            group,
            ledger: Some(Ledger::follow(brokers, &topic.name, ledger)),
            topic,
            written: [0; PARTITIONS],
            cut: [0; PARTITIONS],
        }
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic.name
    }

    /// How much was written.
    pub fn written(&self) -> Offsets {
        self.written
    }

    /// Writes messages, durably.
    ///
    /// # Panics
    /// When the brokers don't take them.
    pub fn produce(&mut self, messages: &[Sent]) {
        for sent in messages {
            let mut record = BaseRecord::to(&self.topic.name)
                .partition(sent.partition)
                .timestamp(sent.log_ms)
                .key(&sent.key)
                .payload(&sent.payload)
                .headers(headers(sent));
            while let Err((_, back)) = self.producer.send(record) {
                self.producer.poll(POLL);
                record = back;
            }
            self.written[sent.partition as usize] += 1;
        }
        self.producer.flush(LIMIT).expect("acknowledged");
    }

    /// Where the consumer group stands, which follows checkpoints.
    pub fn committed(&self) -> Offsets {
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS as i32 {
            list.add_partition(&self.topic.name, partition);
        }
        let mut committed = self.cut;
        // A broker that doesn't answer in time is asked again.
        let Ok(list) = self.group.committed_offsets(list, LIMIT) else {
            return committed;
        };
        for element in list.elements() {
            if let At::Offset(offset) = element.offset() {
                committed[element.partition() as usize] = offset;
            }
        }
        committed
    }

    /// Whether a checkpoint has all that was written.
    pub fn is_durable(&self) -> bool {
        self.committed() == self.written
    }

    /// Takes away what checkpoints have, when the ledger has it too.
    ///
    /// # Errors
    /// When the ledger doesn't come to it.
    pub fn cut(&mut self) -> Result<(), Problem> {
        let committed = self.committed();
        self.wait_for_ledger(committed)?;
        for (partition, offset) in committed.into_iter().enumerate() {
            if offset > self.cut[partition] {
                self.topic.remove_before(partition as i32, offset);
                self.cut[partition] = offset;
            }
        }
        Ok(())
    }

    /// Ends the ledger when it has all.
    ///
    /// # Errors
    /// When it doesn't come to it.
    pub fn close_ledger(&mut self) -> Result<(), Problem> {
        self.wait_for_ledger(self.written)?;
        self.ledger.take().into_iter().for_each(Ledger::close);
        Ok(())
    }

    fn wait_for_ledger(&self, offsets: Offsets) -> Result<(), Problem> {
        let begun = Instant::now();
        let has_all = |ledger: &Ledger| (0..PARTITIONS).all(|partition| ledger.has(partition, offsets[partition]));
        while !self.ledger.as_ref().is_none_or(has_all) {
            if begun.elapsed() > LIMIT {
                return Err(format!("the ledger has not come to {offsets:?} after {LIMIT:?}"));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// Headers of a record: none to three, of which a key comes again, and one has no value.
fn headers(sent: &Sent) -> OwnedHeaders {
    let all = [
        ("device-id", Some(sent.key.as_bytes())),
        ("ingest-node-id", None),
        ("device-id", Some(&sent.payload[..1])),
    ];
    let header = |headers: OwnedHeaders, (key, value)| headers.insert(Header { key, value });
    let count = sent.payload.len() % (all.len() + 1);
    all.into_iter().take(count).fold(OwnedHeaders::new(), header)
}
