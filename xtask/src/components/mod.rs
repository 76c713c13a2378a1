//! The real components that tests run against: how each is prepared, started on free ports, and told to the tests.

pub(crate) mod background;
mod certificates;
mod kafka;
mod postgres;
mod s3;
mod timescale;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::daemon::{Daemon, Identity, Lifetime};
use crate::deadline::wait_until;
use crate::paths::Paths;
use crate::process;

/// What is exported to tests, by name.
pub(crate) type Environment = BTreeMap<String, String>;

/// A free port may be taken between its choice and its use.
const ATTEMPTS: usize = 3;

/// A component that tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Component {
    /// Apache Kafka 4.1.1, one KRaft node with plain, SASL and TLS listeners
    Kafka,
    /// PostgreSQL 15
    Postgres,
    /// TimescaleDB as WASM, for schema and upserts only
    Timescale,
    /// S3: versitygw over a folder
    S3,
}

impl Component {
    /// All of them, in the order in which they are started.
    pub(crate) const ALL: [Self; 4] = [Self::Kafka, Self::Postgres, Self::Timescale, Self::S3];

    /// Its name in paths and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
            Self::Timescale => "timescale",
            Self::S3 => "s3",
        }
    }

    /// The variable whose presence tells that tests have it.
    pub(crate) fn main_variable(self) -> &'static str {
        match self {
            Self::Kafka => "TIDEWATCH_TEST_KAFKA",
            Self::Postgres => "TIDEWATCH_TEST_POSTGRES",
            Self::Timescale => "TIDEWATCH_TEST_TIMESCALE",
            Self::S3 => "TIDEWATCH_TEST_S3",
        }
    }

    fn prepare(self, paths: &Paths, state: &Path) -> Result<Launch> {
        match self {
            Self::Kafka => kafka::prepare(paths, state),
            Self::Postgres => postgres::prepare(state),
            Self::Timescale => timescale::prepare(paths),
            Self::S3 => s3::prepare(paths, state),
        }
    }
}

/// A component that is ready to be started.
struct Launch {
    command: Command,
    stop_signal: i32,
    limit: Duration,
    environment: Environment,
    /// Asks in the component's own protocol.
    is_ready: Box<dyn Fn() -> bool>,
}

/// A component that runs and has answered.
#[derive(Debug)]
pub(crate) struct Started {
    daemon: Daemon,
    state: PathBuf,
    environment: Environment,
}

impl Started {
    /// The process, to be remembered when it stays.
    pub(crate) fn identity(&self) -> Identity {
        self.daemon.identity()
    }
}

/// The components of one run, stopped and forgotten when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Components(Vec<Started>);

impl Components {
    /// Starts all of them with their state in a temporary folder, logs beside the gate's.
    pub(crate) fn start(paths: &Paths, logs: &Path) -> Result<Self> {
        Self::start_these(paths, logs, &Component::ALL)
    }

    /// Starts some of them, in this order.
    pub(crate) fn start_these(paths: &Paths, logs: &Path, which: &[Component]) -> Result<Self> {
        let mut components = Self::default();
        for component in which {
            components.0.push(start(paths, *component, logs, Lifetime::Ours)?);
        }
        Ok(components)
    }

    /// What they export to tests.
    pub(crate) fn environment(&self) -> Environment {
        self.0.iter().flat_map(|started| started.environment.clone()).collect()
    }
}

impl Drop for Components {
    fn drop(&mut self) {
        for mut started in self.0.drain(..).rev() {
            started.daemon.stop();
            let _ = fs::remove_dir_all(&started.state);
        }
    }
}

/// Starts one component and waits until it answers; one that ends before that is tried again on other ports.
pub(crate) fn start(paths: &Paths, component: Component, logs: &Path, lifetime: Lifetime) -> Result<Started> {
    let begun = Instant::now();
    let log = logs.join(format!("{}.log", component.name()));
    let _ = fs::remove_file(&log);
    let mut attempt = 1;
    loop {
        let state = StateFolder::create(component)?;
        let launch = component.prepare(paths, &state.0);
        let launch = launch.with_context(|| format!("{} cannot be prepared", component.name()))?;
        let mut daemon = Daemon::start(launch.command, launch.stop_signal, &log, lifetime)?;
        let answered = wait_until(&format!("{} to answer", component.name()), launch.limit, || {
            Ok((launch.is_ready)() || !daemon.is_running())
        });
        match answered {
            Ok(()) if daemon.is_running() => {
                eprintln!(
                    "  {} is ready after {:.1} s",
                    component.name(),
                    begun.elapsed().as_secs_f64()
                );
                return Ok(Started {
                    daemon,
                    state: state.keep(),
                    environment: launch.environment,
                });
            }
            Ok(()) if attempt < ATTEMPTS => {
                eprintln!("  {} ended, trying again", component.name());
                attempt += 1;
            }
            Ok(()) => bail!("{} ended before it answered\n{}", component.name(), process::tail(&log)),
            Err(error) => {
                daemon.stop();
                process::check_interrupted()?;
                bail!("{error:#}\n{}", process::tail(&log));
            }
        }
    }
}

/// A temporary folder that is removed unless it is kept.
struct StateFolder(PathBuf);

impl StateFolder {
    fn create(component: Component) -> Result<Self> {
        let base = std::env::temp_dir();
        let pid = std::process::id();
        for number in 0.. {
            let folder = base.join(format!("tidewatch-{}-{pid}-{number}", component.name()));
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(Self(folder)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot create {}", folder.display())),
            }
        }
        bail!("no name is left for a folder in {}", base.display())
    }

    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Ports that nobody listens on, all different.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        let listener = listener
            .as_ref()
            .map_err(|error| anyhow::anyhow!("no free port: {error}"))?;
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Whether a PostgreSQL behind this address answers a query.
fn answers_sql(psql: &Path, url: &str) -> bool {
    let mut command = Command::new(psql);
    command
        .env("PGCONNECT_TIMEOUT", "5")
        .args(["-X", "-q", "-A", "-t", "-c", "SELECT 42", url]);
    process::output(&mut command).is_ok_and(|text| text.trim() == "42")
}

fn environment<const N: usize>(pairs: [(&str, String); N]) -> Environment {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
