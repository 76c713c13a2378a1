//! Kafka in tests: a whole topic read back, as a consumer of ours would.

use super::postgres::named;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset as At, TopicPartitionList};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Epoch, Name, Offset, Partition};
use tidewatch_proto::query::{DeviceQuery, DeviceSummary, Order, SeriesQuery};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::{Job, Quantiles, Row, Status, Values};
use tidewatch_proto::time::{EventTime, LogTime};
use tidewatch_sinks::SinkError;
use tidewatch_sinks::hot::{HotStore, holds};

/// How long a topic that is read may be silent.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Hands over every message that a topic holds, but for those of transactions that were not committed.
///
/// # Panics
/// When the topic can't be read in time.
pub fn each_message(brokers: &str, topic: &str, mut take: impl FnMut(&BorrowedMessage<'_>)) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "tidewatch-tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("metadata");
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition_offset(topic, partition.id(), At::Beginning)
            .expect("an offset");
    }
    consumer.assign(&list).expect("assigned");
    let mut left = list.count();
    let mut heard = Instant::now();
    while left > 0 {
        assert!(heard.elapsed() < TIMEOUT, "{topic} was not read in time");
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => {
                heard = Instant::now();
                take(&message);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
            Some(Err(error)) => panic!("{topic}: {error}"),
        }
    }
}

/// The text of a header.
pub fn header(message: &BorrowedMessage<'_>, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    found.value.map(|value| String::from_utf8_lossy(value).into_owned())
}

/// The last row of each key of a topic: what the topic held when this was made.
pub struct Topic {
    rows: BTreeMap<(Job, Name, Name, EventTime), Row>,
}

impl Topic {
    /// Reads a topic of rows. Of one key the greatest revision stays.
    pub fn read(brokers: &str, topic: &str) -> Topic {
        let mut rows: BTreeMap<_, Row> = BTreeMap::new();
        each_message(brokers, topic, |message| {
            let row = parse(message.payload_view::<str>().expect("a value").expect("UTF-8"));
            let revision = header(message, "revision").expect("the header `revision`");
            assert_eq!(revision, row.revision.to_string());
            assert!(header(message, "epoch").is_some() && header(message, "generation").is_some());
            let key = (row.job, row.key.clone(), row.metric.clone(), row.window_start);
            let json = serde_json::json!([row.job.as_str(), *row.key, *row.metric, row.window_start.0]);
            assert_eq!(
                message.key(),
                Some(json.to_string().as_bytes()),
                "the message's key is the row's"
            );
            match rows.get(&key) {
                Some(old) if old.revision > row.revision => {}
                _ => drop(rows.insert(key, row)),
            }
        });
        Topic { rows }
    }

    /// All of them.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }
}

impl HotStore for Topic {
    fn series(&self, query: &SeriesQuery) -> Result<Vec<Row>, SinkError> {
        let mut rows: Vec<Row> = self
            .rows
            .values()
            .filter(|row| (row.job, &row.key, &row.metric) == (query.job, &query.key, &query.metric))
            .filter(|row| query.from <= row.window_start && row.window_start < query.to)
            .cloned()
            .collect();
        if query.order == Order::NewestFirst {
            rows.reverse();
        }
        rows.truncate(query.limit);
        Ok(rows)
    }

    fn devices(&self, query: &DeviceQuery) -> Result<Vec<DeviceSummary>, SinkError> {
        let mut devices: BTreeMap<Name, DeviceSummary> = BTreeMap::new();
        for row in self.rows.values().filter(|row| row.job == Job::Minute) {
            let one = devices.entry(row.key.clone()).or_insert_with(|| DeviceSummary {
                device: row.key.clone(),
                metrics: Vec::new(),
                latest: row.window_start,
            });
            if one.metrics.last() != Some(&row.metric) {
                one.metrics.push(row.metric.clone());
            }
            one.latest = one.latest.max(row.window_start);
        }
        let is_asked = |one: &DeviceSummary| {
            let is_after = query.after.as_ref().is_none_or(|after| one.device > *after);
            let is_among = query.among.as_ref().is_none_or(|among| among.contains(&one.device));
            is_after && is_among && holds(&one.device, &query.search)
        };
        Ok(devices.into_values().filter(is_asked).take(query.limit).collect())
    }
}

/// A row from its JSON.
fn parse(text: &str) -> Row {
    let json: Value = serde_json::from_str(text).expect("JSON");
    let whole = |name: &str| json[name].as_i64().unwrap_or_else(|| panic!("{name} in {text}"));
    let count = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("{name} in {text}"));
    let job = Job::ALL
        .into_iter()
        .find(|job| json["job"] == job.as_str())
        .expect("a known job");
    let key = match job {
        Job::SiteMinute => &json["site"],
        Job::FleetMinute => &json["fleet"],
        _ => &json["device_id"],
    };
    let quantiles = [number(text, "p50"), number(text, "p95"), number(text, "p99")];
    let or_nan = |value: Option<f64>| value.unwrap_or(f64::NAN);
    Row {
        job,
        key: key.as_str().expect("a key").into(),
        metric: json["metric"].as_str().expect("a metric").into(),
        window_start: EventTime(whole("window_start")),
        window_end: EventTime(whole("window_end")),
        values: Values {
            count: count("count"),
            invalid_count: count("invalid_count"),
            devices: if job.is_per_series() { 1 } else { count("devices") },
            sum: or_nan(number(text, "sum")),
            min: number(text, "min"),
            max: number(text, "max"),
            first: number(text, "first"),
            last: number(text, "last"),
            mean: number(text, "mean"),
            stddev: number(text, "stddev"),
            quantiles: quantiles.iter().any(Option::is_some).then(|| {
                let [p50, p95, p99] = quantiles.map(or_nan);
                Quantiles { p50, p95, p99 }
            }),
        },
        status: [Status::Live, Status::Final, Status::Corrected]
            .into_iter()
            .find(|status| json["status"] == status.as_str())
            .expect("a known status"),
        revision: Epoch(count("revision")),
    }
}

/// A number of an object, exactly: serde_json reads numbers to the last bit only with a feature that is off.
/// Names come before numbers, so the last place is the field itself.
fn number(text: &str, name: &str) -> Option<f64> {
    let field = format!("\"{name}\":");
    let begin = text.rfind(&field).unwrap_or_else(|| panic!("{name} in {text}")) + field.len();
    let value = text[begin..].split([',', '}']).next().unwrap_or_default();
    (value != "null").then(|| value.parse().expect("a number"))
}

/// Every dead letter of a topic, each (partition, offset) once.
pub fn letters(brokers: &str, topic: &str) -> Vec<Reject> {
    let mut letters = BTreeMap::new();
    each_message(brokers, topic, |message| {
        let text = |name: &str| header(message, name).unwrap_or_else(|| panic!("the header {name}"));
        let partition = Partition(text("__streams.errors.partition").parse().expect("a number"));
        let offset = Offset(text("__streams.errors.offset").parse().expect("a number"));
        assert_eq!(text("__streams.errors.topic"), "raw.events");
        let reject = Reject {
            partition,
            offset,
            log_time: header(message, "log-time").map(|time| LogTime(time.parse().expect("a number"))),
            reason: named(&text("reason")),
            detail: text("__streams.errors.message"),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().unwrap_or_default().to_vec(),
        };
        letters.insert((partition, offset), reject);
    });
    letters.into_values().collect()
}
