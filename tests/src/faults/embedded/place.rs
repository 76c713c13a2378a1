//! Where all of a trial's files are, and how the program is told of it.

use super::{Plan, Problem};
use crate::faults::archive::Archive;
use crate::faults::schedule::StoreKind;
use crate::faults::workload::PARTITIONS;
use crate::proxies::{Proxies, Wrong};
use crate::sinks::component;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tidewatch_settings::{Size, Span};
use tidewatch_sources::log::LogConfig;

/// How large a small disk is.
const DISK_BYTES: u64 = 96 << 20;
const BALLAST: &str = "ballast";
/// The way to the bucket.
const WAY: &str = "s3";
const SEGMENT_BYTES: u64 = 64 << 10;

/// What is looked for: each finds something in what such a fleet sends.
const RULES: &str = r#"
[hot]
detector = "threshold"
metric = "temperature"
of = "mean"
above = 22.0
hysteresis = 2.0

[humid]
detector = "threshold"
severity = "critical"
metric = "humidity"
of = "max"
above = 60.0
for = "2m"

[silent]
detector = "dead_man"
for = "2m"
"#;

/// What goes wrong with the fleet, often.
const FAULTS: [(&str, &str); 10] = [
    ("FLEET__FAULTS__SPIKE", "0.01"),
    ("FLEET__FAULTS__DRIFT", "0.01"),
    ("FLEET__FAULTS__SILENCE", "0.02"),
    ("FLEET__FAULTS__FAST_CLOCK", "0.05"),
    ("FLEET__FAULTS__SLOW_CLOCK", "0.2"),
    ("FLEET__FAULTS__LATE", "0.05"),
    ("FLEET__FAULTS__FLOOD", "0.001"),
    ("FLEET__FAULTS__GARBAGE", "0.01"),
    ("FLEET__FAULTS__DUPLICATE", "0.02"),
    ("FLEET__FAULTS__NAN", "0.01"),
];

/// A folder that nobody else uses.
pub(super) struct Place {
    folder: TempDir,
    archive: Archive,
    proxies: Option<(Proxies, String)>,
    retention: Option<Duration>,
    seed: u64,
    /// A disk of its own, when there is one.
    disk: Option<PathBuf>,
}

impl Place {
    pub(super) fn new(plan: &Plan) -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        let proxies = (plan.archive == StoreKind::Bucket).then(|| {
            let (proxies, s3) = (Proxies::start(), component("TIDEWATCH_TEST_S3"));
            let to = s3.trim_start_matches("http://").trim_end_matches('/').to_owned();
            let way = format!("http://{}", proxies.way(WAY, &to));
            (proxies, way)
        });
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder");
        std::fs::write(folder.path().join("rules.toml"), RULES).expect("written");
        let disk = (plan.small_disk && mount(&data)).then(|| data.clone());
        Place {
            archive: Archive::new(&data, plan.archive),
            proxies,
            retention: plan.retention,
            seed: plan.seed,
            disk,
            folder,
        }
    }

    /// Where the oracle finds what it needs.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn archive(&self) -> &Archive {
        &self.archive
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where the embedded store is.
    pub(super) fn store(&self) -> PathBuf {
        self.data().join("store")
    }

    /// Where the names of places are written that were passed.
    pub(super) fn seen(&self) -> PathBuf {
        self.folder.path().join("passed.txt")
    }

    /// The embedded log, as the program has it.
    pub(super) fn log(&self) -> LogConfig {
        LogConfig {
            folder: Some(self.data().join("log")),
            partitions: PARTITIONS as u32,
            segment_bytes: Size(SEGMENT_BYTES),
            retention: self.retention.map_or(LogConfig::default().retention, Span),
            ..LogConfig::default()
        }
    }

    /// How the program is told of it.
    pub(super) fn keys(&self) -> Vec<(&'static str, String)> {
        let log = self.log();
        let mut keys = vec![
            ("STATE__FOLDER", self.data().display().to_string()),
            ("LOG__PARTITIONS", log.partitions.to_string()),
            ("LOG__SEGMENT_BYTES", log.segment_bytes.0.to_string()),
            ("LOG__RETENTION", format!("{}s", log.retention.0.as_secs())),
            ("FLEET__SEED", self.seed.to_string()),
            ("FLEET__DEVICES", "40".to_owned()),
            ("FLEET__INTERVAL", "200ms".to_owned()),
            ("FLEET__HISTORY", "1h".to_owned()),
            ("FLEET__HISTORY_INTERVAL", "30s".to_owned()),
            ("API__LISTEN", "127.0.0.1:0".to_owned()),
            (
                "RULES__FILE",
                self.folder.path().join("rules.toml").display().to_string(),
            ),
        ];
        keys.extend(FAULTS.map(|(key, share)| (key, share.to_owned())));
        let way = self.proxies.as_ref().map_or("", |(_, way)| way);
        keys.extend(self.archive.keys(way));
        keys
    }

    /// Something is wrong on the way to the archive for a time.
    pub(super) fn hinder(&self, wrong: Wrong, time: Duration) {
        if let Some((proxies, _)) = &self.proxies {
            proxies.hinder(WAY, wrong, time);
        }
    }

    /// Fills the disk; says whether there is one of its own.
    pub(super) fn fill(&self) -> Result<bool, Problem> {
        let Some(disk) = &self.disk else {
            return Ok(false);
        };
        let mut ballast = std::fs::File::create(disk.join(BALLAST)).map_err(|error| error.to_string())?;
        for bytes in [1 << 20, 4 << 10] {
            while ballast.write_all(&vec![0; bytes]).is_ok() {}
        }
        Ok(true)
    }

    /// Gives back what filled it.
    pub(super) fn make_room(&self) -> Result<(), Problem> {
        std::fs::remove_file(self.data().join(BALLAST)).map_err(|error| error.to_string())
    }

    /// Keeps the files for whoever looks into what went wrong.
    pub(super) fn keep(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        // Its disk stays too.
        self.disk = None;
        self.folder.path().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            // It is only memory.
            let _ = Command::new("umount").arg("-l").arg(disk).output();
        }
    }
}

/// Mounts a small file system in memory, where that is allowed.
fn mount(folder: &Path) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "tmpfs"]);
    mount.arg(folder).output().is_ok_and(|output| output.status.success())
}
