//! The embedded log alone: a process appends to it and says what was acknowledged, and is killed. What it has said must be
//! there, as it was appended, and nothing else.

use super::Problem;
use super::workload::Random;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tidewatch_failpoints::Bug;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, Polled, SourceFactory};
use tidewatch_proto::time::LogTime;
use tidewatch_settings::{Size, Span};
use tidewatch_sources::conformance::{Collected, Seen};
use tidewatch_sources::event::unheard;
use tidewatch_sources::log::{self, AppendError, Batch, LogConfig, LogFactory, LogWriter, Origin};

const PARTITIONS: usize = 2;
/// Who appends.
const FEED: u64 = 7;
/// How long an acknowledgement may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Records of a batch at most.
const BATCH: i64 = 40;
/// A process is killed within this time of its first acknowledgement.
const LIVES_MS: u64 = 60;

/// What is run.
pub struct Appending<'a> {
    /// The program that appends when its arguments are `append` and a folder.
    pub program: &'a Path,
    /// What all that is random comes from.
    pub seed: u64,
    /// How often it is killed at a moment of chance.
    pub kills: usize,
    /// What its failpoints do, each in a run of its own.
    pub orders: Vec<String>,
    /// The mistake that it makes.
    pub bug: Option<Bug>,
}

impl Appending<'_> {
    /// Runs it all, and says how much was acknowledged.
    ///
    /// # Errors
    /// What was lost, or came twice, or came otherwise than it was appended.
    ///
    /// # Panics
    /// When the program can't be started.
    pub fn run(&self) -> Result<String, Problem> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut random = Random::new(self.seed);
        let mut acknowledged = [0; PARTITIONS];
        for number in 0..self.kills {
            let lives = Duration::from_millis(random.below(LIVES_MS));
            self.append(folder.path(), "", Some(lives), &mut acknowledged)?;
            check(folder.path(), acknowledged).map_err(|problem| format!("after kill {number}: {problem}"))?;
        }
        for orders in &self.orders {
            let lives = (!orders.contains("=kill")).then(|| Duration::from_millis(500 + random.below(LIVES_MS)));
            self.append(folder.path(), orders, lives, &mut acknowledged)?;
            check(folder.path(), acknowledged).map_err(|problem| format!("after {orders}: {problem}"))?;
        }
        Ok(format!(
            "{} records acknowledged over {} kills and {} orders, all of them there",
            acknowledged.iter().sum::<i64>(),
            self.kills,
            self.orders.len()
        ))
    }

    /// Lets a process append until it is killed, by its orders or after a time, and notes what it has acknowledged.
    fn append(
        &self,
        folder: &Path,
        orders: &str,
        lives: Option<Duration>,
        acknowledged: &mut [i64; PARTITIONS],
    ) -> Result<(), Problem> {
        let mut command = Command::new(self.program);
        command.arg("append").arg(folder).env_clear();
        command
            .env("TIDEWATCH_FAILPOINT", orders)
            .env("TIDEWATCH_BUG", self.bug.map_or("", Bug::name));
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        let (first, heard) = std::sync::mpsc::channel();
        let heard_until: Arc<[AtomicI64; PARTITIONS]> = Arc::default();
        let noting = heard_until.clone();
        let reading = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut numbers = line.split(' ').filter_map(|number| number.parse::<i64>().ok());
                if let (Some(partition), Some(end)) = (numbers.next(), numbers.next()) {
                    noting[partition as usize].store(end, Ordering::SeqCst);
                    // Nobody hears but the first.
                    let _ = first.send(());
                }
            }
        });
        // When it ends before, it has ended by its orders.
        let begun = heard.recv_timeout(LIMIT);
        match lives {
            Some(lives) => std::thread::sleep(lives),
            None => drop(child.wait()),
        }
        // It may have ended.
        let _ = child.kill();
        let status = child.wait().map_err(|error| error.to_string())?;
        reading.join().map_err(|_| "the reading has panicked".to_owned())?;
        if begun.is_err() && status.code().is_some() {
            return Err(format!("it has acknowledged nothing and ended with {status}"));
        }
        for (known, heard) in acknowledged.iter_mut().zip(&*heard_until) {
            *known = (*known).max(heard.load(Ordering::SeqCst));
        }
        Ok(())
    }
}

/// Appends for ever, and says each acknowledgement: the partition, and the offset behind.
///
/// # Errors
/// When the log can't be opened or takes nothing.
pub fn append(folder: &Path) -> Result<(), Problem> {
    let (writer, log) = open(folder)?;
    // Nobody goes on from a checkpoint: what is old leaves.
    log.let_go();
    let mut next = [0; PARTITIONS];
    for (index, next) in next.iter_mut().enumerate() {
        let tail = writer
            .tail(Partition(index as u32))
            .ok_or("there is no such partition")?;
        *next = tail.origin.next.0;
    }
    let mut random = Random::new(next.iter().sum::<i64>() as u64);
    loop {
        for (index, next) in next.iter_mut().enumerate() {
            let partition = Partition(index as u32);
            let to = *next + 1 + random.below(BATCH as u64) as i64;
            let mut batch = Batch::default();
            (*next..to).for_each(|number| push(&mut batch, index, number));
            let origin = Origin {
                feed: FEED,
                next: Offset(to),
            };
            let end = loop {
                match writer.append(partition, &batch, origin) {
                    Ok(end) => break end,
                    Err(AppendError::Full) => writer.wait_for_room(LIMIT),
                    Err(error) => return Err(error.to_string()),
                }
            };
            *next = to;
            if !writer.wait(partition, end, LIMIT) {
                return Err(format!("nothing is acknowledged after {LIMIT:?}"));
            }
            let mut out = std::io::stdout().lock();
            let said = writeln!(out, "{index} {}", end.0).and_then(|()| out.flush());
            said.map_err(|error| error.to_string())?;
        }
    }
}

fn push(batch: &mut Batch, partition: usize, number: i64) {
    let payload = payload(partition, number);
    batch.push(Some(&number.to_le_bytes()[..]), &payload, LogTime(number));
}

/// The bytes of a partition's nth record, of all lengths.
fn payload(partition: usize, number: i64) -> Vec<u8> {
    format!("{partition}/{number};")
        .repeat(number as usize % 37)
        .into_bytes()
}

/// A small log that changes files often; records leave to make room.
fn open(folder: &Path) -> Result<(LogWriter, LogFactory), Problem> {
    let config = LogConfig {
        folder: Some(PathBuf::from(folder)),
        partitions: PARTITIONS as u32,
        segment_bytes: Size(64 << 10),
        retention_bytes: Size(8 << 20),
        retention: Span::from_secs(100 * 365 * 86_400),
        sync_interval: Span::from_millis(5),
        ..LogConfig::default()
    };
    let settings = config.resolve(folder).map_err(|error| error.to_string())?;
    log::open(&settings, unheard()).map_err(|error| error.to_string())
}

/// Whether all that was acknowledged is there, and everything is as it was appended.
fn check(folder: &Path, acknowledged: [i64; PARTITIONS]) -> Result<(), Problem> {
    let (writer, log) = open(folder)?;
    let first = log.positions(None).map_err(|error| error.to_string())?;
    for (index, acknowledged) in acknowledged.into_iter().enumerate() {
        let partition = Partition(index as u32);
        let tail = writer.tail(partition).ok_or("there is no such partition")?;
        let end = tail.end.0;
        if end < acknowledged {
            return Err(format!(
                "log/{index} ends at {end}, and {acknowledged} was acknowledged"
            ));
        }
        if tail.origin.next.0 != end {
            return Err(format!(
                "log/{index} ends at {end}, its sender goes on at {}",
                tail.origin.next
            ));
        }
        let assigned = [Assignment { partition, from: None }];
        let mut source = log.open(&assigned).map_err(|error| error.to_string())?;
        let mut read = Collected::new(PARTITIONS);
        while source.poll(&mut read, 10_000).map_err(|error| error.to_string())? == Polled::Some {}
        let found = &read.partitions[index];
        let is_right = |(record, number): (&Seen, i64)| {
            record.offset.0 == number
                && record.key.as_deref() == Some(&number.to_le_bytes()[..])
                && record.payload == payload(index, number)
        };
        let from = first[index].0;
        if found.len() as i64 != end - from || !found.iter().zip(from..).all(is_right) {
            return Err(format!("log/{index} from {from} to {end} is not as it was appended"));
        }
    }
    Ok(())
}
