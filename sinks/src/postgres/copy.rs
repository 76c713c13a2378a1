//! Rows in COPY's binary format, handed to the server piece by piece while it stores the ones before.

use super::failure::Failure;
use super::stamp::Stamp;
use super::tables::{Table, bigint};
use crate::SinkError;
use postgres::{Statement, Transaction};
use std::io::Write;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::Row;

/// What the format begins with: a signature, no flags, no extension.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// In place of a row's number of columns: the end.
const TAIL: [u8; 2] = (-1_i16).to_be_bytes();
/// In place of a value's length: NULL.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();
/// After so many bytes a piece goes to the server.
const PIECE_BYTES: usize = 64 << 10;

/// Stores rows none of which is there, at most `rows_max` of them in a message; fails when one is.
pub(super) fn copy(
    transaction: &mut Transaction<'_>,
    statement: &Statement,
    table: &Table,
    rows: &[&Row],
    as_of: Epoch,
    rows_max: usize,
) -> Result<(), Failure> {
    let mut writer = transaction.copy_in(statement)?;
    let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
    piece.extend_from_slice(HEAD);
    let mut of_piece = 0;
    for row in rows {
        table.put(&mut Fields { out: &mut piece, as_of }, row)?;
        of_piece += 1;
        if piece.len() >= PIECE_BYTES || of_piece == rows_max {
            writer.write_all(&piece).map_err(failure)?;
            piece.clear();
            of_piece = 0;
        }
    }
    piece.extend_from_slice(&TAIL);
    writer.write_all(&piece).map_err(failure)?;
    writer.finish()?;
    Ok(())
}

/// What the client library wrapped to fit the trait `Write`.
fn failure(error: std::io::Error) -> Failure {
    match error.downcast::<postgres::Error>() {
        Ok(error) => error.into(),
        Err(error) => SinkError::retry("postgres", format!("a COPY broke off: {error}")).into(),
    }
}

/// Where the values of a row are appended, column by column.
pub(super) struct Fields<'a> {
    out: &'a mut Vec<u8>,
    /// The epoch that the rows stood at.
    pub(super) as_of: Epoch,
}

impl Fields<'_> {
    /// Begins a row of so many columns.
    pub(super) fn columns(&mut self, columns: usize) {
        self.out.extend_from_slice(&(columns as i16).to_be_bytes());
    }

    /// A text.
    pub(super) fn text(&mut self, text: &str) -> Result<(), SinkError> {
        let length = i32::try_from(text.len());
        let length = length.map_err(|_| SinkError::stop("postgres", "a name is longer than any text can be"))?;
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// A count or number, called by its column's name when it doesn't fit.
    pub(super) fn number(&mut self, name: &str, value: u64) -> Result<(), SinkError> {
        self.eight_bytes(bigint(name, value)?.to_be_bytes());
        Ok(())
    }

    /// A value, NULL when there is none.
    pub(super) fn float(&mut self, value: Option<f64>) -> Result<(), SinkError> {
        match value {
            Some(value) => self.eight_bytes(value.to_be_bytes()),
            None => self.out.extend_from_slice(&NULL),
        }
        Ok(())
    }

    /// An event time.
    pub(super) fn stamp(&mut self, stamp: Stamp) -> Result<(), SinkError> {
        let micros = stamp.micros();
        let micros = micros.ok_or_else(|| SinkError::stop("postgres", "a window's time does not fit a timestamptz"))?;
        self.eight_bytes(micros.to_be_bytes());
        Ok(())
    }

    fn eight_bytes(&mut self, bytes: [u8; 8]) {
        self.out.extend_from_slice(&8_i32.to_be_bytes());
        self.out.extend_from_slice(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_the_format_of_copy() {
        let mut out = Vec::new();
        let mut fields = Fields {
            out: &mut out,
            as_of: Epoch(1),
        };
        fields.columns(4);
        fields.text("ab").unwrap();
        fields.float(None).unwrap();
        fields.number("count", 258).unwrap();
        fields.stamp(Stamp(946_684_800_001)).unwrap();
        assert!(fields.number("count", u64::MAX).is_err());
        let expected: [&[u8]; 7] = [
            &[0, 4, 0, 0, 0, 2],
            b"ab",
            &[255; 4],
            &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2],
            &[0, 0, 0, 8],
            &[0; 6],
            &[3, 232],
        ];
        assert_eq!(out, expected.concat());
    }
}
