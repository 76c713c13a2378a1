//! What the components and checks are made of: fetched once, pinned, and complete or not there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::paths::{self, Paths};
use crate::process::Run;

const FETCH_LIMIT: Duration = Duration::from_secs(30 * 60);
const KAFKA_VERSION: &str = "4.1.1";
const TIMESCALE_VERSION: &str = "2.23";
const VERSITYGW_VERSION: &str = "1.8.0";
const TOXIPROXY_VERSION: &str = "2.5.0";
const CARGO_DENY_VERSION: &str = "0.20.2";
const COPY_DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
const POSTGRES_FOLDER: &str = "/usr/lib/postgresql";
const POSTGRES_WANTED: u32 = 15;

/// The folder of Kafka's jars.
pub(crate) fn kafka(paths: &Paths) -> Result<PathBuf> {
    need("java", "a JDK of version 17 or later")?;
    let manifest = paths.component_files("kafka").join("pom.xml");
    let folder = once(paths, &format!("kafka-{KAFKA_VERSION}"), &[manifest], |folder, log| {
        need("mvn", "Maven 3")?;
        let mut command = Command::new("mvn");
        command
            .args(["-q", "-B", COPY_DEPENDENCIES, "-DoutputDirectory=libs"])
            .current_dir(folder);
        log.run(command)
    })?;
    Ok(folder.join("libs"))
}

/// The folder that has TimescaleDB's `node_modules`.
pub(crate) fn timescale(paths: &Paths) -> Result<PathBuf> {
    let name = format!("timescale-{TIMESCALE_VERSION}");
    npm(
        paths,
        &name,
        &paths.component_files("timescale"),
        &["--legacy-peer-deps"],
    )
}

/// The folder that has the `node_modules` of the page's test.
pub(crate) fn playwright(paths: &Paths) -> Result<PathBuf> {
    npm(
        paths,
        "playwright",
        &paths.component_files("page"),
        &["--ignore-scripts"],
    )
}

/// The folder that has the `node_modules` of a folder's manifests.
pub(crate) fn npm(paths: &Paths, name: &str, files: &Path, options: &[&str]) -> Result<PathBuf> {
    need("node", "Node 20 or later")?;
    let manifests = [files.join("package.json"), files.join("package-lock.json")];
    once(paths, name, &manifests, |folder, log| {
        need("npm", "npm, which comes with Node")?;
        let mut command = Command::new("npm");
        command.args(["ci", "--no-audit", "--no-fund"]).args(options);
        command.current_dir(folder);
        log.run(command)
    })
}

/// A browser that the page's test drives.
pub(crate) fn chromium() -> Result<PathBuf> {
    let known = ["chromium", "chromium-browser", "google-chrome"];
    let found = known.into_iter().find_map(paths::on_path);
    found.context("no Chromium: run `cargo xtask test --only install`, or install `chromium`")
}

/// Installs a browser when there is none.
pub(crate) fn ensure_chromium(paths: &Paths) -> Result<PathBuf> {
    if chromium().is_err() {
        apt_update(paths)?;
        apt(
            paths,
            &[
                "install",
                "-y",
                "--no-install-recommends",
                "chromium",
                "fonts-dejavu-core",
            ],
        )?;
    }
    chromium()
}

/// The Python that the fault harness' oracle runs on, in an environment of its own.
pub(crate) fn oracle_python(paths: &Paths) -> Result<PathBuf> {
    let manifest = paths.root.join("tests/oracle/requirements.txt");
    Ok(venv(paths, "oracle", &manifest)?.join("bin/python"))
}

/// The folder of an environment of Python with what `requirements.txt` names.
pub(crate) fn venv(paths: &Paths, name: &str, requirements: &Path) -> Result<PathBuf> {
    need("python3", "Python 3.11 or later, with venv and pip")?;
    once(paths, name, &[requirements.to_owned()], |folder, log| {
        let mut command = Command::new("python3");
        command.args(["-m", "venv"]).arg(folder);
        log.run(command)?;
        let mut command = Command::new(folder.join("bin/python"));
        let install = ["-m", "pip", "install", "-q", "--only-binary", ":all:"];
        command.args(install).args(["-r", "requirements.txt"]);
        command.current_dir(folder);
        log.run(command)
    })
}

/// The gateway that speaks S3 over a folder.
pub(crate) fn versitygw(paths: &Paths) -> Result<PathBuf> {
    let module = format!("github.com/versity/versitygw/cmd/versitygw@v{VERSITYGW_VERSION}");
    let folder = go(paths, &format!("versitygw-{VERSITYGW_VERSION}"), &module)?;
    Ok(folder.join("bin/versitygw"))
}

/// The proxy on whose ways things go wrong.
pub(crate) fn toxiproxy(paths: &Paths) -> Result<PathBuf> {
    let module = format!("github.com/Shopify/toxiproxy/v2/cmd/server@v{TOXIPROXY_VERSION}");
    let folder = go(paths, &format!("toxiproxy-{TOXIPROXY_VERSION}"), &module)?;
    Ok(folder.join("bin/server"))
}

/// The folder of a program in Go, in whose `bin` it is.
pub(crate) fn go(paths: &Paths, name: &str, module: &str) -> Result<PathBuf> {
    let build = paths.cache()?.join(format!("{name}.build"));
    let folder = once(paths, name, &[], |folder, log| {
        // A later Go that the module asks for is fetched by Go itself.
        need("go", "Go 1.21 or later (`golang` is the package)")?;
        let mut command = Command::new("go");
        command
            .args(["install", module])
            .env("GOBIN", folder.join("bin"))
            .env("GOPATH", &build)
            .env("GOCACHE", build.join("cache"))
            .env("GOFLAGS", "-modcacherw");
        log.run(command)
    })?;
    let _ = fs::remove_dir_all(&build);
    Ok(folder)
}

/// The folder of `cargo-deny`, to be put on the PATH.
pub(crate) fn cargo_deny(paths: &Paths) -> Result<PathBuf> {
    let build = paths.cache()?.join("cargo-deny.build");
    let folder = once(
        paths,
        &format!("cargo-deny-{CARGO_DENY_VERSION}"),
        &[],
        |folder, log| {
            let mut command = Command::new(paths::cargo());
            command
                .args([
                    "install",
                    "--locked",
                    "cargo-deny",
                    "--version",
                    CARGO_DENY_VERSION,
                    "--root",
                ])
                .arg(folder);
            // A folder that stays: an interrupted installation goes on where it was.
            command.env("CARGO_TARGET_DIR", &build);
            // It runs once a gate: what its release profile would gain is less than what it costs to compile.
            command.envs([
                ("CARGO_PROFILE_RELEASE_LTO", "off"),
                ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
            ]);
            log.run(command)
        },
    )?;
    let _ = fs::remove_dir_all(paths.cache()?.join("cargo-deny.build"));
    Ok(folder.join("bin"))
}

/// Prometheus' checker: the one on the PATH, else out of Debian's package, unpacked and not installed.
pub(crate) fn promtool(paths: &Paths) -> Result<PathBuf> {
    if let Some(found) = paths::on_path("promtool") {
        return Ok(found);
    }
    let folder = once(paths, "prometheus", &[], |folder, log| {
        apt_update(paths)?;
        let mut download = Command::new("apt-get");
        download
            .args(["-q", "-o", "APT::Sandbox::User=root", "download", "prometheus"])
            .current_dir(folder);
        log.run(download)
            .context("install `prometheus` by hand: its `promtool` must be on the PATH")?;
        let mut unpack = Command::new("sh");
        log.run({
            unpack
                .args(["-c", "dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb"])
                .current_dir(folder);
            unpack
        })
    })?;
    let promtool = folder.join("usr/bin/promtool");
    ensure!(
        promtool.is_file(),
        "there is no {}: delete {} and try again",
        promtool.display(),
        folder.display()
    );
    Ok(promtool)
}

/// The folder of PostgreSQL's programs; the package is installed when there is none.
pub(crate) fn postgres() -> Result<PathBuf> {
    let found = postgres_folder();
    found.context("no PostgreSQL 15 or later: run `cargo xtask test --only install`, or install `postgresql-15`")
}

/// Installs PostgreSQL when it is not there.
pub(crate) fn ensure_postgres(paths: &Paths) -> Result<PathBuf> {
    if postgres_folder().is_none() {
        apt_update(paths)?;
        // Debian 12 has version 15; elsewhere the default one is as good.
        let versioned = apt(paths, &["install", "-y", "--no-install-recommends", "postgresql-15"]);
        versioned.or_else(|_| apt(paths, &["install", "-y", "--no-install-recommends", "postgresql"]))?;
    }
    postgres()
}

/// Version 15 if there, else the newest above it.
fn postgres_folder() -> Option<PathBuf> {
    let folders = fs::read_dir(POSTGRES_FOLDER).ok()?.flatten();
    let versions = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
    let mut versions: Vec<u32> = versions.filter(|version| *version >= POSTGRES_WANTED).collect();
    versions.sort_by_key(|version| (*version != POSTGRES_WANTED, u32::MAX - version));
    let folders = versions
        .iter()
        .map(|version| Path::new(POSTGRES_FOLDER).join(version.to_string()).join("bin"));
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").is_file() && folder.join("psql").is_file())
}

/// Once a run: package lists go stale, and a fresh machine has none.
fn apt_update(paths: &Paths) -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_none() {
        apt(paths, &["update"])?;
        let _ = DONE.set(());
    }
    Ok(())
}

fn apt(paths: &Paths, arguments: &[&str]) -> Result<()> {
    let by_hand = || format!("as root, run by hand: apt-get {}", arguments.join(" "));
    // No file of ours tells who we are but one in /proc.
    let root = fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0);
    let mut command = if root {
        Command::new("apt-get")
    } else if paths::on_path("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"]);
        sudo
    } else {
        bail!("neither root nor sudo: {}", by_hand());
    };
    // Run level 1: what is installed is not started.
    command
        .args(["-q"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1");
    Run::logged(paths.target.join("gate/apt.log"), FETCH_LIMIT)
        .run(command)
        .with_context(by_hand)
}

/// Fails, saying what to install, unless the program is there.
pub(crate) fn need(program: &str, what: &str) -> Result<()> {
    ensure!(
        paths::on_path(program).is_some(),
        "`{program}` is not on the PATH: install {what}"
    );
    Ok(())
}

/// A folder of the cache, filled once: beside its place, then renamed. One that was made from other manifests than
/// today's is made anew.
fn once(
    paths: &Paths,
    name: &str,
    manifests: &[PathBuf],
    fill: impl FnOnce(&Path, &Run) -> Result<()>,
) -> Result<PathBuf> {
    let place = paths.cache()?.join(name);
    if place.is_dir() && manifests.iter().all(|manifest| is_same(manifest, &place)) {
        return Ok(place);
    }
    eprintln!("  fetching {name}");
    let beside = paths.cache()?.join(format!("{name}.{}", std::process::id()));
    let _ = fs::remove_dir_all(&beside);
    fs::create_dir_all(&beside).with_context(|| format!("cannot create {}", beside.display()))?;
    for manifest in manifests {
        let name = manifest.file_name().context("a manifest is a file")?;
        fs::copy(manifest, beside.join(name)).with_context(|| format!("cannot copy {}", manifest.display()))?;
    }
    let log = Run::logged(paths.target.join(format!("gate/fetch-{name}.log")), FETCH_LIMIT);
    let filled = fill(&beside, &log).with_context(|| format!("cannot fetch {name}"));
    if filled.is_ok() {
        let _ = fs::remove_dir_all(&place);
        fs::rename(&beside, &place).with_context(|| format!("cannot create {}", place.display()))?;
    }
    let _ = fs::remove_dir_all(&beside);
    filled.map(|()| place)
}

fn is_same(manifest: &Path, place: &Path) -> bool {
    let copy = manifest.file_name().map(|name| place.join(name));
    match (fs::read(manifest), copy.map(fs::read)) {
        (Ok(wanted), Some(Ok(had))) => wanted == had,
        _ => false,
    }
}

/// Writes a file so that a reader sees the old or the new one, whole.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}
