//! Rows into the embedded store: through the sink, and by bare SQLite with as many bytes a row in one table.

use super::turns::{self, Turn};
use super::{deliver, own_name, rows, workload};
use crate::measure::Usage;
use crate::w1::report::Spread;
use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, params};
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tidewatch_proto::row::{Delivery, Row};
use tidewatch_sinks::parts::Parts;
use tidewatch_sinks::sqlite::{Sqlite, SqliteConfig};

/// Bytes of a row without the sink: its thirteen numbers as they are in memory.
const ROW_BYTES: usize = 13 * 8;
const DAY_S: u64 = 86_400;

/// Runs the sink and bare SQLite in turn into folders of their own, and gives the table.
///
/// # Errors
/// When the disk can't be written, or a store doesn't hold what was delivered.
pub fn compare(rounds: usize, deliveries: &[Delivery<Row>]) -> Result<String> {
    let (corrections, count) = (workload::corrections(deliveries), rows(deliveries));
    let cpu_s = RefCell::new([Vec::new(), Vec::new()]);
    let mut contestants = [
        Turn {
            name: "embedded sink, new rows".into(),
            is_reference: false,
            run: Box::new(|| {
                let folder = Folder::new();
                let (seconds, cpu) = through_sink(&folder.open()?, deliveries, count)?;
                cpu_s.borrow_mut()[0].push(cpu);
                Ok(seconds)
            }),
        },
        Turn {
            name: format!("bare SQLite, {ROW_BYTES} bytes a row"),
            is_reference: true,
            run: Box::new(|| bare(&Folder::new(), deliveries, count)),
        },
        Turn {
            name: "embedded sink, corrections of all rows".into(),
            is_reference: false,
            run: Box::new(|| {
                let folder = Folder::new();
                let store = folder.open()?;
                through_sink(&store, deliveries, count)?;
                let (seconds, cpu) = through_sink(&store, &corrections, count)?;
                cpu_s.borrow_mut()[1].push(cpu);
                Ok(seconds)
            }),
        },
    ];
    let entries = turns::in_turn(rounds, &mut contestants)?;
    drop(contestants);
    let [new, corrected] = cpu_s.into_inner();
    let a_core = |cpu: Vec<f64>| Spread::of(cpu.into_iter().map(|cpu| count as f64 / cpu / 1e3)).context("no rounds");
    let (new, corrected) = (a_core(new)?, a_core(corrected)?);
    let head = "## Rows into the embedded store\n\nEach delivery is a transaction that is synced. The reference puts a key and as \
                many bytes as the numbers of a row into one table, in the order of the key, with the same settings of SQLite's; it \
                knows no names, revisions, periods or retention.\n\n";
    let tail = format!("\nA core takes {new:.0} k new rows a second, {corrected:.0} k corrections.\n");
    Ok(head.to_owned() + &turns::table(count, &entries) + &tail)
}

/// A folder that is removed.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(own_name("embedded")))
    }

    fn open(&self) -> Result<Sqlite> {
        let config = SqliteConfig {
            folder: Some(self.0.clone()),
            // The rows are of a day long ago; nothing of them is to leave.
            minute_retention: tidewatch_settings::Span::from_secs(36_500 * DAY_S),
            ..SqliteConfig::default()
        };
        Ok(Sqlite::open(config.resolve(&self.0)?, Arc::new(|_: &str| {}))?)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It may not have been made.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Seconds that the sink takes for all deliveries, and CPU seconds; after it the store holds all of them.
fn through_sink(store: &Sqlite, deliveries: &[Delivery<Row>], expected: usize) -> Result<(f64, f64)> {
    let mut sink = store.sink(Parts::all());
    let (begun, before) = (Instant::now(), Usage::now()?);
    deliver(&mut sink, deliveries)?;
    let (seconds, used) = (begun.elapsed().as_secs_f64(), Usage::now()?.since(before));
    // Rows are fresh or packed, so their number is asked for by series.
    let last = &deliveries.last().context("nothing to deliver")?.items;
    let each = expected / last.len().max(1);
    for row in last.iter().step_by((last.len() / 50).max(1)) {
        let found = held(store, row)?;
        ensure!(
            found == each,
            "the store holds {found} rows of {} {}, not {each}",
            row.key,
            row.metric
        );
    }
    Ok((seconds, used.thread_s))
}

/// How many rows the store has of a row's series, from that row's revision or its first version on.
fn held(store: &Sqlite, row: &Row) -> Result<usize> {
    use tidewatch_proto::query::{Order, SeriesQuery};
    use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN};
    use tidewatch_sinks::hot::HotStore;
    let rows = store.reader().series(&SeriesQuery {
        job: row.job,
        key: row.key.clone(),
        metric: row.metric.clone(),
        from: EVENT_TIME_MIN,
        to: EVENT_TIME_MAX,
        limit: workload::MINUTES_MAX as usize,
        order: Order::OldestFirst,
    })?;
    Ok(rows.iter().filter(|found| found.status == row.status).count())
}

/// Seconds of bare SQLite for as many rows.
fn bare(folder: &Folder, deliveries: &[Delivery<Row>], expected: usize) -> Result<f64> {
    std::fs::create_dir_all(&folder.0)?;
    let connection = Connection::open(folder.0.join("bare.sqlite"))?;
    connection.pragma_update(None, "page_size", 8 << 10)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.query_row("PRAGMA wal_autocheckpoint = 4096", [], |_| Ok(()))?;
    connection.execute_batch("CREATE TABLE rows (id INTEGER PRIMARY KEY, row BLOB NOT NULL)")?;
    let begun = Instant::now();
    let mut id = 0_i64;
    for delivery in deliveries {
        let transaction = connection.unchecked_transaction()?;
        let mut insert = transaction.prepare_cached("INSERT INTO rows (id, row) VALUES (?1, ?2)")?;
        for row in &delivery.items {
            id += 1;
            let mut bytes = [0_u8; ROW_BYTES];
            for (place, into) in bytes.chunks_exact_mut(8).enumerate() {
                into.copy_from_slice(&(row.values.sum * (place + 1) as f64).to_le_bytes());
            }
            insert.execute(params![id, &bytes[..]])?;
        }
        drop(insert);
        transaction.commit()?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let found: i64 = connection.query_row("SELECT count(*) FROM rows", [], |row| row.get(0))?;
    ensure!(found == expected as i64, "{found} rows, not {expected}");
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_and_every_correction_is_there() {
        let text = compare(1, &workload::first_rows(20, 3)).unwrap();
        assert!(
            text.contains("| embedded sink, new rows | ") && text.contains("A core takes"),
            "{text}"
        );
    }
}
