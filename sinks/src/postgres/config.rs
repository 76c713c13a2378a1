//! The configuration of PostgreSQL: as written, and as used.

use super::tables::{Table, WINDOWED, table};
use crate::SinkError;
use postgres::config::Host;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use tidewatch_proto::row::Job;
use tidewatch_settings::{Secret, Span};

/// The default of [`PostgresConfig::schema`].
pub const SCHEMA: &str = "public";
/// The default of [`PostgresConfig::chunk_interval`].
pub const CHUNK_INTERVAL: Span = Span::from_secs(24 * 60 * 60);
/// The default of [`PostgresConfig::minute_retention`], [`PostgresConfig::five_minute_retention`] and
/// [`PostgresConfig::rollup_retention`].
pub const MINUTE_RETENTION: Span = Span::from_secs(30 * DAY_S);
/// The default of [`PostgresConfig::hour_retention`].
pub const HOUR_RETENTION: Span = Span::from_secs(2 * 365 * DAY_S);
/// The default of [`PostgresConfig::day_retention`]: from this on nothing leaves.
pub const FOR_EVER: Span = Span::from_secs(100 * 365 * DAY_S);
/// The default of [`PostgresConfig::connect_timeout`].
pub const CONNECT_TIMEOUT: Span = Span::from_secs(5);
/// The default of [`PostgresConfig::statement_timeout`].
pub const STATEMENT_TIMEOUT: Span = Span::from_secs(30);
/// The default of [`PostgresConfig::statement_rows_max`]: more make it no faster, and take memory on both sides.
pub const STATEMENT_ROWS_MAX: usize = 4096;
/// The least time that rows can be kept for: shorter is a mistake in the unit.
const RETENTION_MIN: Duration = Duration::from_secs(24 * 60 * 60);
const PORT: u16 = 5432;
const DAY_S: u64 = 24 * 60 * 60;

/// Whether windows are stored in hypertables. Decided when the tables are made; existing tables stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timescale {
    /// When the server has the extension.
    #[default]
    Auto,
    /// Always: without the extension nothing is created.
    Require,
    /// Never: PostgreSQL's own partitions by day.
    Never,
}

/// PostgreSQL or TimescaleDB, as written in the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// Where the database is: `postgres://user@host:5432/database`. The connection is not encrypted.
    pub url: String,
    /// A file whose first line is the password, instead of one in the address.
    pub password_file: Option<PathBuf>,
    /// The schema that holds the tables; it is created when missing.
    pub schema: String,
    /// Whether windows are stored in TimescaleDB's hypertables: `auto`, `require` or `never`.
    pub timescale: Timescale,
    /// How much time a chunk of a hypertable spans.
    pub chunk_interval: Span,
    /// How long one-minute windows are kept.
    pub minute_retention: Span,
    /// How long five-minute windows are kept.
    pub five_minute_retention: Span,
    /// How long one-hour windows are kept.
    pub hour_retention: Span,
    /// How long windows of a day are kept.
    pub day_retention: Span,
    /// How long the rollups of sites and fleets are kept.
    pub rollup_retention: Span,
    /// From which age on chunks of hypertables are compressed; without it they aren't.
    pub compress_after: Option<Span>,
    /// How long dead letters are kept, by when they were stored; without it for ever.
    pub dead_letter_retention: Option<Span>,
    /// How long anomalies are kept that have ended or were withdrawn, by when that was stored; without it for ever.
    pub anomaly_retention: Option<Span>,
    /// How long a connection may take.
    pub connect_timeout: Span,
    /// How long a statement may take; then the delivery is tried again.
    pub statement_timeout: Span,
    /// How many rows a statement, or a message of a copy, carries at most; less for a proxy that takes only small
    /// messages.
    pub statement_rows_max: usize,
}

impl Default for PostgresConfig {
    fn default() -> PostgresConfig {
        PostgresConfig {
            url: String::new(),
            password_file: None,
            schema: SCHEMA.to_owned(),
            timescale: Timescale::Auto,
            chunk_interval: CHUNK_INTERVAL,
            minute_retention: MINUTE_RETENTION,
            five_minute_retention: MINUTE_RETENTION,
            hour_retention: HOUR_RETENTION,
            day_retention: FOR_EVER,
            rollup_retention: MINUTE_RETENTION,
            compress_after: None,
            dead_letter_retention: None,
            anomaly_retention: None,
            connect_timeout: CONNECT_TIMEOUT,
            statement_timeout: STATEMENT_TIMEOUT,
            statement_rows_max: STATEMENT_ROWS_MAX,
        }
    }
}

/// PostgreSQL as the sink uses it: the address parsed, the password read.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    pub(super) connect: postgres::Config,
    pub(super) user: String,
    /// `host:port/database`, for errors.
    pub(super) target: String,
    pub(super) schema: String,
    pub(super) timescale: Timescale,
    pub(super) chunk_interval: Duration,
    /// How long windows are kept, of the tables of [`WINDOWED`].
    kept: [Duration; WINDOWED.len()],
    pub(super) compress_after: Option<Duration>,
    pub(super) dead_letter_retention: Option<Duration>,
    pub(super) anomaly_retention: Option<Duration>,
    pub(super) statement_timeout: Duration,
    pub(super) statement_rows_max: usize,
}

impl PostgresSettings {
    /// How long the rows of a job are kept, by the start of their windows.
    pub fn retention(&self, job: Job) -> Duration {
        let place = WINDOWED.iter().position(|one| std::ptr::eq(*one, table(job)));
        place.map_or(FOR_EVER.0, |place| self.kept[place])
    }

    /// From which age on chunks of hypertables are compressed, if they are.
    pub fn compress_after(&self) -> Option<Duration> {
        self.compress_after
    }

    /// How long the rows of a table are kept; `None`: for ever.
    pub(super) fn kept(&self, table: &Table) -> Option<Duration> {
        let own = WINDOWED
            .iter()
            .zip(self.kept)
            .find(|(one, _)| std::ptr::eq(**one, table));
        own.map(|own| own.1).filter(|kept| *kept < FOR_EVER.0)
    }

    /// The database as `host:port/database`.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl PostgresConfig {
    /// Checks everything that needs no connection, and reads the password.
    ///
    /// # Errors
    /// When a value can't be used; the error names the key.
    pub fn resolve(&self) -> Result<PostgresSettings, SinkError> {
        let (mut connect, user, target) = self.resolve_url()?;
        if let Some(path) = &self.password_file {
            connect.password(Secret::read(path, "postgres.password_file")?.expose());
        }
        if connect.get_application_name().is_none() {
            connect.application_name("tidewatch");
        }
        connect.connect_timeout(self.connect_timeout.0);
        connect
            .tcp_user_timeout(self.statement_timeout.0)
            .keepalives_idle(self.statement_timeout.0);
        if self.schema.is_empty() || self.schema.contains('\0') {
            return Err(SinkError::stop(
                "postgres.schema",
                "must be the name of a schema, such as `public`",
            ));
        }
        if self.chunk_interval.0 < Duration::from_secs(60) {
            return Err(SinkError::stop("postgres.chunk_interval", "must be at least a minute"));
        }
        if !(1..=100_000).contains(&self.statement_rows_max) {
            return Err(SinkError::stop(
                "postgres.statement_rows_max",
                "must be from 1 to 100000",
            ));
        }
        let at_least_a_day = |key: &str, span: Span| match span.0 {
            span if span < RETENTION_MIN => Err(SinkError::stop(key, "must be at least `1day`")),
            span => Ok(span),
        };
        let kept = [
            at_least_a_day("postgres.minute_retention", self.minute_retention)?,
            at_least_a_day("postgres.five_minute_retention", self.five_minute_retention)?,
            at_least_a_day("postgres.hour_retention", self.hour_retention)?,
            at_least_a_day("postgres.day_retention", self.day_retention)?,
            at_least_a_day("postgres.rollup_retention", self.rollup_retention)?,
        ];
        let letters = self.dead_letter_retention;
        let letters = letters.map(|span| at_least_a_day("postgres.dead_letter_retention", span));
        let anomalies = self.anomaly_retention;
        let anomalies = anomalies.map(|span| at_least_a_day("postgres.anomaly_retention", span));
        Ok(PostgresSettings {
            connect,
            user,
            target,
            schema: self.schema.clone(),
            timescale: self.timescale,
            chunk_interval: self.chunk_interval.0,
            kept,
            compress_after: self.compress_after.map(|span| span.0),
            dead_letter_retention: letters.transpose()?,
            anomaly_retention: anomalies.transpose()?,
            statement_timeout: self.statement_timeout.0,
            statement_rows_max: self.statement_rows_max,
        })
    }

    fn resolve_url(&self) -> Result<(postgres::Config, String, String), SinkError> {
        let wrong = |problem: String| SinkError::stop("postgres.url", problem);
        let example = "`postgres://user@host:5432/database`";
        // The parser's own message may quote parts of the address, and so the password.
        let config: postgres::Config = self
            .url
            .parse()
            .map_err(|_| wrong(format!("is no address such as {example}")))?;
        if config.get_ssl_mode() == postgres::config::SslMode::Require {
            return Err(wrong(
                "sslmode=require: encrypted connections are not supported; use a local proxy".into(),
            ));
        }
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => return Err(wrong(format!("names no host; write {example}"))),
        };
        let user = config
            .get_user()
            .ok_or_else(|| wrong(format!("names no user; write {example}")))?
            .to_owned();
        let port = config.get_ports().first().copied().unwrap_or(PORT);
        let target = format!("{host}:{port}/{}", config.get_dbname().unwrap_or(&user));
        Ok((config, user, target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(config: PostgresConfig) -> String {
        config.resolve().unwrap_err().to_string()
    }

    #[test]
    fn an_address_resolves() {
        let config = PostgresConfig {
            url: "postgres://ann:pw@db.example:6000/fleet".into(),
            ..Default::default()
        };
        let settings = config.resolve().unwrap();
        assert_eq!(settings.target(), "db.example:6000/fleet");
        assert!(
            !format!("{settings:?}").contains("pw"),
            "a password is shown: {settings:?}"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with_url = |url: &str| PostgresConfig {
            url: url.into(),
            ..Default::default()
        };
        assert!(problem(with_url("")).starts_with("postgres.url: "));
        assert!(problem(with_url("postgres://ann:secret@:x/")).starts_with("postgres.url: is no address"));
        assert!(problem(with_url("postgres://h/db")).contains("names no user"));
        assert!(problem(with_url("postgres://u@h/db?sslmode=require")).contains("sslmode=require"));
        let short = PostgresConfig {
            hour_retention: Span::from_secs(60),
            ..with_url("postgres://u@h/db")
        };
        assert!(problem(short).starts_with("postgres.hour_retention: "));
        let unknown = serde_json::from_str::<PostgresConfig>(r#"{"ulr": "x"}"#)
            .unwrap_err()
            .to_string();
        assert!(unknown.contains("unknown field `ulr`"), "{unknown}");
    }
}
