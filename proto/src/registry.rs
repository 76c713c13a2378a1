//! Which site and fleet a device belongs to, and since when.

use crate::ids::Name;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};

/// One stretch of a device's life: where it belongs from `from` until `to`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Placement {
    /// The device.
    pub device: Name,
    /// The site it stands in.
    pub site: Name,
    /// The fleet it belongs to.
    pub fleet: Name,
    /// The first instant of the stretch.
    pub from: EventTime,
    /// The first instant after the stretch; `None` when it lasts.
    pub to: Option<EventTime>,
}

/// A change of the registry: placements that end, and others that begin to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryChange {
    /// Placements that no longer hold.
    pub removed: Vec<Placement>,
    /// Placements that hold now.
    pub added: Vec<Placement>,
}
