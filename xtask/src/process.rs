//! Commands that a step runs to their end: output to a log, a time limit, and nothing left behind when interrupted.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const LOG_TAIL_LINES: usize = 60;
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a command has to end after it was asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(10);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ctrl-C and SIGTERM end what runs and then this program, instead of this program alone.
pub(crate) fn catch_signals() {
    extern "C" fn note(_signal: libc::c_int) {
        INTERRUPTED.store(true, Ordering::SeqCst);
    }
    let handler: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Fails once a signal has come: whoever waits for something calls this.
pub(crate) fn check_interrupted() -> Result<()> {
    if INTERRUPTED.load(Ordering::SeqCst) {
        bail!("interrupted");
    }
    Ok(())
}

/// Where a command's output goes and how long it may take.
pub(crate) struct Run {
    /// Both streams are appended to this file.
    pub(crate) log: PathBuf,
    /// Also print every line.
    pub(crate) echo: bool,
    /// The command is stopped, and has failed, after this.
    pub(crate) limit: Duration,
}

impl Run {
    /// Into this log, silently.
    pub(crate) fn logged(log: PathBuf, limit: Duration) -> Self {
        Self {
            log,
            echo: false,
            limit,
        }
    }

    /// Runs the command in a process group of its own to its end; fails with the end of the log unless it succeeds.
    pub(crate) fn run(&self, mut command: Command) -> Result<()> {
        check_interrupted()?;
        let name = shown(&command);
        let mut log = open_log(&self.log)?;
        writeln!(log, "$ {name}")?;
        let (reader, writer) = io::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{name}`: is it installed?"))?;
        drop(command); // and with it our ends of the pipe
        let mut group = Group { child, over: false };
        let copier = copy_lines(reader, log, self.echo);
        let status = group.wait(self.limit);
        group.stop();
        finish(copier);
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => bail!("`{name}` ended with {}{}", ending(status), self.last_words()),
            Err(error) => bail!("`{name}` was stopped: {error:#}{}", self.last_words()),
        }
    }

    /// What was not on the screen already.
    fn last_words(&self) -> String {
        if self.echo {
            String::new()
        } else {
            format!("\n{}", tail(&self.log))
        }
    }
}

/// A command and its descendants, ended when this is dropped.
struct Group {
    child: Child,
    over: bool,
}

impl Group {
    fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            check_interrupted()?;
            if started.elapsed() > limit {
                bail!("not done after its limit of {} s", limit.as_secs());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Asks the group to end, then kills what is left of it. The group is ours: only descendants are in it.
    fn stop(&mut self) {
        if self.over {
            return;
        }
        self.over = true;
        let running = matches!(self.child.try_wait(), Ok(None));
        self.signal(libc::SIGTERM);
        let asked = Instant::now();
        while running && asked.elapsed() < GRACE && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(POLL_INTERVAL);
        }
        self.signal(libc::SIGKILL);
        let _ = self.child.wait();
    }

    fn signal(&self, signal: libc::c_int) {
        if let Ok(group) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: kill takes numbers only; the group was made by and for this child.
            unsafe { libc::kill(-group, signal) };
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop();
    }
}

fn copy_lines(reader: PipeReader, mut log: File, echo: bool) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut lines = BufReader::new(reader);
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(count) if count > 0) {
            // A full disk or a closed terminal must not stop the command: its status is what counts.
            let _ = log.write_all(&line);
            if echo {
                let _ = io::stdout().write_all(&line);
            }
            line.clear();
        }
    })
}

/// Waits for the last lines, but not for a descendant that left the group and keeps the pipe.
fn finish(copier: JoinHandle<()>) {
    let started = Instant::now();
    while !copier.is_finished() && started.elapsed() < GRACE {
        thread::sleep(POLL_INTERVAL);
    }
}

/// The output of a short command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = shown(command);
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start `{name}`: is it installed?"))?;
    if !output.status.success() {
        bail!(
            "`{name}` ended with {}\n{}",
            ending(output.status),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{name}` printed something that is not UTF-8"))
}

/// Opens a log to append to, with its folder.
pub(crate) fn open_log(path: &Path) -> Result<File> {
    let what = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(what)?;
    }
    File::options().create(true).append(true).open(path).with_context(what)
}

/// The last lines of a log, with its path.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines
        .get(lines.len().saturating_sub(LOG_TAIL_LINES)..)
        .unwrap_or_default();
    format!("--- the end of {}\n{}\n---", log.display(), last.join("\n"))
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "neither code nor signal".to_owned(),
    }
}

/// The command line without its environment.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: &str, limit: Duration) -> (Result<()>, String) {
        let log = std::env::temp_dir().join(format!("xtask-{log}-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let result = Run::logged(log.clone(), limit).run(command);
        let text = fs::read_to_string(&log).unwrap();
        fs::remove_file(log).unwrap();
        (result, text)
    }

    #[test]
    fn a_failure_shows_both_streams() {
        let (result, _) = shell("echo one; echo two >&2; exit 3", "fails", GRACE);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("code 3") && error.contains("one\ntwo"), "{error}");
    }

    #[test]
    fn nothing_is_left_after_the_limit() {
        let (result, text) = shell("sleep 1000 & echo pid $!; wait", "limit", Duration::from_millis(300));
        assert!(result.unwrap_err().to_string().contains("limit"));
        let pid = text.lines().find_map(|line| line.strip_prefix("pid ")).unwrap();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }
}
