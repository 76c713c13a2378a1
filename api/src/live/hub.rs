//! The thread that listens to the engine for all subscribers.

use super::LiveFeed;
use super::subscriber::{MESSAGES_MAX, Subscriber};
use super::subscription::{Devices, Subscription};
use crate::tap::SharedRows;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidewatch_dataflow::stats::Stats;
use tidewatch_dataflow::{Live, Watch};
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::block::RowRef;
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::row::Job;
use tokio::sync::mpsc;

/// How often subscribers are looked after while there are any.
const TICK: Duration = Duration::from_millis(20);
/// The engine is listened to anew at most once in this time: those who come together get their snapshots together.
const WATCH_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked how many readings come, in milliseconds.
const RATE_MS: u64 = 1_000;
/// Open windows that the engine is asked for in a millisecond at most: where readings change more than that, changes come
/// after so many milliseconds, every four seconds when they are of a million series.
const SERIES_PER_MS: u64 = 250;

/// What the hub is told.
enum Command {
    Join(u64, Subscriber),
    Subscribe(u64, Subscription),
    Leave(u64),
    Durable(SharedRows),
    Anomalies(Vec<Anomaly>),
    Progress { plain: String, fleet: String },
}

/// The way to the hub.
#[derive(Debug)]
pub(crate) struct Hub {
    commands: Sender<Command>,
    /// Until the thread is started.
    receiver: Mutex<Option<Receiver<Command>>>,
    subscribers: AtomicUsize,
    next: AtomicU64,
}

impl Default for Hub {
    fn default() -> Hub {
        let (commands, receiver) = channel();
        Hub {
            commands,
            receiver: Mutex::new(Some(receiver)),
            subscribers: AtomicUsize::new(0),
            next: AtomicU64::new(0),
        }
    }
}

impl Hub {
    /// Starts the thread, once; it ends when nobody holds the hub.
    pub(crate) fn start(&self, feed: Arc<dyn LiveFeed>, stats: Arc<Stats>) {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(commands) = receiver else { return };
        let work = Work {
            readings: (stats.readings.get(), Instant::now(), 0),
            feed,
            stats,
            commands,
            subscribers: BTreeMap::new(),
            by_device: HashMap::new(),
            searching: Vec::new(),
            live: None,
            watched: None,
        };
        // Without it a subscriber hears nothing, which the page shows.
        let _ = std::thread::Builder::new()
            .name("live-hub".into())
            .spawn(move || work.run());
    }

    /// How many there are.
    pub(crate) fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// One more, who wants nothing yet: its number, and what it is sent.
    pub(crate) fn join(self: &Hub) -> (u64, mpsc::Receiver<String>) {
        let (out, messages) = mpsc::channel(MESSAGES_MAX);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.subscribers.fetch_add(1, Ordering::Relaxed);
        let nothing = Subscription {
            devices: Devices::None,
            metrics: Default::default(),
            jobs: Vec::new(),
            throttle: Duration::from_secs(1),
            fleet: false,
            anomalies: false,
        };
        self.tell(Command::Join(number, Subscriber::new(out, nothing)));
        (number, messages)
    }

    /// A subscriber wants this from now on.
    pub(crate) fn subscribe(&self, number: u64, wants: Subscription) {
        self.tell(Command::Subscribe(number, wants));
    }

    /// A subscriber has gone.
    pub(crate) fn leave(&self, number: u64) {
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
        self.tell(Command::Leave(number));
    }

    /// Rows are durable.
    pub(crate) fn durable(&self, rows: &SharedRows, _through: Epoch) {
        let own: &[tidewatch_proto::row::Row] = (**rows).as_ref();
        if self.subscribers() > 0 && !own.is_empty() {
            self.tell(Command::Durable(rows.clone()));
        }
    }

    /// Anomalies are durable.
    pub(crate) fn anomalies(&self, anomalies: &[Anomaly]) {
        if self.subscribers() > 0 {
            self.tell(Command::Anomalies(anomalies.to_vec()));
        }
    }

    /// Time goes on: what all subscribers are told, without how the fleet does and with it.
    pub(crate) fn progress(&self, plain: String, fleet: String) {
        self.tell(Command::Progress { plain, fleet });
    }

    fn tell(&self, command: Command) {
        // Before it is started they wait; when it has ended nobody listens.
        let _ = self.commands.send(command);
    }
}

/// What the thread works with.
struct Work {
    feed: Arc<dyn LiveFeed>,
    stats: Arc<Stats>,
    commands: Receiver<Command>,
    subscribers: BTreeMap<u64, Subscriber>,
    /// Who wants the rows of a device that they name.
    by_device: HashMap<Name, Vec<u64>>,
    /// Who wants those of devices whose ids hold a text.
    searching: Vec<(u64, String)>,
    live: Option<Live>,
    /// When the engine was last listened to anew.
    watched: Option<Instant>,
    /// How many readings there were, when that was, and how many came in a millisecond since the time before.
    readings: (u64, Instant, u64),
}

impl Work {
    fn run(mut self) {
        while self.step() {
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
            let now = Instant::now();
            self.count(now);
            self.watch(now);
            let durable = Epoch(self.stats.checkpoint_epoch.get().max(0).unsigned_abs());
            self.subscribers.values_mut().for_each(|one| one.flush(now, durable));
        }
    }

    /// Waits for something to happen; says whether anybody can still tell us anything.
    fn step(&mut self) -> bool {
        if let Some(live) = &self.live {
            match live.recv_timeout(TICK) {
                Ok(list) => {
                    let Ok(()) = list.try_each(|row| {
                        self.push(row);
                        Ok::<(), Infallible>(())
                    });
                }
                Err(RecvTimeoutError::Timeout) => {}
                // The engine has ended.
                Err(RecvTimeoutError::Disconnected) => self.live = None,
            }
            return true;
        }
        let command = match self.subscribers.is_empty() {
            true => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => self.commands.recv_timeout(TICK),
        };
        match command {
            Ok(command) => self.obey(command),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Join(number, subscriber) => drop(self.subscribers.insert(number, subscriber)),
            Command::Subscribe(number, wants) => {
                if let Some(one) = self.subscribers.get_mut(&number) {
                    one.subscribe(wants);
                    self.sort();
                }
            }
            Command::Leave(number) => {
                self.subscribers.remove(&number);
                self.sort();
            }
            Command::Durable(rows) => {
                let own: &[tidewatch_proto::row::Row] = (*rows).as_ref();
                own.iter()
                    .filter(|row| row.job.is_per_series())
                    .for_each(|row| self.push(row.into()));
            }
            Command::Anomalies(anomalies) => anomalies.into_iter().map(Arc::new).for_each(|anomaly| {
                let wanting = self.subscribers.values_mut();
                wanting
                    .filter(|one| one.wants.wants_anomalies_of(&anomaly.device))
                    .for_each(|one| one.take_anomaly(&anomaly));
            }),
            Command::Progress { plain, fleet } => {
                self.subscribers.values().for_each(|one| match one.wants.fleet {
                    true => one.tell(&fleet),
                    false => one.tell(&plain),
                });
            }
        }
    }

    /// Sorts subscribers by what they want.
    fn sort(&mut self) {
        self.subscribers.retain(|_, one| !one.has_gone());
        self.by_device.clear();
        self.searching.clear();
        for (number, one) in &self.subscribers {
            match &one.wants.devices {
                Devices::None => {}
                Devices::Search(search) => self.searching.push((*number, search.clone())),
                Devices::These(devices) => devices
                    .iter()
                    .for_each(|device| self.by_device.entry(device.clone()).or_default().push(*number)),
            }
        }
    }

    /// Gives a row to those who want it.
    fn push(&mut self, row: RowRef<'_>) {
        let named = self.by_device.get(row.key).into_iter().flatten();
        let holds = |search: &str| search.is_empty() || row.key.to_ascii_lowercase().contains(search);
        let found = self.searching.iter().filter(|(_, search)| holds(search));
        for number in named.chain(found.map(|(number, _)| number)) {
            if let Some(one) = self.subscribers.get_mut(number)
                && one.wants.wants(row.job, row.metric)
            {
                one.take(row.to_row());
            }
        }
    }

    /// Looks once a second how many readings come.
    fn count(&mut self, now: Instant) {
        let (before, at, _) = self.readings;
        let ms = now.duration_since(at).as_millis() as u64;
        if ms >= RATE_MS {
            let readings = self.stats.readings.get();
            self.readings = (readings, now, readings.saturating_sub(before) / ms);
        }
    }

    /// How long changes have to be put together so that no more of them come than can be given out: not at all when as
    /// many come as there are readings, else so long as the series of these devices, or of all, take.
    fn pace(&self, devices: Option<&HashSet<Name>>) -> Duration {
        let positive = |number: i64| number.max(0).unsigned_abs();
        let (series, all) = (
            positive(self.stats.series.get()),
            positive(self.stats.devices.get()).max(1),
        );
        let wanted = devices.map_or(all, |devices| all.min(devices.len() as u64));
        let of_wanted = |number: u64| number.saturating_mul(wanted) / all;
        match of_wanted(self.readings.2) > SERIES_PER_MS {
            true => Duration::from_millis(of_wanted(series) / SERIES_PER_MS),
            false => Duration::ZERO,
        }
    }

    /// Listens to the engine anew when somebody waits for that, and no more when nobody wants rows.
    fn watch(&mut self, now: Instant) {
        let wanting = self.subscribers.values().filter(|one| one.wants.wants_rows());
        let Some(every) = wanting.map(|one| one.wants.throttle).min() else {
            self.live = None;
            return;
        };
        // Where somebody searches, devices are wanted that nobody has seen yet.
        let devices = self
            .searching
            .is_empty()
            .then(|| self.by_device.keys().cloned().collect());
        let pace = self.pace(devices.as_ref());
        let rested = self
            .watched
            .is_none_or(|watched| now >= watched + WATCH_EVERY.max(pace));
        if !rested || !self.subscribers.values().any(Subscriber::waits) {
            return;
        }
        let all = [Job::Minute, Job::FiveMinutes, Job::Hour, Job::Day];
        let wanted = |job: &Job| self.subscribers.values().any(|one| one.wants.jobs.contains(job));
        let watch = Watch {
            jobs: all.into_iter().filter(wanted).collect(),
            devices: devices.map(Arc::new),
            every_ms: every.max(pace).as_millis() as u64,
            ..Watch::default()
        };
        self.live = Some(self.feed.watch(watch));
        self.watched = Some(now);
        self.subscribers.values_mut().for_each(|one| one.watched(now));
    }
}
