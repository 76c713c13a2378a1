//! Reads files, or standard input: CSV, JSON lines and length-delimited protobuf.
//!
//! * **Partitions**: each path is one. A file is read to its end and not followed.
//! * **Positions**: a record's offset is the number of its line (of its message, in protobuf), from 0; blank lines and
//!   the header of a CSV file are holes. A reader that starts later skips what lies before. Standard input can be
//!   opened once, and whoever starts again must send it from its beginning.
//! * **Log time**: none, so the event time counts.
//! * **Lines that can't be used** are handed over as unusable, with the number of the line and what is wrong; they
//!   never stop the reading. A record is one line: a quoted CSV field can't hold a line break, so that a stray quote
//!   spoils its own line only. A length in protobuf that can't be right makes the rest of the file one unusable record.

pub mod config;
mod csv;
mod framer;
mod input;
mod json;
mod pace;
mod source;
mod time;

pub use config::{CsvConfig, FileConfig, FileFormat, FileSettings, TimeUnit};
pub use source::FileFactory;

use tidewatch_proto::time::EventTime;

/// Turns frames of one file into messages.
trait Decoder {
    /// Whether the first frame is about the others, and must be seen even when reading starts later.
    fn has_header(&self) -> bool {
        false
    }

    /// Writes the frame's message to `out` (empty before), and returns its event time if it is known;
    /// `Ok(None)` at a frame that holds no message.
    fn decode(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<Option<Decoded>, Problem>;
}

/// A message was written.
struct Decoded {
    /// When the device says that it measured, if the decoder looked.
    ts: Option<EventTime>,
}

/// Why a frame holds no usable message.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    /// This frame is of no use.
    Frame(String),
    /// The file is of no use: it is not what the configuration says.
    File(String),
}
