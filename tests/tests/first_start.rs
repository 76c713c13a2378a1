//! The first minute of somebody who has just started it, with nothing configured: a curve is on the page within ten seconds of
//! the process starting, and an anomaly with its evidence within thirty.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use tidewatch_tests::running::Running;
use tidewatch_tests::sinks::component;

/// Seconds until a curve, and until an anomaly.
const PROMISED: [u32; 2] = [10, 30];
/// A development build, which the gate has, gets twice as long: our own code isn't optimised in it, and machines are busy.
const FACTOR: u32 = if cfg!(debug_assertions) { 2 } else { 1 };

#[test]
fn curves_and_an_anomaly_are_there_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let begun = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    // The port alone: others run beside this one.
    let running = Running::start(&[("API__LISTEN", "127.0.0.1:0".to_owned())], folder.path());
    let binary = PathBuf::from(component("TIDEWATCH_BIN"));
    let target = binary.ancestors().nth(2).expect("the binary is in target/debug");
    let browsed = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("components/page/first.mjs"))
        .args([
            component("TIDEWATCH_TEST_PLAYWRIGHT"),
            component("TIDEWATCH_TEST_CHROMIUM"),
        ])
        .arg(format!("http://{}/", running.api(0)))
        .arg(target.join("page"))
        .arg(begun.as_millis().to_string())
        .args(PROMISED.map(|seconds| (seconds * FACTOR).to_string()))
        .output()
        .expect("node starts");
    let (said, wrong) = (
        String::from_utf8_lossy(&browsed.stdout),
        String::from_utf8_lossy(&browsed.stderr),
    );
    println!("{said}");
    assert!(browsed.status.success(), "{said}{wrong}");
    running.stop();
}
