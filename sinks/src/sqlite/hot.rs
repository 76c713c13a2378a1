//! Reading rows back.

use super::devices::devices;
use super::failure::Failure;
use super::folder::Sqlite;
use super::names;
use super::session::reading;
use super::stored;
use crate::SinkError;
use crate::hot::HotStore;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use tidewatch_proto::query::{DeviceQuery, DeviceSummary, SeriesQuery};
use tidewatch_proto::row::Row;

/// So many connections are kept for the next question.
const IDLE_MAX: usize = 8;

/// Reads an embedded store, over connections of its own: while something is written too, and each answer is of one
/// moment.
pub struct SqliteHotStore {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Sqlite {
    /// A reader. It doesn't keep the folder locked.
    pub fn reader(&self) -> SqliteHotStore {
        SqliteHotStore {
            file: self.file().to_owned(),
            idle: Mutex::default(),
        }
    }
}

impl SqliteHotStore {
    /// Asks something as of one moment.
    pub(super) fn read<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, SinkError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let known = idle().pop();
        let connection = known.map_or_else(|| reading(&self.file), Ok);
        let answered = connection.and_then(|connection| {
            let moment = connection.unchecked_transaction()?;
            let answer = ask(&moment)?;
            moment.commit()?;
            let mut idle = idle();
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
            Ok(answer)
        });
        answered.map_err(|failure| failure.about(&self.file))
    }
}

impl HotStore for SqliteHotStore {
    fn series(&self, query: &SeriesQuery) -> Result<Vec<Row>, SinkError> {
        self.read(
            |connection| match names::find(connection, (query.job, &query.key, &query.metric))? {
                Some(series) => stored::rows(connection, query, series),
                None => Ok(Vec::new()),
            },
        )
    }

    fn devices(&self, query: &DeviceQuery) -> Result<Vec<DeviceSummary>, SinkError> {
        self.read(|connection| devices(connection, query))
    }
}
