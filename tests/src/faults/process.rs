//! The binary as a process that may end at any time, by itself or by us.

use super::Problem;
use crate::running;
use crate::sinks::component;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(10);

/// A running `tidewatch`; it is killed when this is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts it with arguments, keys of its configuration and variables for failpoints; what it says goes to a file.
    ///
    /// # Panics
    /// When the binary isn't there.
    pub fn spawn(args: &[String], keys: &[(&str, String)], faults: &[(&str, String)], log: &Path) -> Process {
        let said = File::create(log).expect("a file");
        let mut command = Command::new(component("TIDEWATCH_BIN"));
        command
            .args(args)
            .env_clear()
            .stdout(said.try_clone().expect("a file"))
            .stderr(said);
        command.current_dir(log.parent().expect("a file is in a folder"));
        command.envs(keys.iter().map(|(key, value)| (format!("TIDEWATCH__{key}"), value)));
        command.envs(faults.iter().map(|(name, value)| (name, value)));
        Process {
            child: command.spawn().expect("the binary starts"),
            log: log.to_owned(),
            ended: None,
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("it is our child");
        }
        self.ended
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it takes longer than the limit; then it is killed.
    pub fn end_within(&mut self, limit: Duration) -> Result<ExitStatus, Problem> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if begun.elapsed() > limit {
                self.kill();
                return Err(format!("it has not ended after {limit:?}: {}", self.said()));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether it stands still, stopped by a signal.
    pub fn hangs(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The name in brackets may hold anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// All that it has said, but for how it goes.
    pub fn said(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let news = said.lines().filter(|line| !line.contains(" messages/s "));
        news.collect::<Vec<_>>().join("\n")
    }

    /// A count from its page of metrics; nothing when it doesn't answer.
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.number(name).map(|number| number as u64)
    }

    /// A number from its page of metrics; nothing when it doesn't answer.
    pub fn number(&self, name: &str) -> Option<f64> {
        let page = self.get("/metrics")?;
        let line = page.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// What it answers to a GET, with its head; nothing when it doesn't answer.
    pub fn get(&self, path: &str) -> Option<String> {
        let api = self.address()?;
        let mut stream = TcpStream::connect(&api).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    }

    /// The answer to a request: its status and its body. Nothing when it doesn't answer.
    pub fn ask(&self, method: &str, path: &str) -> Option<(u16, String)> {
        let api = self.address()?;
        let mut stream = TcpStream::connect(&api).ok()?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {api}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// Its resident memory, bytes.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim()
            .strip_suffix(" kB")?
            .trim()
            .parse::<u64>()
            .ok()
            .map(|kb| kb * 1024)
    }

    /// The processes that it has started and that run.
    pub fn children(&self) -> Vec<u32> {
        running::children(self.child.id())
    }

    /// Kills it as a machine that loses its power does.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.expect("kill runs").success(), "{name}");
    }

    fn address(&self) -> Option<String> {
        let said = self.said();
        let (_, rest) = said.split_once("answers on http://")?;
        Some(rest.lines().next()?.trim().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
