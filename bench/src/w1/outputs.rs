//! What a stream is written to: the trait, the two kinds of file, and the loop that feeds all of them.

use super::generate::{LateCheck, Telemetry, stream};
use super::record::{Record, put_varint};
use super::spec::Spec;
use anyhow::{Context, Result};
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Bytes of a file's write buffer.
const BUFFER_BYTES: usize = 1 << 20;

/// A place that a stream is written to. Messages come in the order of the stream, `finish` exactly once after them.
pub trait Output {
    /// Takes one message, in both its forms.
    fn write(&mut self, telemetry: &Telemetry, record: &Record) -> Result<()>;

    /// Returns when everything taken is safely where it belongs.
    fn finish(&mut self) -> Result<()>;
}

/// Protobuf values, each after its length as a varint.
pub struct DelimitedOutput<W: Write> {
    out: W,
    length: Vec<u8>,
}

impl<W: Write> DelimitedOutput<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            length: Vec::new(),
        }
    }
}

impl<W: Write> Output for DelimitedOutput<W> {
    fn write(&mut self, _telemetry: &Telemetry, record: &Record) -> Result<()> {
        self.length.clear();
        put_varint(&mut self.length, record.value.len() as u64);
        self.out.write_all(&self.length)?;
        self.out.write_all(&record.value)?;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

/// Rows of 48 bytes, little endian: device u32, partition u16, late u16, event time in ms i64, the four values f64.
pub struct ColumnsOutput<W: Write> {
    out: W,
}

impl<W: Write> ColumnsOutput<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Output for ColumnsOutput<W> {
    fn write(&mut self, telemetry: &Telemetry, record: &Record) -> Result<()> {
        let mut row = [0; 48];
        row[0..4].copy_from_slice(&telemetry.device.to_le_bytes());
        row[4..6].copy_from_slice(&(record.partition as u16).to_le_bytes());
        row[6..8].copy_from_slice(&u16::from(telemetry.late).to_le_bytes());
        row[8..16].copy_from_slice(&telemetry.ts_ms.to_le_bytes());
        for (column, value) in row[16..].chunks_exact_mut(8).zip(telemetry.values) {
            column.copy_from_slice(&value.to_le_bytes());
        }
        Ok(self.out.write_all(&row)?)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

/// Creates a file to write a stream to.
pub fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(BufWriter::with_capacity(BUFFER_BYTES, file))
}

/// What was generated.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Messages, flush messages not counted.
    pub messages: u64,
    /// How many of them are late.
    pub late: u64,
    /// Bytes of all protobuf values.
    pub value_bytes: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            late,
            value_bytes,
        } = self;
        let each = *value_bytes as f64 / (*messages).max(1) as f64;
        write!(
            f,
            "messages {messages} late {late} value bytes {value_bytes} ({each:.1} each)"
        )
    }
}

/// Generates a whole stream into all outputs; an error when its lateness is not what the oracle assumes.
pub fn generate(spec: Spec, outputs: &mut [Box<dyn Output + '_>]) -> Result<Summary> {
    let mut check = LateCheck::new(spec.partitions);
    let mut record = Record::default();
    let mut value_bytes = 0;
    for telemetry in stream(spec) {
        record.fill(&telemetry, spec.partitions);
        check.see(record.partition, &telemetry)?;
        value_bytes += record.value.len() as u64;
        for output in &mut *outputs {
            output.write(&telemetry, &record)?;
        }
    }
    for output in outputs {
        output.finish()?;
    }
    check.finish()?;
    Ok(Summary {
        messages: spec.messages,
        late: check.late,
        value_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: usize = 10_000;

    fn fnv(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    /// The hashes of a stream's first messages as a delimited file and as a column file.
    fn hashes(spec: Spec) -> (u64, u64) {
        let mut delimited = DelimitedOutput::new(Vec::new());
        let mut columns = ColumnsOutput::new(Vec::new());
        let mut record = Record::default();
        for telemetry in stream(spec).take(MESSAGES) {
            record.fill(&telemetry, spec.partitions);
            delimited.write(&telemetry, &record).unwrap();
            columns.write(&telemetry, &record).unwrap();
        }
        (fnv(&delimited.out), fnv(&columns.out))
    }

    /// The constants are those of the files that the first generator, written in Go, made.
    #[test]
    fn the_bytes_of_the_named_streams_never_change() {
        assert_eq!(hashes(Spec::S), (0x76f9_f616_3d6e_cf28, 0x2c0f_b5a8_c6e1_6b73));
        assert_eq!(hashes(Spec::L), (0x8690_afba_5c9b_f45f, 0xf0ca_9fe7_7318_a4ce));
    }
}
