//! Reads the batches of a piece one by one: checks, leaves out, decompresses, and takes records off them.

use super::batch::{Damage, HEAD_BYTES, Head, is_intact};
use super::queue::Piece;
use super::unpack::Unpacker;
use super::walk::Walk;
use tidewatch_proto::ids::Offset;
use tidewatch_proto::source::Record;

/// A piece that is being read.
pub(super) struct OpenPiece {
    pub(super) piece: Piece,
    /// Where its next batch begins.
    at: usize,
    batch: Option<OpenBatch>,
}

/// A batch that is being walked; it is decompressed.
struct OpenBatch {
    head: Head,
    /// Where in the answer it begins.
    start: usize,
    walk: Walk,
}

/// How far a step led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The piece may have more.
    On,
    /// Nothing is left of the piece.
    Done,
}

impl OpenPiece {
    pub(super) fn new(piece: Piece) -> OpenPiece {
        OpenPiece {
            at: piece.batches.start,
            piece,
            batch: None,
        }
    }

    /// Takes records from `from` on, `most` at most and of one batch; of a batch that is left out, none.
    ///
    /// # Errors
    /// When the batch can't be read.
    pub(super) fn step<'b>(
        &'b mut self,
        unpacker: &'b mut Unpacker,
        check_crcs: bool,
        from: Offset,
        most: usize,
        out: &mut Vec<Record<'b>>,
    ) -> Result<Step, Damage> {
        if self.batch.is_none() {
            if self.at >= self.piece.batches.end {
                return Ok(Step::Done);
            }
            self.open_batch(unpacker, check_crcs)?;
        }
        let Some(open) = &mut self.batch else {
            return Ok(Step::On);
        };
        let batch = &self.piece.frame.bytes[open.start..open.start + open.head.len];
        let taken = open.walk.take(unpacker.records(&open.head, batch), from, most, out);
        if open.walk.is_done() {
            self.batch = None;
        }
        taken.map(|()| Step::On)
    }

    /// Opens the next batch, unless it holds nothing to hand over.
    fn open_batch(&mut self, unpacker: &mut Unpacker, check_crcs: bool) -> Result<(), Damage> {
        let (start, rest) = (self.at, &self.piece.frame.bytes[self.at..self.piece.batches.end]);
        let head = Head::read(rest)?.ok_or(Damage::Shape)?;
        let batch = &rest[..head.len];
        self.at += head.len;
        if check_crcs && !is_intact(batch) {
            return Err(Damage::Checksum);
        }
        if self.piece.aborted.covers(&head) && !head.is_control() {
            return Ok(());
        }
        if head.count == 0 {
            // Compaction keeps the head of a batch that has lost all of its records.
            return match head.len == HEAD_BYTES {
                true => Ok(()),
                false => Err(Damage::Shape),
            };
        }
        unpacker.unpack(&head, batch)?;
        let mut walk = Walk::new(&head);
        if head.is_control() {
            let mut marks = Vec::new();
            walk.take(unpacker.records(&head, batch), Offset(0), usize::MAX, &mut marks)?;
            for mark in marks {
                self.piece.aborted.mark(head.producer, mark.key);
            }
            return Ok(());
        }
        self.batch = Some(OpenBatch { head, start, walk });
        Ok(())
    }
}
