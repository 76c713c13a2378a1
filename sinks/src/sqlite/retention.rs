//! What leaves: by age, and when the file is larger than it may be. A little of it after each delivery.

use super::anomalies;
use super::config::SqliteSettings;
use super::dead_letters;
use super::failure::Failure;
use super::folder::News;
use super::names::{self, Names};
use super::session::{Session, end, keep_from};
use super::tables::{Table, id, slot, start_of};
use super::usage::Evicted;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidewatch_proto::time::PANE_MS;

/// How long to wait between two looks for what is too old.
const EVERY: Duration = Duration::from_secs(60);
/// So many keys leave in one transaction.
const KEYS: i64 = 20_000;
/// So many transactions are made after one delivery at most.
const STEPS: usize = 10;
/// After a delivery so many fresh rows are packed, or twice as many as came.
const PACKED_MIN: usize = 10_000;
/// Free pages in the file that it may keep: they are used again.
const FREE_PAGES: i64 = 2_048;
const DAY_MINUTES: i64 = 24 * 60;

/// Does what is due: after a delivery of so many rows, in transactions of its own.
pub(super) fn tend(session: &mut Session, settings: &SqliteSettings, news: &News, rows: usize) -> Result<(), Failure> {
    session.fresh.pack(&session.connection, PACKED_MIN.max(2 * rows))?;
    let mut steps = STEPS;
    let now = Instant::now();
    if now >= session.tend_at {
        let wall_ms = wall_ms();
        by_age(session, settings, wall_ms)?;
        let letters_done = dead_letters::keep(session, settings, wall_ms)?;
        let anomalies_done = anomalies::keep(&session.connection, settings, wall_ms)?;
        let is_done = delete(session, &mut steps)? && letters_done && anomalies_done;
        forget(session)?;
        tell_gone(session, news);
        shrink(&session.connection)?;
        // What is left is gone on with after the next delivery.
        session.tend_at = if is_done { now + EVERY } else { now };
    }
    by_size(session, settings, news, steps)
}

/// Milliseconds since 1970.
pub(super) fn wall_ms() -> i64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH);
    age.map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// Moves the beginnings of the tables on.
fn by_age(session: &mut Session, settings: &SqliteSettings, wall_ms: i64) -> Result<(), Failure> {
    let newest = session.kept.newest.min(wall_ms / PANE_MS);
    for table in Table::ALL {
        let kept = settings.kept_ms[table as usize] / PANE_MS;
        let from = table
            .period_of(newest.saturating_sub(kept))
            .saturating_mul(table.period());
        if session.kept.newest > i64::MIN && from > session.kept.from[table as usize] {
            cut(session, table, from)?;
        }
    }
    Ok(())
}

/// From now on nothing is kept of a table before a minute with which a period begins.
fn cut(session: &mut Session, table: Table, from: i64) -> Result<(), Failure> {
    keep_from(&session.connection, table, from)?;
    session.kept.from[table as usize] = from;
    session.fresh.cut(table, table.period_of(from));
    Ok(())
}

/// Deletes what lies before the beginnings of the tables, in so many steps at most. Says whether all of it is gone.
fn delete(session: &mut Session, steps: &mut usize) -> Result<bool, Failure> {
    for table in Table::ALL {
        let from = session.kept.from[table as usize];
        for (place, (name, step)) in table.parts().into_iter().enumerate() {
            let below = id(from.div_euclid(step), 0);
            while end(&session.connection, &name, "min")?.is_some_and(|first| first < below) {
                if *steps == 0 {
                    return Ok(false);
                }
                *steps -= 1;
                let rows = delete_some(&session.connection, &name, below)?;
                if place == 0 {
                    session.fresh.left(rows);
                }
            }
        }
    }
    Ok(true)
}

/// Deletes the first keys of one of SQLite's tables that are below one.
fn delete_some(connection: &Connection, name: &str, below: i64) -> Result<usize, Failure> {
    let sql = format!(
        "DELETE FROM {name} WHERE id < coalesce(
             (SELECT id FROM {name} WHERE id < ?1 ORDER BY id LIMIT 1 OFFSET ?2), ?1)"
    );
    Ok(connection.prepare_cached(&sql)?.execute([below, KEYS])?)
}

/// Forgets names of which nothing is kept any more.
fn forget(session: &mut Session) -> Result<(), Failure> {
    let from = session.kept.from.iter().min().copied().unwrap_or(i64::MIN);
    let day = from.div_euclid(DAY_MINUTES);
    if from == i64::MIN || day <= session.forgotten {
        return Ok(());
    }
    let transaction = Transaction::new_unchecked(&session.connection, TransactionBehavior::Immediate)?;
    let any = names::forget(&transaction, day)?;
    transaction.commit()?;
    session.forgotten = day;
    if any {
        session.names = Names::default();
    }
    Ok(())
}

/// Lets the oldest windows leave while the file holds more than it may: of minutes and rollups first, then hours, then
/// days.
fn by_size(session: &mut Session, settings: &SqliteSettings, news: &News, mut steps: usize) -> Result<(), Failure> {
    while steps > 0 && used_bytes(&session.connection)? > settings.bytes_max {
        if !delete(session, &mut steps)? || used_bytes(&session.connection)? <= settings.bytes_max {
            break;
        }
        let mut leaving = None;
        for (place, tables) in Table::LEAVING.into_iter().enumerate() {
            if let Some(first) = oldest(&session.connection, tables)? {
                leaving = Some((place, tables, first));
                break;
            }
        }
        let Some((place, tables, first)) = leaving else { break };
        let from = (tables[0].period_of(first) + 1) * tables[0].period();
        for table in tables {
            if from > session.kept.from[*table as usize] {
                cut(session, *table, from)?;
            }
        }
        let what = [Evicted::Minutes, Evicted::Hours, Evicted::Days][place];
        session.usage.evict(what, 1);
        tell(session, settings, news, (place, from));
        delete(session, &mut steps)?;
    }
    session.usage.note(used_bytes(&session.connection)?);
    Ok(())
}

/// The minute of the oldest window of some tables.
fn oldest(connection: &Connection, tables: &[Table]) -> Result<Option<i64>, Failure> {
    let mut oldest = None;
    for (name, step) in tables.iter().flat_map(|table| table.parts()) {
        let first = end(connection, &name, "min")?.map(|id| slot(id) * step);
        oldest = first.into_iter().chain(oldest).min();
    }
    Ok(oldest)
}

/// Says once a day of windows that they leave early.
fn tell(session: &mut Session, settings: &SqliteSettings, news: &News, (place, from): (usize, i64)) {
    let day = from.div_euclid(DAY_MINUTES);
    let told = &mut session.told[place];
    if std::mem::replace(told, day) == day {
        return;
    }
    let since = u64::try_from(start_of(from).0).map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
    let before = since.map_or_else(
        |_| "1970".to_owned(),
        |at| humantime::format_rfc3339_seconds(at).to_string(),
    );
    let what = [
        "one-minute and five-minute windows and rollups",
        "one-hour windows",
        "windows of a day",
    ][place];
    let bytes = tidewatch_settings::Size(settings.bytes_max);
    news(&format!(
        "the embedded store has reached embedded.bytes_max, {bytes}: {what} before {before} leave early"
    ));
}

/// Says of messages that came too late for memory, and for the store too.
fn tell_gone(session: &mut Session, news: &News) {
    let (gone, told) = session.gone;
    if gone > told {
        let messages = gone - told;
        news(&format!(
            "{messages} messages were for windows that the embedded store keeps no more, and are lost"
        ));
        session.gone.1 = gone;
    }
}

/// How many bytes of the file are in use.
pub(super) fn used_bytes(connection: &Connection) -> Result<u64, Failure> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = number("page_count")? - number("freelist_count")?;
    Ok((pages * number("page_size")?).unsigned_abs())
}

/// Gives space back when the file has much of it that isn't used.
fn shrink(connection: &Connection) -> Result<(), Failure> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (free, all) = (number("freelist_count")?, number("page_count")?);
    if free > FREE_PAGES && free > all / 4 {
        connection.execute_batch(&format!("PRAGMA incremental_vacuum({FREE_PAGES})"))?;
    }
    Ok(())
}
