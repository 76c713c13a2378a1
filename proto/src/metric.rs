//! What people should know about a metric: what it is called, in which unit it is, between which values it usually lies.

use crate::ids::Name;

/// What people should know about a metric. Nothing is refused by it: it is for whoever shows values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// What it is called.
    pub name: Option<Name>,
    /// The unit of its values, as it is written behind them.
    pub unit: Option<Name>,
    /// The least value that is usual.
    pub min: Option<f64>,
    /// The greatest value that is usual.
    pub max: Option<f64>,
    /// What it is about, in a sentence or two.
    pub description: Option<Name>,
}
