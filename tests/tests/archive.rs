//! The archive of a running binary: in a folder and in a bucket, read by others, over kills.

use serde::Deserialize;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tidewatch_archive::{Chain, partitions, read};
use tidewatch_checkpoints::{Folder, S3, Store, Tree, conformance};
use tidewatch_tests::running::Running;
use tidewatch_tests::s3::Bucket;
use tidewatch_tests::sinks::component;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What other readers say of an archive.
#[derive(Debug, Deserialize)]
struct Verdict {
    problems: Vec<String>,
    records: u64,
    objects: usize,
}

/// Has DuckDB and pyarrow read it.
fn judged(folder: &Path) -> Verdict {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/archive.py");
    let output = Command::new(component("TIDEWATCH_TEST_ORACLE_PYTHON"))
        .arg(script)
        .arg(folder)
        .output()
        .expect("python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdict: Verdict = serde_json::from_slice(&output.stdout).expect("a verdict");
    assert!(verdict.problems.is_empty(), "{:?}", verdict.problems);
    verdict
}

/// What the archive's manifests say that is there.
fn chains(tree: &dyn Tree) -> Vec<Chain> {
    let known = partitions(tree).expect("listed");
    let load = |(log, partition): (String, _)| Chain::load(tree, &log, partition).expect("a manifest");
    known.into_iter().map(load).collect()
}

fn records(tree: &dyn Tree) -> u64 {
    let chains = chains(tree);
    chains.iter().flat_map(Chain::entries).map(|entry| entry.records).sum()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A fleet with an archive soon.
fn variables() -> Vec<(&'static str, String)> {
    vec![
        ("API__LISTEN", "127.0.0.1:0".to_owned()),
        ("FLEET__HISTORY", "1m".to_owned()),
        ("ARCHIVE__OBJECT_TIME", "1s".to_owned()),
        ("ARCHIVE__GRACE", "1s".to_owned()),
    ]
}

#[test]
fn a_bucket_is_a_tree() {
    let place = Bucket::default();
    let tree = S3::open(&place.settings()).expect("it is there");
    conformance::check_tree(&tree);
}

#[test]
fn a_fleet_is_archived_by_default_and_others_read_it_over_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("tidewatch-data/archive");
    let tree = Folder::tree("archive.folder", &archive).expect("made");
    let running = Running::start(&variables(), folder.path());
    wait_for("records are archived", || records(&tree) > 100);
    // It is killed.
    drop(running);
    let before = records(&tree);
    let running = Running::start(&variables(), folder.path());
    wait_for("more are", || records(&tree) > before + 100);
    assert!(running.get("/metrics").contains("tidewatch_archive_objects_total"));
    running.stop();
    let verdict = judged(&archive);
    assert_eq!(verdict.records, records(&tree));
    assert!(verdict.objects > 4, "{verdict:?}");
    for chain in chains(&tree) {
        for entry in chain.entries() {
            let read = read(&tree, entry).expect("read");
            assert_eq!(read.len() as u64, entry.records);
        }
    }
}

#[test]
fn an_archive_that_is_away_is_told_and_the_rest_goes_on() {
    let (place, folder) = (Bucket::default(), tempfile::tempdir().expect("a folder"));
    let mut variables = variables();
    // Nobody answers there.
    variables.extend(place.archive_variables_at("http://127.0.0.1:1"));
    let running = Running::start(&variables, folder.path());
    wait_for("it is told", || {
        let page = running.get("/readyz");
        page.starts_with("HTTP/1.1 503") && page.contains("the archive can't be written since 20")
    });
    let page = running.get("/metrics");
    let failing = page
        .lines()
        .find_map(|line| line.strip_prefix("tidewatch_archive_failing_seconds "));
    let failing: f64 = failing.expect("a metric").parse().expect("a number");
    assert!(failing >= 2.0, "{failing}");
    let before = running.counter("tidewatch_messages_total");
    running.wait_for_messages(before + 1_000);
    running.stop();
}

#[test]
fn a_bucket_takes_what_a_folder_takes() {
    let (place, folder) = (Bucket::default(), tempfile::tempdir().expect("a folder"));
    let mut variables = variables();
    variables.extend(place.archive_variables_at(&component("TIDEWATCH_TEST_S3")));
    let tree = S3::open(&place.settings()).expect("there");
    let running = Running::start(&variables, folder.path());
    wait_for("records are archived", || records(&tree) > 100);
    running.stop();
    let copy = Folder::tree("the copy", &folder.path().join("copy")).expect("made");
    for part in ["raw/", "manifest/"] {
        for name in tree.list_in(part).expect("listed") {
            copy.put(&name, &tree.get(&name).expect("there")).expect("copied");
        }
    }
    assert_eq!(judged(&folder.path().join("copy")).records, records(&tree));
}
