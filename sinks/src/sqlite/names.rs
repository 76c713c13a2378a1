//! Names by number: devices, sites and fleets, metrics, and series, which are one of each.

use super::failure::Failure;
use super::tables::kind;
use crate::SinkError;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, HashMap};
use tidewatch_proto::ids::Name;
use tidewatch_proto::row::Job;

/// So many series are remembered at most; then all are looked up again.
const KNOWN_MAX: usize = 1_000_000;
const DAY_MINUTES: i64 = 24 * 60;

/// What is known of names. It may only be kept when the transaction that it was asked in has been committed.
#[derive(Default)]
pub(super) struct Names {
    known: HashMap<(i64, Name), Known>,
    metrics: HashMap<Name, i64>,
    series: usize,
    /// Devices whose latest window is later than the file says.
    later: BTreeMap<i64, i64>,
}

struct Known {
    id: i64,
    latest: Option<i64>,
    series: HashMap<Name, Series>,
}

struct Series {
    id: u32,
    day: i64,
}

impl Names {
    /// The number of the series that a job's row is of, which is made when it has none. It has a window at this minute.
    pub(super) fn series(
        &mut self,
        connection: &Connection,
        (job, key, metric): (Job, &Name, &Name),
        minute: i64,
    ) -> Result<u32, Failure> {
        let known = match self.known.entry((kind(job), key.clone())) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(name(connection, kind(job), key)?),
        };
        if job == Job::Minute && known.latest.is_none_or(|latest| latest < minute) {
            known.latest = Some(minute);
            self.later.insert(known.id, minute);
        }
        let day = minute.div_euclid(DAY_MINUTES);
        match known.series.get_mut(metric) {
            Some(series) if series.day >= day => Ok(series.id),
            Some(series) => {
                series.day = day;
                let mut statement = connection.prepare_cached("UPDATE series SET day = ?2 WHERE id = ?1")?;
                statement.execute(params![series.id, day])?;
                Ok(series.id)
            }
            None => {
                let of = match self.metrics.get(metric) {
                    Some(number) => *number,
                    None => {
                        let number = numbered(connection, metric)?;
                        self.metrics.insert(metric.clone(), number);
                        number
                    }
                };
                let series = one(connection, (known.id, of), day)?;
                let id = series.id;
                known.series.insert(metric.clone(), series);
                self.series += 1;
                Ok(id)
            }
        }
    }

    /// Writes what is later, before the transaction ends.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), Failure> {
        let mut statement = connection.prepare_cached("UPDATE names SET latest = ?2 WHERE id = ?1")?;
        for (id, minute) in std::mem::take(&mut self.later) {
            statement.execute([id, minute])?;
        }
        Ok(())
    }

    /// Forgets all when there is too much of it. Between transactions.
    pub(super) fn bound(&mut self) {
        if self.series > KNOWN_MAX {
            *self = Names::default();
        }
    }
}

fn name(connection: &Connection, kind: i64, name: &Name) -> Result<Known, Failure> {
    let mut find = connection.prepare_cached("SELECT id, latest FROM names WHERE kind = ?1 AND name = ?2")?;
    let found = find.query_row(params![kind, &**name], |row| Ok((row.get(0)?, row.get(1)?)));
    let (id, latest) = match found.optional()? {
        Some(found) => found,
        None => {
            let mut insert = connection.prepare_cached("INSERT INTO names (kind, name) VALUES (?1, ?2)")?;
            (insert.insert(params![kind, &**name])?, None)
        }
    };
    Ok(Known {
        id,
        latest,
        series: HashMap::new(),
    })
}

fn numbered(connection: &Connection, metric: &Name) -> Result<i64, Failure> {
    let mut find = connection.prepare_cached("SELECT id FROM metrics WHERE name = ?1")?;
    let found = find.query_row([&**metric], |row| row.get(0)).optional()?;
    match found {
        Some(number) => Ok(number),
        None => {
            let mut insert = connection.prepare_cached("INSERT INTO metrics (name) VALUES (?1)")?;
            Ok(insert.insert([&**metric])?)
        }
    }
}

fn one(connection: &Connection, (name, metric): (i64, i64), day: i64) -> Result<Series, Failure> {
    let mut find = connection.prepare_cached("SELECT id, day FROM series WHERE name = ?1 AND metric = ?2")?;
    let found = find.query_row([name, metric], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    let (id, day) = match found.optional()? {
        Some((id, known)) if known >= day => (id, known),
        Some((id, _)) => {
            let mut update = connection.prepare_cached("UPDATE series SET day = ?2 WHERE id = ?1")?;
            update.execute([id, day])?;
            (id, day)
        }
        None => {
            let mut insert = connection.prepare_cached("INSERT INTO series (name, metric, day) VALUES (?1, ?2, ?3)")?;
            (insert.insert([name, metric, day])?, day)
        }
    };
    let id = u32::try_from(id).map_err(|_| SinkError::stop("the embedded store", "it has had too many series"))?;
    Ok(Series { id, day })
}

/// The number of a series that is there.
pub(super) fn find(connection: &Connection, (job, key, metric): (Job, &str, &str)) -> Result<Option<u32>, Failure> {
    let sql = "SELECT series.id FROM names JOIN metrics ON metrics.name = ?3
               JOIN series ON series.name = names.id AND series.metric = metrics.id
               WHERE names.kind = ?1 AND names.name = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params![kind(job), key, metric], |row| row.get::<_, u32>(0));
    Ok(found.optional()?)
}

/// Forgets series of which nothing has been stored since a day, and then names and metrics that no series has. Says whether
/// there were any.
pub(super) fn forget(connection: &Connection, day: i64) -> Result<bool, Failure> {
    let series = connection.execute("DELETE FROM series WHERE day < ?1", [day])?;
    if series > 0 {
        connection.execute("DELETE FROM names WHERE id NOT IN (SELECT name FROM series)", [])?;
        connection.execute("DELETE FROM metrics WHERE id NOT IN (SELECT metric FROM series)", [])?;
    }
    Ok(series > 0)
}
