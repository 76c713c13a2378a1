//! PostgreSQL's own partitions: one a day, made when a delivery first has a window of that day.

use super::failure::Failure;
use super::stamp::Stamp;
use postgres::Client;
use std::collections::BTreeSet;

const DAY_MS: i64 = 86_400_000;
/// The advisory lock that whoever makes or drops a partition holds ("tidewday" in ASCII).
const PARTITION_LOCK: i64 = 0x7469_6465_7764_6179;
/// Every partition of our tables, with the day in its name. Years before 1 end in `bc`.
const PARTITIONS: &str = "
    SELECT child.relname, substring(child.relname from '_p(\\d+)(?:bc)?$') AS day, child.relname LIKE '%bc' AS bc
    FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent
    WHERE parent.relkind = 'p' AND parent.relnamespace = current_schema()::regnamespace
      AND parent.relname IN ('aggregates_minute', 'aggregates_five_minutes', 'aggregates_hour', 'rollups_minute')
      AND child.relname ~ '_p\\d+(bc)?$'";
/// The name and bounds of the partition of table $1 for the day that begins at $2, and whether it is there.
/// It is attached rather than made in place: that doesn't lock out who reads and writes the table.
const PARTITION: &str = "
    SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = name AND relnamespace = current_schema()::regnamespace),
           format('CREATE TABLE %1$I (LIKE %2$I INCLUDING ALL);
                   ALTER TABLE %2$I ATTACH PARTITION %1$I FOR VALUES FROM (%3$L) TO (%4$L)',
                  name, parent, day, day + INTERVAL '1 day')
    FROM (SELECT $1::text AS parent, $2::timestamptz AS day,
                 $1::text || to_char($2::timestamptz, '_pYYYYMMDD')
                          || CASE WHEN extract(year FROM $2::timestamptz) < 1 THEN 'bc' ELSE '' END AS name) AS wanted";

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
        windows: impl Iterator<Item = (&'static str, i64)>,
    ) -> Result<(), Failure> {
        let mut missing: BTreeSet<(&'static str, i64)> = BTreeSet::new();
        for (table, start_ms) in windows {
            let day = (table, start_ms.div_euclid(DAY_MS));
            if !self.known.contains(&day) {
                missing.insert(day);
            }
        }
        for (table, day) in missing {
            create(client, table, day)?;
            self.known.insert((table, day));
        }
        Ok(())
    }

    /// Drops the partitions of days that ended more than so many seconds ago.
    pub(super) fn drop_older(&mut self, client: &mut Client, seconds: u64) -> Result<(), Failure> {
        let limit = format!("to_char(now() - INTERVAL '{seconds} seconds' - INTERVAL '1 day', 'YYYYMMDD')");
        let older = format!("SELECT relname::text FROM ({PARTITIONS}) AS ours WHERE bc OR day < {limit}");
        let names: Vec<String> = client.query(&older, &[])?.iter().map(|row| row.get(0)).collect();
        for name in names {
            client.batch_execute(&format!("DROP TABLE IF EXISTS {}", super::schema::quoted(&name)))?;
        }
        self.known.clear();
        Ok(())
    }
}

/// Makes a partition, unless somebody has. In a transaction of its own, before the delivery's.
fn create(client: &mut Client, table: &'static str, day: i64) -> Result<(), Failure> {
    let mut transaction = client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&PARTITION_LOCK])?;
    let found = transaction.query_one(PARTITION, &[&table, &Stamp(day * DAY_MS)])?;
    let (is_there, sql): (bool, String) = (found.get(0), found.get(1));
    if !is_there {
        transaction.batch_execute(&sql)?;
    }
    Ok(transaction.commit()?)
}
