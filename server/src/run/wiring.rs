//! A run's parts, wired: engine, collector, writer, sinks and API, each with its way to the next.

use super::archiving::Archiving;
use super::begin::Begun;
use super::clock::{SystemClock, wall_ms};
use super::collector::Collector;
use super::feeding::Feeding;
use super::keeping;
use super::opened::Opened;
use super::outlet::Outlet;
use super::parcel;
use super::ready::Ready;
use super::replays::Stored;
use super::sealing::Sealing;
use super::sinks::{Sinks, Surroundings};
use super::talk::Talk;
use super::team::Routes;
use super::{RunError, reader};
use crate::config::Settings;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use tidewatch_api::{Anomalies, BoundServer, BuildInfo, Catalogue, Handles, Kept, Letters, Port, RunInfo, Tap};
use tidewatch_checkpoints::{Checkpoints, Pace, Writer};
use tidewatch_dataflow::command::Command;
use tidewatch_dataflow::stats::Stats;
use tidewatch_dataflow::{Engine, Handle};
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::calendar::Calendar;
use tidewatch_proto::ids::Epoch;
use tidewatch_sinks::hot::{AnomalyStore, HotStore, LetterStore};
use tidewatch_sources::replay::ReplayLog;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// What takes dead letters back, or why nothing does.
type TakesBack = Result<Arc<dyn ReplayLog>, String>;

/// What the writer's thread leaves.
type Written = (Writer<Outlet>, Result<(), String>);

/// A run whose parts work.
pub struct Wired {
    /// Tells the engine.
    pub handle: Handle,
    /// Speaks to the cluster's other processes.
    pub talk: Talk,
    /// Which epoch it is.
    pub clock: Arc<SystemClock>,
    /// Ends when the workers have; gives what went wrong.
    pub collecting: JoinHandle<Vec<String>>,
    /// Whether the first process has stopped the run.
    pub stops: Arc<AtomicBool>,
    /// Told when another process wants the run to stop.
    pub wants_stop: Arc<Notify>,
    engine: Engine,
    writing: JoinHandle<Written>,
    listening: Option<JoinHandle<()>>,
    is_done: Arc<AtomicBool>,
    archiving: Option<Archiving>,
    delivered: mpsc::Receiver<Epoch>,
    sinks: Sinks,
    feeding: Option<Feeding>,
    serving: Serving,
}

/// What answers on when the rest has ended.
pub struct Serving {
    /// The engine's counters.
    pub stats: Arc<Stats>,
    api: BoundServer,
    close: watch::Sender<bool>,
    /// The last one to hold a store lets go of it outside of the runtime: its connection blocks to close.
    store: Arc<dyn HotStore>,
    letters: Option<Arc<dyn LetterStore>>,
    anomalies: Option<Arc<dyn AnomalyStore>>,
}

impl Wired {
    /// Starts all parts.
    ///
    /// # Errors
    /// When the store can't be read, or the fleet's thread can't be started.
    pub fn wire(
        mut begun: Begun,
        settings: Settings,
        around: &Surroundings,
        first: &[Command],
        (port, catalogue): (Port, Arc<Catalogue>),
    ) -> Result<Wired, RunError> {
        // Not before all are ready: whoever is ahead of the others reads nothing until they have caught up.
        let clock = Arc::new(SystemClock::starting_at(begun.begun));
        let meta = begun.meta(&settings);
        let crashes = begun.crashes(&meta, &around.terminal)?;
        let (talk, member) = (begun.team.talk.clone(), begun.team.talk.member);
        let border_epochs = settings.engine.border_epochs;
        let stores = settings.engine.stored_ms.is_some();
        let outbox = begun
            .restored
            .as_mut()
            .map(|restored| std::mem::take(&mut restored.outbox));
        let peers = begun.team.peers(begun.begun);
        let archiving = settings.archive.as_ref();
        let archiving = archiving
            .map(|archive| Archiving::start(archive, &begun, around))
            .transpose()?;
        let takes_back = begun.source.takes_back();
        let Opened { factory, log, feed } = begun.source;
        let sinks = begun.sinks;
        let kept = keeping::kept(&log, sinks.usage.clone(), archiving.as_ref().map(Archiving::counts));
        let partitions = factory.partitions().to_vec();
        let calendar = settings.engine.calendar.clone();
        let (engine, captured) =
            Engine::start_with(settings.engine, factory, clock.clone(), begun.restored, first, peers);
        let handle = engine.handle();
        let (to_writer, jobs) = mpsc::channel();
        let mut filling = Checkpoints::new(begun.generation, member, to_writer.clone());
        if let (Some(mut outbox), Some(was)) = (outbox, begun.was) {
            parcel::own(&mut outbox, &begun.team.parts());
            filling.inherit(&outbox);
            sinks.confirmed.begin(was.delivered);
            let left = parcel::inherited(outbox, (begun.generation, was.epoch), stores, &handle.stats);
            sinks.inboxes.give(&left);
        }
        check(Point::OutboxGiven)?;
        let tap: Arc<Tap> = Arc::default();
        let outlet = Outlet {
            to: sinks.inboxes.clone(),
            confirmed: sinks.confirmed.clone(),
            around: around.clone(),
            log,
            archived: archiving.as_ref().map(Archiving::positions),
            talk: talk.clone(),
            tap: tap.clone(),
        };
        let mut writer = Writer::new(begun.store, begun.generation, member, handle.stats.clone(), outlet);
        let failed = around.failed.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let ended = writer.run(&jobs);
            // Sinks end when they have no more to wait for.
            writer.owner().close();
            failed.fetch_or(ended.is_err(), Ordering::SeqCst);
            (writer, ended)
        });
        let (seals, sealed) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let (tell_delivered, delivered) = mpsc::channel();
        let (stops, wants_stop, is_done) = (Arc::default(), Arc::new(Notify::new()), Arc::default());
        let listening = begun.team.listen(Routes {
            to_writer,
            seals,
            ended: end,
            delivered: tell_delivered,
            engine: handle.clone(),
            clock: clock.clone(),
            talk: talk.clone(),
            stops: Arc::clone(&stops),
            wants_stop: wants_stop.clone(),
            is_done: Arc::clone(&is_done),
            terminal: around.terminal.clone(),
        });
        let as_of = Arc::new(AtomicU64::new(0));
        let run = RunInfo {
            started_ms: wall_ms(),
            generation: begun.generation.0,
            process: member.index,
            processes: member.processes,
            threads: member.threads,
        };
        let serving = Serving::start(
            (&handle, &talk),
            &sinks,
            around,
            (settings.api, port),
            (calendar, catalogue),
            (&as_of, partitions, takes_back),
            (tap, run, kept),
        );
        let sealing = match member.is_first() {
            true => Sealing::Own {
                pace: Pace::new(std::thread::available_parallelism().map_or(1, usize::from)),
                talk: talk.clone(),
                ended,
            },
            false => Sealing::Told {
                talk: talk.clone(),
                seals: sealed,
                next: None,
            },
        };
        let collector = Collector::new(
            (meta, begun.begun),
            handle.stats.clone(),
            filling,
            sealing,
            member.workers(),
            (border_epochs, stores),
        );
        let collector = collector.noting(crashes);
        let collecting = tokio::task::spawn_blocking(move || {
            collector.run(&captured, |epoch| as_of.store(epoch.0, Ordering::Relaxed))
        });
        let feeding = feed.map(|feed| Feeding::start(feed, &around.terminal));
        Ok(Wired {
            feeding: feeding.transpose()?,
            handle,
            talk,
            clock,
            collecting,
            stops,
            wants_stop,
            engine,
            writing,
            listening,
            is_done,
            archiving,
            delivered,
            sinks,
            serving,
        })
    }

    /// Begins the end: the first process stops all, the others ask it to.
    pub fn stop(&self) {
        self.feeding.iter().for_each(Feeding::stop);
        match self.talk.member.is_first() {
            true => {
                let epoch = self.handle.stop();
                self.talk.stop(epoch);
            }
            false => self.talk.want_stop(),
        }
    }

    /// Waits for the end of all parts when the workers have ended; gives what answers on, and what went wrong.
    ///
    /// # Errors
    /// When a part's thread has panicked.
    pub async fn finish(self, around: &Surroundings) -> Result<(Serving, Vec<String>), RunError> {
        // It ends while the workers do.
        self.archiving.iter().for_each(Archiving::stop);
        tokio::task::block_in_place(|| {
            self.engine.join();
            if let Some(feeding) = self.feeding {
                feeding.finish();
            }
        });
        let (mut writer, written) = self.writing.await.map_err(|error| error.to_string())?;
        if let (Err(problem), false) = (&written, self.talk.is_alone()) {
            // The others wait for a checkpoint that is not made: they end when this process does.
            return Err(problem.clone().into());
        }
        let mut errors: Vec<String> = written.err().into_iter().collect();
        errors.extend(tokio::task::block_in_place(|| self.sinks.finish(around)));
        tokio::task::block_in_place(|| self.archiving.map(Archiving::finish));
        let taken = tidewatch_checkpoints::Owner::delivered(writer.owner());
        self.is_done.store(errors.is_empty(), Ordering::SeqCst);
        if self.talk.member.is_first() {
            // Of one that was lost nothing is known.
            let others = (1..self.talk.member.processes).map(|_| self.delivered.recv().unwrap_or(Epoch(0)));
            let others = tokio::task::block_in_place(|| others.min());
            errors.extend(tokio::task::block_in_place(|| writer.finish(others)).err());
        } else {
            self.talk.delivered(taken);
        }
        if errors.is_empty() {
            self.talk.say_bye();
            if let Some(listening) = self.listening {
                listening.await.map_err(|error| error.to_string())?;
            }
        }
        Ok((self.serving, errors))
    }
}

impl Serving {
    fn start(
        (engine, talk): (&Handle, &Talk),
        sinks: &Sinks,
        around: &Surroundings,
        (settings, port): (tidewatch_api::Settings, Port),
        (calendar, catalogue): (Arc<Calendar>, Arc<Catalogue>),
        (as_of, partition_names, takes_back): (&Arc<AtomicU64>, Vec<String>, TakesBack),
        (tap, run, kept): (Arc<Tap>, RunInfo, Arc<dyn Fn() -> Kept + Send + Sync>),
    ) -> Serving {
        let terminal = around.terminal.clone();
        let reader = Arc::new(reader::Reader {
            store: sinks.store.clone(),
            engine: engine.clone(),
            talk: talk.clone(),
            as_of: as_of.clone(),
        });
        let handles = Handles {
            stats: engine.stats.clone(),
            partition_names,
            sinks: sinks.stats.clone(),
            kept: kept.clone(),
            series: reader.clone(),
            devices: reader,
            calendar,
            catalogue,
            places: around.places.clone(),
            letters: match &sinks.letters {
                Ok(store) => Letters::Here(Arc::new(Stored::new(store.clone(), takes_back))),
                Err(place) => Letters::Elsewhere(place.clone()),
            },
            anomalies: match &sinks.anomalies {
                Ok(store) => Anomalies::Here(Arc::new(reader::Found(store.clone()))),
                Err(place) => Anomalies::Elsewhere(place.clone()),
            },
            live: Arc::new(reader::Open(engine.clone())),
            tap,
            run,
            readiness: Arc::new(Ready {
                engine: engine.clone(),
                as_of: as_of.clone(),
                outages: around.outages.clone(),
                kept,
            }),
            build: BuildInfo {
                version: env!("CARGO_PKG_VERSION").into(),
                revision: String::new(),
            },
            events: Arc::new(move |event| terminal.news(&event.to_string())),
        };
        let (close, closed) = watch::channel(false);
        let api = tidewatch_api::serve(port, settings, handles, closed);
        around.terminal.news(&format!(
            "tidewatch {} answers on {}",
            env!("CARGO_PKG_VERSION"),
            api.url()
        ));
        Serving {
            stats: engine.stats.clone(),
            api,
            close,
            store: sinks.store.clone(),
            letters: sinks.letters.as_ref().ok().cloned(),
            anomalies: sinks.anomalies.as_ref().ok().cloned(),
        }
    }

    /// Answers no more.
    pub async fn close(self) {
        // Nobody may be listening any more.
        let _ = self.close.send(true);
        self.api.stopped().await;
        tokio::task::block_in_place(|| drop((self.store, self.letters, self.anomalies)));
    }
}
