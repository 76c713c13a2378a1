//! A stream into a log in memory.

use super::generate::Telemetry;
use super::outputs::Output;
use super::record::Record;
use super::spec::Spec;
use anyhow::Result;
use tidewatch_proto::ids::Offset;
use tidewatch_sources::memory::MemoryRecord;

/// The partitions of a log, to be filled.
pub struct MemoryOutput<'a> {
    spec: Spec,
    partitions: &'a mut Vec<Vec<MemoryRecord>>,
}

impl<'a> MemoryOutput<'a> {
    /// Writes to `partitions`, which it makes.
    pub fn new(spec: Spec, partitions: &'a mut Vec<Vec<MemoryRecord>>) -> Self {
        partitions.resize(spec.partitions as usize, Vec::new());
        Self { spec, partitions }
    }

    fn append(&mut self, record: &Record) {
        let partition = &mut self.partitions[record.partition as usize];
        partition.push(MemoryRecord {
            offset: Offset(partition.len() as i64),
            log_time: None,
            key: Some(record.key.clone()),
            payload: record.value.clone(),
            headers: Vec::new(),
        });
    }
}

impl Output for MemoryOutput<'_> {
    fn write(&mut self, _telemetry: &Telemetry, record: &Record) -> Result<()> {
        self.append(record);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        for partition in 0..self.spec.partitions {
            self.append(&Record::flush(&self.spec, partition));
        }
        Ok(())
    }
}
