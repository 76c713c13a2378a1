//! Rows into a Kafka topic while the engine runs, as the server does it: whole epochs, by a thread of the sink.

use anyhow::{Context, Result, anyhow};
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tidewatch_dataflow::stats::Stats;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::row::{Delivery, Row};
use tidewatch_settings::kafka::KafkaConnection;
use tidewatch_sinks::Sink;
use tidewatch_sinks::fence::Fence;
use tidewatch_sinks::kafka::{KafkaSink, KafkaSinkConfig};

/// The sink's thread, and the rows of epochs that are not complete.
pub(super) struct Output {
    waiting: BTreeMap<Epoch, Vec<RowList>>,
    /// What is delivered, and what it weighed as it waited.
    deliveries: mpsc::Sender<(Delivery<Row>, usize)>,
    sink: JoinHandle<Result<u64>>,
}

/// A sink for a topic that is there, or is created.
pub(super) fn kafka_sink(brokers: &str, topic: &str) -> Result<KafkaSink> {
    let connection = KafkaConnection {
        brokers: brokers.into(),
        ..KafkaConnection::default()
    };
    let config = KafkaSinkConfig {
        topic: topic.into(),
        create_topics: true,
        ..KafkaSinkConfig::default()
    };
    let mut sink = KafkaSink::new(config.resolve(&connection)?, Fence::alone());
    sink.deliver(&Delivery::nothing(Generation(1)))?;
    Ok(sink)
}

impl Output {
    /// Starts the thread of a sink; what is delivered leaves the outbox's gauge.
    pub(super) fn start(mut sink: KafkaSink, stats: Arc<Stats>) -> Result<Output> {
        let (deliveries, inbox) = mpsc::channel::<(Delivery<Row>, usize)>();
        let work = move || {
            let mut rows = 0;
            for (delivery, bytes) in inbox {
                sink.deliver(&delivery)?;
                stats.outbox_bytes.add(-(bytes as i64));
                rows += delivery.items.len() as u64;
            }
            Ok(rows)
        };
        Ok(Output {
            waiting: BTreeMap::new(),
            deliveries,
            sink: std::thread::Builder::new().name("sink-kafka".into()).spawn(work)?,
        })
    }

    /// Keeps rows until their epoch is complete.
    pub(super) fn hold(&mut self, epoch: Epoch, list: RowList) {
        self.waiting.entry(epoch).or_default().push(list);
    }

    /// Hands over the rows of all epochs up to one that every worker has completed.
    pub(super) fn deliver(&mut self, through: Epoch) -> Result<()> {
        let later = self.waiting.split_off(&Epoch(through.0.saturating_add(1)));
        let complete = std::mem::replace(&mut self.waiting, later);
        if complete.is_empty() {
            return Ok(());
        }
        let lists: Vec<RowList> = complete.into_values().flatten().collect();
        let bytes = lists.iter().map(RowList::bytes).sum();
        let delivery = Delivery {
            generation: Generation(1),
            through,
            items: lists.into_iter().flat_map(RowList::into_rows).collect(),
        };
        self.deliveries
            .send((delivery, bytes))
            .ok()
            .context("the sink has ended")
    }

    /// Waits until everything is acknowledged, and gives the number of rows.
    pub(super) fn finish(self) -> Result<u64> {
        drop(self.deliveries);
        self.sink.join().map_err(|_| anyhow!("the sink panicked"))?
    }
}
