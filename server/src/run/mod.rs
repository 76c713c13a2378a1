//! A run: source → engine → sinks, with the API beside it, and how it all ends.
//!
//! It ends in this order: the source reads no further, the workers complete their epochs and give their state,
//! the sinks deliver what is left, the state is saved, the API closes.

mod clock;
mod delivery;
mod log;
mod reader;
mod sinks;
mod state;
mod status;

use crate::config::{ConfigError, RegistrySettings, Settings, SourceSettings};
use crate::registry::RegistryFile;
use clock::{SystemClock, wall_ms};
use delivery::{Collector, Ended};
use log::Terminal;
use sinks::{Sinks, Surroundings};
use state::StateFolder;
use status::StatusLine;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tidewatch_api::{BuildInfo, Handles, Readiness};
use tidewatch_dataflow::checkpoint::Saved;
use tidewatch_dataflow::command::Command;
use tidewatch_dataflow::{Engine, Handle};
use tidewatch_proto::ids::Generation;
use tidewatch_proto::registry::RegistryChange;
use tidewatch_proto::source::SourceFactory;
use tidewatch_sources::file::FileFactory;
use tidewatch_sources::fleet::FleetFactory;
use tidewatch_sources::kafka::KafkaFactory;

/// How often the status line is written where it can't be rewritten in place, in seconds.
const PLAIN_STATUS_S: u64 = 10;
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

impl From<String> for RunError {
    fn from(problem: String) -> RunError {
        RunError::Failed(vec![problem])
    }
}

/// Runs until a signal, the end of the input (with `exit_at_end`), or a failure.
///
/// # Errors
/// Why it could not begin, or what went wrong.
pub fn run(settings: Settings, exit_at_end: bool) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("can't start the runtime: {error}"))?;
    runtime.block_on(Run::start(settings, exit_at_end))
}

struct Run;

impl Run {
    async fn start(settings: Settings, exit_at_end: bool) -> Result<(), RunError> {
        let terminal = Arc::new(Terminal::default());
        settings.advice.iter().for_each(|line| terminal.news(line));
        let mut stop = Signals::listen()?;
        let (source, kafka) = source(&settings.source, &terminal)?;
        let partitions = source.partitions().to_vec();
        let folder = StateFolder::open(&settings.state_folder)?;
        let saved = folder.load()?;
        let clock = Arc::new(SystemClock::starting_after(
            saved.as_ref().map(|saved| saved.meta.epoch),
        ));
        let before = saved.as_ref().map_or(0, |saved| saved.meta.generation.0);
        let generation = Generation((wall_ms().max(0) as u64).max(before + 1));
        let restored = saved.map(|saved| saved.into_restored(&partitions)).transpose();
        let restored = restored.map_err(|error| format!("{}: {error}", settings.state_folder.display()))?;
        if restored.is_some() {
            terminal.news(&format!(
                "going on from the state in {}",
                settings.state_folder.display()
            ));
        }
        let around = Surroundings {
            give_up: Arc::default(),
            failed: Arc::default(),
            outage: Arc::default(),
            terminal: terminal.clone(),
            generation,
        };
        let connecting = around.clone();
        let sinks = tokio::task::block_in_place(|| Sinks::start(&settings, &partitions, &connecting));
        let sinks = sinks.map_err(|error| RunError::Config(ConfigError::new(error.object, error.problem)))?;
        let (threads, fingerprint) = (settings.engine.threads.max(1), settings.engine.fingerprint());
        let (mut tending, first) = Tending::start(&settings.registry, &terminal)?;
        let (engine, captured) = Engine::start_with(settings.engine, source, clock, restored, &first);
        let handle = engine.handle();
        let as_of = Arc::new(AtomicU64::new(0));
        let ready = Arc::new(Ready {
            engine: handle.clone(),
            as_of: as_of.clone(),
            outage: around.outage.clone(),
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
        let api = tidewatch_api::serve(settings.api, handles, closed)
            .await
            .map_err(|error| error.to_string())?;
        terminal.news(&format!(
            "tidewatch {} answers on http://{}",
            env!("CARGO_PKG_VERSION"),
            api.local_addr()
        ));

        let collector = Collector::new(
            generation,
            handle.stats.clone(),
            threads,
            sinks.rows.clone(),
            sinks.rejects.clone(),
        );
        let completed = as_of.clone();
        let mut collecting = tokio::task::spawn_blocking(move || {
            collector.run(&captured, |epoch| completed.store(epoch.0, Ordering::Relaxed))
        });
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let mut seconds = 0;
        let mut stopping = false;
        let mut ended = None;
        while ended.is_none() {
            tokio::select! {
                end = &mut collecting => ended = Some(end.map_err(|error| error.to_string())?),
                () = stop.recv(), if !stopping => {
                    stopping = true;
                    terminal.news("stopping: source, workers, sinks, api");
                    handle.stop();
                }
                _ = ticks.tick() => {
                    seconds += 1;
                    tending.tend(&handle, &terminal);
                    if terminal.is_in_place() || seconds % PLAIN_STATUS_S == 1 {
                        terminal.status(&tending.status.line(&handle.stats));
                    }
                    if around.failed.load(Ordering::SeqCst) && !stopping {
                        stopping = true;
                        handle.stop();
                    }
                }
            }
        }
        let mut ended = ended.unwrap_or(Ended {
            positions: Vec::new(),
            states: Vec::new(),
            errors: Vec::new(),
        });
        tokio::task::block_in_place(|| engine.join());
        let mut errors = std::mem::take(&mut ended.errors);
        let input_ended = !stopping && errors.is_empty();
        errors.extend(tokio::task::block_in_place(|| sinks.finish()));
        if errors.is_empty() {
            if let Some(kafka) = kafka {
                kafka.commit(
                    &ended
                        .positions
                        .iter()
                        .map(|p| (p.partition, p.next))
                        .collect::<Vec<_>>(),
                );
            }
            folder.save(&Saved::gather(
                generation,
                fingerprint,
                partitions,
                ended.positions,
                ended.states,
            ))?;
        }
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
        if errors.is_empty() {
            Ok(())
        } else {
            Err(RunError::Failed(errors))
        }
    }
}

/// What is done once a second.
struct Tending {
    status: StatusLine,
    registry: Option<RegistryFile>,
}

impl Tending {
    /// Begins with the registry as it is; gives what the engine must know before it reads the first record.
    fn start(settings: &RegistrySettings, terminal: &Terminal) -> Result<(Tending, Vec<Command>), RunError> {
        let mut tending = Tending {
            status: StatusLine::default(),
            registry: settings.file.as_deref().map(RegistryFile::new),
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
                tell(&change, terminal);
                handle.change_registry(change);
            }
            Ok(None) => {}
            Err(problem) => terminal.news(&format!("registry: {problem}; what held before goes on holding")),
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
    outage: Arc<AtomicBool>,
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
        if self.outage.load(Ordering::SeqCst) {
            reasons.push("a sink is failing and tried again".to_owned());
        }
        reasons
    }
}

/// The signals that end a run: Ctrl-C and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Signals, String> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| format!("can't listen for signals: {error}"));
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
