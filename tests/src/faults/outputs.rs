//! What sinks hold, written down for the oracle: an entry for each.

use crate::sinks::kafka::{each_message, header};
use crate::sinks::postgres::Database;
use rdkafka::message::Message;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use tidewatch_proto::query::LetterQuery;
use tidewatch_sinks::hot::LetterStore;
use tidewatch_sinks::sqlite::{Sqlite, SqliteConfig};

/// The tables of windows, and the job of each.
pub const TABLES: [(&str, &str); 4] = [
    ("minute", "aggregates_minute"),
    ("five_minutes", "aggregates_five_minutes"),
    ("hour", "aggregates_hour"),
    ("day", "aggregates_day"),
];
const COLUMNS: &str = "device_id, metric, (extract(epoch FROM window_start) * 1000)::bigint AS window_start, count, sum, \
                       min, max, first, last, mean, stddev, p50, p95, p99, invalid_count, status, revision";

/// Writes the tables of windows into `postgres-JOB-STAGE.csv`; nothing while there are none.
///
/// # Panics
/// When the database or a file fails.
pub fn postgres(database: &Database, folder: &Path, stage: &str) {
    let mut client = database.client();
    let tables = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'aggregates_minute'";
    if client.query_opt(tables, &[]).expect("a query").is_none() {
        return;
    }
    let mut transaction = client.build_transaction();
    transaction = transaction.isolation_level(postgres::IsolationLevel::RepeatableRead);
    let mut transaction = transaction.start().expect("a transaction");
    for (job, table) in TABLES {
        let copy = format!("COPY (SELECT {COLUMNS} FROM {table}) TO STDOUT (FORMAT csv, HEADER)");
        let mut rows = transaction.copy_out(copy.as_str()).expect("a copy");
        let mut file = File::create(folder.join(format!("postgres-{job}-{stage}.csv"))).expect("a file");
        std::io::copy(&mut rows, &mut file).expect("copied");
    }
}

/// Writes what rules have found into `anomalies.csv`.
///
/// # Panics
/// When the database or the file fails.
pub fn postgres_anomalies(database: &Database, folder: &Path) {
    let columns = "rule, device_id, metric, (extract(epoch FROM started_at) * 1000)::bigint AS started_at, \
                   (extract(epoch FROM ended_at) * 1000)::bigint AS ended_at, status, evidence";
    let copy = format!("COPY (SELECT {columns} FROM anomalies) TO STDOUT (FORMAT csv, HEADER)");
    let mut client = database.client();
    let mut rows = client.copy_out(copy.as_str()).expect("a copy");
    let mut file = File::create(folder.join("anomalies.csv")).expect("a file");
    std::io::copy(&mut rows, &mut file).expect("copied");
}

/// Writes every message of the topic of rows into `kafka-rows.jsonl`: where it lies, whose it is, and the row.
///
/// # Panics
/// When the topic or the file fails.
pub fn kafka_rows(brokers: &str, topic: &str, folder: &Path) {
    let mut out = BufWriter::new(File::create(folder.join("kafka-rows.jsonl")).expect("a file"));
    each_message(brokers, topic, |message| {
        let row = message.payload_view::<str>().expect("a value").expect("text");
        let generation = header(message, "generation").expect("the header `generation`");
        let (partition, offset) = (message.partition(), message.offset());
        writeln!(
            out,
            "{{\"partition\":{partition},\"offset\":{offset},\"generation\":{generation},\"row\":{row}}}"
        )
        .expect("written");
    });
    out.flush().expect("written");
}

/// Writes every dead letter of a topic into `letters.tsv`: partition, offset and reason.
///
/// # Panics
/// When the topic or the file fails.
pub fn kafka_letters(brokers: &str, topic: &str, folder: &Path) {
    let mut out = BufWriter::new(File::create(folder.join("letters.tsv")).expect("a file"));
    each_message(brokers, topic, |message| {
        let text = |name: &str| header(message, name).unwrap_or_else(|| panic!("the header {name}"));
        let (partition, offset) = (text("__streams.errors.partition"), text("__streams.errors.offset"));
        writeln!(out, "{partition}\t{offset}\t{}", text("reason")).expect("written");
    });
    out.flush().expect("written");
}

/// Writes every dead letter of a database into `letters.tsv`: partition, offset and reason.
///
/// # Panics
/// When the database or the file fails.
pub fn postgres_letters(database: &Database, folder: &Path) {
    let mut out = BufWriter::new(File::create(folder.join("letters.tsv")).expect("a file"));
    // A partition's name is its topic and its number.
    let sql = "SELECT split_part(partition, '/', 2), \"offset\", reason FROM dead_letters";
    for row in database.client().query(sql, &[]).expect("dead letters are there") {
        let (partition, offset, reason): (String, i64, String) = (row.get(0), row.get(1), row.get(2));
        writeln!(out, "{partition}\t{offset}\t{reason}").expect("written");
    }
    out.flush().expect("written");
}

/// Writes what stands among the dead letters of an embedded store, which nobody else has open: as [`kafka_letters`].
///
/// # Panics
/// When the store or the file fails.
pub fn embedded_letters(store: &Path, folder: &Path) {
    let mut out = BufWriter::new(File::create(folder.join("letters.tsv")).expect("a file"));
    let config = SqliteConfig {
        folder: Some(store.to_owned()),
        ..SqliteConfig::default()
    };
    let settings = config.resolve(store).expect("the folder is there");
    let reader = Sqlite::open(settings, Arc::new(|_| ()))
        .expect("nobody has it")
        .letters();
    let all = LetterQuery {
        reason: None,
        before: None,
        limit: usize::MAX,
    };
    for letter in reader.letters(&all).expect("dead letters are there") {
        let partition = letter.partition.rsplit('/').next().unwrap_or_default();
        writeln!(out, "{partition}\t{}\t{}", letter.offset, letter.reason.as_str()).expect("written");
    }
    out.flush().expect("written");
}
