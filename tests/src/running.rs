//! The binary as a process of its own.

use crate::sinks::component;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A running `tidewatch`.
pub struct Running {
    child: Child,
    api: Arc<Mutex<String>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Running {
    /// Starts it in a folder with these keys of its configuration, and waits until it answers.
    pub fn start(variables: &[(&str, String)], folder: &Path) -> Running {
        let mut command = Command::new(component("TIDEWATCH_BIN"));
        command.current_dir(folder).env_clear();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(
            variables
                .iter()
                .map(|(key, value)| (format!("TIDEWATCH__{key}"), value)),
        );
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (errors, heard) = (child.stderr.take().expect("it was piped"), said.clone());
        std::thread::spawn(move || {
            BufReader::new(errors).lines().map_while(Result::ok).for_each(|line| {
                eprintln!("{line}");
                heard.lock().expect("not poisoned").push(line);
            });
        });
        let api = loop {
            let line = lines.next().expect("it says where it answers").expect("text");
            if let Some((_, api)) = line.split_once("answers on http://") {
                break Arc::new(Mutex::new(api.to_owned()));
            }
        };
        let (hearing, moved) = (said.clone(), api.clone());
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| {
                if let Some((_, api)) = line.split_once("answers on http://") {
                    api.clone_into(&mut moved.lock().expect("not poisoned"));
                }
                hearing.lock().expect("not poisoned").push(line);
            });
        });
        Running { child, api, said }
    }

    /// Waits until a line of what it says has these words.
    pub fn wait_until_it_says(&self, words: &str) {
        let begun = Instant::now();
        while !self
            .said
            .lock()
            .expect("not poisoned")
            .iter()
            .any(|line| line.contains(words))
        {
            assert!(begun.elapsed() < LIMIT, "no {words:?} in {:?}", self.said);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The answer to a GET, its head too.
    pub fn get(&self, path: &str) -> String {
        let api = self.api.lock().expect("not poisoned").clone();
        let mut stream = TcpStream::connect(&api).expect("the api listens");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// A number from its page of metrics.
    pub fn counter(&self, name: &str) -> u64 {
        let page = self.get("/metrics");
        let line = page
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("no {name} in {page}"));
        line.rsplit(' ')
            .next()
            .and_then(|value| value.parse().ok())
            .expect("a number")
    }

    /// How much memory it takes.
    pub fn resident_bytes(&self) -> u64 {
        const PAGE: u64 = 4_096;
        let told = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("it runs");
        let pages = told
            .split_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok());
        pages.expect("a number of pages") * PAGE
    }

    /// Waits until it has taken in so many messages.
    pub fn wait_for_messages(&self, count: u64) {
        let begun = Instant::now();
        while self.counter("tidewatch_messages_total") < count {
            assert!(
                begun.elapsed() < LIMIT,
                "{} of {count}",
                self.counter("tidewatch_messages_total")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until so many more checkpoints have been made.
    pub fn wait_for_checkpoints(&self, count: usize) {
        let begun = Instant::now();
        let mut last = self.counter("tidewatch_checkpoint_epoch");
        for _ in 0..count {
            while self.counter("tidewatch_checkpoint_epoch") == last {
                assert!(begun.elapsed() < LIMIT, "no checkpoint after {last}");
                std::thread::sleep(Duration::from_millis(20));
            }
            last = self.counter("tidewatch_checkpoint_epoch");
        }
    }

    /// Kills it as a machine that loses its power does.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
    }

    /// Ends it as an operator does.
    pub fn stop(self) {
        self.terminate();
        let status = self.ended();
        assert!(status.success(), "{status}");
    }

    /// Sends it SIGTERM.
    pub fn terminate(&self) {
        let killed = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status()
            .expect("kill runs");
        assert!(killed.success());
    }

    /// Waits for its end.
    pub fn ended(mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            match self.child.try_wait().expect("it is our child") {
                Some(status) => break status,
                None if begun.elapsed() > LIMIT => {
                    let _ = self.child.kill();
                    panic!("it did not stop");
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Running {
    /// What a failed test leaves behind doesn't go on.
    fn drop(&mut self) {
        // It has ended already when it was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
