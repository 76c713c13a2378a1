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
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::registry::RegistryChange;
use tidewatch_proto::row::Row;
use tidewatch_proto::source::SourceFactory;

/// How many epochs ahead a command takes effect, so that every worker has it before.
pub const EFFECT_AFTER: u64 = 5;

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
        Engine::start_with(config, source, clock, restored, &[])
    }

    /// Starts the workers with commands that they carry out before the first record is read: what the registry
    /// is and which rollups run, so that these find all that was restored.
    pub fn start_with(
        config: EngineConfig,
        source: Arc<dyn SourceFactory>,
        clock: Arc<dyn Clock>,
        restored: Option<Restored>,
        first: &[Command],
    ) -> (Engine, mpsc::Receiver<Captured>) {
        let restored = restored.map(Arc::new);
        let stats = Arc::new(Stats::new(source.partitions().len()));
        let (capture, captured) = mpsc::channel();
        let threads = config.threads.max(1);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::channel()).unzip();
        let inbox = |sender| Inbox { sender, thread: None };
        let commands = Arc::new(Mutex::new(senders.into_iter().map(inbox).collect()));
        let shared = Shared {
            begun: clock.epoch(),
            commands: commands.clone(),
            config: Arc::new(config),
            clock: clock.clone(),
            stats: stats.clone(),
            source,
            restored: (0..threads).map(|_| Mutex::new(restored.clone())).collect(),
            capture,
            failed: Arc::default(),
        };
        let handle = Handle { commands, clock, stats };
        first.iter().for_each(|command| handle.send(command));
        let receivers: Mutex<Vec<Option<mpsc::Receiver<Command>>>> =
            Mutex::new(receivers.into_iter().map(Some).collect());
        let main = std::thread::Builder::new().name("tidewatch-engine".into());
        let main = main.spawn(move || run_workers(threads, &Arc::new(receivers), &shared));
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

fn run_workers(threads: usize, receivers: &Arc<Mutex<Vec<Option<mpsc::Receiver<Command>>>>>, shared: &Shared) {
    let mut config = match threads {
        1 => timely::Config::thread(),
        _ => timely::Config::process(threads),
    };
    let merging = differential_dataflow::Config::default().idle_merge_effort(Some(1_000));
    differential_dataflow::configure(&mut config.worker, &merging);
    let receivers = receivers.clone();
    let workers = shared.clone();
    // `catch_unwind`: timely's guards panic once more when a worker has.
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let guards = timely::execute(config, move |timely_worker| {
            let index = timely_worker.index();
            let taken = receivers.lock().unwrap_or_else(PoisonError::into_inner)[index].take();
            let Some(commands) = taken else { return };
            if let Some(inbox) = workers
                .commands
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_mut(index)
            {
                inbox.thread = Some(std::thread::current());
            }
            let ran = catch_unwind(AssertUnwindSafe(|| worker::run(timely_worker, &workers, &commands)));
            if !matches!(ran, Ok(Ok(()))) {
                workers.failed.store(true, Ordering::SeqCst);
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
                        let _ = workers.capture.send(Captured::Crashed { worker: index, crash });
                    }
                    Some(format!("worker {index} panicked: {problem}"))
                }
            };
            let _ = workers.capture.send(Captured::Ended { worker: index, error });
        });
        guards.map(|guards| guards.join().into_iter().for_each(drop))
    }));
    if let Ok(Err(problem)) = ended {
        let _ = shared.capture.send(Captured::Ended {
            worker: 0,
            error: Some(problem),
        });
    }
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
        self.send(&Command::Stop(epoch));
        epoch
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
