//! A log of a stream whose records are made as they are read.

use crate::measure::Usage;
use crate::w1::generate::{BASE_MS, Telemetry};
use crate::w1::record::Record;
use crate::w1::spec::Spec;
use anyhow::Result;
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::source::{self, Assignment, Intake, Polled, Source, SourceError, SourceFactory};
use tidewatch_proto::time::LogTime;

/// Opens readers of a stream, each of all partitions.
pub(super) struct StreamFactory {
    spec: Spec,
    names: Vec<String>,
}

impl StreamFactory {
    pub(super) fn new(spec: Spec) -> StreamFactory {
        let names = (0..spec.partitions).map(|index| format!("w1/{index}")).collect();
        StreamFactory { spec, names }
    }

    pub(super) fn name(&self) -> &str {
        "w1"
    }

    /// CPU seconds of making the records.
    pub(super) fn making_s(&self) -> Result<f64> {
        let before = Usage::now()?;
        let mut source = self.source();
        while source.poll(&mut Nobody, 8_192)? != Polled::Finished {}
        Ok(Usage::now()?.since(before).thread_s)
    }

    fn source(&self) -> StreamSource {
        StreamSource {
            spec: self.spec,
            next: 0,
            offsets: vec![0; self.names.len()],
            lanes: vec![Lane::default(); self.names.len()],
        }
    }
}

impl SourceFactory for StreamFactory {
    fn partitions(&self) -> &[String] {
        &self.names
    }

    fn open(&self, _: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(self.source()))
    }
}

/// Records of a partition that are about to be handed over: log time, where the key and the payload end.
#[derive(Clone, Default)]
struct Lane {
    bytes: Vec<u8>,
    records: Vec<(i64, usize, usize)>,
}

struct StreamSource {
    spec: Spec,
    next: u64,
    offsets: Vec<i64>,
    lanes: Vec<Lane>,
}

impl StreamSource {
    fn make(&mut self, records_max: usize) {
        let mut record = Record::default();
        let end = (self.next + records_max as u64).min(self.spec.messages);
        for index in self.next..end {
            record.fill(&Telemetry::at(&self.spec, index), self.spec.partitions);
            let progress = index as f64 / self.spec.messages as f64;
            let lane = &mut self.lanes[record.partition as usize];
            lane.bytes.extend_from_slice(&record.key);
            let key = lane.bytes.len();
            lane.bytes.extend_from_slice(&record.value);
            let log_ms = BASE_MS + (progress * self.spec.span_ms as f64) as i64;
            lane.records.push((log_ms, key, lane.bytes.len()));
        }
        self.next = end;
    }
}

impl Source for StreamSource {
    fn poll(&mut self, intake: &mut dyn Intake, records_max: usize) -> Result<Polled, SourceError> {
        if self.next == self.spec.messages {
            return Ok(Polled::Finished);
        }
        self.make(records_max);
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let mut start = 0;
            let mut records = Vec::with_capacity(lane.records.len());
            for (log_ms, key, end) in &lane.records {
                records.push(source::Record {
                    offset: Offset(self.offsets[index]),
                    log_time: Some(LogTime(*log_ms)),
                    key: Some(&lane.bytes[start..*key]),
                    payload: &lane.bytes[*key..*end],
                    headers: Headers::NONE,
                });
                self.offsets[index] += 1;
                start = *end;
            }
            intake.records(Partition(index as u32), &records);
            drop(records);
            lane.bytes.clear();
            lane.records.clear();
        }
        Ok(Polled::Some)
    }
}

/// Takes records and does nothing.
struct Nobody;

impl Intake for Nobody {
    fn records(&mut self, _: Partition, _: &[source::Record<'_>]) {}

    fn unusable(&mut self, _: Partition, _: source::Record<'_>, _: Reason, _: String) {}

    fn lag(&mut self, _: Partition, _: u64) {}
}
