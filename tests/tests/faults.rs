//! The fault harness at the size of the gate: kills over a million messages, some failpoints, two seeded mistakes.
//! `cargo xtask faults` runs all of it.

use std::time::Duration;
use tidewatch_failpoints::Bug;
use tidewatch_tests::faults::schedule::{self, Fault, Stint};
use tidewatch_tests::faults::trial::{self, Outcome, Plan};

const SEED: u64 = 20_261_124;

fn plan(stints: Vec<Stint>, messages: u64, bug: Option<Bug>) -> Plan {
    Plan {
        seed: SEED,
        messages,
        minutes: 12 * stints.len() as u64,
        stints,
        slices: 4,
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
fn nothing_is_lost_and_nothing_comes_twice_over_kills() {
    let outcome = trial::run(&plan(schedule::kills(10), 1_000_000, None));
    say(&outcome);
    assert_eq!(outcome.problems, [] as [String; 0]);
    assert!(outcome.checkpoints_least >= 3, "{}", outcome.checkpoints_least);
    assert!(outcome.corrections_least >= 1, "{}", outcome.corrections_least);
}

#[test]
fn a_sample_of_failpoints_changes_nothing() {
    let faults = [Fault::Kill].into_iter().chain(schedule::some_failpoints(SEED, 9));
    let outcome = trial::run(&Plan {
        slices: 2,
        ..plan(schedule::stints(faults), 60_000, None)
    });
    say(&outcome);
    assert_eq!(outcome.problems, [] as [String; 0]);
}

#[test]
fn two_mistakes_are_caught() {
    for bug in [Bug::FromBeginning, Bug::ForgetHashes] {
        let outcome = trial::run(&Plan {
            patience: Duration::from_secs(20),
            ..plan(schedule::kills(4), 40_000, Some(bug))
        });
        println!("{}: {:?}", bug.name(), outcome.problems.first());
        assert!(!outcome.problems.is_empty(), "{} is not caught", bug.name());
    }
}
