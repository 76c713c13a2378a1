//! The program itself as a process: started as an operator starts it, asked over HTTP, looked at from outside.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long it may take until it answers, and until it has stopped.
const LIMIT: Duration = Duration::from_secs(60);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// A `tidewatch` that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Service {
    child: Child,
    /// Where it answers.
    address: String,
}

/// What the system says of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Footprint {
    /// Resident bytes.
    pub rss_bytes: u64,
    /// Open file handles.
    pub handles: u64,
}

impl Service {
    /// Starts the program in a folder with these keys (`LOG__RETENTION`) of its configuration and no others, and waits
    /// until it answers. What it says goes to a file in the folder.
    ///
    /// # Errors
    /// When it ends, or doesn't answer in time.
    pub fn start(program: &Path, keys: &[(&str, String)], folder: &Path) -> Result<Self> {
        let said = folder.join("said.txt");
        let mut out = fs::File::create(&said).with_context(|| format!("cannot write {}", said.display()))?;
        let mut command = Command::new(program);
        command.current_dir(folder).env_clear();
        command.env("TIDEWATCH__API__LISTEN", "127.0.0.1:0");
        command.envs(keys.iter().map(|(key, value)| (format!("TIDEWATCH__{key}"), value)));
        command.stdout(Stdio::piped()).stderr(out.try_clone()?);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}: build the package tidewatch too", program.display()))?;
        let lines = child.stdout.take().context("its output is not piped")?;
        let (tell, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("answers on http://") {
                    // Nobody waits for it any more when it answers twice.
                    let _ = tell.send(address.trim().to_owned());
                }
                let _ = writeln!(out, "{line}");
            }
        });
        let mut service = Self {
            child,
            address: String::new(),
        };
        match heard.recv_timeout(LIMIT) {
            Ok(address) => service.address = address,
            Err(RecvTimeoutError::Timeout) => bail!("it does not answer; it said: {}", tail(&said)),
            Err(RecvTimeoutError::Disconnected) => bail!("it has ended; it said: {}", tail(&said)),
        }
        Ok(service)
    }

    /// Where it answers, as host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A number of its page of metrics: the sum of all that begin with this name.
    ///
    /// # Errors
    /// When it doesn't answer, or has no such number.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let page = self.get("/metrics")?;
        let is_named = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        let found: Vec<f64> = page
            .lines()
            .filter(is_named)
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        ensure!(!found.is_empty(), "its metrics have no {name}");
        Ok(found.iter().sum())
    }

    /// The answer to a GET, its head too.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub fn get(&self, path: &str) -> Result<String> {
        let address = &self.address;
        let mut stream = TcpStream::connect(address).with_context(|| format!("nobody answers on {address}"))?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// How much it takes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn footprint(&self) -> Result<Footprint> {
        let process = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{process}/status")).context("it has ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        let handles = fs::read_dir(format!("{process}/fd"))
            .context("its handles can't be seen")?
            .count();
        Ok(Footprint {
            rss_bytes: kib.context("it has ended")? << 10,
            handles: handles as u64,
        })
    }

    /// Stops it as an operator does.
    ///
    /// # Errors
    /// When it doesn't end well, or not in time.
    pub fn stop(mut self) -> Result<()> {
        // SAFETY: a system call without memory; the process is our child and was not waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "it ended with {status}");
                return Ok(());
            }
            ensure!(begun.elapsed() < LIMIT, "it does not stop");
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes of all files in a folder and below it, as they lie on the disk; what vanishes meanwhile counts nothing.
pub fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => disk_bytes(&entry.path()),
        _ => entry.metadata().map_or(0, |data| data.blocks() * 512),
    });
    bytes.sum()
}

/// The end of what it said.
fn tail(said: &Path) -> String {
    let text = fs::read_to_string(said).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}
