//! Rows into PostgreSQL: through the sink, and by one COPY that has the same rows encoded in memory.

use super::turns::{self, Turn};
use super::{deliver, own_name, rows, workload};
use ::postgres::{Client, NoTls};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::time::Instant;
use tidewatch_proto::row::{Delivery, Row};
use tidewatch_sinks::Sink;
use tidewatch_sinks::parts::Parts;
use tidewatch_sinks::postgres::{PostgresConfig, PostgresSettings, PostgresSink};

/// How much of what is encoded is handed to the client at once.
const PIECE_BYTES: usize = 64 << 10;
const TABLE: &str = "aggregates_minute";

/// Runs the sink and COPY in turn into schemas of their own, and gives the table.
///
/// # Errors
/// When the database can't be used, or a table doesn't hold what was delivered.
pub fn compare(url: &str, rounds: usize, deliveries: &[Delivery<Row>]) -> Result<String> {
    let (corrections, count) = (workload::corrections(deliveries), rows(deliveries));
    let server = Server {
        url: url.to_owned(),
        schema: own_name("pg"),
    };
    let (text, binary) = server.encoded(deliveries)?;
    let mut contestants = [
        Turn {
            name: "PostgreSQL sink, new rows".into(),
            is_reference: false,
            run: Box::new(|| server.fresh()?.through_sink(deliveries, count)),
        },
        Turn {
            name: "COPY, text".into(),
            is_reference: true,
            run: Box::new(|| server.fresh()?.copy("text", &text, count)),
        },
        Turn {
            name: "COPY, binary".into(),
            is_reference: true,
            run: Box::new(|| server.fresh()?.copy("binary", &binary, count)),
        },
        Turn {
            name: "PostgreSQL sink, corrections of all rows".into(),
            is_reference: false,
            run: Box::new(|| {
                let mut tables = server.fresh()?;
                tables.copy("binary", &binary, count)?;
                tables.through_sink(&corrections, count)
            }),
        },
    ];
    let entries = turns::in_turn(rounds, &mut contestants)?;
    let head = "## Rows into PostgreSQL\n\nThe reference is the faster of both COPYs, one of all rows into the same \
                empty table.\n\n";
    Ok(head.to_owned() + &turns::table(count, &entries))
}

/// A server, and the schema that is made anew for each run.
struct Server {
    url: String,
    schema: String,
}

/// Empty tables, dropped at the end.
struct Tables<'a> {
    server: &'a Server,
    client: Client,
}

impl Server {
    fn settings(&self) -> Result<PostgresSettings> {
        let config = PostgresConfig {
            url: self.url.clone(),
            schema: self.schema.clone(),
            ..PostgresConfig::default()
        };
        Ok(config.resolve()?)
    }

    /// The tables as the sink makes them, the day's partition too, and nothing in them.
    fn fresh(&self) -> Result<Tables<'_>> {
        let mut tables = Tables {
            client: Client::connect(&self.url, NoTls)?,
            server: self,
        };
        tables.clear();
        let mut sink = PostgresSink::new(self.settings()?, Parts::all());
        sink.deliver(&workload::first_rows(1, 1)[0])?;
        tables
            .client
            .batch_execute(&format!("SET search_path = {}; TRUNCATE {TABLE}", self.schema))?;
        // What earlier runs left to write is none of this one's; only some users may ask for it.
        let _ = tables.client.batch_execute("CHECKPOINT");
        Ok(tables)
    }

    /// The rows as COPY takes them, in the order of the deliveries and of the key: as text and as binary.
    fn encoded(&self, deliveries: &[Delivery<Row>]) -> Result<(Vec<u8>, Vec<u8>)> {
        let mut tables = self.fresh()?;
        tables.through_sink(deliveries, rows(deliveries))?;
        Ok((tables.read("text")?, tables.read("binary")?))
    }
}

impl Tables<'_> {
    /// Seconds that the sink takes for all deliveries, after which the table holds so many rows.
    fn through_sink(&mut self, deliveries: &[Delivery<Row>], expected: usize) -> Result<f64> {
        let mut sink = PostgresSink::new(self.server.settings()?, Parts::all());
        sink.check()?;
        let begun = Instant::now();
        deliver(&mut sink, deliveries)?;
        let seconds = begun.elapsed().as_secs_f64();
        let last = deliveries.last().context("nothing to deliver")?.through.0 as i64;
        let first = deliveries[0].through.0 as i64;
        let found = format!("SELECT count(*) FROM {TABLE} WHERE as_of BETWEEN $1 AND $2");
        let found: i64 = self.client.query_one(&found, &[&first, &last])?.get(0);
        ensure!(found == expected as i64, "the sink wrote {found} rows, not {expected}");
        Ok(seconds)
    }

    /// Seconds of one COPY.
    fn copy(&mut self, format: &str, encoded: &[u8], expected: usize) -> Result<f64> {
        let sql = format!("COPY {TABLE} FROM STDIN (FORMAT {format})");
        let begun = Instant::now();
        let mut writer = self.client.copy_in(&sql)?;
        for piece in encoded.chunks(PIECE_BYTES) {
            writer.write_all(piece)?;
        }
        let written = writer.finish()?;
        let seconds = begun.elapsed().as_secs_f64();
        ensure!(written == expected as u64, "COPY wrote {written} rows, not {expected}");
        Ok(seconds)
    }

    fn read(&mut self, format: &str) -> Result<Vec<u8>> {
        let rows = format!("SELECT * FROM {TABLE} ORDER BY as_of, device_id, metric");
        let mut encoded = Vec::new();
        let mut reader = self
            .client
            .copy_out(&format!("COPY ({rows}) TO STDOUT (FORMAT {format})"))?;
        reader.read_to_end(&mut encoded)?;
        Ok(encoded)
    }

    fn clear(&mut self) {
        let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.server.schema);
        if let Err(error) = self.client.batch_execute(&drop) {
            eprintln!("{drop}: {error}");
        }
    }
}

impl Drop for Tables<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}
