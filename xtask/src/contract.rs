//! The API as a contract: its document is sound, takes nothing back of the released one, and a running server keeps to it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, process as std_process};

use anyhow::{Context, Result};

use crate::components::{free_ports, local};
use crate::daemon::{Daemon, Lifetime};
use crate::deadline::wait_until;
use crate::gate::Gate;
use crate::install;
use crate::paths::Paths;
use crate::process::{self, Run};

const LIMIT: Duration = Duration::from_secs(5 * 60);
/// How long a server may take until it has rows.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Questions that are made up for each operation, beside those that its schemas suggest: some 900 in all.
const EXAMPLES_MAX: &str = "10";
/// What is made up is the same each time: what fails for one fails for all.
const SEED: &str = "1";
const OASDIFF_VERSION: &str = "1.36.0";
/// Only this server knows it.
const TOKEN: &str = "contract-0123456789";

const REGISTRY: &str = "device_id,site,fleet,valid_from\ndev-000042,north,trucks,\n";

/// What checks the contract.
struct Tools {
    spectral: PathBuf,
    oasdiff: PathBuf,
    /// An environment of Python; its scripts name the folder that it was made in, so they are given to its Python.
    schemathesis: PathBuf,
}

/// Fetches what checks the contract, unless it is there.
pub(crate) fn ensure_tools(paths: &Paths) -> Result<()> {
    tools(paths).map(drop)
}

fn tools(paths: &Paths) -> Result<Tools> {
    let files = paths.component_files("contract");
    let module = format!("github.com/oasdiff/oasdiff@v{OASDIFF_VERSION}");
    Ok(Tools {
        spectral: install::npm(paths, "spectral", &files, &["--ignore-scripts"])?.join("node_modules/.bin/spectral"),
        oasdiff: install::go(paths, &format!("oasdiff-{OASDIFF_VERSION}"), &module)?.join("bin/oasdiff"),
        schemathesis: install::venv(paths, "schemathesis", &files.join("requirements.txt"))?,
    })
}

/// The step of the gate.
pub(crate) fn contract(gate: &mut Gate) -> Result<String> {
    let (tools, files) = (tools(&gate.paths)?, gate.paths.component_files("contract"));
    let docs = gate.paths.root.join("docs");
    let run = gate.logged("contract", LIMIT);
    let mut lint = Command::new(tools.spectral);
    lint.args(["lint", "--fail-severity", "hint", "--ruleset"]);
    lint.arg(files.join("spectral.yaml")).arg(docs.join("openapi.json"));
    run.run(lint)?;
    let mut compare = Command::new(tools.oasdiff);
    compare.args([
        "breaking",
        "--fail-on",
        "ERR",
        "--allow-external-refs=false",
        "--err-ignore",
    ]);
    compare.arg(docs.join("openapi.breaking.txt"));
    // A parameter that isn't known is refused here, so taking one away breaks whoever sends it.
    compare.arg("--severity-levels").arg(files.join("severity.txt"));
    compare.args([docs.join("openapi.released.json"), docs.join("openapi.json")]);
    run.run(compare)?;
    ask(gate, &tools.schemathesis, &files, &run)
}

/// Has a server on what is embedded asked everything.
fn ask(gate: &Gate, schemathesis: &Path, files: &Path, run: &Run) -> Result<String> {
    let folder = env::temp_dir().join(format!("tidewatch-contract-{}", std_process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let asked = ask_in(gate, schemathesis, files, run, &folder);
    let _ = fs::remove_dir_all(&folder);
    asked
}

fn ask_in(gate: &Gate, schemathesis: &Path, files: &Path, run: &Run, folder: &Path) -> Result<String> {
    let [port] = free_ports()?;
    let address = local(port);
    fs::write(folder.join("tokens"), format!("admin {TOKEN}\n"))?;
    // What the document's examples name is there.
    fs::write(folder.join("devices.csv"), REGISTRY)?;
    let api = format!("[api]\nlisten = \"{address}\"\ntoken_file = \"tokens\"\n");
    let fleet = "[fleet]\ndevices = 50\n";
    let registry = "[registry]\nfile = \"devices.csv\"\nrollups = [\"site\", \"fleet\"]\n";
    fs::write(folder.join("tidewatch.toml"), format!("{api}{fleet}{registry}"))?;
    let mut command = Command::new(gate.paths.binary());
    command.current_dir(folder);
    let log = gate.log("contract-server");
    let _ = fs::remove_file(&log);
    let _server = Daemon::start(command, libc::SIGTERM, &log, Lifetime::Ours)?;
    wait_until("rows of the simulated fleet", START_LIMIT, || Ok(has_rows(address)))
        .with_context(|| process::tail(&log))?;
    let mut asking = Command::new(schemathesis.join("bin/python"));
    asking
        .arg(schemathesis.join("bin/schemathesis"))
        .arg("--no-color")
        .arg("--config-file")
        .arg(files.join("schemathesis.toml"))
        .arg("run")
        .arg(format!("http://{address}/v1/openapi.json"))
        .args(["--checks", "all", "--max-examples", EXAMPLES_MAX])
        .args(["--seed", SEED])
        .current_dir(folder)
        .env("TIDEWATCH_CONTRACT_TOKEN", TOKEN);
    run.run(asking)?;
    Ok(String::new())
}

/// Whether the server has a series to tell of.
fn has_rows(address: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let limit = Duration::from_secs(1);
    let asked = TcpStream::connect_timeout(&address, limit).and_then(|mut stream| {
        stream.set_read_timeout(Some(limit))?;
        write!(
            stream,
            "GET /v1/rollups/site/north/temperature HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\
             Connection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    asked.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
