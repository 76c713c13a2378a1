//! TimescaleDB compiled to WASM behind a socket: for schema, DDL and upserts; one connection at a time, no COPY.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{Launch, answers_sql, environment, free_ports, local, postgres};
use crate::install;
use crate::paths::Paths;

const START_LIMIT: Duration = Duration::from_secs(120);

/// Finds what npm installed.
pub(super) fn prepare(paths: &Paths) -> Result<Launch> {
    let modules = install::timescale(paths)?;
    let psql = postgres::psql(&install::postgres()?);
    let [port] = free_ports()?;
    let mut command = Command::new("node");
    command
        .arg(paths.component_files("timescale").join("server.mjs"))
        .arg(modules)
        .arg(port.to_string());
    let url = format!("postgres://postgres:postgres@{}/postgres?sslmode=disable", local(port));
    let environment = environment([("TIDEWATCH_TEST_TIMESCALE", url.clone())]);
    let is_ready = Box::new(move || answers_sql(&psql, &url));
    Ok(Launch {
        command,
        stop_signal: libc::SIGTERM,
        limit: START_LIMIT,
        environment,
        is_ready,
    })
}
