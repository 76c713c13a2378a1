//! What an error of PostgreSQL means for the caller.

use super::PostgresSettings;
use crate::{ErrorKind, SinkError};
use postgres::error::SqlState;
use std::error::Error as _;
use tidewatch_failpoints::Injected;

/// Why something wasn't done: the server or the connection said no, or we did.
pub(super) enum Failure {
    /// An error of the client library or the server.
    Postgres(postgres::Error),
    /// An error of our own.
    Ours(SinkError),
}

impl From<postgres::Error> for Failure {
    fn from(error: postgres::Error) -> Failure {
        Failure::Postgres(error)
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Failure {
        Failure::Ours(error)
    }
}

impl From<Injected> for Failure {
    fn from(injected: Injected) -> Failure {
        Failure::Ours(SinkError::retry("postgres", injected.to_string()))
    }
}

impl Failure {
    /// The error to hand on, about an object such as `host:port/database`.
    pub(super) fn about(self, object: &str) -> SinkError {
        match self {
            Failure::Ours(error) => error,
            Failure::Postgres(error) => SinkError {
                kind: kind(&error),
                object: object.to_owned(),
                problem: describe(&error),
            },
        }
    }
}

/// Whether the same may go through later.
fn kind(error: &postgres::Error) -> ErrorKind {
    let Some(code) = error.code() else {
        // Not from the server. Values that can't be sent stay wrong; a lost connection doesn't.
        let lost = error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>());
        return if lost { ErrorKind::Retry } else { ErrorKind::Stop };
    };
    // A partition that somebody dropped is a check violation without a constraint's name.
    let no_partition =
        *code == SqlState::CHECK_VIOLATION && error.as_db_error().is_some_and(|error| error.constraint().is_none());
    // Classes: connection lost, serialization and deadlock, resources (memory, disk, connections), operator
    // (shutdown, cancelled by a timeout), system (input and output).
    let passes = ["08", "40", "53", "57", "58"]
        .iter()
        .any(|class| code.code().starts_with(class));
    // A server that became a standby answers read-only until the address points at the new primary.
    let states = [SqlState::LOCK_NOT_AVAILABLE, SqlState::READ_ONLY_SQL_TRANSACTION];
    if passes || no_partition || states.contains(code) {
        ErrorKind::Retry
    } else {
        ErrorKind::Stop
    }
}

/// The server's message with its hint, or the client's with its cause, on one line.
fn describe(error: &postgres::Error) -> String {
    let text = match error.as_db_error() {
        Some(error) => {
            let extra = |text: Option<&str>| text.map_or(String::new(), |text| format!(" ({text})"));
            format!("{}{}{}", error.message(), extra(error.detail()), extra(error.hint()))
        }
        None => match error.source() {
            Some(cause) => format!("{error}: {cause}").replace(&format!(": {cause}: {cause}"), &format!(": {cause}")),
            None => error.to_string(),
        },
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The error of a connection that wasn't made: what is wrong, and what to do.
pub(super) fn connect_error(settings: &PostgresSettings, error: &postgres::Error) -> SinkError {
    let user = &settings.user;
    let stop = |problem: String| SinkError::stop(&settings.target, problem);
    let passwords = [
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
    ];
    match error.code() {
        Some(code) if passwords.contains(code) => stop(format!(
            "the server refuses user `{user}`: {}; check postgres.url and postgres.password_file",
            describe(error)
        )),
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
            let name = settings.target.rsplit('/').next().unwrap_or_default();
            stop(format!(
                "there is no such database; create it: CREATE DATABASE \"{name}\" OWNER \"{user}\""
            ))
        }
        Some(_) => SinkError {
            kind: kind(error),
            object: settings.target.clone(),
            problem: describe(error),
        },
        None if error.to_string().contains("password missing") => stop(format!(
            "the server wants a password for user `{user}`; set postgres.password_file"
        )),
        None if kind(error) == ErrorKind::Retry || error.source().is_none() => {
            let problem = format!(
                "can't be reached: {}; is it running, and postgres.url right?",
                describe(error)
            );
            SinkError::retry(&settings.target, problem)
        }
        None => {
            let problem = format!("no connection: {}; check postgres.url", describe(error));
            SinkError {
                kind: ErrorKind::Retry,
                object: settings.target.clone(),
                problem,
            }
        }
    }
}
