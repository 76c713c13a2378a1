//! The binary as a process of its own.

use crate::sinks::component;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A running `tidewatch`: one process, or several with their supervisor.
pub struct Running {
    child: Child,
    heard: Arc<Mutex<Heard>>,
}

/// What it has said.
#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    /// Where each process answers now.
    apis: BTreeMap<String, String>,
}

impl Drop for Running {
    /// Nothing is left behind by a test, failed or not.
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Heard {
    fn hear(&mut self, line: String) {
        if let Some((before, api)) = line
            .split_once("tidewatch ")
            .filter(|_| line.contains("answers on http://"))
        {
            let api = api.rsplit("http://").next().unwrap_or_default();
            self.apis.insert(before.to_owned(), api.to_owned());
        }
        self.lines.push(line);
    }
}

impl Running {
    /// Starts it in a folder with these keys of its configuration, and waits until it answers.
    pub fn start(variables: &[(&str, String)], folder: &Path) -> Running {
        let running = Running::begin_as(&[], variables, folder);
        running.wait_until_all_answer(1);
        running
    }

    /// Starts so many processes with a supervisor, and waits until all of them answer.
    pub fn start_cluster(processes: usize, variables: &[(&str, String)], folder: &Path) -> Running {
        let running = Running::begin_cluster(processes, variables, folder);
        running.wait_until_all_answer(processes);
        running
    }

    /// Starts so many processes with a supervisor.
    pub fn begin_cluster(processes: usize, variables: &[(&str, String)], folder: &Path) -> Running {
        Running::begin_as(&["run", "--processes", &processes.to_string()], variables, folder)
    }

    fn begin_as(args: &[&str], variables: &[(&str, String)], folder: &Path) -> Running {
        let mut command = Command::new(component("TIDEWATCH_BIN"));
        command.args(args);
        command.current_dir(folder).env_clear();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(
            variables
                .iter()
                .map(|(key, value)| (format!("TIDEWATCH__{key}"), value)),
        );
        let mut child = command.spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let errors = BufReader::new(child.stderr.take().expect("it was piped")).lines();
        let hearing = heard.clone();
        std::thread::spawn(move || {
            for line in errors.map_while(Result::ok) {
                eprintln!("{line}");
                hearing.lock().expect("not poisoned").hear(line);
            }
        });
        let hearing = heard.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                hearing.lock().expect("not poisoned").hear(line);
            }
        });
        Running { child, heard }
    }

    fn wait_until_all_answer(&self, processes: usize) {
        self.wait_until("all processes answer", |heard| heard.apis.len() == processes);
    }

    fn wait_until(&self, what: &str, is_true: impl Fn(&Heard) -> bool) {
        let begun = Instant::now();
        loop {
            let heard = self.heard.lock().expect("not poisoned");
            if is_true(&heard) {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{what}: {:?}", heard.lines);
            drop(heard);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a line of what it says has these words.
    pub fn wait_until_it_says(&self, words: &str) {
        self.wait_until(words, |heard| heard.lines.iter().any(|line| line.contains(words)));
    }

    /// The answer of the first process to a GET, its head too.
    pub fn get(&self, path: &str) -> String {
        self.get_from(0, path)
    }

    /// The answer of one of the first ten processes to a GET, its head too.
    pub fn get_from(&self, process: usize, path: &str) -> String {
        get(&self.api(process), path).expect("an answer")
    }

    /// Where one of the first ten processes answers: host and port.
    pub fn api(&self, process: usize) -> String {
        let heard = self.heard.lock().expect("not poisoned");
        heard.apis.values().nth(process).cloned().expect("it answers")
    }

    /// A number from its page of metrics: of several processes the sum. None while one doesn't answer.
    fn sum(&self, name: &str) -> Option<u64> {
        let apis: Vec<String> = self
            .heard
            .lock()
            .expect("not poisoned")
            .apis
            .values()
            .cloned()
            .collect();
        let numbers = apis.iter().map(|api| {
            let page = get(api, "/metrics")?;
            let line = page.lines().find(|line| line.starts_with(name))?;
            line.rsplit(' ').next()?.parse::<u64>().ok()
        });
        numbers.sum()
    }

    /// A number from its page of metrics: of several processes the sum.
    pub fn counter(&self, name: &str) -> u64 {
        let begun = Instant::now();
        loop {
            match self.sum(name) {
                Some(sum) => return sum,
                None => assert!(begun.elapsed() < LIMIT, "no {name}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The processes that the supervisor has started, by their numbers for the system, in their order.
    pub fn processes(&self) -> Vec<u32> {
        children(self.child.id())
    }

    /// Its number for the system.
    pub fn id(&self) -> u32 {
        self.child.id()
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
    pub fn kill(self) {}

    /// Ends it as an operator does.
    pub fn stop(self) {
        self.terminate();
        let status = self.ended();
        assert!(status.success(), "{status}");
    }

    /// Sends it SIGTERM.
    pub fn terminate(&self) {
        signal(self.child.id(), "TERM");
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

/// The processes that a process has started, by their numbers for the system, in their order; none when it has ended.
pub fn children(process: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Sends a process a signal, by its name.
pub fn signal(process: u32, name: &str) {
    let killed = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(process.to_string())
        .status();
    assert!(killed.expect("kill runs").success());
}

fn get(api: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(api).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
