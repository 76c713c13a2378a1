//! The native reader without Kafka: batches written by another implementation, damaged ones, and a broker of the tests'.

mod batches;
mod broker;
mod reading;

use super::aborted::Aborted;
use super::batch::Damage;
use super::piece::{OpenPiece, Step};
use super::queue::{Piece, Queue};
use super::unpack::Unpacker;
use crate::conformance::Seen;
use flate2::write::GzEncoder;
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use lz4_flex::frame::FrameEncoder;
use mio::{Poll, Token, Waker};
use prost::bytes::{Bytes, BytesMut};
use std::io::Write;
use std::sync::Arc;
use tidewatch_proto::ids::Offset;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// A record of nobody's transaction; those of a batch have offsets that grow.
fn record(offset: i64, key: Option<&str>, value: Option<&str>) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: offset as i32,
        timestamp: 1_000 + offset,
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        headers: [("device-id".into(), Some(Bytes::from_static(b"dev-1")))]
            .into_iter()
            .collect(),
    }
}

/// What is to be handed over for a record.
fn seen(record: &Record) -> Seen {
    Seen {
        offset: Offset(record.offset),
        log_time: Some(tidewatch_proto::time::LogTime(record.timestamp)),
        key: record.key.as_ref().map(|key| key.to_vec()),
        payload: record.value.as_ref().map(|value| value.to_vec()).unwrap_or_default(),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| (key.as_bytes().to_vec(), value.as_ref().map(|value| value.to_vec())))
            .collect(),
        unusable: None,
    }
}

/// Writes records as batches.
fn batch(records: &[Record], compression: Compression) -> Vec<u8> {
    let options = RecordEncodeOptions {
        version: 2,
        compression,
    };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode_with_custom_compression(
        &mut out,
        records,
        &options,
        Some(|plain: &mut BytesMut, out: &mut BytesMut, compression| {
            out.extend_from_slice(&compress(plain, compression));
            Ok(())
        }),
    )
    .unwrap();
    out.to_vec()
}

fn compress(plain: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => plain.to_vec(),
        Compression::Gzip => {
            let mut writer = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(plain).unwrap();
            writer.finish().unwrap()
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
        Compression::Lz4 => {
            let mut writer = FrameEncoder::new(Vec::new());
            writer.write_all(plain).unwrap();
            writer.finish().unwrap()
        }
        Compression::Zstd => {
            let mut packed = vec![0; zstd_safe::compress_bound(plain.len())];
            let len = zstd_safe::compress(&mut packed[..], plain, 3).unwrap();
            packed.truncate(len);
            packed
        }
    }
}

/// Reads batches from an offset on, a few records at a time.
fn read(bytes: &[u8], from: i64, aborted: &[(i64, i64)], check_crcs: bool) -> Result<Vec<Seen>, Damage> {
    let poll = Poll::new().unwrap();
    let queue = Arc::new(Queue::new(1 << 20, Waker::new(poll.registry(), Token(0)).unwrap()));
    let mut open = OpenPiece::new(Piece {
        place: 0,
        frame: queue.frame(bytes.to_vec()),
        batches: 0..bytes.len(),
        aborted: Aborted::new(aborted),
        from,
        next: 0,
        high_watermark: 0,
        ended: true,
    });
    let mut unpacker = Unpacker::new().unwrap();
    let mut all = Vec::new();
    loop {
        let mut some = Vec::new();
        let step = open.step(&mut unpacker, check_crcs, Offset(from), 3, &mut some);
        all.extend(some.into_iter().map(Seen::from));
        if step? == Step::Done {
            return Ok(all);
        }
    }
}
