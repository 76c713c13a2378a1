//! One command as a child process: wall time, CPU seconds and peak memory of everything it started.

use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Pause between two looks at the memory of the processes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Clock ticks per second in /proc: the same on every Linux, whatever the kernel's own.
const TICKS_PER_S: f64 = 100.0;

/// What a command used, and what it said.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Seconds from its start to its end.
    pub wall_s: f64,
    /// CPU seconds, user and system, of the process and of all descendants that were waited for.
    pub cpu_s: f64,
    /// The largest resident size of the process and its descendants together, in bytes, looked at ten times a second.
    pub rss_bytes_max: u64,
    /// The lines of its standard output.
    pub lines: Vec<String>,
}

/// Runs a command to its end; an error when it fails. One at a time: CPU seconds are what this process's ended
/// children have used altogether, before and after.
pub fn run(command: &mut Command) -> Result<Run> {
    let cpu_before_s = children_cpu_s()?;
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let output = child.stdout.take().context("the child's output is not piped")?;
    let root = child.id();
    let (done, is_done) = mpsc::channel::<()>();
    let (lines, rss_bytes_max) = std::thread::scope(|scope| {
        let watcher = scope.spawn(move || watch(root, &is_done));
        let lines: std::io::Result<Vec<String>> = BufReader::new(output).lines().collect();
        drop(done);
        (lines, watcher.join().unwrap_or(0))
    });
    let status = child.wait()?;
    let wall_s = start.elapsed().as_secs_f64();
    let lines = lines?;
    ensure!(status.success(), "{command:?} failed, {status}:\n{}", lines.join("\n"));
    Ok(Run {
        wall_s,
        cpu_s: children_cpu_s()? - cpu_before_s,
        rss_bytes_max,
        lines,
    })
}

/// The largest resident size of a process tree, in bytes, until the other end of the channel is dropped.
fn watch(root: u32, done: &mpsc::Receiver<()>) -> u64 {
    let mut rss_bytes_max = 0;
    loop {
        rss_bytes_max = tree_rss_bytes(root).max(rss_bytes_max);
        if done.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
            return rss_bytes_max;
        }
    }
}

/// Resident bytes of a process and all its descendants; processes that end meanwhile count nothing.
fn tree_rss_bytes(root: u32) -> u64 {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut children: HashMap<u32, Vec<(u32, u64)>> = HashMap::new();
    let mut total = 0;
    for pid in pids {
        let Some((parent, rss_bytes)) = parent_and_rss_bytes(pid) else {
            continue;
        };
        if pid == root {
            total = rss_bytes;
        }
        children.entry(parent).or_default().push((pid, rss_bytes));
    }
    let mut ancestors = vec![root];
    while let Some(pid) = ancestors.pop() {
        for (child, rss_bytes) in children.get(&pid).into_iter().flatten() {
            total += rss_bytes;
            ancestors.push(*child);
        }
    }
    total
}

/// Resident bytes of this process.
pub fn own_rss_bytes() -> u64 {
    parent_and_rss_bytes(std::process::id()).map_or(0, |(_, rss_bytes)| rss_bytes)
}

/// Resident bytes of this process, the most so far; 0 where the system doesn't tell.
pub fn own_rss_bytes_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// CPU seconds, user and system.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Of all threads of this process.
    pub process_s: f64,
    /// Of the thread that asked.
    pub thread_s: f64,
}

impl Usage {
    /// What was used until now.
    ///
    /// # Errors
    /// When the system has no such clock.
    pub fn now() -> Result<Self> {
        Ok(Self {
            process_s: clock_s(libc::CLOCK_PROCESS_CPUTIME_ID)?,
            thread_s: clock_s(libc::CLOCK_THREAD_CPUTIME_ID)?,
        })
    }

    /// What was used since an earlier look by the same thread.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            process_s: self.process_s - earlier.process_s,
            thread_s: self.thread_s - earlier.thread_s,
        }
    }
}

/// What a clock of the system shows, in seconds.
fn clock_s(clock: libc::clockid_t) -> Result<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time`, which lives until it returns, and to nothing else.
    let answer = unsafe { libc::clock_gettime(clock, &mut time) };
    ensure!(answer == 0, "clock_gettime: {}", std::io::Error::last_os_error());
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

/// The parent of a process and its resident bytes.
fn parent_and_rss_bytes(pid: u32) -> Option<(u32, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |key: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    Some((number("PPid:")? as u32, number("VmRSS:").unwrap_or(0) * 1024))
}

/// CPU seconds of all children of this process that have ended and been waited for.
fn children_cpu_s() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Fields are counted from behind the name, which may hold anything: cutime and cstime are 13 and 14 after it.
    let (_, fields) = stat.rsplit_once(") ").context("/proc/self/stat has no name")?;
    let ticks = fields.split_ascii_whitespace().skip(13).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? as f64 / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Run> {
        run(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn a_run_reports_its_lines_and_what_it_used() {
        let run = shell("echo one; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 0.3; echo two").unwrap();
        assert_eq!(run.lines, ["one", "two"]);
        assert!(run.wall_s > 0.3 && run.cpu_s > 0.0 && run.cpu_s < 30.0, "{run:?}");
        assert!(run.rss_bytes_max > 100 << 10, "{run:?}");
    }

    #[test]
    fn a_command_that_fails_is_an_error() {
        assert!(shell("echo why; exit 3").unwrap_err().to_string().contains("why"));
    }
}
