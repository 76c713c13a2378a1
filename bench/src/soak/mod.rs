//! The soak: the program on its embedded defaults at an even rate for a while, and whether anything of it still grows.
//!
//! Retention is small, so that log, store and what can be corrected reach their steady state within the first half. Of the
//! second half a straight line is laid through what is resident, open and on the disk ([`Line`]): what it rises by is judged,
//! not what a person sees in a curve. The archive grows by design; it is measured and not judged.

mod line;

pub use line::Line;

use crate::service::{Service, disk_bytes};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// The part of the time in which it becomes steady.
const SETTLING: f64 = 0.5;
/// The least part of the rate that it has to take in while it is judged.
const RATE_MIN: f64 = 0.98;

/// By how much of its mean a figure may rise over what is judged.
pub const RISE_MAX: f64 = 0.03;
/// File handles may rise by so many.
pub const HANDLES_MAX: f64 = 2.0;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program.
    pub program: PathBuf,
    /// An empty folder for its data.
    pub folder: PathBuf,
    /// Messages a second, each of four metrics and of a device of its own.
    pub per_s: u32,
    /// How long.
    pub time: Duration,
}

/// One look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Seconds since the beginning.
    pub at_s: f64,
    /// Resident bytes.
    pub rss_bytes: f64,
    /// Open file handles.
    pub handles: f64,
    /// Bytes on the disk, without the archive.
    pub disk_bytes: f64,
    /// Bytes of the archive.
    pub archive_bytes: f64,
    /// Messages taken in.
    pub messages: f64,
    /// Records that lie in the log and are not read.
    pub lag: f64,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// All looks.
    pub samples: Vec<Sample>,
    /// Of the second half: resident bytes, handles, bytes on the disk.
    pub lines: [Line; 3],
    /// Messages a second in the second half.
    pub per_s: f64,
}

impl Plan {
    /// Small retention, of a length that fits into the time.
    fn keys(&self) -> Vec<(&'static str, String)> {
        let part_s = |part: u64, most: u64| format!("{}s", (self.time.as_secs() / part).clamp(5, most));
        let store_mib = (self.time.as_secs() / 15).clamp(16, 64);
        let mut keys = vec![
            ("FLEET__DEVICES", self.per_s.to_string()),
            ("FLEET__INTERVAL", "1s".to_owned()),
            ("FLEET__HISTORY", "0s".to_owned()),
            ("ENGINE__CORRECTION_HORIZON", part_s(10, 120)),
            ("LOG__RETENTION", part_s(10, 120)),
            ("LOG__RETENTION_BYTES", "512MiB".to_owned()),
            ("LOG__SEGMENT_BYTES", "8MiB".to_owned()),
            ("EMBEDDED__BYTES_MAX", format!("{store_mib}MiB")),
            ("EMBEDDED__DEAD_LETTER_BYTES_MAX", "1MiB".to_owned()),
            ("ARCHIVE__OBJECT_TIME", "10s".to_owned()),
            ("ARCHIVE__GRACE", part_s(10, 60)),
        ];
        keys.push(("ENGINE__THREADS", "1".to_owned()));
        keys
    }
}

/// Runs the program for the whole time, looks at it, stops it, and says what its second half comes to.
///
/// # Errors
/// When it fails, is not at its rate, doesn't stop well, or something of it grows: what, and by how much.
pub fn run(plan: &Plan, mut seen: impl FnMut(&Sample)) -> Result<Outcome> {
    fs::create_dir_all(&plan.folder).with_context(|| format!("cannot create {}", plan.folder.display()))?;
    let is_empty = fs::read_dir(&plan.folder)?.next().is_none();
    ensure!(is_empty, "{} is not empty", plan.folder.display());
    let service = Service::start(&plan.program, &plan.keys(), &plan.folder)?;
    let data = plan.folder.join("tidewatch-data");
    let begun = Instant::now();
    let mut samples = Vec::new();
    while begun.elapsed() < plan.time {
        std::thread::sleep(LOOK);
        let sample = look(&service, &data, begun.elapsed())?;
        seen(&sample);
        samples.push(sample);
    }
    service.stop().context("the program was to stop")?;
    let from_s = plan.time.as_secs_f64() * SETTLING;
    let judged: Vec<Sample> = samples.iter().copied().filter(|sample| sample.at_s >= from_s).collect();
    let line = |figure: fn(&Sample) -> f64| Line::through(judged.iter().map(|sample| (sample.at_s, figure(sample))));
    let messages = line(|sample| sample.messages)?;
    let outcome = Outcome {
        lines: [
            line(|sample| sample.rss_bytes)?,
            line(|sample| sample.handles)?,
            line(|sample| sample.disk_bytes)?,
        ],
        per_s: messages.per_s,
        samples,
    };
    ensure!(
        outcome.per_s >= RATE_MIN * f64::from(plan.per_s),
        "it took in {:.0} messages a second, not {}",
        outcome.per_s,
        plan.per_s
    );
    Ok(outcome)
}

fn look(service: &Service, data: &Path, since: Duration) -> Result<Sample> {
    let footprint = service.footprint()?;
    let archive_bytes = disk_bytes(&data.join("archive"));
    Ok(Sample {
        at_s: since.as_secs_f64(),
        rss_bytes: footprint.rss_bytes as f64,
        handles: footprint.handles as f64,
        disk_bytes: disk_bytes(data).saturating_sub(archive_bytes) as f64,
        archive_bytes: archive_bytes as f64,
        messages: service.metric("tidewatch_messages_total")?,
        lag: service.metric("tidewatch_partition_lag_records")?,
    })
}

impl Outcome {
    /// What still grows, a line each; none when all of it is flat.
    pub fn growing(&self) -> Vec<String> {
        let [rss, handles, disk] = &self.lines;
        let parts = [("resident bytes", rss), ("bytes on the disk", disk)];
        let mut growing: Vec<String> = parts
            .into_iter()
            .filter(|(_, line)| line.rise > RISE_MAX * line.mean)
            .map(|(what, line)| {
                let percent = 100.0 * line.rise / line.mean;
                format!(
                    "{what} rise by {percent:.1} % in the second half, more than {:.0} %",
                    100.0 * RISE_MAX
                )
            })
            .collect();
        if handles.rise > HANDLES_MAX {
            growing.push(format!("file handles rise by {:.1} in the second half", handles.rise));
        }
        growing
    }
}
