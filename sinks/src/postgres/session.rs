//! One connection, made when it is needed and given up after any error.

use super::days::{self, Days};
use super::failure::{Failure, connect_error};
use super::policies;
use super::schema::{self, Layout};
use super::series::Known;
use super::{PostgresSettings, Timescale};
use crate::SinkError;
use postgres::{Client, NoTls, Statement, Transaction};
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::time::EventTime;

/// How long to wait between two looks for what is older than the retention.
const RETENTION_EVERY: Duration = Duration::from_secs(60 * 60);

/// How long a session may be silent within a transaction. Then the server ends it: of a process that hangs it would hold
/// the progress of its parts, and the run that replaces it would wait for ever.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The way to the database: settings, and a session while there is one.
pub(super) struct Link {
    settings: PostgresSettings,
    session: Option<Session>,
    retention_due: Instant,
}

/// A connection whose tables are there.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) layout: Layout,
    /// Whether hypertables have policies of their own.
    pub(super) has_policies: bool,
    /// The days that have a partition, as far as this session knows.
    pub(super) days: Days,
    /// The series that have been noted, as far as this session knows.
    pub(super) known: Known,
    statements: HashMap<String, Statement>,
}

impl Link {
    pub(super) fn new(settings: PostgresSettings) -> Link {
        Link {
            settings,
            session: None,
            retention_due: Instant::now(),
        }
    }

    pub(super) fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// Does something on the session, which is made first if there is none. After an error there is none.
    pub(super) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Session, &PostgresSettings) -> Result<T, Failure>,
    ) -> Result<T, SinkError> {
        let mut session = match self.session.take() {
            Some(session) if !session.client.is_closed() => session,
            _ => Session::open(&self.settings)?,
        };
        let done = work(&mut session, &self.settings).map_err(|failure| failure.about(&self.settings.target))?;
        self.session = Some(session);
        Ok(done)
    }

    /// Deletes what is older than the retention, once in a while. After an error the next look is as far away,
    /// so that deliveries go on.
    pub(super) fn keep_retention(&mut self) -> Result<(), SinkError> {
        if Instant::now() < self.retention_due {
            return Ok(());
        }
        self.retention_due = Instant::now() + RETENTION_EVERY;
        self.run(schema::keep_retention)
    }
}

impl Session {
    fn open(settings: &PostgresSettings) -> Result<Session, SinkError> {
        let mut client = connect(settings)?;
        let about = |failure: Failure| failure.about(&settings.target);
        let wants_extension =
            settings.timescale != Timescale::Never && schema::is_new(&mut client, settings).map_err(about)?;
        if wants_extension && !schema::create_extension(&mut client) {
            // A server whose library isn't preloaded ends the connection over it.
            client = connect(settings)?;
        }
        let layout = schema::prepare(&mut client, settings).map_err(about)?;
        let has_policies = layout == Layout::Hypertables && policies::apply(&mut client, settings).map_err(about)?;
        if layout == Layout::Hypertables {
            policies::lift_limit(&mut client).map_err(about)?;
        }
        check(Point::PostgresConnected).map_err(|injected| about(injected.into()))?;
        Ok(Session {
            client,
            layout,
            has_policies,
            days: Days::default(),
            known: Known::default(),
            statements: HashMap::new(),
        })
    }

    /// What the retention is counted back from: the newest window, at most the clock; of hypertables the clock.
    /// `coming` is the newest window of the delivery.
    pub(super) fn newest(&mut self, coming: Option<EventTime>) -> Result<EventTime, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = EventTime(now.map_or(0, |now| now.as_millis() as i64));
        match self.layout {
            Layout::Hypertables => Ok(now),
            Layout::Partitions => {
                let newest = days::newest(&mut self.client)?.max(coming);
                Ok(newest.map_or(now, |newest| newest.min(now)))
            }
        }
    }

    /// A transaction, and the statements prepared on this connection.
    pub(super) fn begin(&mut self) -> Result<(Transaction<'_>, &mut HashMap<String, Statement>), postgres::Error> {
        Ok((self.client.transaction()?, &mut self.statements))
    }
}

/// The prepared statement of a text, prepared when it is first used.
pub(super) fn prepared<'a>(
    statements: &'a mut HashMap<String, Statement>,
    transaction: &mut Transaction<'_>,
    sql: String,
) -> Result<&'a Statement, postgres::Error> {
    use std::collections::hash_map::Entry;
    match statements.entry(sql) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(new) => {
            let statement = transaction.prepare(new.key())?;
            Ok(new.insert(statement))
        }
    }
}

/// Connects, and sets what every session needs.
pub(super) fn connect(settings: &PostgresSettings) -> Result<Client, SinkError> {
    let mut client = settings
        .connect
        .connect(NoTls)
        .map_err(|error| connect_error(settings, &error))?;
    let timeout = settings.statement_timeout.as_millis();
    let silence_max = SILENCE_MAX.as_millis();
    let schema = schema::quoted(&settings.schema);
    // TimescaleDB's functions live in `public` unless somebody moved them.
    let setup = format!(
        "SET TimeZone = 'UTC'; SET statement_timeout = {timeout}; SET lock_timeout = {timeout};
         SET idle_in_transaction_session_timeout = {silence_max};
         SET search_path = {schema}, public; SET client_min_messages = warning"
    );
    client
        .batch_execute(&setup)
        .map_err(|error| Failure::from(error).about(&settings.target))?;
    Ok(client)
}
