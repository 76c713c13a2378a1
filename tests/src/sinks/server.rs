//! A PostgreSQL of a test's own, which can be killed and started again on the same data.

use super::component;
use crate::running::{children, signal};
use postgres::{Client, NoTls};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Whom the server runs as when we are root, which it refuses to be.
const USER: &str = "postgres";

/// A server; it is killed in the end.
pub struct Server {
    /// Where its database is.
    pub url: String,
    folder: TempDir,
    port: u16,
    running: Option<Child>,
}

impl Server {
    /// Makes an empty database and starts a server on it.
    ///
    /// # Panics
    /// When it doesn't come up.
    pub fn start() -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr());
        let port = port.expect("a port").port();
        let mut server = Server {
            url: format!("postgres://{USER}@127.0.0.1:{port}/{USER}"),
            folder,
            port,
            running: None,
        };
        give(server.folder.path());
        let mut initdb = server.program("initdb");
        initdb.args(["--no-sync", "--encoding=UTF8", "--auth=trust", "-U", USER, "-D"]);
        let made = initdb.arg(server.data()).stdout(Stdio::null()).status();
        assert!(made.expect("initdb runs").success(), "the data folder is made");
        server.resume();
        server
    }

    /// Kills it and all its sessions, as a machine that loses its power does.
    ///
    /// # Panics
    /// When it doesn't run.
    pub fn kill(&mut self) {
        self.signal_all("KILL");
        let mut child = self.running.take().expect("it runs");
        child.wait().expect("waited for");
    }

    /// Has it and all its sessions hang: connections stay, and nobody answers on them.
    ///
    /// # Panics
    /// When it doesn't run.
    pub fn hang(&self) {
        self.signal_all("STOP");
    }

    /// Sends a signal to the server, then to its sessions, each of which is in a group of its own.
    fn signal_all(&self, name: &str) {
        let server = self.running.as_ref().expect("it runs").id();
        let sessions = children(server);
        signal(server, name);
        // Some may have ended by themselves.
        let mut kill = Command::new("kill");
        let kill = kill.arg(format!("-{name}")).args(sessions.iter().map(u32::to_string));
        let _ = kill.stderr(Stdio::null()).status();
    }

    /// Starts it again and waits until it answers.
    ///
    /// # Panics
    /// When it doesn't.
    pub fn resume(&mut self) {
        let begun = Instant::now();
        while Client::connect(&self.url, NoTls).is_err() {
            assert!(begun.elapsed() < START_TIMEOUT, "the server at {} is not up", self.url);
            // It ends again while the last session of the one before has not gone.
            let runs = self
                .running
                .as_mut()
                .is_some_and(|child| matches!(child.try_wait(), Ok(None)));
            if !runs {
                self.running = Some(self.launch());
            }
            std::thread::sleep(POLL);
        }
    }

    fn launch(&self) -> Child {
        let mut server = self.program("postgres");
        server.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"] {
            server.args(["-c", setting]);
        }
        server.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        server.spawn().expect("postgres runs")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(Path::new(&component("TIDEWATCH_TEST_POSTGRES_BIN")).join(name));
        command.current_dir("/"); // the user may have no access to where we are
        if let Some((user, group)) = owner() {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
    }
}

/// Lets the server's user have a folder.
fn give(folder: &Path) {
    if let Some((user, group)) = owner() {
        std::os::unix::fs::chown(folder, Some(user), Some(group)).expect("root may give it away");
    }
}

/// The system's user for servers and its group, when we are root.
fn owner() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let told = Command::new("id").args(arguments).output().expect("id runs").stdout;
        let text = String::from_utf8_lossy(&told);
        text.trim().parse::<u32>().expect("a number")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", USER]), id(&["-g", USER])))
}
