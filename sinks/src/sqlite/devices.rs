//! Which devices there are.

use super::failure::Failure;
use super::session::kept_from;
use super::tables::{DEVICE, Table, start_of};
use rusqlite::{Connection, params};
use tidewatch_proto::ids::Name;
use tidewatch_proto::query::{DeviceQuery, DeviceSummary};

const DAY_MINUTES: i64 = 24 * 60;
/// `lower` knows ASCII letters alone, and texts are compared byte by byte.
const DEVICES: &str = "
    SELECT id, name, latest FROM names
    WHERE kind = ?1 AND name > ?2 AND latest >= ?3 AND (?4 = '' OR instr(lower(name), ?4) > 0)
    ORDER BY name LIMIT ?5";
const AMONG: &str = "
    SELECT id, name, latest FROM names
    WHERE kind = ?1 AND name IN (SELECT value FROM json_each(?6)) AND name > ?2 AND latest >= ?3
        AND (?4 = '' OR instr(lower(name), ?4) > 0)
    ORDER BY name LIMIT ?5";
const METRICS: &str = "
    SELECT metrics.name FROM series JOIN metrics ON metrics.id = series.metric
    WHERE series.name = ?1 AND series.day >= ?2 ORDER BY metrics.name";

/// The devices that have one-minute rows, ascending by their ids. Of each the metrics and its latest window; a metric that
/// has fallen silent is left out up to a day after its last row has left.
pub(super) fn devices(connection: &Connection, query: &DeviceQuery) -> Result<Vec<DeviceSummary>, Failure> {
    let kept = kept_from(connection, Table::Minute)?;
    let (after, search) = (query.after.as_deref().unwrap_or(""), query.search.to_ascii_lowercase());
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut list = connection.prepare_cached(if query.among.is_some() { AMONG } else { DEVICES })?;
    let mut of = connection.prepare_cached(METRICS)?;
    let mut found = match &query.among {
        Some(names) => {
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            list.query(params![
                DEVICE,
                after,
                kept,
                search,
                limit,
                serde_json::json!(names).to_string()
            ])?
        }
        None => list.query(params![DEVICE, after, kept, search, limit])?,
    };
    let mut devices = Vec::new();
    while let Some(row) = found.next()? {
        let name: String = row.get(1)?;
        let metrics = of.query_map([row.get::<_, i64>(0)?, kept.div_euclid(DAY_MINUTES)], |row| {
            row.get::<_, String>(0)
        })?;
        devices.push(DeviceSummary {
            device: name.into(),
            metrics: metrics.map(|name| name.map(Name::from)).collect::<Result<_, _>>()?,
            latest: start_of(row.get(2)?),
        });
    }
    Ok(devices)
}
