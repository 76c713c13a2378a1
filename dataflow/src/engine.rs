//! The engine from outside: start it, tell it, take what it yields, end it.

use crate::capture::Captured;
use crate::checkpoint::Restored;
use crate::command::Command;
use crate::config::{Clock, EngineConfig};
use crate::live::{Listener, Live, Watch};
use crate::rollup::Level;
use crate::stats::Stats;
use crate::witness::{self, Crash};
use crate::worker::{self, Inbox, Shared};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::registry::RegistryChange;
use tidewatch_proto::row::Row;
use tidewatch_proto::source::SourceFactory;
use timely::communication::allocator::AllocatorBuilder;
use timely::worker::Worker;

/// How many epochs ahead a command takes effect, so that every worker has it before.
pub const EFFECT_AFTER: u64 = 5;

/// The other processes of a cluster, connected.
pub struct Peers {
    /// Which process this is, from 0.
    pub index: usize,
    /// A way to each process, none to this one.
    pub sockets: Vec<Option<UnixStream>>,
    /// The epoch at the start, the same for all.
    pub begun: Epoch,
}

/// A running engine.
pub struct Engine {
    handle: Handle,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// Tells a running engine what to do. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    commands: Arc<Mutex<Vec<Inbox>>>,
    clock: Arc<dyn Clock>,
    /// The engine's counters.
    pub stats: Arc<Stats>,
}

impl Engine {
    /// Starts the workers. What they yield comes from the receiver; each worker's last message is
    /// [`Captured::Ended`], which says why when it was not meant to end (a panic, a source that failed).
    pub fn start(
        config: EngineConfig,
        source: Arc<dyn SourceFactory>,
        clock: Arc<dyn Clock>,
        restored: Option<Restored>,
    ) -> (Engine, mpsc::Receiver<Captured>) {
        Engine::start_with(config, source, clock, restored, &[], None)
    }

    /// Starts the workers with commands that they carry out before the first record is read: what the registry
    /// is and which rollups run, so that these find all that was restored. Every process of a cluster is given the
    /// same rollups and the same state.
    pub fn start_with(
        config: EngineConfig,
        source: Arc<dyn SourceFactory>,
        clock: Arc<dyn Clock>,
        restored: Option<Restored>,
        first: &[Command],
        peers: Option<Peers>,
    ) -> (Engine, mpsc::Receiver<Captured>) {
        let stats = Arc::new(Stats::new(source.partitions().len()));
        let (capture, captured) = mpsc::channel();
        let threads = config.threads.max(1);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::channel()).unzip();
        let inbox = |sender| Inbox { sender, thread: None };
        let commands = Arc::new(Mutex::new(senders.into_iter().map(inbox).collect()));
        let config = Arc::new(config);
        let first_worker = peers.as_ref().map_or(0, |peers| peers.index * threads);
        let all = peers.as_ref().map_or(threads, |peers| peers.sockets.len() * threads);
        let shares = restored.map(|restored| {
            let wanted = first_worker..first_worker + threads;
            restored.into_shares((wanted, all), &config, &stats)
        });
        let shares = shares
            .unwrap_or_default()
            .into_iter()
            .map(|share| Mutex::new(Some(share)));
        let shares = shares.collect();
        let shared = Shared {
            begun: peers.as_ref().map_or_else(|| clock.epoch(), |peers| peers.begun),
            first_worker,
            commands: commands.clone(),
            config,
            clock: clock.clone(),
            stats: stats.clone(),
            source,
            shares,
            capture,
            failed: Arc::default(),
        };
        let handle = Handle { commands, clock, stats };
        first.iter().for_each(|command| handle.send(command));
        let receivers: Mutex<Vec<Option<mpsc::Receiver<Command>>>> =
            Mutex::new(receivers.into_iter().map(Some).collect());
        let main = std::thread::Builder::new().name("tidewatch-engine".into());
        let main = main.spawn(move || run_workers(threads, peers, &Arc::new(receivers), &shared));
        let threads = main.into_iter().collect();
        (Engine { handle, threads }, captured)
    }

    /// The handle.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until all workers have ended.
    pub fn join(self) {
        for thread in self.threads {
            // A panic was reported as the worker's end.
            let _ = thread.join();
        }
    }
}

type Receivers = Arc<Mutex<Vec<Option<mpsc::Receiver<Command>>>>>;

fn run_workers(threads: usize, peers: Option<Peers>, receivers: &Receivers, shared: &Shared) {
    let mut config = timely::WorkerConfig::default();
    let merging = differential_dataflow::Config::default().idle_merge_effort(Some(1_000));
    differential_dataflow::configure(&mut config, &merging);
    let receivers = receivers.clone();
    let workers = shared.clone();
    let work = move |timely_worker: &mut Worker| run_worker(timely_worker, &receivers, &workers);
    // `catch_unwind`: timely's guards panic once more when a worker has.
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let (builders, others) = connect(threads, peers)?;
        let guards = timely::execute::execute_from(builders, others, config, work);
        guards.map(|guards| guards.join().into_iter().for_each(drop))
    }));
    if let Ok(Err(problem)) = ended {
        let _ = shared.capture.send(Captured::Ended {
            worker: shared.first_worker,
            error: Some(problem),
        });
    }
}

/// What timely makes workers of, and what it keeps while they run.
type Connected = (Vec<AllocatorBuilder>, Box<dyn std::any::Any + Send>);

fn connect(threads: usize, peers: Option<Peers>) -> Result<Connected, String> {
    use timely::communication::Config;
    use timely::communication::allocator::ProcessBuilder;
    use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
    let Some(peers) = peers else {
        let config = match threads {
            1 => Config::Thread,
            _ => Config::Process(threads),
        };
        return config.try_build();
    };
    let hooks = timely::communication::Hooks::default();
    let own = ProcessBuilder::new_typed_vector(threads, hooks.refill.clone(), hooks.spill.clone());
    let connected = initialize_networking_from_sockets(own, peers.sockets, peers.index, threads, hooks);
    let (builders, guard) = connected.map_err(|error| format!("the engine's threads can't be connected: {error}"))?;
    Ok((
        builders.into_iter().map(AllocatorBuilder::Tcp).collect(),
        Box::new(guard),
    ))
}

fn run_worker(timely_worker: &mut Worker, receivers: &Receivers, shared: &Shared) {
    let index = timely_worker.index();
    let own = index - shared.first_worker;
    let taken = receivers.lock().unwrap_or_else(PoisonError::into_inner)[own].take();
    let Some(commands) = taken else { return };
    let mut inboxes = shared.commands.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(inbox) = inboxes.get_mut(own) {
        inbox.thread = Some(std::thread::current());
    }
    drop(inboxes);
    let ran = catch_unwind(AssertUnwindSafe(|| worker::run(timely_worker, shared, &commands)));
    if !matches!(ran, Ok(Ok(()))) {
        shared.failed.store(true, Ordering::SeqCst);
        // Timely would go on with them, and wait for ever.
        let dataflows = timely_worker.installed_dataflows();
        let dropped = AssertUnwindSafe(|| dataflows.into_iter().for_each(|d| timely_worker.drop_dataflow(d)));
        let _ = catch_unwind(dropped);
    }
    let error = match ran {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => {
            let problem = panic_text(panic.as_ref()).to_owned();
            if let Some(at) = witness::taken() {
                let crash = Crash {
                    at,
                    problem: problem.clone(),
                };
                let _ = shared.capture.send(Captured::Crashed { worker: index, crash });
            }
            Some(format!("worker {index} panicked: {problem}"))
        }
    };
    let _ = shared.capture.send(Captured::Ended { worker: index, error });
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

impl Handle {
    /// Sends a command to every worker, in one order for all.
    fn send(&self, command: &Command) {
        let inboxes = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        for inbox in inboxes.iter() {
            // A worker that has ended obeys no more.
            let _ = inbox.sender.send(command.clone());
            if let Some(thread) = &inbox.thread {
                thread.unpark();
            }
        }
    }

    fn effective(&self) -> Epoch {
        Epoch(self.clock.epoch().0 + EFFECT_AFTER)
    }

    /// Ends the run at an epoch, which it gives: what was read is completed and the state saved.
    pub fn stop(&self) -> Epoch {
        let epoch = self.effective();
        self.stop_at(epoch);
        epoch
    }

    /// Ends the run at an epoch that another process has chosen.
    pub fn stop_at(&self, epoch: Epoch) {
        self.send(&Command::Stop(epoch));
    }

    /// Runs a rollup.
    pub fn start_rollup(&self, level: Level) {
        self.send(&Command::StartRollup(level));
    }

    /// Ends a rollup.
    pub fn stop_rollup(&self, level: Level) {
        self.send(&Command::StopRollup(level));
    }

    /// Changes the registry.
    pub fn change_registry(&self, change: RegistryChange) {
        self.send(&Command::Registry(Arc::new(change)));
    }

    /// The open windows of a series as they stand; `None` when the engine doesn't answer within `wait`.
    pub fn peek(&self, device: &str, metric: &str, wait: Duration) -> Option<Vec<Row>> {
        let (answer, answers) = mpsc::channel();
        self.send(&Command::Peek {
            device: device.into(),
            metric: metric.into(),
            answer,
        });
        answers.recv_timeout(wait).ok()
    }

    /// Listens to open windows from now on. Who has listened before hears no more.
    pub fn watch(&self, watch: Watch) -> Live {
        let (listener, live) = Listener::pair(watch);
        self.send(&Command::Watch(listener));
        live
    }
}
