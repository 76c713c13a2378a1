//! Who runs when, and what happens to it.

use super::workload::Random;
use tidewatch_failpoints::{Bug, Point};

/// How the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Processes; one, as long as the program knows no more.
    pub processes: usize,
    /// Threads of each.
    pub threads: usize,
    /// Where checkpoints are kept.
    pub store: StoreKind,
}

/// Where checkpoints are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A folder.
    Folder,
}

/// Everything that is run in turn: an entry for each way to run.
pub const SHAPES: [Shape; 2] = [
    Shape {
        processes: 1,
        threads: 1,
        store: StoreKind::Folder,
    },
    Shape {
        processes: 1,
        threads: 2,
        store: StoreKind::Folder,
    },
];

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
    /// It is killed while messages come.
    Kill,
    /// It is told to stop.
    Stop,
    /// A place does what the environment says, and at last it is killed.
    Orders(String),
    /// It is stopped as if its machine hung, another is started from a copy of its state, and it wakes up again.
    Zombie,
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
        KafkaLettersInit, KafkaRowsInit, LoadList, LoadManifest, LoadSegment, OutboxGiven, PostgresConnected,
        RestoreBegin, RestoreDone, SinksStarted,
    };
    matches!(
        point,
        KafkaLettersInit
            | KafkaRowsInit
            | LoadList
            | LoadManifest
            | LoadSegment
            | OutboxGiven
            | PostgresConnected
            | RestoreBegin
            | RestoreDone
            | SinksStarted
    )
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
pub fn kills(count: usize) -> Vec<Stint> {
    stints((0..count).map(|_| Fault::Kill))
}

/// Stints with these faults, shapes in turn.
pub fn stints(faults: impl IntoIterator<Item = Fault>) -> Vec<Stint> {
    let shapes = SHAPES.iter().copied().cycle();
    shapes
        .zip(faults)
        .map(|(shape, fault)| Stint { shape, fault })
        .collect()
}

/// What shows a mistake: kills at moments at which something is only half done, an error, and for the fence a run that
/// is replaced.
pub fn probing(bug: Option<Bug>) -> Vec<Fault> {
    if bug == Some(Bug::IgnoreFence) {
        return vec![Fault::Kill, Fault::Zombie];
    }
    let at = |orders: &str| Fault::Orders(orders.to_owned());
    vec![
        Fault::Kill,
        at("manifest-write=delay:700@3;manifest-written=kill@3"),
        at("postgres-begin=delay:1500@3;postgres-progress=kill@3"),
        at("postgres-commit=error*1@3"),
        Fault::Kill,
    ]
}

/// Every place with every action that it can do.
pub fn all_failpoints() -> Vec<Fault> {
    let actions = |point: &Point| {
        let point = *point;
        let actions = Action::ALL.into_iter();
        actions
            .filter(move |action| *action != Action::Error || point.can_fail())
            .map(move |action| Fault::at(point, action))
    };
    Point::ALL.iter().flat_map(actions).collect()
}

/// Some of them, from a seed: at least one of each action.
pub fn some_failpoints(seed: u64, count: usize) -> Vec<Fault> {
    let mut random = Random::new(seed);
    let mut chosen: Vec<Fault> = Vec::new();
    while chosen.len() < count {
        let point = Point::ALL[random.below(Point::ALL.len() as u64) as usize];
        let action = Action::ALL[chosen.len() % Action::ALL.len()];
        let fault = Fault::at(point, action);
        if (action != Action::Error || point.can_fail()) && !chosen.contains(&fault) {
            chosen.push(fault);
        }
    }
    chosen
}
