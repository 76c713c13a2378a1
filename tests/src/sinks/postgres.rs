//! PostgreSQL and TimescaleDB in tests: a schema for each, and reading past the sink.

use super::unique;
use postgres::{Client, NoTls};
use std::time::{Duration, SystemTime};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::reject::{Reason, Reject};
use tidewatch_proto::time::LogTime;
use tidewatch_sinks::postgres::config::FOR_EVER;
use tidewatch_sinks::postgres::{PostgresConfig, PostgresSettings};

/// A database and a schema of its own in it, dropped at the end.
pub struct Database {
    /// What a sink is configured with.
    pub config: PostgresConfig,
}

impl Database {
    /// An empty schema in the database at `url`.
    pub fn new(url: &str) -> Database {
        Database {
            config: PostgresConfig {
                url: url.to_owned(),
                schema: unique("tide"),
                // Rows of tests are years old.
                minute_retention: FOR_EVER,
                five_minute_retention: FOR_EVER,
                hour_retention: FOR_EVER,
                rollup_retention: FOR_EVER,
                ..Default::default()
            },
        }
    }

    /// What a sink is made of.
    pub fn settings(&self) -> PostgresSettings {
        self.config.resolve().expect("the address of a component is right")
    }

    /// A connection of the test's own, in the schema.
    pub fn client(&self) -> Client {
        let mut client = Client::connect(&self.config.url, NoTls).expect("the component runs");
        client
            .batch_execute(&format!("SET search_path = {}, public", self.config.schema))
            .expect("a schema is set");
        client
    }

    /// The only value of the only row of a query.
    pub fn number(&self, sql: &str) -> i64 {
        let row = self
            .client()
            .query_one(sql, &[])
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        row.get(0)
    }

    /// Every dead letter; partitions are numbered as in `names`.
    pub fn letters(&self, names: &[String]) -> Vec<Reject> {
        let sql = "SELECT partition, \"offset\", reason, detail, key, payload, log_time FROM dead_letters";
        let rows = self.client().query(sql, &[]).expect("dead letters are there");
        let read = |row: &postgres::Row| {
            let (name, reason): (String, String) = (row.get(0), row.get(2));
            let partition = names
                .iter()
                .position(|known| *known == name)
                .expect("a known partition");
            Reject {
                partition: Partition(partition as u32),
                offset: Offset(row.get(1)),
                reason: named(&reason),
                detail: row.get(3),
                key: row.get(4),
                payload: row.get(5),
                log_time: row.get::<_, Option<SystemTime>>(6).map(log_time),
            }
        };
        rows.iter().map(read).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Ok(mut client) = Client::connect(&self.config.url, NoTls) {
            let _ = client.batch_execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.config.schema));
        }
    }
}

/// The reason of this name.
pub fn named(name: &str) -> Reason {
    Reason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == name)
        .expect("a known reason")
}

fn log_time(time: SystemTime) -> LogTime {
    let ms = |age: Duration| i64::try_from(age.as_millis()).expect("a time of our days");
    LogTime(
        time.duration_since(SystemTime::UNIX_EPOCH)
            .map_or_else(|before| -ms(before.duration()), ms),
    )
}
