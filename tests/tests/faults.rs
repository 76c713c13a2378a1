//! The fault harness at the size of the gate: kills of clusters over a million messages and a run that is replaced, some
//! failpoints, those of the archive, what is embedded, four seeded mistakes.
//! `cargo xtask faults` runs all of it.

use std::path::Path;
use std::time::Duration;
use tidewatch_failpoints::{Bug, Point};
use tidewatch_tests::faults::appender::Appending;
use tidewatch_tests::faults::embedded::{self, Blow};
use tidewatch_tests::faults::schedule::{self, Action, Fault, Hung, Letters, Stint, StoreKind};
use tidewatch_tests::faults::services::Whose;
use tidewatch_tests::faults::trial::{self, Outcome, Plan};

const SEED: u64 = 20_261_124;

fn plan(store: StoreKind, stints: Vec<Stint>, messages: u64, bug: Option<Bug>) -> Plan {
    Plan {
        seed: SEED,
        messages,
        minutes: 12 * stints.len() as u64,
        store,
        letters: Letters::Kafka,
        whose: Whose::Shared,
        outbox_bytes: None,
        stints,
        slices: 3,
        bug,
        patience: Duration::from_secs(60),
    }
}

fn say(outcome: &Outcome) {
    outcome.lines.iter().for_each(|line| println!("{line}"));
    println!(
        "  {:?}, recovered within {:?}",
        outcome.verdict, outcome.recovered_within
    );
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice_over_kills_in_clusters_of_all_sizes() {
    // And a run that hangs amid a transaction, is replaced, and wakes up.
    let zombie = Fault::Zombie(Point::PostgresProgress, Hung::All);
    let faults = std::iter::repeat_n(Fault::Kill, 10).chain([zombie]);
    let stints = schedule::stints(StoreKind::Shared, faults);
    let outcome = trial::run(&plan(StoreKind::Shared, stints, 1_000_000, None));
    say(&outcome);
    assert_eq!(outcome.problems, [] as [String; 0]);
    let least = outcome.least.expect("runs were killed");
    assert!(least.checkpoints >= 3, "{least:?}");
    assert!(least.closed >= 1 && least.corrected >= 1, "{least:?}");
    assert!(outcome.verdict.stragglers > 0, "{:?}", outcome.verdict);
}

#[test]
fn a_sample_of_failpoints_changes_nothing() {
    for (store, count) in [(StoreKind::Folder, 5), (StoreKind::Bucket, 3)] {
        let faults = [Fault::Kill].into_iter();
        let faults = faults.chain(schedule::some_failpoints(store, SEED, count));
        let stints = schedule::stints(store, faults);
        let messages = 6_000 * stints.len() as u64;
        let outcome = trial::run(&Plan {
            slices: 2,
            ..plan(store, stints, messages, None)
        });
        say(&outcome);
        assert_eq!(outcome.problems, [] as [String; 0]);
    }
}

#[test]
fn two_mistakes_are_caught() {
    for bug in [Bug::FromBeginning, Bug::ForgetHashes] {
        let kills = schedule::kills(StoreKind::Folder, 4);
        let outcome = trial::run(&Plan {
            patience: Duration::from_secs(20),
            ..plan(StoreKind::Folder, kills, 40_000, Some(bug))
        });
        println!("{}: {:?}", bug.name(), outcome.problems.first());
        assert!(!outcome.problems.is_empty(), "{} is not caught", bug.name());
    }
}

#[test]
fn the_archive_is_whole_wherever_its_writer_is_killed() {
    let points: Vec<&Point> = Point::ALL
        .iter()
        .filter(|point| point.name().starts_with("archive-"))
        .collect();
    let faults = points.iter().map(|point| Fault::at(**point, Action::Kill));
    let stints = schedule::stints(StoreKind::Shared, faults);
    let messages = 5_000 * stints.len() as u64;
    let outcome = trial::run(&Plan {
        slices: 2,
        ..plan(StoreKind::Shared, stints, messages, None)
    });
    say(&outcome);
    assert_eq!(outcome.problems, [] as [String; 0]);
    assert!(
        points.iter().all(|point| outcome.passed.contains(point.name())),
        "{:?}",
        outcome.passed
    );
}

fn appending(kills: usize, bug: Option<Bug>) -> Result<String, String> {
    let appending = Appending {
        program: Path::new(env!("CARGO_BIN_EXE_faults")),
        seed: SEED,
        kills,
        orders: ["log-written=kill@2", "log-rolled=kill@1"].map(str::to_owned).to_vec(),
        bug,
    };
    appending.run()
}

#[test]
fn what_the_embedded_log_has_acknowledged_is_there() {
    println!("  {}", appending(20, None).expect("nothing is lost"));
    let problem = appending(20, Some(Bug::LogEarlyAck)).expect_err("the mistake is caught");
    println!("  {problem}");
}

#[test]
fn what_is_embedded_keeps_everything_wherever_it_is_killed() {
    let orders = [
        "embedded-committed=kill@3",
        "log-written=kill@20",
        "archive-stored=kill@3",
    ];
    let orders = orders.map(|orders| Blow::Orders(orders.to_owned()));
    let plan = embedded::Plan::of(SEED, [Blow::Kill].into_iter().chain(orders).collect());
    let outcome = embedded::run(&plan);
    say(&outcome);
    assert_eq!(outcome.problems, [] as [String; 0]);
    assert!(outcome.verdict.stragglers > 0 && outcome.verdict.dead_letters > 0);
    let mistaken = embedded::Plan {
        bug: Some(Bug::ArchiveRewind),
        ..embedded::Plan::of(SEED, vec![Blow::Kill])
    };
    let outcome = embedded::run(&mistaken);
    println!("archive-rewind: {:?}", outcome.problems.first());
    assert!(!outcome.problems.is_empty(), "it is not caught");
}
