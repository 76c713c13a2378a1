//! Adds readings that came too late for memory to the rows of the windows that cover them.

use super::PostgresSettings;
use super::failure::Failure;
use super::hot::{COLUMNS, row_of};
use super::session::prepared;
use super::stamp::Stamp;
use super::tables::{Batch, table};
use crate::mending::{Mended, Sorted, Window, mend};
use postgres::{Statement, Transaction};
use std::collections::{BTreeMap, HashMap};
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::row::{Job, Row, Status, Values};
use tidewatch_proto::time::EventTime;

/// The earliest window of a job that the retention keeps, counted back from the newest one.
pub(super) fn kept_from(settings: &PostgresSettings, job: Job, newest: EventTime) -> EventTime {
    let kept = settings
        .kept(table(job))
        .map(|kept| i64::try_from(kept.as_millis()).unwrap_or(i64::MAX));
    EventTime(kept.map_or(i64::MIN, |kept| newest.0.saturating_sub(kept)))
}

/// Adds the readings, and gives all these rows as they are then.
pub(super) fn store(
    sorted: Sorted<'_>,
    transaction: &mut Transaction<'_>,
    statements: &mut HashMap<String, Statement>,
    quantiles: bool,
    through: Epoch,
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for ((device, metric), windows) in sorted.series {
        for job in Job::ALL.into_iter().filter(|job| job.is_per_series()) {
            let own = windows.range((job, EventTime(i64::MIN))..=(job, EventTime(i64::MAX)));
            let own: Vec<(EventTime, &Window<'_>)> = own.map(|((_, start), window)| (*start, window)).collect();
            let mut series = Series {
                transaction: &mut *transaction,
                statements: &mut *statements,
                job,
                device,
                metric,
            };
            for chunk in own.chunks(CHUNK) {
                rows.extend(series.add(chunk, quantiles, through)?);
            }
        }
    }
    Ok(rows)
}

/// So many rows are read and written at once.
const CHUNK: usize = 1_024;

/// The rows of one series and job.
struct Series<'a, 't> {
    transaction: &'a mut Transaction<'t>,
    statements: &'a mut HashMap<String, Statement>,
    job: Job,
    device: &'a Name,
    metric: &'a Name,
}

impl Series<'_, '_> {
    /// Adds readings to the rows of windows, and gives these rows.
    fn add(
        &mut self,
        windows: &[(EventTime, &Window<'_>)],
        quantiles: bool,
        through: Epoch,
    ) -> Result<Vec<Row>, Failure> {
        let stored = self.stored(windows)?;
        let (mut rows, mut changed, mut states) = (Vec::new(), Vec::new(), Vec::new());
        for (start, window) in windows {
            let before = stored.get(start);
            let known = before.and_then(|(_, mended)| mended.as_ref());
            let values = before.map_or(Values::default(), |(row, _)| row.values);
            match (mend(&values, known, &window.readings, quantiles), before) {
                (Some((values, mended)), before) => {
                    let after = before.map_or(0, |(row, _)| row.revision.0 + 1);
                    changed.push(rows.len());
                    states.push(mended.to_bytes());
                    rows.push(self.row((*start, window.end), values, through.max(Epoch(after))));
                }
                // It was delivered before.
                (None, Some((row, _))) => rows.push(row.clone()),
                (None, None) => {}
            }
        }
        if !changed.is_empty() {
            let changed: Vec<&Row> = changed.iter().map(|at| &rows[*at]).collect();
            let batch = Batch::of(&changed, through)?;
            let own = table(self.job);
            let statement = prepared(self.statements, self.transaction, own.mend())?;
            let mut parameters = own.parameters(&batch);
            parameters.push(&states);
            self.transaction.execute(statement, &parameters)?;
        }
        Ok(rows)
    }

    fn row(&self, (start, end): (EventTime, EventTime), values: Values, revision: Epoch) -> Row {
        Row {
            job: self.job,
            key: self.device.clone(),
            metric: self.metric.clone(),
            window_start: start,
            window_end: end,
            values,
            status: Status::Corrected,
            revision,
        }
    }

    /// The rows that are there, and what they have taken.
    fn stored(
        &mut self,
        windows: &[(EventTime, &Window<'_>)],
    ) -> Result<BTreeMap<EventTime, (Row, Option<Mended>)>, Failure> {
        let starts: Vec<Stamp> = windows.iter().map(|(start, _)| Stamp(start.0)).collect();
        let (Some(first), Some(last)) = (starts.first(), starts.last()) else {
            return Ok(BTreeMap::new());
        };
        // The bounds say which partitions of the table are looked at.
        let sql = format!(
            "SELECT {COLUMNS}, first, last, stddev, 1::bigint AS devices, mended FROM {}
             WHERE device_id = $1 AND metric = $2 AND window_start = ANY ($3::timestamptz[])
               AND window_start BETWEEN $4 AND $5",
            table(self.job).name
        );
        let statement = prepared(self.statements, self.transaction, sql)?;
        let (device, metric): (&str, &str) = (self.device, self.metric);
        let found = self
            .transaction
            .query(statement, &[&device, &metric, &starts, first, last])?;
        let mut stored = BTreeMap::new();
        for found in &found {
            let row = row_of((self.job, self.device, self.metric), found)?;
            let bytes: Option<&[u8]> = found.try_get("mended")?;
            stored.insert(row.window_start, (row, bytes.and_then(Mended::read)));
        }
        Ok(stored)
    }
}
