//! What sinks hold, written down for the oracle: an entry for each.

use super::Problem;
use crate::sinks::kafka::{each_message, header};
use crate::sinks::postgres::Database;
use rdkafka::message::Message;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use tidewatch_proto::query::{AnomalyQuery, DeviceQuery, LetterQuery, Order, SeriesQuery};
use tidewatch_proto::row::{Job, Quantiles, Row};
use tidewatch_proto::time::EventTime;
use tidewatch_sinks::hot::{AnomalyStore, HotStore, LetterStore};
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

/// An instant behind all windows, milliseconds since 1970.
const LATEST: i64 = 32_503_680_000_000;
const ROW_COLUMNS: &str = "device_id,metric,window_start,count,sum,min,max,first,last,mean,stddev,p50,p95,p99,\
                           invalid_count,status,revision\n";

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

/// Writes what rules have found by an embedded store, which nobody else has open: as [`postgres_anomalies`].
///
/// # Errors
/// When the store can't be read or the file can't be written.
pub fn embedded_anomalies(store: &Path, folder: &Path) -> Result<(), Problem> {
    let all = AnomalyQuery {
        limit: usize::MAX,
        ..AnomalyQuery::default()
    };
    let found = open(store)?
        .reader()
        .anomalies(&all)
        .map_err(|error| error.to_string())?;
    let mut text = "rule,device_id,metric,started_at,ended_at,status,evidence\n".to_owned();
    for one in found {
        let evidence = serde_json::to_string(&one.evidence).map_err(|error| error.to_string())?;
        text += &format!(
            "{},{},{},{},{},{},\"{}\"\n",
            one.rule,
            one.device,
            one.metric,
            one.started_at.0,
            one.ended_at.map_or_else(String::new, |end| end.0.to_string()),
            one.status.as_str(),
            evidence.replace('"', "\"\""),
        );
    }
    std::fs::write(folder.join("anomalies.csv"), text).map_err(|error| error.to_string())
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

/// Writes the rows of an embedded store, which nobody else has open, as [`postgres()`] does those of tables.
///
/// # Errors
/// When the store can't be read or a file can't be written.
pub fn embedded_rows(store: &Path, folder: &Path, stage: &str) -> Result<(), Problem> {
    let reader = open(store)?.reader();
    let all = DeviceQuery {
        among: None,
        search: String::new(),
        after: None,
        limit: usize::MAX,
    };
    let devices = reader.devices(&all).map_err(|error| error.to_string())?;
    for job in [Job::Minute, Job::FiveMinutes, Job::Hour, Job::Day] {
        let name = format!("postgres-{}-{stage}.csv", job.as_str());
        let mut out = BufWriter::new(File::create(folder.join(name)).map_err(|error| error.to_string())?);
        let mut text = ROW_COLUMNS.to_owned();
        let series = devices
            .iter()
            .flat_map(|device| device.metrics.iter().map(|metric| (&device.device, metric)));
        for (device, metric) in series {
            let query = SeriesQuery {
                job,
                key: device.clone(),
                metric: metric.clone(),
                from: EventTime(0),
                to: EventTime(LATEST),
                limit: usize::MAX,
                order: Order::OldestFirst,
            };
            let rows = reader.series(&query).map_err(|error| error.to_string())?;
            rows.iter().for_each(|row| line(&mut text, row));
        }
        out.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
        out.flush().map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// A row as a line of a table.
fn line(out: &mut String, row: &Row) {
    let values = &row.values;
    let quantile = |of: fn(&Quantiles) -> f64| values.quantiles.as_ref().map(of);
    let numbers = [
        values.min,
        values.max,
        values.first,
        values.last,
        values.mean,
        values.stddev,
        quantile(|of| of.p50),
        quantile(|of| of.p95),
        quantile(|of| of.p99),
    ];
    let numbers = numbers.map(|number| number.map_or_else(String::new, |number| format!("{number:?}")));
    *out += &format!(
        "{},{},{},{},{:?},{},{},{},{}\n",
        row.key,
        row.metric,
        row.window_start.0,
        values.count,
        values.sum,
        numbers.join(","),
        values.invalid_count,
        row.status.as_str(),
        row.revision.0
    );
}

fn open(store: &Path) -> Result<Sqlite, Problem> {
    let config = SqliteConfig {
        folder: Some(store.to_owned()),
        ..SqliteConfig::default()
    };
    let settings = config.resolve(store).map_err(|error| error.to_string())?;
    Sqlite::open(settings, Arc::new(|_| ())).map_err(|error| error.to_string())
}

/// Writes what stands among the dead letters of an embedded store, which nobody else has open: as [`kafka_letters`].
///
/// # Panics
/// When the store or the file fails.
pub fn embedded_letters(store: &Path, folder: &Path) {
    let mut out = BufWriter::new(File::create(folder.join("letters.tsv")).expect("a file"));
    let reader = open(store).expect("nobody has it").letters();
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
