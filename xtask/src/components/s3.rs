//! S3: a gateway over a folder, with a bucket in it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Launch, environment, free_ports, local};
use crate::install;
use crate::paths::Paths;

const START_LIMIT: Duration = Duration::from_secs(60);
const ACCESS_KEY: &str = "tidewatch";
const SECRET_KEY: &str = "tidewatch-secret";
const BUCKET: &str = "checkpoints";

/// Makes the folder with the bucket.
pub(super) fn prepare(paths: &Paths, state: &Path) -> Result<Launch> {
    let program = install::versitygw(paths)?;
    let root = state.join("buckets");
    let bucket = root.join(BUCKET);
    fs::create_dir_all(&bucket).with_context(|| format!("cannot create {}", bucket.display()))?;
    let [port] = free_ports()?;
    let address = local(port);
    let mut command = Command::new(program);
    command
        .args(["--quiet", "--port", &address.to_string(), "posix"])
        .arg(&root)
        .env("ROOT_ACCESS_KEY", ACCESS_KEY)
        .env("ROOT_SECRET_KEY", SECRET_KEY);
    let environment = environment([
        ("TIDEWATCH_TEST_S3", format!("http://{address}")),
        ("TIDEWATCH_TEST_S3_BUCKET", BUCKET.to_owned()),
        ("TIDEWATCH_TEST_S3_ACCESS_KEY", ACCESS_KEY.to_owned()),
        ("TIDEWATCH_TEST_S3_SECRET_KEY", SECRET_KEY.to_owned()),
    ]);
    Ok(Launch {
        command,
        stop_signal: libc::SIGTERM,
        limit: START_LIMIT,
        environment,
        is_ready: Box::new(move || answers(address)),
    })
}

/// Whether it refuses a request that nobody has signed, as S3 does.
fn answers(address: SocketAddr) -> bool {
    let limit = Duration::from_secs(1);
    let asked = TcpStream::connect_timeout(&address, limit).and_then(|mut stream| {
        stream.set_read_timeout(Some(limit))?;
        write!(
            stream,
            "GET /{BUCKET} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    asked.is_ok_and(|answer| answer.starts_with("HTTP/1.1 403"))
}
