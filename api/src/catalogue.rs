//! What is known of metrics, for whoever shows their values.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tidewatch_proto::ids::Name;
use tidewatch_proto::metric::Metadata;

/// What is known of metrics, by their names; it may be replaced while requests read it.
#[derive(Debug, Default)]
pub struct Catalogue(RwLock<Arc<BTreeMap<Name, Metadata>>>);

impl Catalogue {
    /// What is known at the start.
    pub fn new(metrics: BTreeMap<Name, Metadata>) -> Catalogue {
        Catalogue(RwLock::new(Arc::new(metrics)))
    }

    /// Takes the place of all that was known.
    pub fn replace(&self, metrics: BTreeMap<Name, Metadata>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(metrics);
    }

    /// What is known now.
    pub fn now(&self) -> Arc<BTreeMap<Name, Metadata>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
