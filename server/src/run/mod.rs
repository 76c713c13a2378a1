//! A run: source → engine → sinks, with the API beside it, and how it all ends.
//!
//! It ends in this order: the source reads no further, the workers complete their epochs and give their state, a last
//! checkpoint is made, the sinks deliver what is left, for some seconds at most, the API closes.

mod clock;
mod crashes;
mod delivery;
mod log;
mod reader;
mod seeded;
mod sinks;
mod state;
mod status;
mod topic;

use crate::config::{ConfigError, RegistrySettings, Settings, SourceSettings};
use crate::registry::RegistryFile;
use clock::SystemClock;
use crashes::Crashes;
use delivery::{Collector, Outlet};
use log::Terminal;
use sinks::{Sinks, Surroundings};
use state::State;
use status::StatusLine;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tidewatch_api::{BuildInfo, Handles, Readiness};
use tidewatch_checkpoints::{Checkpoints, Pace, Writer};
use tidewatch_dataflow::checkpoint::{Meta, Restored};
use tidewatch_dataflow::command::Command;
use tidewatch_dataflow::{Engine, Handle};
use tidewatch_failpoints::{Injected, Point, check};
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::registry::RegistryChange;
use tidewatch_proto::source::SourceFactory;
use tidewatch_sources::file::FileFactory;
use tidewatch_sources::fleet::FleetFactory;
use tidewatch_sources::kafka::KafkaFactory;
use tokio::sync::watch;
use topic::{Changes, Verdict};

/// How often the status line is written where it can't be rewritten in place, in seconds.
const PLAIN_STATUS_S: u64 = 10;
/// How long a stop waits for sinks: what they have not taken by then is in the last checkpoint, for the next start.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// The engine isn't ready when it is so many epochs behind the clock.
const BEHIND_MAX: i64 = 50;

/// Why a run could not begin or did not end well.
#[derive(Debug)]
pub enum RunError {
    /// The configuration, or something that it names, can't be used.
    Config(ConfigError),
    /// It went wrong later.
    Failed(Vec<String>),
}

impl From<Injected> for RunError {
    fn from(injected: Injected) -> RunError {
        RunError::Failed(vec![injected.to_string()])
    }
}

impl From<String> for RunError {
    fn from(problem: String) -> RunError {
        RunError::Failed(vec![problem])
    }
}

/// How a run ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// By a signal, or at the end of the input.
    Done,
    /// At a border, for the next to begin at once: the topic has more partitions than were read.
    Again,
}

/// Runs until a signal, the end of the input (with `exit_at_end`) or a failure. When the source has got more partitions
/// a run ends, and the next begins with what `load` gives then.
///
/// # Errors
/// Why it could not begin, or what went wrong.
pub fn run(load: impl Fn() -> Result<Settings, ConfigError>, exit_at_end: bool) -> Result<(), RunError> {
    let mut settings = load().map_err(RunError::Config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("can't start the runtime: {error}"))?;
    runtime.block_on(async {
        let mut stop = Signals::listen()?;
        while Run::start(settings, exit_at_end, &mut stop).await? == Ended::Again && !stop.came() {
            settings = load().map_err(RunError::Config)?;
        }
        Ok(())
    })
}

struct Run;

impl Run {
    async fn start(mut settings: Settings, exit_at_end: bool, stop: &mut Signals) -> Result<Ended, RunError> {
        let terminal = Arc::new(Terminal::default());
        settings.advice.iter().for_each(|line| terminal.news(line));
        let state = tokio::task::block_in_place(|| State::open(&settings.state))?;
        let port = tidewatch_api::listen(&settings.api).await;
        let port = port.map_err(|error| error.to_string())?;
        let around = Surroundings {
            give_up: stop.give_up.clone(),
            failed: Arc::default(),
            outages: Arc::default(),
            terminal: terminal.clone(),
        };
        stop.begun(false);
        let (source, kafka) = source(&settings.source, &terminal)?;
        let partitions = source.partitions().to_vec();
        let (threads, fingerprint) = (settings.engine.threads.max(1), settings.engine.fingerprint());
        settings.engine.journal = true;
        let border_epochs = settings.engine.border_epochs;
        let generation = tokio::task::block_in_place(|| state.claim())?;
        check(Point::RestoreBegin)?;
        let saved = tokio::task::block_in_place(|| state.restore(&partitions, &settings.engine, &terminal))?;
        let (was, mut restored) = saved.unzip();
        restored.iter_mut().for_each(seeded::restored);
        check(Point::RestoreDone)?;
        if was.as_ref().is_some_and(|was| was.settings != fingerprint) {
            terminal.news("[engine] has changed since the state was saved: windows that were open are made by both");
        }
        let clock = Arc::new(SystemClock::starting_after(was.as_ref().map(|was| was.epoch)));
        let changes = Changes::watch(kafka.as_deref()).map_err(|error| error.to_string())?;
        if let Some(kafka) = &kafka {
            let begun = tokio::task::block_in_place(|| topic::begin(kafka, was.as_ref(), restored, partitions.len()));
            restored = Some(begun.map_err(|error| error.to_string())?);
        }
        let sinks = tokio::task::block_in_place(|| Sinks::start(&settings, &partitions, generation, &around));
        let sinks = sinks.map_err(|error| RunError::Config(ConfigError::new(error.object, error.problem)))?;
        check(Point::SinksStarted)?;
        stop.begun(true);
        let (mut tending, first) = Tending::start(&settings.registry, &terminal)?;
        let outbox = restored.as_mut().map(|restored| std::mem::take(&mut restored.outbox));
        let meta = Meta {
            generation,
            epoch: was.as_ref().map_or(Epoch(0), |was| was.epoch),
            workers: threads,
            settings: fingerprint,
            partition_names: partitions.clone(),
            log: kafka.as_ref().map_or_else(String::new, |kafka| kafka.log().to_owned()),
            positions: restored
                .as_ref()
                .map_or_else(Vec::new, |restored: &Restored| restored.positions.clone()),
            delivered: Epoch(0),
        };
        let crashes = Crashes::new(state.store.clone(), &meta);
        let ahead = tokio::task::block_in_place(|| crashes.ahead(&meta.positions))?;
        if !ahead.is_empty() {
            terminal.news("records at which a worker has crashed are taken one by one");
            restored
                .get_or_insert_with(|| Restored::fresh(partitions.len()))
                .crashes = ahead;
        }
        let (engine, captured) = Engine::start_with(settings.engine, source, clock, restored, &first);
        let handle = engine.handle();
        let (to_writer, jobs) = mpsc::channel();
        let mut filling = Checkpoints::new(generation, to_writer);
        if let (Some(outbox), Some(was)) = (outbox, was) {
            filling.inherit(&outbox);
            sinks.confirmed.begin(was.delivered);
            let (rows, rejects) = delivery::inherited(outbox, generation, was.epoch, &handle.stats);
            // A sink that has ended has said why.
            sinks.rows.iter().for_each(|inbox| drop(inbox.send(rows.clone())));
            sinks.rejects.iter().for_each(|inbox| drop(inbox.send(rejects.clone())));
        }
        check(Point::OutboxGiven)?;
        let outlet = Outlet {
            rows_to: sinks.rows.clone(),
            rejects_to: sinks.rejects.clone(),
            confirmed: sinks.confirmed.clone(),
            around: around.clone(),
            kafka,
        };
        let mut writer = Writer::new(state.store.clone(), generation, handle.stats.clone(), outlet);
        let failed = around.failed.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let ended = writer.run(&jobs);
            // Sinks end when they have no more to wait for.
            writer.owner().close();
            failed.fetch_or(ended.is_err(), Ordering::SeqCst);
            (writer, ended)
        });
        let as_of = Arc::new(AtomicU64::new(0));
        let ready = Arc::new(Ready {
            engine: handle.clone(),
            as_of: as_of.clone(),
            outages: around.outages.clone(),
        });
        let handles = Handles {
            stats: handle.stats.clone(),
            partition_names: partitions.clone(),
            sinks: sinks.stats.clone(),
            series: Arc::new(reader::Reader {
                store: sinks.store.clone(),
                engine: handle.clone(),
                as_of: as_of.clone(),
            }),
            readiness: ready,
            build: BuildInfo {
                version: env!("CARGO_PKG_VERSION").into(),
                revision: String::new(),
            },
            events: {
                let terminal = terminal.clone();
                Arc::new(move |event| terminal.news(&event.to_string()))
            },
        };
        // The last one to hold the store lets go of it outside of the runtime: its connection blocks to close.
        let store = sinks.store.clone();
        let (close, closed) = tokio::sync::watch::channel(false);
        let api = tidewatch_api::serve(port, settings.api, handles, closed);
        terminal.news(&format!(
            "tidewatch {} answers on http://{}",
            env!("CARGO_PKG_VERSION"),
            api.local_addr()
        ));

        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let collector = Collector::new(meta, handle.stats.clone(), filling, Pace::new(cores), border_epochs);
        let collector = collector.noting(crashes);
        let completed = as_of.clone();
        let mut collecting = tokio::task::spawn_blocking(move || {
            collector.run(&captured, |epoch| completed.store(epoch.0, Ordering::Relaxed))
        });
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let mut seconds = 0;
        let mut stopping = false;
        let mut verdict = None;
        let mut ended = None;
        while ended.is_none() {
            tokio::select! {
                end = &mut collecting => ended = Some(end.map_err(|error| error.to_string())?),
                () = stop.recv(), if !stopping => {
                    stopping = true;
                    terminal.news("stopping: source, workers, sinks, api");
                    if around.outages.load(Ordering::SeqCst) > 0 {
                        terminal.news("a sink can't be reached; it is waited for some seconds, or until you stop once more");
                    }
                    handle.stop();
                }
                _ = ticks.tick() => {
                    seconds += 1;
                    tending.tend(&handle, &terminal);
                    if terminal.is_in_place() || seconds % PLAIN_STATUS_S == 1 {
                        terminal.status(&tending.status.line(&handle.stats));
                    }
                    if !stopping {
                        verdict = changes.verdict(around.outages.load(Ordering::SeqCst) > 0);
                    }
                    if (verdict.is_some() || around.failed.load(Ordering::SeqCst)) && !stopping {
                        stopping = true;
                        handle.stop();
                    }
                }
            }
        }
        let mut errors = ended.unwrap_or_default();
        let again = matches!(verdict, Some(Verdict::Again(_)));
        match verdict {
            Some(Verdict::Again(news)) => terminal.news(&news),
            Some(Verdict::Stop(problem)) => errors.insert(0, problem),
            None => {}
        }
        tokio::task::block_in_place(|| engine.join());
        let (writer, written) = writing.await.map_err(|error| error.to_string())?;
        errors.extend(written.err());
        errors.extend(tokio::task::block_in_place(|| sinks.finish()));
        errors.extend(tokio::task::block_in_place(|| writer.finish()).err());
        let input_ended = !stopping && errors.is_empty();
        if input_ended {
            terminal.news(&status::total(&handle.stats));
            if !exit_at_end {
                terminal.news("the input has ended; the results stay readable until you stop with Ctrl-C");
                stop.recv().await;
            }
        }
        // Nobody may be listening any more.
        let _ = close.send(true);
        api.stopped().await;
        tokio::task::block_in_place(|| drop(store));
        match errors.is_empty() {
            true if again => Ok(Ended::Again),
            true => Ok(Ended::Done),
            false => Err(RunError::Failed(errors)),
        }
    }
}

/// What is done once a second.
struct Tending {
    status: StatusLine,
    registry: Option<RegistryFile>,
    /// What was last said to be wrong with the registry.
    problem: Option<String>,
}

impl Tending {
    /// Begins with the registry as it is; gives what the engine must know before it reads the first record.
    fn start(settings: &RegistrySettings, terminal: &Terminal) -> Result<(Tending, Vec<Command>), RunError> {
        let mut tending = Tending {
            status: StatusLine::default(),
            registry: settings.file.as_deref().map(RegistryFile::new),
            problem: None,
        };
        let mut first = Vec::new();
        if let Some(registry) = &mut tending.registry {
            let change = registry.read();
            let change = change.map_err(|problem| RunError::Config(ConfigError::new("registry.file", problem)))?;
            if let Some(change) = change {
                tell(&change, terminal);
                first.push(Command::Registry(Arc::new(change)));
            }
            first.extend(settings.rollups.iter().map(|level| Command::StartRollup(*level)));
        }
        Ok((tending, first))
    }

    fn tend(&mut self, handle: &Handle, terminal: &Terminal) {
        match self.registry.as_mut().map_or(Ok(None), RegistryFile::read) {
            Ok(Some(change)) => {
                self.problem = None;
                tell(&change, terminal);
                handle.change_registry(change);
            }
            Ok(None) => {}
            Err(problem) if self.problem.as_ref() == Some(&problem) => {}
            Err(problem) => {
                terminal.news(&format!("registry: {problem}; what held before goes on holding"));
                self.problem = Some(problem);
            }
        }
    }
}

fn tell(change: &RegistryChange, terminal: &Terminal) {
    let (removed, added) = (change.removed.len(), change.added.len());
    terminal.news(&format!("registry: {added} placements come, {removed} go"));
}

/// The source, and the factory once more when it is Kafka's: it commits positions for lag tools.
type Opened = (Arc<dyn SourceFactory>, Option<Arc<KafkaFactory>>);

fn source(settings: &SourceSettings, terminal: &Arc<Terminal>) -> Result<Opened, RunError> {
    Ok(match settings {
        SourceSettings::Fleet(fleet) => (Arc::new(FleetFactory::new(fleet.clone())), None),
        SourceSettings::File(file) => (Arc::new(FileFactory::new(file.clone())), None),
        SourceSettings::Kafka(kafka) => {
            let connected = KafkaFactory::connect(kafka);
            let connected =
                connected.map_err(|error| RunError::Config(ConfigError::new(error.object, error.problem)))?;
            let terminal = terminal.clone();
            let factory = Arc::new(connected.with_events(Arc::new(move |event| terminal.news(&event.to_string()))));
            (factory.clone(), Some(factory))
        }
    })
}

/// Whether the process can do its work.
struct Ready {
    engine: Handle,
    as_of: Arc<AtomicU64>,
    outages: Arc<AtomicUsize>,
}

impl Readiness for Ready {
    fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.as_of.load(Ordering::Relaxed) == 0 {
            reasons.push("no epoch is complete yet".to_owned());
        }
        let behind = self.engine.stats.epoch_lag.get();
        if behind > BEHIND_MAX {
            reasons.push(format!("the engine is {behind} epochs behind the clock"));
        }
        if self.outages.load(Ordering::SeqCst) > 0 {
            reasons.push("a sink is failing and tried again".to_owned());
        }
        reasons
    }
}

/// The signals that end a run: Ctrl-C and SIGTERM. The first stops it; some seconds after it, at the second, or at one
/// before the run has begun, sinks give up what can't be delivered.
struct Signals {
    count: watch::Receiver<u32>,
    begun: Arc<AtomicBool>,
    /// Set when sinks are to give up.
    give_up: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> Result<Signals, String> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| format!("can't listen for signals: {error}"));
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let (counter, count) = watch::channel(0);
        let begun = Arc::new(AtomicBool::new(false));
        let give_up = Arc::new(AtomicBool::new(false));
        let (has_begun, gives_up) = (begun.clone(), give_up.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                counter.send_modify(|count| *count += 1);
                if *counter.borrow() > 1 || !has_begun.load(Ordering::SeqCst) {
                    gives_up.store(true, Ordering::SeqCst);
                } else {
                    let gives_up = gives_up.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(STOP_WAIT).await;
                        gives_up.store(true, Ordering::SeqCst);
                    });
                }
            }
        });
        Ok(Signals { count, begun, give_up })
    }

    /// Whether the sinks are there.
    fn begun(&self, begun: bool) {
        self.begun.store(begun, Ordering::SeqCst);
    }

    /// Whether a signal has come.
    fn came(&self) -> bool {
        *self.count.borrow() > 0
    }

    /// Waits for the next signal.
    async fn recv(&mut self) {
        // The task that counts never ends.
        let _ = self.count.changed().await;
    }
}
