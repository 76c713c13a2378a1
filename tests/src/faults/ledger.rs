//! What the topic held: every record, written down by a reader of the harness' own before the topic is cut behind it.

use super::workload::PARTITIONS;
use crate::sinks::unique;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedHeaders, Headers, Message};
use rdkafka::{ClientConfig, Offset as At, TopicPartitionList};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tidewatch_proto::wire::Telemetry;

/// A reader that follows a topic into a file: partition, offset, log time, device, event time, metrics and headers, by
/// tabs. A record that is no telemetry has no device.
pub struct Ledger {
    next: Arc<[AtomicI64; PARTITIONS]>,
    stop: Arc<AtomicBool>,
    reading: JoinHandle<std::io::Result<()>>,
}

impl Ledger {
    /// Follows a topic into a file.
    ///
    /// # Panics
    /// When the topic can't be read or the file can't be made.
    pub fn follow(brokers: &str, topic: &str, file: &Path) -> Ledger {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", unique("ledger"))
            .set("enable.auto.commit", "false")
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS as i32 {
            list.add_partition_offset(topic, partition, At::Offset(0))
                .expect("an offset");
        }
        consumer.assign(&list).expect("assigned");
        let next: Arc<[AtomicI64; PARTITIONS]> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut out = BufWriter::new(File::create(file).expect("a file"));
        let (read, stopped) = (next.clone(), stop.clone());
        let reading = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                // What fails comes again.
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else {
                    continue;
                };
                let (partition, offset) = (message.partition(), message.offset());
                let log_ms = message.timestamp().to_millis().unwrap_or(i64::MIN);
                write!(out, "{partition}\t{offset}\t{log_ms}\t")?;
                write!(out, "{}\t", fields(message.payload().unwrap_or_default()))?;
                let headers = message.headers().into_iter().flat_map(BorrowedHeaders::iter);
                writeln!(
                    out,
                    "{}",
                    shown(headers.map(|header| (header.key.as_bytes(), header.value)))
                )?;
                read[partition as usize].store(offset + 1, Ordering::SeqCst);
            }
            out.flush()
        });
        Ledger { next, stop, reading }
    }

    /// Whether all before an offset of a partition is written down.
    pub fn has(&self, partition: usize, offset: i64) -> bool {
        self.next[partition].load(Ordering::SeqCst) >= offset
    }

    /// Ends the reading.
    ///
    /// # Panics
    /// When the file could not be written.
    pub fn close(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.reading.join().expect("it ends").expect("written");
    }
}

/// Headers as `key=value`, the value in hexadecimal.
pub(super) fn shown<'h>(headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)>) -> String {
    let hex = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let one = headers.map(|(key, value)| {
        let value = value.map_or_else(|| "null".to_owned(), hex);
        format!("{}={value}", String::from_utf8_lossy(key))
    });
    one.collect::<Vec<_>>().join(";")
}

/// Device, event time and metrics, by the library that others decode with.
pub(super) fn fields(payload: &[u8]) -> String {
    let Ok(message) = <Telemetry as prost::Message>::decode(payload) else {
        return "\t0\t".to_owned();
    };
    let mut metrics: Vec<String> = message
        .metrics
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    metrics.sort();
    format!("{}\t{}\t{}", message.device_id, message.ts, metrics.join(";"))
}
