//! Who runs when, and what happens to it.

use super::services::Service;
use super::workload::Random;
use std::time::Duration;
use tidewatch_failpoints::Point;

/// How the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Processes.
    pub processes: usize,
    /// Threads of each.
    pub threads: usize,
}

/// Where checkpoints are kept: one place for all runs of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A folder that one process has for itself.
    Folder,
    /// A folder that the processes of a cluster share.
    Shared,
    /// A bucket.
    Bucket,
}

impl StoreKind {
    /// All of them.
    pub const ALL: [StoreKind; 3] = [StoreKind::Folder, StoreKind::Shared, StoreKind::Bucket];

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            StoreKind::Folder => "folder",
            StoreKind::Shared => "shared",
            StoreKind::Bucket => "bucket",
        }
    }

    /// All ways to run on it, in the order in which runs take turns.
    pub fn shapes(self) -> &'static [Shape] {
        match self {
            StoreKind::Folder => &ALONE,
            StoreKind::Shared | StoreKind::Bucket => &TOGETHER,
        }
    }
}

const ALONE: [Shape; 2] = [shape(1, 1), shape(1, 2)];
/// The number of processes goes up and down, and so does that of workers.
const TOGETHER: [Shape; 5] = [shape(1, 1), shape(2, 1), shape(4, 1), shape(2, 2), shape(1, 2)];

/// So many processes with so many threads each.
pub const fn shape(processes: usize, threads: usize) -> Shape {
    Shape { processes, threads }
}

/// Where dead letters go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letters {
    /// To a topic.
    Kafka,
    /// To a table.
    Postgres,
    /// To an embedded store, which then has the rows too.
    Embedded,
}

/// What a place does when it is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It ends the process as `kill -9` does.
    Kill,
    /// It makes an error, twice in a row.
    Error,
    /// It waits for half a second.
    Delay,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 3] = [Action::Kill, Action::Error, Action::Delay];

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Action::Kill => "kill",
            Action::Error => "error",
            Action::Delay => "delay",
        }
    }
}

/// What happens to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One process is killed while messages come.
    Kill,
    /// It is told to stop.
    Stop,
    /// A place does what the environment says, and at last it is killed.
    Orders(String),
    /// A process stops at a place as if its machine hung, another run replaces it, and it wakes up again.
    Zombie(Point, Hung),
    /// A service is killed so many times, and comes back.
    Crashes(Service, usize),
    /// A service is away for a time.
    Outage(Service, Duration),
    /// On each way to a service or between processes everything goes wrong once that can.
    Hindered,
}

/// What of a run hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hung {
    /// All processes.
    All,
    /// One; the others notice it.
    One,
}

impl Fault {
    /// An action at a place: at once where a run passes it as it starts, else at a later passing.
    pub fn at(point: Point, action: Action) -> Fault {
        let name = point.name();
        let at = if is_passed_at_start(point) { 1 } else { 3 };
        Fault::Orders(match action {
            Action::Kill => format!("{name}=kill@{at}"),
            Action::Error => format!("{name}=error*2@{at}"),
            Action::Delay => format!("{name}=delay:500@{at}"),
        })
    }
}

/// Whether a run passes a place while it starts, and then seldom.
fn is_passed_at_start(point: Point) -> bool {
    use Point::{
        ArchiveMerge, ArchiveMerged, ArchiveRemove, ArchiveRemoved, ArchiveReplaced, KafkaLettersInit, KafkaRowsInit,
        LoadList, LoadManifest, LoadSegment, MendedGive, MendedGiven, OutboxGiven, PostgresConnected, PostgresMend,
        PostgresMended, RestoreBegin, RestoreDone, S3Get, SinksStarted,
    };
    matches!(
        point,
        ArchiveMerge
            | ArchiveMerged
            | ArchiveRemove
            | ArchiveRemoved
            | ArchiveReplaced
            | KafkaLettersInit
            | KafkaRowsInit
            | LoadList
            | LoadManifest
            | LoadSegment
            | MendedGive
            | MendedGiven
            | OutboxGiven
            | PostgresConnected
            | PostgresMend
            | PostgresMended
            | RestoreBegin
            | RestoreDone
            | S3Get
            | SinksStarted
    )
}

/// Where a run passes a place: on which store, and with which sink of dead letters. Nowhere when it is a place of the
/// embedded log: these runs read a topic, and that log has a test of its own.
pub fn passed_with(point: Point) -> Option<(StoreKind, Letters)> {
    use Point::{
        CheckpointAnnounced, CheckpointHeard, EmbeddedBegin, EmbeddedCommit, EmbeddedCommitted, EmbeddedLettersBegin,
        EmbeddedLettersCommit, EmbeddedLettersCommitted, EmbeddedLettersProgress, EmbeddedProgress, LogRemove,
        LogRemoved, LogRoll, LogRolled, LogSynced, LogWrite, LogWritten, PostgresLettersBegin, PostgresLettersCommit,
        PostgresLettersCommitted, PostgresLettersProgress, ReplayNoted, ReplayPut, S3Get, S3List, S3Put, S3Remove,
        S3Removed, S3Stored, ShareGather, ShareReport,
    };
    Some(match point {
        LogWrite | LogWritten | LogSynced | LogRoll | LogRolled | LogRemove | LogRemoved | ReplayNoted | ReplayPut => {
            return None;
        }
        S3Put | S3Stored | S3Get | S3List | S3Remove | S3Removed => (StoreKind::Bucket, Letters::Kafka),
        PostgresLettersBegin | PostgresLettersProgress | PostgresLettersCommit | PostgresLettersCommitted => {
            (StoreKind::Folder, Letters::Postgres)
        }
        EmbeddedBegin
        | EmbeddedProgress
        | EmbeddedCommit
        | EmbeddedCommitted
        | EmbeddedLettersBegin
        | EmbeddedLettersProgress
        | EmbeddedLettersCommit
        | EmbeddedLettersCommitted => (StoreKind::Folder, Letters::Embedded),
        ShareReport | ShareGather | CheckpointAnnounced | CheckpointHeard => (StoreKind::Shared, Letters::Kafka),
        _ => (StoreKind::Folder, Letters::Kafka),
    })
}

/// A run of the program and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stint {
    /// How it runs.
    pub shape: Shape,
    /// What happens to it.
    pub fault: Fault,
}

/// So many kills, shapes in turn.
pub fn kills(store: StoreKind, count: usize) -> Vec<Stint> {
    stints(store, (0..count).map(|_| Fault::Kill))
}

/// Stints with these faults, shapes in turn. What is about several processes is left to runs that have them.
pub fn stints(store: StoreKind, faults: impl IntoIterator<Item = Fault>) -> Vec<Stint> {
    let mut shapes = store.shapes().iter().copied().cycle();
    let mut stint = |fault: Fault| {
        let fits = |shape: &Shape| shape.processes > 1 || !needs_several(&fault);
        let shape = shapes.by_ref().find(fits).unwrap_or(ALONE[0]);
        Stint { shape, fault }
    };
    faults.into_iter().map(&mut stint).collect()
}

/// Whether a fault happens only where there are several processes.
fn needs_several(fault: &Fault) -> bool {
    match fault {
        Fault::Zombie(_, hung) => *hung == Hung::One,
        Fault::Orders(orders) => {
            let of_several = [
                Point::ShareReport,
                Point::ShareGather,
                Point::CheckpointAnnounced,
                Point::CheckpointHeard,
            ];
            of_several.iter().any(|point| orders.starts_with(point.name()))
        }
        Fault::Kill | Fault::Stop | Fault::Crashes(..) | Fault::Outage(..) | Fault::Hindered => false,
    }
}

/// What shows a mistake: kills at moments at which something is only half done, an error, and where runs share a store
/// one that is replaced.
pub fn probing(store: StoreKind) -> Vec<Fault> {
    let at = |orders: &str| Fault::Orders(orders.to_owned());
    let mut faults = vec![
        Fault::Kill,
        at("manifest-write=delay:700@3;manifest-written=kill@3"),
        at("postgres-begin=delay:1500@3;postgres-progress=kill@3"),
        at("postgres-commit=error*1@3"),
        Fault::Kill,
    ];
    if store != StoreKind::Folder {
        faults.insert(4, Fault::Zombie(Point::PostgresBegin, Hung::All));
    }
    faults
}

/// Places at which a run that hangs holds something, or is about to write, and what hangs there.
pub fn zombies(store: StoreKind) -> Vec<Fault> {
    let (manifest, segment) = match store {
        StoreKind::Bucket => (Point::S3Put, Point::S3Stored),
        StoreKind::Folder | StoreKind::Shared => (Point::ManifestWrite, Point::SegmentWrite),
    };
    let places = [
        (Point::KafkaRowsFlush, Hung::All),
        (Point::PostgresProgress, Hung::All),
        (Point::KafkaRowsCommit, Hung::One),
        (manifest, Hung::All),
        (Point::PostgresCommit, Hung::One),
        (Point::KafkaLettersFlush, Hung::All),
        (Point::CheckpointDurable, Hung::All),
        (segment, Hung::One),
        (Point::PostgresBegin, Hung::All),
        (Point::Confirm, Hung::One),
    ];
    places
        .into_iter()
        .map(|(point, hung)| Fault::Zombie(point, hung))
        .collect()
}

/// Every place that such a run passes, with every action that it can do.
pub fn all_failpoints() -> Vec<(Point, Fault)> {
    let actions = |point: &Point| {
        let point = *point;
        let actions = Action::ALL.into_iter();
        actions
            .filter(move |action| *action != Action::Error || point.can_fail())
            .map(move |action| (point, Fault::at(point, action)))
    };
    let passed = Point::ALL.iter().filter(|point| passed_with(**point).is_some());
    passed.flat_map(actions).collect()
}

/// Some of those that are passed on a store, from a seed: at least one of each action.
pub fn some_failpoints(store: StoreKind, seed: u64, count: usize) -> Vec<Fault> {
    let there = |point: &Point| {
        let is_there = |needed| needed == store || (store, needed) == (StoreKind::Shared, StoreKind::Folder);
        passed_with(*point).is_some_and(|(needed, letters)| letters == Letters::Kafka && is_there(needed))
    };
    let points: Vec<Point> = Point::ALL.iter().copied().filter(there).collect();
    let mut random = Random::new(seed);
    let mut chosen: Vec<Fault> = Vec::new();
    while chosen.len() < count {
        let point = points[random.below(points.len() as u64) as usize];
        let action = Action::ALL[chosen.len() % Action::ALL.len()];
        let fault = Fault::at(point, action);
        if (action != Action::Error || point.can_fail()) && !chosen.contains(&fault) {
            chosen.push(fault);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_take_turns_and_what_needs_several_processes_has_them() {
        let faults = all_failpoints().into_iter().map(|(_, fault)| fault);
        let stints = stints(StoreKind::Shared, faults.chain(zombies(StoreKind::Shared)));
        for stint in &stints {
            assert!(stint.shape.processes > 1 || !needs_several(&stint.fault), "{stint:?}");
        }
        for shape in TOGETHER {
            assert!(stints.iter().any(|stint| stint.shape == shape), "{shape:?}");
        }
        let kills = kills(StoreKind::Folder, 3);
        assert!(kills.iter().all(|stint| stint.shape.processes == 1));
        assert_ne!(kills[0].shape, kills[1].shape);
    }
}
