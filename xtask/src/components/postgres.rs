//! PostgreSQL: a fresh cluster, run by the `postgres` user when we are root, which the server refuses to be.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Launch, answers_sql, environment, free_ports, local};
use crate::{install, process};

const START_LIMIT: Duration = Duration::from_secs(60);
const USER: &str = "tidewatch";
const PASSWORD: &str = "tidewatch-secret";
const DATABASE: &str = "tidewatch";

/// Tests stop the server, never the machine: nothing needs to be on the disk.
const CONFIGURATION: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
full_page_writes = off
max_connections = 100
shared_buffers = 128MB
log_min_messages = warning
";

/// Creates the cluster and the database.
pub(super) fn prepare(state: &Path) -> Result<Launch> {
    let programs = install::postgres()?;
    let owner = Owner::find()?;
    let [port] = free_ports()?;
    let data = state.join("data");
    let password_file = state.join("password");
    fs::write(&password_file, PASSWORD)?;
    fs::set_permissions(state, fs::Permissions::from_mode(0o755))?;
    owner.give(state)?;
    owner.give(&password_file)?;

    let mut initdb = owner.command(&programs.join("initdb"));
    initdb.args([
        "--no-sync",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--auth=scram-sha-256",
        "-U",
        USER,
    ]);
    process::output(initdb.arg("--pwfile").arg(&password_file).arg("-D").arg(&data))?;
    let file = data.join("postgresql.conf");
    let mut configuration = fs::File::options()
        .append(true)
        .open(&file)
        .context("initdb left no postgresql.conf")?;
    writeln!(configuration, "{CONFIGURATION}port = {port}")?;
    create_database(owner.command(&programs.join("postgres")), &data)?;

    let mut command = owner.command(&programs.join("postgres"));
    command.arg("-D").arg(&data);
    let url = format!("postgres://{USER}:{PASSWORD}@{}/{DATABASE}", local(port));
    let psql = psql(&programs);
    let environment = environment([
        ("TIDEWATCH_TEST_POSTGRES", url.clone()),
        ("TIDEWATCH_TEST_POSTGRES_BIN", programs.display().to_string()),
    ]);
    let is_ready = Box::new(move || answers_sql(&psql, &url));
    // SIGINT is the fast shutdown: sessions are ended, not waited for.
    Ok(Launch {
        command,
        stop_signal: libc::SIGINT,
        limit: START_LIMIT,
        environment,
        is_ready,
    })
}

/// The client that belongs to the server.
pub(super) fn psql(programs: &Path) -> PathBuf {
    programs.join("psql")
}

/// In single-user mode, before anybody can connect.
fn create_database(mut postgres: Command, data: &Path) -> Result<()> {
    postgres.args(["--single", "-D"]).arg(data).arg("postgres");
    let mut child = postgres
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("a piped child has an input")?;
    writeln!(input, "CREATE DATABASE {DATABASE};")?;
    drop(input);
    let output = child.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && !errors.contains("ERROR"),
        "cannot create the database:\n{errors}"
    );
    Ok(())
}

/// Who runs the server: ourselves, or the system user `postgres` when we are root.
struct Owner(Option<(u32, u32)>);

impl Owner {
    fn find() -> Result<Self> {
        let id = |arguments: &[&str]| -> Result<u32> {
            process::output(Command::new("id").args(arguments))?
                .trim()
                .parse()
                .context("`id` printed no number")
        };
        if id(&["-u"])? != 0 {
            return Ok(Self(None));
        }
        Ok(Self(Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?))))
    }

    fn give(&self, path: &Path) -> Result<()> {
        match self.0 {
            Some((user, group)) => {
                chown(path, Some(user), Some(group)).with_context(|| format!("cannot chown {}", path.display()))
            }
            None => Ok(()),
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/"); // the user may have no access to where we are
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }
}
