//! Where devices belong, as the registry says it.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use tidewatch_proto::ids::Name;
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::time::EventTime;

/// The placements of each device, which follow the registry's changes.
#[derive(Debug, Default)]
pub struct Places(RwLock<BTreeMap<Name, Vec<Placement>>>);

/// Of which devices there is an interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Within {
    /// Those that stand in this site.
    pub(crate) site: Option<Name>,
    /// Those that belong to this fleet.
    pub(crate) fleet: Option<Name>,
}

impl Places {
    /// Follows a change of the registry.
    pub fn change(&self, change: &RegistryChange) {
        let mut devices = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for gone in &change.removed {
            if let Some(placements) = devices.get_mut(&gone.device) {
                placements.retain(|placement| placement != gone);
                if placements.is_empty() {
                    devices.remove(&gone.device);
                }
            }
        }
        for placement in &change.added {
            devices
                .entry(placement.device.clone())
                .or_default()
                .push(placement.clone());
        }
    }

    /// Where a device belongs at an instant.
    pub(crate) fn of(&self, device: &Name, at: EventTime) -> Option<Placement> {
        held(self.read().get(device)?, at).cloned()
    }

    /// The devices that belong there at an instant, ascending by their ids.
    pub(crate) fn within(&self, within: &Within, at: EventTime) -> Vec<Name> {
        let is = |wanted: &Option<Name>, name: &Name| wanted.as_ref().is_none_or(|wanted| wanted == name);
        let devices = self.read();
        let asked = devices.iter().filter(|(_, placements)| {
            held(placements, at)
                .is_some_and(|placement| is(&within.site, &placement.site) && is(&within.fleet, &placement.fleet))
        });
        asked.map(|(device, _)| device.clone()).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Name, Vec<Placement>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The placement that holds at an instant.
fn held(placements: &[Placement], at: EventTime) -> Option<&Placement> {
    placements
        .iter()
        .find(|placement| placement.from <= at && placement.to.is_none_or(|to| at < to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(device: &str, site: &str, from: i64, to: Option<i64>) -> Placement {
        Placement {
            device: device.into(),
            site: site.into(),
            fleet: "trucks".into(),
            from: EventTime(from),
            to: to.map(EventTime),
        }
    }

    #[test]
    fn a_device_is_where_it_belongs_at_the_time() {
        let places = Places::default();
        let moves = [placement("b", "north", 0, Some(10)), placement("b", "south", 10, None)];
        places.change(&RegistryChange {
            removed: Vec::new(),
            added: vec![placement("a", "north", 5, None), moves[0].clone(), moves[1].clone()],
        });
        let north = Within {
            site: Some("north".into()),
            fleet: Some("trucks".into()),
        };
        for (at, expected) in [(-1, &[][..]), (0, &["b"]), (5, &["a", "b"]), (10, &["a"])] {
            let found = places.within(&north, EventTime(at));
            let found: Vec<&str> = found.iter().map(|name| &**name).collect();
            assert_eq!(found, expected, "{at}");
        }
        let site = |at| {
            places
                .of(&"b".into(), EventTime(at))
                .map(|placement| placement.site.to_string())
        };
        assert_eq!(
            [site(-1), site(9), site(10)],
            [None, Some("north".to_owned()), Some("south".to_owned())]
        );
        places.change(&RegistryChange {
            removed: moves.to_vec(),
            added: Vec::new(),
        });
        assert_eq!(places.of(&"b".into(), EventTime(10)), None);
    }
}
