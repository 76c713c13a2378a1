//! `Metadata`: where the brokers are, and which one leads each partition.

use super::{Api, Garbled, Input, Output};

pub(in super::super) const API: Api = Api {
    name: "Metadata",
    key: 3,
    version: 7,
    flexible: false,
};

/// What a broker, a topic, a partition and a replica take at least.
const BROKER_BYTES_MIN: usize = 12;
const TOPIC_BYTES_MIN: usize = 9;
const PARTITION_BYTES_MIN: usize = 26;
const REPLICA_BYTES: usize = 4;

/// A cluster as one of its brokers sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Metadata {
    /// The number and the address of each broker.
    pub(in super::super) brokers: Vec<(i32, String)>,
    /// What is wrong with the topic; 0 for nothing.
    pub(in super::super) code: i16,
    pub(in super::super) partitions: Vec<Leader>,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Leader {
    pub(in super::super) partition: i32,
    /// The broker's number, negative when there is none.
    pub(in super::super) broker: i32,
    /// Which of its leaders this is, counted.
    pub(in super::super) epoch: i32,
}

pub(in super::super) fn request(correlation: i32, topic: &str) -> Vec<u8> {
    const CREATE: i8 = 0;
    Output::new(API, correlation).count(1).text(topic).i8(CREATE).finish()
}

/// Reads an answer about one topic.
pub(in super::super) fn read(mut input: Input<'_>) -> Result<Metadata, Garbled> {
    let _throttle_ms = input.i32()?;
    let mut metadata = Metadata::default();
    for _ in 0..input.count(BROKER_BYTES_MIN)? {
        let (id, host, port, _rack) = (input.i32()?, input.text()?, input.i32()?, input.text()?);
        metadata.brokers.push((id, format!("{}:{port}", host.ok_or(Garbled)?)));
    }
    let (_cluster, _controller) = (input.text()?, input.i32()?);
    for _ in 0..input.count(TOPIC_BYTES_MIN)? {
        metadata.code = input.i16()?;
        let (_name, _is_internal) = (input.text()?, input.i8()?);
        for _ in 0..input.count(PARTITION_BYTES_MIN)? {
            let (_code, partition, broker, epoch) = (input.i16()?, input.i32()?, input.i32()?, input.i32()?);
            metadata.partitions.push(Leader {
                partition,
                broker,
                epoch,
            });
            // Replicas, those in sync, and those offline.
            for _ in 0..3 {
                let replicas = input.count(REPLICA_BYTES)?;
                input.bytes(replicas * REPLICA_BYTES)?;
            }
        }
    }
    Ok(metadata)
}
