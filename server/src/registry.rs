//! The registry file: which site and fleet each device belongs to, and since when.

use crate::table::{TableFile, lines};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::SystemTime;
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::time::{EVENT_TIME_MIN, EventTime};

/// The columns of the file.
const COLUMNS: [&str; 4] = ["device_id", "site", "fleet", "valid_from"];

/// A registry file, read again when it changes.
#[derive(Debug)]
pub struct RegistryFile {
    file: TableFile,
    placements: BTreeSet<Placement>,
}

impl RegistryFile {
    /// A registry that was not read yet.
    pub fn new(path: &Path) -> RegistryFile {
        RegistryFile {
            file: TableFile::new(path),
            placements: BTreeSet::new(),
        }
    }

    /// Reads the file if it has changed, and gives the difference.
    ///
    /// # Errors
    /// What can't be read, or which line can't be used; what held before goes on holding.
    pub fn read(&mut self) -> Result<Option<RegistryChange>, String> {
        let Some(now) = self.file.read(parse)? else {
            return Ok(None);
        };
        let change = RegistryChange {
            removed: self.placements.difference(&now).cloned().collect(),
            added: now.difference(&self.placements).cloned().collect(),
        };
        self.placements = now;
        Ok((!change.removed.is_empty() || !change.added.is_empty()).then_some(change))
    }
}

/// A line of the file: where a device belongs from an instant on.
type Since = BTreeMap<EventTime, (String, String)>;

/// Reads a registry: `device_id,site,fleet,valid_from`, where `valid_from` is RFC 3339, or epoch
/// milliseconds, or empty for always. A device's later line ends its earlier one.
fn parse(text: &[u8]) -> Result<BTreeSet<Placement>, String> {
    let mut devices: BTreeMap<String, Since> = BTreeMap::new();
    for (at, [device, site, fleet, from]) in lines(text, COLUMNS)? {
        if device.is_empty() || site.is_empty() || fleet.is_empty() {
            return Err(format!("line {at} lacks a device_id, site or fleet"));
        }
        let from = instant(&from).ok_or_else(|| format!("line {at}: valid_from \"{from}\" is no time"))?;
        let since = devices.entry(device.clone()).or_default();
        if since.insert(from, (site, fleet)).is_some() {
            return Err(format!("line {at}: {device} has two lines from the same time on"));
        }
    }
    Ok(devices
        .into_iter()
        .flat_map(|(device, since)| placements(&device, &since))
        .collect())
}

fn placements(device: &str, since: &Since) -> Vec<Placement> {
    let ends = since.keys().skip(1).copied().map(Some).chain([None]);
    let spans = since.iter().zip(ends);
    spans
        .map(|((from, (site, fleet)), to)| Placement {
            device: device.into(),
            site: site.as_str().into(),
            fleet: fleet.as_str().into(),
            from: *from,
            to,
        })
        .collect()
}

fn instant(text: &str) -> Option<EventTime> {
    if text.is_empty() {
        return Some(EVENT_TIME_MIN);
    }
    if let Ok(ms) = text.parse() {
        return Some(EventTime(ms));
    }
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(EventTime(since.as_millis() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_line_ends_an_earlier_one() {
        let text = "device_id,site,fleet,valid_from\nd1,oslo,north,\nd1,bergen,north,2025-06-15T16:00:00Z\n";
        let all: Vec<Placement> = parse(text.as_bytes()).expect("good").into_iter().collect();
        let moved = EventTime(1_750_003_200_000);
        assert_eq!(all.len(), 2);
        assert!(all.iter().any(|p| &*p.site == "oslo" && p.to == Some(moved)));
        assert!(
            all.iter()
                .any(|p| &*p.site == "bergen" && p.from == moved && p.to.is_none())
        );
    }

    #[test]
    fn names_may_hold_what_divides_fields() {
        let text = "device_id, site, fleet, valid_from\n# moved in June\n\"d,1\",\"Oslo, north\",\"a \"\"b\"\"\",0\n";
        let all: Vec<Placement> = parse(text.as_bytes()).expect("good").into_iter().collect();
        assert_eq!(
            (&*all[0].device, &*all[0].site, &*all[0].fleet),
            ("d,1", "Oslo, north", "a \"b\"")
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let head = "device_id,site,fleet,valid_from\n";
        for (text, want) in [
            ("device,site\n", "line 1 must be"),
            (&*format!("{head}d1,oslo\n"), "line 2 has 2 fields"),
            (&*format!("{head}\nd1,oslo,,\n"), "line 3 lacks"),
            (
                &*format!("{head}d1,a,b,yesterday\n"),
                "line 2: valid_from \"yesterday\" is no time",
            ),
            (&*format!("{head}d1,a,b,\nd1,c,b,\n"), "line 3: d1 has two lines"),
            (&*format!("{head}# none\n\nd1,oslo,"), "line 4 has 3 fields"),
            ("", "line 1 must be"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert!(error.starts_with(want), "{error}");
        }
    }
}
