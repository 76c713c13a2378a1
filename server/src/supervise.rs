//! A cluster on one machine: starts its processes, and starts all of them again when one dies.

use crate::cli::{Cli, refuse};
use crate::config::{self, ConfigError, EXIT_CONFIG, Input};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

/// How long until processes that died soon are started again, growing from the first to the second.
const WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A run that lasted so long was not soon over.
const SOON: Duration = Duration::from_secs(10);

/// Runs so many processes until they end well, are told to, or can't be started; says how this one ends.
pub fn run(cli: &Cli, input: &Input, processes: usize) -> ExitCode {
    if let Err(error) = config::load(input) {
        return refuse(&error);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| runtime.block_on(supervise(cli, processes)));
    match ended {
        Ok(code) => code,
        Err(error) => refuse(&ConfigError::new("run --processes", error.to_string())),
    }
}

/// A file with a secret for one run of the supervisor.
struct SecretFile(PathBuf);

impl SecretFile {
    fn create() -> io::Result<SecretFile> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let (name, secret) = text.split_at(16);
        let path = std::env::temp_dir().join(format!("tidewatch-cluster-{name}"));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        writeln!(file, "{secret}")?;
        Ok(SecretFile(path))
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        // It may be gone.
        let _ = fs::remove_file(&self.0);
    }
}

/// How all processes of a run have ended.
enum Ended {
    Well,
    /// One can't be started as things are.
    Refused,
    /// One died.
    Died,
}

async fn supervise(cli: &Cli, processes: usize) -> io::Result<ExitCode> {
    let secret = SecretFile::create()?;
    let mut stop = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut wait = WAIT.0;
    loop {
        let begun = Instant::now();
        let run = Processes::start(cli, processes, &secret.0)?;
        let (ended, stopped) = run.watch(&mut stop).await;
        match ended {
            Ended::Well => return Ok(ExitCode::SUCCESS),
            Ended::Refused => return Ok(ExitCode::from(EXIT_CONFIG)),
            Ended::Died if stopped => return Ok(ExitCode::FAILURE),
            Ended::Died => {}
        }
        if begun.elapsed() > SOON {
            wait = WAIT.0;
        } else {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = told(&mut stop) => return Ok(ExitCode::FAILURE),
            }
            wait = (wait * 2).min(WAIT.1);
        }
        println!("tidewatch: starting all processes again");
    }
}

async fn told((terminate, interrupt): &mut (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// The processes of a run.
struct Processes {
    /// Their numbers for the system.
    ids: Vec<i32>,
    ends: JoinSet<(usize, io::Result<ExitStatus>)>,
}

impl Processes {
    fn start(cli: &Cli, processes: usize, secret: &Path) -> io::Result<Processes> {
        let addresses = free_addresses(processes)?;
        let mut run = Processes {
            ids: Vec::new(),
            ends: JoinSet::new(),
        };
        for index in 0..processes {
            let mut command = command(cli, index, processes)?;
            command.env("TIDEWATCH__CLUSTER__ADDRESSES", addresses.join(","));
            command.env("TIDEWATCH__CLUSTER__SECRET_FILE", secret);
            let mut child = command.spawn()?;
            run.ids.extend(child.id().map(|id| id as i32));
            pass_on(index, &mut child);
            run.ends.spawn(async move { (index, child.wait().await) });
        }
        Ok(run)
    }

    /// Waits until all have ended. When one dies the others are killed: what they know is in the checkpoint. Says
    /// also whether somebody wanted the end.
    async fn watch(mut self, stop: &mut (Signal, Signal)) -> (Ended, bool) {
        let (mut result, mut stopped) = (Ended::Well, false);
        loop {
            let (index, status) = tokio::select! {
                ended = self.ends.join_next() => match ended {
                    Some(Ok(ended)) => ended,
                    Some(Err(_)) => continue,
                    None => return (result, stopped),
                },
                () = told(stop) => {
                    stopped = true;
                    self.tell(libc::SIGTERM);
                    continue;
                }
            };
            if status.as_ref().is_ok_and(ExitStatus::success) {
                continue;
            }
            if matches!(result, Ended::Well) {
                let refused = status
                    .as_ref()
                    .is_ok_and(|status| status.code() == Some(i32::from(EXIT_CONFIG)));
                result = if refused { Ended::Refused } else { Ended::Died };
                let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                println!("tidewatch: process {index} has ended: {how}");
                self.tell(libc::SIGKILL);
            }
        }
    }

    fn tell(&self, signal: i32) {
        for id in &self.ids {
            // SAFETY: a system call without memory. A process that has ended and was waited for may have given its
            // number to another one only after all numbers were used once.
            unsafe { libc::kill(*id, signal) };
        }
    }
}

/// So many addresses of this machine that nobody uses.
fn free_addresses(count: usize) -> io::Result<Vec<String>> {
    let held = (0..count).map(|_| TcpListener::bind("127.0.0.1:0"));
    let held = held.collect::<io::Result<Vec<_>>>()?;
    held.iter().map(|port| Ok(port.local_addr()?.to_string())).collect()
}

fn command(cli: &Cli, index: usize, processes: usize) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        "worker",
        "--process",
        &index.to_string(),
        "--of",
        &processes.to_string(),
    ]);
    if let Some(file) = &cli.config {
        command.arg("--config").arg(file);
    }
    if let Some(threads) = &cli.threads {
        command.args(["--threads", threads]);
    }
    for (flag, is_set) in [("--insecure", cli.insecure), ("--exit-at-end", cli.exit_at_end)] {
        if is_set {
            command.arg(flag);
        }
    }
    if index > 0 {
        // The first one answers where the configuration says.
        command.env("TIDEWATCH__API__LISTEN", "127.0.0.1:0");
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: between fork and exec there is only a system call, which touches no memory.
    unsafe {
        command.pre_exec(|| {
            // Nobody is left behind when the supervisor is killed. Interrupts of the terminal come through it.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::setpgid(0, 0);
            Ok(())
        });
    }
    Ok(command)
}

/// Passes on what a process says, line by line, with its number.
fn pass_on(index: usize, child: &mut Child) {
    fn each(index: usize, from: impl AsyncRead + Unpin + 'static + Send, to: fn(usize, &str)) {
        let mut lines = BufReader::new(from).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                to(index, &line);
            }
        });
    }
    if let Some(out) = child.stdout.take() {
        each(index, out, |index, line| println!("[{index}] {line}"));
    }
    if let Some(err) = child.stderr.take() {
        each(index, err, |index, line| eprintln!("[{index}] {line}"));
    }
}
