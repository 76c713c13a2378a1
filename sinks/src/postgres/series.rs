//! Which series there are: a table of its own, written once a series, and read to list devices.

use super::failure::Failure;
use super::session::prepared;
use super::stamp::Stamp;
use postgres::{Client, Statement, Transaction};
use std::collections::{BTreeSet, HashMap, HashSet};
use tidewatch_proto::ids::{Name, mix, stable_hash};
use tidewatch_proto::query::{DeviceQuery, DeviceSummary};
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::EventTime;

/// Series that a session remembers at most; then it forgets all of them, and they are written again without effect.
const KNOWN_MAX: usize = 4_000_000;

const NOTE: &str = "
    INSERT INTO series (device_id, metric) SELECT unnest($1::text[]), unnest($2::text[]) ON CONFLICT DO NOTHING";

/// The latest window by series, found in the tables' primary key; a device whose windows have all left isn't there.
const DEVICES: &str = "
    SELECT device_id, array_agg(metric ORDER BY metric) AS metrics, max(latest) AS latest
    FROM (SELECT device_id, metric,
                 (SELECT window_start FROM aggregates_minute AS stored
                  WHERE stored.device_id = series.device_id COLLATE \"default\"
                    AND stored.metric = series.metric COLLATE \"default\"
                  ORDER BY window_start DESC LIMIT 1) AS latest
          FROM series
          WHERE ($1::text IS NULL OR device_id > $1) AND ($4::text[] IS NULL OR device_id = ANY ($4))
            AND position(lower($2 COLLATE \"C\") IN lower(device_id)) > 0) AS each
    WHERE latest IS NOT NULL
    GROUP BY device_id ORDER BY device_id LIMIT $3";

/// The series that the table has, as far as a session knows, each by a hash of its names.
#[derive(Default)]
pub(super) struct Known(HashSet<u64>);

impl Known {
    /// Writes the series of rows that aren't known to be there. Gives what is known once that is committed.
    pub(super) fn note(
        &self,
        transaction: &mut Transaction<'_>,
        statements: &mut HashMap<String, Statement>,
        rows: &[Row],
        rows_max: usize,
    ) -> Result<Vec<u64>, Failure> {
        let minutes = rows.iter().filter(|row| row.job == Job::Minute);
        let mut hashes = Vec::new();
        let mut new: BTreeSet<(&str, &str)> = BTreeSet::new();
        for row in minutes {
            let hash = hash(&row.key, &row.metric);
            if !self.0.contains(&hash) && new.insert((&*row.key, &*row.metric)) {
                hashes.push(hash);
            }
        }
        let new: Vec<(&str, &str)> = new.into_iter().collect();
        for chunk in new.chunks(rows_max) {
            let (devices, metrics): (Vec<&str>, Vec<&str>) = chunk.iter().copied().unzip();
            let statement = prepared(statements, transaction, NOTE.to_owned())?;
            transaction.execute(statement, &[&devices, &metrics])?;
        }
        Ok(hashes)
    }

    /// These are there from now on.
    pub(super) fn committed(&mut self, hashes: Vec<u64>) {
        if self.0.len() + hashes.len() > KNOWN_MAX {
            self.0.clear();
        }
        self.0.extend(hashes);
    }
}

fn hash(device: &Name, metric: &Name) -> u64 {
    mix(stable_hash(device.as_bytes()).rotate_left(1) ^ stable_hash(metric.as_bytes()))
}

/// The devices that match.
pub(super) fn devices(client: &mut Client, query: &DeviceQuery) -> Result<Vec<DeviceSummary>, Failure> {
    let after = query.after.as_deref();
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    // What no id can hold finds nothing.
    if query.search.contains('\0') {
        return Ok(Vec::new());
    }
    let among = query.among.as_ref().map(|names| {
        // What no id can hold finds nothing.
        let names = names.iter().map(|name| &**name).filter(|name| !name.contains('\0'));
        names.collect::<Vec<&str>>()
    });
    let found = client.query(DEVICES, &[&after, &query.search, &limit, &among])?;
    let summary = |row: &postgres::Row| {
        let metrics: Vec<&str> = row.try_get("metrics")?;
        Ok(DeviceSummary {
            device: row.try_get::<_, &str>("device_id")?.into(),
            metrics: metrics.into_iter().map(Name::from).collect(),
            latest: EventTime(row.try_get::<_, Stamp>("latest")?.0),
        })
    };
    found.iter().map(summary).collect()
}
