//! The way to the sinks: they are given what is durable.

use super::archiving::Positions;
use super::opened::Log;
use super::parcel::{Cargo, Inboxes};
use super::sinks::{Confirmed, Surroundings};
use super::talk::Talk;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewatch_api::Tap;
use tidewatch_api::tap::SharedRows;
use tidewatch_checkpoints::{Event, Owner, Share};
use tidewatch_dataflow::checkpoint::Meta;
use tidewatch_failpoints::{Point, pass};
use tidewatch_proto::ids::Epoch;

/// Gives sinks what is durable.
pub struct Outlet {
    /// Where all of it goes.
    pub to: Inboxes,
    /// What sinks have taken.
    pub confirmed: Confirmed,
    /// What it shares with sinks.
    pub around: Surroundings,
    /// The log, which is told how far it is read.
    pub log: Log,
    /// How far the archive has come, if there is one: the log keeps what it still needs.
    pub archived: Option<Positions>,
    /// To speak to the cluster's other processes.
    pub talk: Talk,
    /// What rows are shown to besides.
    pub tap: Arc<Tap>,
}

impl Outlet {
    /// Gives sinks nothing more.
    pub fn close(&mut self) {
        self.to = Inboxes::default();
    }
}

impl Owner for Outlet {
    type Cargo = Cargo;

    fn durable(&mut self, meta: &Meta, cargo: Cargo) {
        self.to.give(&cargo);
        self.tap.anomalies(&cargo.anomalies.delivery.items);
        let rows: SharedRows = cargo.rows;
        self.tap.durable(&rows, meta.epoch);
        if !matches!(self.log, Log::None) {
            pass(Point::PositionsCommit);
            // Of partitions that others read this process knows only where they stood at the start.
            let own = meta
                .positions
                .iter()
                .filter(|position| self.talk.member.reads(position.partition));
            let positions = own.map(|position| (position.partition, position.next));
            self.log.read_until(&positions.collect::<Vec<_>>());
            if let Some(archived) = &self.archived {
                self.log.hold(&archived());
            }
            pass(Point::PositionsCommitted);
        }
    }

    fn delivered(&self) -> Epoch {
        self.confirmed.through()
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Failed(error, wait) => {
                self.around.outages.fetch_add(1, Ordering::SeqCst);
                let again = wait.as_millis();
                self.around.terminal.news(&format!(
                    "a checkpoint can't be written: {error}; nothing is lost, sinks wait, the next try is in {again} ms"
                ));
            }
            Event::Recovered => {
                self.around.outages.fetch_sub(1, Ordering::SeqCst);
                self.around.terminal.news("checkpoints can be written again");
            }
        }
    }

    fn gives_up(&self) -> bool {
        self.around.give_up.load(Ordering::SeqCst)
    }

    fn report(&mut self, share: Share) {
        self.talk.share(share);
    }

    fn announce(&mut self, epoch: Epoch) {
        self.talk.durable(epoch);
    }
}
