//! How long a cluster with many series takes to go on after one of its processes has died, or hangs.

use super::Problem;
use super::feed::Feed;
use super::process::Process;
use super::workload::{PARTITIONS, Random, START, Sent};
use crate::sinks::{component, unique};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tidewatch_proto::wire::Telemetry;

/// Metrics of a device.
const METRICS: [&str; 4] = ["temperature", "pressure", "humidity", "vibration"];
/// Processes of the cluster.
const PROCESSES: usize = 2;
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);
/// A run lasts so long before it is hindered, as one does whose processes seldom die.
const LASTS: Duration = Duration::from_secs(11);
/// The slowest of so many percent.
const PERCENTILE: usize = 99;

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// It is killed.
    Kill,
    /// It is stopped, so that its links fall silent.
    Hang,
}

/// How long it took, of each blow.
#[derive(Debug, Default)]
pub struct Times {
    /// Until the supervisor knew.
    pub detected: Vec<Duration>,
    /// From there until the next run had made a checkpoint durable.
    pub recovered: Vec<Duration>,
}

impl Times {
    /// The median and the slowest of 99 %, in seconds.
    pub fn summary(times: &[Duration]) -> (f64, f64) {
        let mut sorted: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
        match sorted.is_empty() {
            true => (f64::NAN, f64::NAN),
            false => (at(50), at(PERCENTILE)),
        }
    }
}

/// A supervised cluster that has read its devices.
pub struct Cluster {
    feed: Feed,
    supervisor: Process,
    random: Random,
    begun: Instant,
    next: u64,
}

impl Cluster {
    /// Starts it and has it read a message of each of so many devices.
    ///
    /// # Errors
    /// When it doesn't come so far.
    pub fn start(folder: &Path, devices: u64, seed: u64) -> Result<Cluster, Problem> {
        let (brokers, group) = (component("TIDEWATCH_TEST_KAFKA"), unique("recovery"));
        let mut feed = Feed::new(&brokers, &group, &folder.join("ledger.jsonl"));
        let fleet: Vec<Sent> = (0..devices).map(|device| message(device, 0)).collect();
        feed.produce(&fleet);
        let keys = [
            ("SOURCE__KIND", "kafka".to_owned()),
            ("KAFKA__BROKERS", brokers),
            ("KAFKA__TOPIC", feed.topic().to_owned()),
            ("KAFKA__GROUP_ID", group),
            ("KAFKA__START", "earliest".to_owned()),
            ("OUTPUT__STORE", "discard".to_owned()),
            ("OUTPUT__KAFKA__TOPIC", unique("rows")),
            ("OUTPUT__KAFKA__CREATE_TOPICS", "true".to_owned()),
            ("DEAD_LETTER__KIND", "discard".to_owned()),
            ("ENGINE__THREADS", "1".to_owned()),
            ("API__LISTEN", super::own::free_addresses(1).concat()),
            ("STATE__FOLDER", folder.join("state").display().to_string()),
        ];
        let args = ["run", "--processes", &PROCESSES.to_string()].map(str::to_owned);
        let supervisor = Process::spawn(&args, &keys, &[], &folder.join("cluster.log"));
        let mut cluster = Cluster {
            feed,
            supervisor,
            random: Random::new(seed),
            begun: Instant::now(),
            next: 1,
        };
        cluster.until("a checkpoint of all devices", |cluster| cluster.feed.is_durable())?;
        Ok(cluster)
    }

    /// Strikes a process by chance and waits until the next run has a checkpoint of what was written meanwhile.
    ///
    /// # Errors
    /// When it doesn't come back.
    pub fn strike(&mut self, blow: Blow, times: &mut Times) -> Result<(), Problem> {
        let rest = LASTS.saturating_sub(self.begun.elapsed());
        // Nothing is waited for but that time goes by.
        std::thread::sleep(rest);
        let processes = self.supervisor.children();
        if processes.len() != PROCESSES {
            return Err(format!("{} processes run: {}", processes.len(), self.supervisor.said()));
        }
        let ends = |cluster: &Cluster| cluster.supervisor.said().matches(" has ended: ").count();
        let before = ends(self);
        let struck = processes[self.random.below(PROCESSES as u64) as usize];
        let signal = if blow == Blow::Kill { "-KILL" } else { "-STOP" };
        let begun = Instant::now();
        let sent = Command::new("kill").arg(signal).arg(struck.to_string()).status();
        if !sent.is_ok_and(|status| status.success()) {
            return Err(format!("process {struck} can't be struck"));
        }
        self.until("a word of the supervisor", |cluster| ends(cluster) > before)?;
        times.detected.push(begun.elapsed());
        let known = Instant::now();
        let device = self.random.below(1_000);
        self.feed.produce(&[message(device, self.next)]);
        self.next += 1;
        self.until("a checkpoint", |cluster| cluster.feed.is_durable())?;
        times.recovered.push(known.elapsed());
        self.begun = known;
        Ok(())
    }

    /// Stops it.
    ///
    /// # Errors
    /// When it doesn't end well.
    pub fn stop(mut self) -> Result<(), Problem> {
        self.supervisor.signal("TERM");
        let status = self.supervisor.end_within(LIMIT)?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("it stopped with {status}: {}", self.supervisor.said())),
        }
    }

    fn until(&mut self, what: &str, is_there: impl Fn(&Cluster) -> bool) -> Result<(), Problem> {
        let begun = Instant::now();
        while !is_there(self) {
            if let Some(status) = self.supervisor.ended() {
                return Err(format!("the supervisor ended, {status}: {}", self.supervisor.said()));
            }
            if begun.elapsed() > LIMIT {
                return Err(format!("{what} took more than {LIMIT:?}: {}", self.supervisor.said()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// A message so many milliseconds after the beginning: all windows stay open, as most are when a process dies.
fn message(device: u64, number: u64) -> Sent {
    let key = format!("device-{device:07}");
    let ts = START + number as i64;
    let metrics = METRICS.map(|metric| (metric.to_owned(), device as f64));
    let telemetry = Telemetry {
        device_id: key.clone(),
        ts,
        metrics: metrics.into(),
        raw: Vec::new(),
    };
    Sent {
        partition: (device % PARTITIONS as u64) as i32,
        log_ms: ts,
        key,
        payload: prost::Message::encode_to_vec(&telemetry),
    }
}
