//! A component's process: tied to this program's life or left in the background, and never mistaken for another's.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::process;

const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long a component has to stop before it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// How long the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Until this program ends, however it ends.
    Ours,
    /// Until somebody stops it.
    Background,
}

/// A process by its id and start time, which together are never given twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pid: i32,
    started_ticks: u64,
    stop_signal: i32,
}

impl Identity {
    fn of(pid: u32, stop_signal: i32) -> Result<Self> {
        let pid = i32::try_from(pid).context("a process id that is no pid_t")?;
        let started_ticks = started_ticks(pid).context("the process is gone, or there is no /proc: use Linux")?;
        Ok(Self {
            pid,
            started_ticks,
            stop_signal,
        })
    }

    /// Whether exactly this process runs.
    pub(crate) fn is_running(&self) -> bool {
        started_ticks(self.pid) == Some(self.started_ticks)
    }

    /// Asks it to stop, and kills it when it does not.
    pub(crate) fn stop(&self) {
        self.stop_reaping(|| {});
    }

    fn stop_reaping(&self, mut reap: impl FnMut()) {
        let asked = Instant::now();
        self.signal(self.stop_signal);
        while self.is_running() {
            reap();
            if asked.elapsed() > GRACE {
                self.signal(libc::SIGKILL);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn signal(&self, signal: i32) {
        if self.is_running() {
            // SAFETY: kill takes numbers only.
            unsafe { libc::kill(self.pid, signal) };
        }
    }
}

/// Field 22 of `/proc/PID/stat`; nothing for a process that is gone or waits to be reaped.
fn started_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?; // a name may contain spaces and brackets
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// A started process. One that is [`Lifetime::Ours`] is stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    identity: Identity,
    lifetime: Lifetime,
}

impl Daemon {
    /// Starts the command in a session of its own, output into `log`; `stop_signal` is what it takes to stop it.
    pub(crate) fn start(mut command: Command, stop_signal: i32, log: &Path, lifetime: Lifetime) -> Result<Self> {
        let file = process::open_log(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // SAFETY: between fork and exec only system calls that are async-signal-safe are made.
        unsafe { command.pre_exec(move || detach(lifetime)) };
        let name = process::shown(&command);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start `{name}`: is it installed?"))?;
        match Identity::of(child.id(), stop_signal) {
            Ok(identity) => Ok(Self {
                child,
                identity,
                lifetime,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.context(format!("`{name}` ended at once\n{}", process::tail(log))))
            }
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What to remember of one that stays.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Stops it now.
    pub(crate) fn stop(&mut self) {
        let child = &mut self.child;
        self.identity.stop_reaping(|| drop(child.try_wait()));
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Ours {
            self.stop();
        }
    }
}

/// Runs in the child: out of the terminal's reach, so that Ctrl-C reaches the tests before their components.
fn detach(lifetime: Lifetime) -> io::Result<()> {
    // SAFETY: setsid has no arguments.
    if unsafe { libc::setsid() } < 0 {
        return Err(io::Error::last_os_error());
    }
    #[cfg(target_os = "linux")]
    if lifetime == Lifetime::Ours {
        // SAFETY: PR_SET_PDEATHSIG takes a signal number. Daemons are started by the main thread only, whose end
        // is this program's end.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = lifetime;
    Ok(())
}
