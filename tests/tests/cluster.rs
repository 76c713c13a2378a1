//! What the processes of a cluster owe each other, without anybody who starts them again.

use std::time::{Duration, Instant};
use tidewatch_tests::faults::own::free_addresses;
use tidewatch_tests::faults::run::{Run, Start};
use tidewatch_tests::sinks::{component, unique};
use tidewatch_tests::sources::Topic;

const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
const PARTITIONS: i32 = 3;
const RECORDS: i64 = 200;

/// Two processes on a folder of their own.
struct Pair {
    folder: tempfile::TempDir,
    keys: Vec<(&'static str, String)>,
    runs: usize,
}

impl Pair {
    fn new(keys: &[(&'static str, String)]) -> Pair {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "known to both processes").expect("written");
        let own = [
            ("CLUSTER__SECRET_FILE", secret.display().to_string()),
            ("STATE__FOLDER", folder.path().join("state").display().to_string()),
            ("API__LISTEN", "127.0.0.1:0".to_owned()),
            ("OUTPUT__STORE", "discard".to_owned()),
            ("DEAD_LETTER__KIND", "discard".to_owned()),
        ];
        Pair {
            folder,
            keys: own.into_iter().chain(keys.iter().cloned()).collect(),
            runs: 0,
        }
    }

    /// Starts both, with orders for the failpoints of the second.
    fn start(&mut self, orders: &str) -> Run {
        let addresses = free_addresses(2).join(",");
        let start = |index: usize| {
            let mut keys = self.keys.clone();
            keys.push(("CLUSTER__ADDRESSES", addresses.clone()));
            let args = ["worker", "--process", &index.to_string(), "--of", "2"];
            Start {
                args: args.map(str::to_owned).to_vec(),
                keys,
                orders: if index == 1 { orders.to_owned() } else { String::new() },
                faults: Vec::new(),
            }
        };
        self.runs += 1;
        let log = self.folder.path().join(format!("run-{}", self.runs));
        Run::start((0..2).map(start).collect(), &log)
    }
}

fn wait_for_checkpoints(run: &mut Run, more: u64) {
    let begun = Instant::now();
    let wanted = run.counter("tidewatch_checkpoints_total") + more;
    while run.counter("tidewatch_checkpoints_total") < wanted {
        run.check_runs().expect("it runs");
        assert!(begun.elapsed() < LIMIT, "no checkpoint: {}", run.said());
        std::thread::sleep(POLL);
    }
}

#[test]
fn when_one_is_lost_the_other_ends_and_says_why() {
    let mut pair = Pair::new(&[("SOURCE__KIND", "fleet".to_owned())]);
    for doomed in [0, 1] {
        let mut run = pair.start("");
        wait_for_checkpoints(&mut run, 1);
        run.kill_one(doomed, LIMIT).expect("the other ends for that");
        let said = run.said();
        let lost = format!("process {doomed} of the cluster is lost: ");
        assert!(said.contains(&lost) && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn the_consumer_group_follows_both_also_when_one_is_slow_to_restore() {
    let (topic, group) = (Topic::create(PARTITIONS, &[]), unique("group"));
    let mut pair = Pair::new(&[
        ("SOURCE__KIND", "kafka".to_owned()),
        ("KAFKA__BROKERS", component("TIDEWATCH_TEST_KAFKA")),
        ("KAFKA__TOPIC", topic.name.clone()),
        ("KAFKA__GROUP_ID", group.clone()),
        ("KAFKA__START", "earliest".to_owned()),
    ]);
    let committed = || -> Vec<Option<i64>> {
        let partitions = 0..PARTITIONS;
        partitions.map(|partition| topic.committed(&group, partition)).collect()
    };
    // The second run goes on from a checkpoint.
    for (run, orders) in [(1, ""), (2, "load-manifest=delay:2000")] {
        let mut running = pair.start(orders);
        (0..PARTITIONS).for_each(|partition| topic.fill(partition, RECORDS));
        let written = vec![Some(run * RECORDS); PARTITIONS as usize];
        let begun = Instant::now();
        while committed() != written {
            running.check_runs().expect("it runs");
            assert!(begun.elapsed() < LIMIT, "{:?} of {written:?}", committed());
            std::thread::sleep(POLL);
        }
        // Nor does it go back again.
        wait_for_checkpoints(&mut running, 2);
        assert_eq!(committed(), written);
        running.stop(LIMIT).expect("it stops");
    }
}
