//! PostgreSQL's own partitions: of a day, a month or a year, made when a delivery first has a window of it, and dropped when
//! all of it is too old.

use super::failure::Failure;
use super::stamp::Stamp;
use super::tables::{Step, Table, WINDOWED};
use postgres::Client;
use postgres::error::SqlState;
use std::collections::BTreeSet;
use std::time::Duration;
use tidewatch_proto::time::EventTime;

const DAY_MS: i64 = 86_400_000;
/// The advisory lock that whoever makes or drops a partition holds ("tidewday" in ASCII).
const PARTITION_LOCK: i64 = 0x7469_6465_7764_6179;
/// Every partition of table $1, with the instants at which it begins and ends. Its name says the first day, month or year;
/// years before 1 end in `bc`, and nobody asks for them but by age.
const PARTITIONS: &str = "
    SELECT name, is_bc, to_timestamp(digits, format) AS begins,
           to_timestamp(digits, format) + CASE length(digits) WHEN 8 THEN INTERVAL '1 day'
               WHEN 6 THEN INTERVAL '1 month' ELSE INTERVAL '1 year' END AS ends
    FROM (SELECT child.relname::text AS name, child.relname LIKE '%bc' AS is_bc,
                 substring(child.relname from '_p(\\d+)(?:bc)?$') AS digits,
                 CASE length(substring(child.relname from '_p(\\d+)(?:bc)?$'))
                     WHEN 8 THEN 'YYYYMMDD' WHEN 6 THEN 'YYYYMM' ELSE 'YYYY' END AS format
          FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent
          WHERE parent.relkind = 'p' AND parent.relnamespace = current_schema()::regnamespace
            AND parent.relname = $1 AND child.relname ~ '_p\\d+(bc)?$') AS ours";
/// The name and bounds of the partition of table $1 that has the instant $2, in steps of $3 and named with the format $4, and
/// whether it is there. It is attached rather than made in place: that doesn't lock out who reads and writes the table.
const PARTITION: &str = "
    SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = name AND relnamespace = current_schema()::regnamespace),
           format('CREATE TABLE %1$I (LIKE %2$I INCLUDING ALL);
                   ALTER TABLE %2$I ATTACH PARTITION %1$I FOR VALUES FROM (%3$L) TO (%4$L)',
                  name, parent, begins, begins + ('1 ' || step)::interval)
    FROM (SELECT parent, step, begins,
                 parent || to_char(begins, format)
                        || CASE WHEN extract(year FROM begins) < 1 THEN 'bc' ELSE '' END AS name
          FROM (SELECT $1::text AS parent, $3::text AS step, date_trunc($3::text, $2::timestamptz) AS begins,
                       $4::text AS format) AS asked) AS wanted";

/// The days whose partitions are known to be there, by table.
#[derive(Debug, Default)]
pub(super) struct Days {
    known: BTreeSet<(&'static str, i64)>,
}

impl Days {
    /// Sees that each (table, window start) has a partition.
    pub(super) fn have(
        &mut self,
        client: &mut Client,
        windows: impl Iterator<Item = (&'static Table, i64)>,
    ) -> Result<(), Failure> {
        for (table, start_ms) in windows {
            let day = (table.name, start_ms.div_euclid(DAY_MS));
            if !self.known.contains(&day) {
                create(client, table, start_ms)?;
                self.known.insert(day);
            }
        }
        Ok(())
    }

    /// Drops the partitions of which all is older than it is kept, counted back from the newest window, at most the clock.
    pub(super) fn drop_older(
        &mut self,
        client: &mut Client,
        kept: impl Fn(&Table) -> Option<Duration>,
    ) -> Result<(), Failure> {
        let newest = newest(client)?.map(|newest| Stamp(newest.0));
        for table in WINDOWED {
            let Some(kept) = kept(table) else { continue };
            let older = format!(
                "SELECT name FROM ({PARTITIONS}) AS partitions
                 WHERE is_bc OR ends < least(now(), $2::timestamptz) - make_interval(secs => $3)"
            );
            let names = client.query(&older, &[&table.name, &newest, &kept.as_secs_f64()])?;
            for name in names.iter().map(|row| row.get::<_, String>(0)) {
                client.batch_execute(&format!("DROP TABLE IF EXISTS {}", super::schema::quoted(&name)))?;
            }
        }
        self.known.clear();
        Ok(())
    }
}

/// The day of the newest one-minute window, by its partition.
pub(super) fn newest(client: &mut Client) -> Result<Option<EventTime>, Failure> {
    let newest = format!(
        "SELECT (extract(epoch FROM max(begins)) * 1000)::bigint FROM ({PARTITIONS}) AS partitions WHERE NOT is_bc"
    );
    let found: Option<i64> = client.query_one(&newest, &[&WINDOWED[0].name])?.get(0);
    Ok(found.map(EventTime))
}

/// Makes the partition that has an instant, unless somebody has. In a transaction of its own, before the delivery's.
fn create(client: &mut Client, table: &Table, start_ms: i64) -> Result<(), Failure> {
    match create_for(client, table, table.step, start_ms) {
        // Earlier releases have made partitions of days.
        Err(Failure::Postgres(error)) if error.code() == Some(&SqlState::INVALID_OBJECT_DEFINITION) => {
            create_for(client, table, Step::Day, start_ms)
        }
        done => done,
    }
}

fn create_for(client: &mut Client, table: &Table, step: Step, start_ms: i64) -> Result<(), Failure> {
    let (step, format) = match step {
        Step::Day => ("day", "_pYYYYMMDD"),
        Step::Month => ("month", "_pYYYYMM"),
        Step::Year => ("year", "_pYYYY"),
    };
    let mut transaction = client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&PARTITION_LOCK])?;
    let found = transaction.query_one(PARTITION, &[&table.name, &Stamp(start_ms), &step, &format])?;
    let (is_there, sql): (bool, String) = (found.get(0), found.get(1));
    if !is_there {
        transaction.batch_execute(&sql)?;
    }
    Ok(transaction.commit()?)
}
