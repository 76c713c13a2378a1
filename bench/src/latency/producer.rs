//! Appends records to a topic at an even pace, and says where a sample of them went.

use crate::w1::METRICS;
use crate::w1::generate::Telemetry;
use crate::w1::record::Record;
use anyhow::{Context, Result, bail, ensure};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Every so many records one is followed to its offset.
const SAMPLE_EVERY: u64 = 16;

/// How long the producer waits for more records before it sends a batch.
const LINGER_MS: &str = "2";

/// Pause between two looks at what is due.
const PAUSE: Duration = Duration::from_millis(1);

/// How long the last records may take to be acknowledged.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// What is appended.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Kafka's address.
    pub brokers: String,
    /// The topic, which is there.
    pub topic: String,
    /// Its partitions.
    pub partitions: u32,
    /// Devices, which send in turn.
    pub devices: u32,
    /// Records a second.
    pub per_s: u64,
    /// Records altogether.
    pub records: u64,
    /// When the first record is due, in microseconds since 1970.
    pub start_us: u64,
}

impl Pace {
    /// When a record is due, in microseconds since 1970.
    pub fn due_us(&self, index: u64) -> u64 {
        self.start_us + index * 1_000_000 / self.per_s
    }

    /// The device that sends a record.
    pub fn device(&self, index: u64) -> u32 {
        (index % u64::from(self.devices)) as u32
    }

    /// The record itself: its first metric is its number, its event time is when it is due.
    fn telemetry(&self, index: u64) -> Telemetry {
        let mut values = [0.0; METRICS.len()];
        values[0] = index as f64;
        Telemetry {
            device: self.device(index),
            ts_ms: (self.due_us(index) / 1_000) as i64,
            late: false,
            values,
            raw: [0; 24],
        }
    }
}

/// Where a record went; its display and its parsing are one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The number of the record.
    pub index: u64,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.index, self.partition, self.offset)
    }
}

impl FromStr for Sample {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let what = || format!("not a sample: {line}");
        let mut words = line.split_ascii_whitespace();
        let mut word = || words.next().with_context(what);
        let (index, partition, offset) = (word()?, word()?, word()?);
        Ok(Self {
            index: index.parse().with_context(what)?,
            partition: partition.parse().with_context(what)?,
            offset: offset.parse().with_context(what)?,
        })
    }
}

/// Takes the broker's word of where records went.
#[derive(Default)]
struct Ledger {
    samples: Mutex<Vec<Sample>>,
    refused: Mutex<Option<KafkaError>>,
}

impl ClientContext for Ledger {}

impl ProducerContext for Ledger {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        match result {
            Ok(message) if (index as u64).is_multiple_of(SAMPLE_EVERY) => {
                let sample = Sample {
                    index: index as u64,
                    partition: message.partition() as u32,
                    offset: message.offset(),
                };
                self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            }
            Ok(_) => {}
            Err((error, _)) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
            }
        }
    }
}

/// Appends all records, each as soon as it is due, and gives the sample.
///
/// # Errors
/// When a record is refused or the broker does not acknowledge the last ones.
pub fn produce(pace: &Pace) -> Result<Vec<Sample>> {
    let producer: BaseProducer<Ledger> = ClientConfig::new()
        .set("bootstrap.servers", &pace.brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "zstd")
        .set("linger.ms", LINGER_MS)
        .create_with_context(Ledger::default())?;
    let (mut record, mut next) = (Record::default(), 0);
    while next < pace.records {
        let now_us = now_us();
        while next < pace.records && pace.due_us(next) <= now_us {
            record.fill(&pace.telemetry(next), pace.partitions);
            send(&producer, &pace.topic, &record, next)?;
            next += 1;
        }
        producer.poll(Duration::ZERO);
        std::thread::sleep(PAUSE);
    }
    producer
        .flush(FLUSH_TIMEOUT)
        .with_context(|| format!("topic {} is not fully written", pace.topic))?;
    let ledger = producer.context();
    if let Some(error) = ledger.refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
        bail!("topic {} refused a record: {error}", pace.topic);
    }
    let samples = std::mem::take(&mut *ledger.samples.lock().unwrap_or_else(PoisonError::into_inner));
    ensure!(
        samples.len() as u64 == pace.records.div_ceil(SAMPLE_EVERY),
        "the broker acknowledged only {} of the sample",
        samples.len()
    );
    Ok(samples)
}

fn send(producer: &BaseProducer<Ledger>, topic: &str, record: &Record, index: u64) -> Result<()> {
    let mut unsent = BaseRecord::with_opaque_to(topic, index as usize)
        .partition(record.partition as i32)
        .key(&record.key)
        .payload(&record.value);
    loop {
        unsent = match producer.send(unsent) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => back,
            Err((error, _)) => bail!("cannot send to topic {topic}: {error}"),
        };
        producer.poll(PAUSE);
    }
}

/// The wall clock in microseconds since 1970.
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_line() {
        let sample = Sample {
            index: 16,
            partition: 3,
            offset: 7,
        };
        assert_eq!(sample.to_string().parse::<Sample>().unwrap(), sample);
        assert!("16 3".parse::<Sample>().is_err());
    }

    #[test]
    fn records_are_due_evenly() {
        let pace = Pace {
            brokers: String::new(),
            topic: String::new(),
            partitions: 1,
            devices: 10,
            per_s: 50_000,
            records: 100,
            start_us: 1_000_000,
        };
        assert_eq!((pace.due_us(0), pace.due_us(50_000)), (1_000_000, 2_000_000));
        assert_eq!((pace.device(3), pace.device(23)), (3, 3));
        assert_eq!(pace.telemetry(50_000).ts_ms, 2_000);
    }
}
