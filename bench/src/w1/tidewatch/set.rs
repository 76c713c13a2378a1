//! Which aggregates a run keeps, and what the engine is told for them.

use crate::w1::DEVICES_PER_SITE;
use crate::w1::spec::Spec;
use clap::ValueEnum;
use std::sync::Arc;
use tidewatch_dataflow::EngineConfig;
use tidewatch_dataflow::command::Command;
use tidewatch_dataflow::rollup::Level;
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::time::EventTime;

/// Which aggregates are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Set {
    /// Count, sum, least, greatest and mean by the minute: what W1 asks for.
    Minutes,
    /// Minutes with quantiles.
    Quantiles,
    /// W2: quantiles, and five-minute windows hopping by one.
    W2,
    /// Quantiles, and one-hour windows.
    Hours,
    /// Everything that the engine keeps by default: quantiles, five-minute and one-hour windows too.
    Full,
    /// Minutes, and their rollup by site.
    Sites,
}

impl Set {
    /// The engine's settings. What a service needs is on in all: limits, dead letters, dropped duplicates,
    /// corrections, positions.
    pub fn config(self, threads: usize) -> EngineConfig {
        EngineConfig {
            threads,
            quantiles: matches!(self, Self::Quantiles | Self::W2 | Self::Hours | Self::Full),
            five_minutes: self.has_hops(),
            hour: matches!(self, Self::Hours | Self::Full),
            day: matches!(self, Self::Full),
            ..EngineConfig::default()
        }
    }

    /// Are five-minute windows kept?
    pub fn has_hops(self) -> bool {
        matches!(self, Self::W2 | Self::Full)
    }

    /// What the engine is told before it reads the first record of a stream.
    pub(super) fn first_commands(self, spec: Option<Spec>) -> Vec<Command> {
        match (self, spec) {
            (Self::Sites, Some(spec)) => vec![
                Command::Registry(Arc::new(registry(spec.devices))),
                Command::StartRollup(Level::Site),
            ],
            _ => Vec::new(),
        }
    }
}

/// Every device in its site since ever.
fn registry(devices: u32) -> RegistryChange {
    let added = (0..devices).map(|device| Placement {
        device: format!("dev-{device:06}").into(),
        site: format!("site-{:06}", device / DEVICES_PER_SITE).into(),
        fleet: "fleet".into(),
        from: EventTime(0),
        to: None,
    });
    RegistryChange {
        removed: Vec::new(),
        added: added.collect(),
    }
}
