//! The names of the devices and metrics that one worker owns, numbered densely.

use hashbrown::HashMap;
use std::sync::Arc;
use tidewatch_proto::ids::Name;
use tidewatch_proto::names::NameBook;

/// Names by number and numbers by name.
#[derive(Debug, Default)]
pub struct NameTable {
    numbers: HashMap<Name, u32>,
    names: Arc<NameBook>,
}

impl NameTable {
    /// The number of a name, which it gets now if it has none.
    pub fn intern(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.numbers.len() as u32;
        let name: Name = name.into();
        self.names.set(number, name.clone());
        self.numbers.insert(name, number);
        number
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, more: usize) {
        self.numbers.reserve(more);
    }

    /// The number of a name, if it has one.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The name of a number that this table gave.
    pub fn name(&self, number: u32) -> &Name {
        self.names.get(number).expect("a number of this table has a name")
    }

    /// The names by number, for whoever takes rows.
    pub fn book(&self) -> Arc<NameBook> {
        self.names.clone()
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

/// Devices, metrics and groups of one worker. The registry may name a device before its first reading.
#[derive(Debug, Default)]
pub struct Names {
    /// The devices.
    pub devices: NameTable,
    /// The metrics.
    pub metrics: NameTable,
    /// The sites and fleets that the registry names.
    pub groups: NameTable,
}
