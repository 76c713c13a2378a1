//! What sinks are given: parcels of rows, rejects and stragglers, and what an earlier run had not delivered of them.

use std::sync::{Arc, mpsc};
use tidewatch_checkpoints::Brought;
use tidewatch_dataflow::capture::{letter_of, reject_bytes};
use tidewatch_dataflow::checkpoint::Outbox;
use tidewatch_dataflow::stats::Stats;
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::reject::{Reason, Reject};
use tidewatch_proto::row::{Delivery, Row};
use tidewatch_proto::straggler::Straggler;
use tidewatch_sinks::parts::Parts;

/// A delivery on its way to sinks. What it weighs leaves the outbox's gauge with the last of them.
#[derive(Debug)]
pub struct Parcel<T> {
    /// What is delivered.
    pub delivery: Delivery<T>,
    /// Whether these are rows that a store has added readings to, which follow those of their epochs.
    pub is_mended: bool,
    bytes: i64,
    stats: Arc<Stats>,
}

impl<T> Drop for Parcel<T> {
    fn drop(&mut self) {
        self.stats.outbox_bytes.add(-self.bytes);
    }
}

impl AsRef<[Row]> for Parcel<Row> {
    fn as_ref(&self) -> &[Row] {
        &self.delivery.items
    }
}

/// Where a sink's thread takes its deliveries from.
pub type Inbox<T> = mpsc::Sender<Arc<Parcel<T>>>;

impl<T> Parcel<T> {
    /// A delivery of a run as of an epoch, of which so many bytes are in the outbox's gauge already.
    pub fn new(
        (generation, through, stats): (Generation, Epoch, &Arc<Stats>),
        items: Vec<T>,
        bytes: i64,
    ) -> Arc<Parcel<T>> {
        Arc::new(Parcel {
            delivery: Delivery {
                generation,
                through,
                items,
            },
            is_mended: false,
            bytes,
            stats: stats.clone(),
        })
    }

    /// A delivery of other items for the same epochs, which weigh so many bytes from now on.
    pub fn mended<U>(&self, items: Vec<U>, bytes: i64) -> Arc<Parcel<U>> {
        self.stats.outbox_bytes.add(bytes);
        Arc::new(Parcel {
            delivery: Delivery {
                generation: self.delivery.generation,
                through: self.delivery.through,
                items,
            },
            is_mended: true,
            bytes,
            stats: self.stats.clone(),
        })
    }
}

/// What comes with a checkpoint.
#[derive(Clone)]
pub struct Cargo {
    /// Its rows.
    pub rows: Arc<Parcel<Row>>,
    /// Its rejects.
    pub rejects: Arc<Parcel<Reject>>,
    /// Readings for the storing sink.
    pub stragglers: Arc<Parcel<Straggler>>,
    /// What rules have found.
    pub anomalies: Arc<Parcel<Anomaly>>,
}

impl Cargo {
    /// All of it, for the checkpoint.
    pub fn brought(&self) -> Brought<'_> {
        Brought {
            rows: &self.rows.delivery.items,
            rejects: &self.rejects.delivery.items,
            stragglers: &self.stragglers.delivery.items,
            anomalies: &self.anomalies.delivery.items,
        }
    }
}

/// Rows, and readings that a store adds to its rows.
pub type Stored = (Arc<Parcel<Row>>, Arc<Parcel<Straggler>>);

/// Where all sinks' threads take their deliveries from.
#[derive(Clone, Default)]
pub struct Inboxes {
    /// Where rows go, besides the storing sink.
    pub rows: Vec<Inbox<Row>>,
    /// Where rejects go.
    pub rejects: Vec<Inbox<Reject>>,
    /// Where anomalies go.
    pub anomalies: Vec<Inbox<Anomaly>>,
    /// The storing sink, which gives the others the rows that it has mended.
    pub storing: Option<mpsc::Sender<Stored>>,
}

impl Inboxes {
    /// Gives every sink what is for it.
    pub fn give(&self, cargo: &Cargo) {
        // A sink that has ended has said why.
        fn to<T>(inboxes: &[Inbox<T>], parcel: &Arc<Parcel<T>>) {
            inboxes.iter().for_each(|inbox| drop(inbox.send(parcel.clone())));
        }
        to(&self.rows, &cargo.rows);
        to(&self.rejects, &cargo.rejects);
        to(&self.anomalies, &cargo.anomalies);
        if let Some(storing) = &self.storing {
            let _ = storing.send((cargo.rows.clone(), cargo.stragglers.clone()));
        }
    }
}

/// The parts of an outbox that this process's sinks deliver.
pub fn own(outbox: &mut Outbox, parts: &Parts) {
    outbox
        .rows
        .values_mut()
        .for_each(|rows| rows.retain(|row| parts.contains(row.part())));
    let rejects = outbox.rejects.values_mut();
    rejects.for_each(|rejects| rejects.retain(|reject| parts.contains(reject.part())));
    let stragglers = outbox.stragglers.values_mut();
    stragglers.for_each(|stragglers| stragglers.retain(|straggler| parts.contains(straggler.part())));
    let anomalies = outbox.anomalies.values_mut();
    anomalies.for_each(|anomalies| anomalies.retain(|anomaly| parts.contains(anomaly.part())));
}

/// What an earlier run had not delivered, as of the epoch at which it was saved. Without a store that takes stragglers
/// these are dead letters.
pub fn inherited(
    outbox: Outbox,
    (generation, through): (Generation, Epoch),
    stores: bool,
    stats: &Arc<Stats>,
) -> Cargo {
    let rows: Vec<Row> = outbox.rows.into_values().flatten().collect();
    let mut rejects: Vec<Reject> = outbox.rejects.into_values().flatten().collect();
    let mut stragglers: Vec<Straggler> = outbox.stragglers.into_values().flatten().collect();
    if !stores {
        rejects.extend(letters(std::mem::take(&mut stragglers), stats));
    }
    let row_bytes = (rows.len() * size_of::<Row>()) as i64;
    let reject_bytes = rejects.iter().map(reject_bytes).sum();
    let straggler_bytes = stragglers.iter().map(Straggler::bytes).sum();
    let anomalies: Vec<Anomaly> = outbox.anomalies.into_values().flatten().collect();
    let anomaly_bytes = anomalies.iter().map(Anomaly::bytes).sum();
    let bytes = row_bytes + reject_bytes + straggler_bytes + anomaly_bytes;
    stats.outbox_bytes.add(bytes);
    let whole = (generation, through, stats);
    Cargo {
        rows: Parcel::new(whole, rows, row_bytes),
        rejects: Parcel::new(whole, rejects, reject_bytes),
        stragglers: Parcel::new(whole, stragglers, straggler_bytes),
        anomalies: Parcel::new(whole, anomalies, anomaly_bytes),
    }
}

/// Stragglers as dead letters.
pub fn letters(stragglers: Vec<Straggler>, stats: &Stats) -> impl Iterator<Item = Reject> {
    stats.dead_letters(Reason::BeyondHorizon).add(stragglers.len() as u64);
    let detail = "its windows left memory, and no store takes it any more; re-encoded, without raw";
    stragglers.into_iter().map(|one| letter_of(&one, detail.to_owned()))
}
