//! The page in a browser, over a simulated fleet: what it shows, that it lives, and that it survives its server.
//!
//! What it looks like is kept in `target/page/`: look at it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use tidewatch_tests::running::{Running, signal};
use tidewatch_tests::sinks::component;

/// What the server that wants a token knows.
const TOKEN: &str = "viewer-0123456789";

/// What some of the devices go above and below all the time.
const RULES: &str = r#"
[warm]
detector = "threshold"
severity = "critical"
metric = "temperature"
of = "max"
above = 20.0

[silent]
detector = "dead_man"
for = "15m"
"#;

/// The browser's script, ended with the test.
struct Browser {
    child: Child,
    answers: ChildStdin,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    fn start(api: &str, shots: &Path, locked: &str) -> Browser {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("components/page/browse.mjs");
        let mut command = Command::new("node");
        command.arg(script);
        command.args([
            component("TIDEWATCH_TEST_PLAYWRIGHT"),
            component("TIDEWATCH_TEST_CHROMIUM"),
        ]);
        command.arg(format!("http://{api}/")).arg(shots);
        command.args([&format!("http://{locked}/"), TOKEN]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node starts");
        let answers = child.stdin.take().expect("it was piped");
        Browser { child, answers }
    }

    /// Does what it asks for until it is done.
    fn serve(mut self, mut ask: impl FnMut(&str)) {
        let lines = BufReader::new(self.child.stdout.take().expect("it was piped")).lines();
        for line in lines.map_while(Result::ok) {
            if line == "done" {
                return;
            }
            ask(&line);
            writeln!(self.answers, "ok").expect("it listens");
        }
        panic!("the browser's script has failed: {:?}", self.child.wait());
    }
}

/// A port that nobody listens on; the server comes back to the same one.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// Where what it looks like is kept: beside the binary's folder.
fn shots() -> PathBuf {
    let binary = PathBuf::from(component("TIDEWATCH_BIN"));
    let target = binary.ancestors().nth(2).expect("the binary is in target/debug");
    target.join("page")
}

#[test]
fn the_page_lives_and_survives_its_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = format!("127.0.0.1:{}", free_port());
    let registry = folder.path().join("devices.csv");
    let belongs = "dev-000041,north,trucks,\ndev-000042,north,ships,\ndev-000043,south,trucks,\n";
    std::fs::write(&registry, format!("device_id,site,fleet,valid_from\n{belongs}")).expect("written");
    let rules = folder.path().join("rules.toml");
    std::fs::write(&rules, RULES).expect("written");
    let variables = [
        ("RULES__FILE", rules.display().to_string()),
        ("REGISTRY__FILE", registry.display().to_string()),
        ("API__LISTEN", api.clone()),
        ("FLEET__DEVICES", "120".to_owned()),
        ("FLEET__INTERVAL", "5s".to_owned()),
        ("FLEET__HISTORY", "3h".to_owned()),
        ("FLEET__HISTORY_INTERVAL", "5s".to_owned()),
        ("FLEET__RETENTION", "4h".to_owned()),
        ("STATE__FOLDER", folder.path().join("state").display().to_string()),
    ];
    let start = || Running::start(&variables, folder.path());
    let locked_folder = tempfile::tempdir().expect("a folder");
    let token_file = locked_folder.path().join("tokens");
    std::fs::write(&token_file, format!("viewer {TOKEN}")).expect("written");
    let locked = format!("127.0.0.1:{}", free_port());
    let locked_variables = [
        ("API__LISTEN", locked.clone()),
        ("API__TOKEN_FILE", token_file.display().to_string()),
        ("FLEET__DEVICES", "5".to_owned()),
    ];
    let locked_server = Running::start(&locked_variables, locked_folder.path());
    let mut running = Some(start());
    let first = running.as_ref().expect("it runs");
    // Three hours of 120 devices, but for those that are silent.
    first.wait_for_messages(200_000);
    first.wait_for_checkpoints(2);
    Browser::start(&api, &shots(), &locked).serve(|word| match (word, running.take()) {
        ("stop", Some(server)) => server.stop(),
        ("start", None) => running = Some(start()),
        ("freeze", Some(server)) => {
            signal(server.id(), "STOP");
            running = Some(server);
        }
        ("thaw", Some(server)) => {
            signal(server.id(), "CONT");
            running = Some(server);
        }
        (word, server) => panic!("{word}, while the server runs: {}", server.is_some()),
    });
    if let Some(server) = running {
        server.stop();
    }
    locked_server.stop();
}
