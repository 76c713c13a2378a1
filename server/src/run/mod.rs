//! A run: source → engine → sinks, with the API beside it, and how it all ends.
//!
//! It ends in this order: the fleet sends nothing more, the source reads no further, the workers complete their epochs and give their state, a last
//! checkpoint is made, the sinks deliver what is left, for some seconds at most, the API closes. In a cluster the first
//! process stops them all.

pub(crate) mod archiving;
mod begin;
mod clock;
mod collector;
mod crashes;
mod feeding;
mod keeping;
mod log;
mod opened;
mod outlet;
mod parcel;
mod questions;
mod reader;
mod ready;
mod replays;
mod sealing;
mod seeded;
mod signals;
mod sinks;
mod state;
mod status;
mod talk;
mod team;
mod tending;
mod topic;
mod wiring;

pub use team::EXIT_AGAIN;

use crate::config::{ConfigError, DeadLetterSettings, OutputSettings, Settings, SourceSettings, StoreKind};
use begin::Begun;
use log::Terminal;
use signals::Signals;
use sinks::Surroundings;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tending::Tending;
use tidewatch_cluster::Place;
use tidewatch_dataflow::Clock as _;
use tidewatch_failpoints::Injected;
use topic::{Changes, Verdict};
use wiring::Wired;

/// How often the status line is written where it can't be rewritten in place, in seconds.
const PLAIN_STATUS_S: u64 = 10;

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
pub enum Ended {
    /// By a signal, or at the end of the input.
    Done,
    /// At a border, for the next to begin at once: the topic has more partitions than were read.
    Again,
}

/// Runs until a signal, the end of the input (with `exit_at_end`) or a failure. When the source has got more partitions
/// a run ends, and the next begins with what `load` gives then; one of a cluster's (it has a `place`) ends with
/// [`Ended::Again`], since all have to begin together.
///
/// # Errors
/// Why it could not begin, or what went wrong.
pub fn run(
    load: impl Fn() -> Result<Settings, ConfigError>,
    exit_at_end: bool,
    place: Option<&Place>,
) -> Result<Ended, RunError> {
    let mut settings = load().map_err(RunError::Config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("can't start the runtime: {error}"))?;
    let ended = runtime.block_on(async {
        let mut stop = Signals::listen()?;
        loop {
            let ended = start(settings, exit_at_end, place, &mut stop).await?;
            if ended == Ended::Done || place.is_some() || stop.came() {
                return Ok(ended);
            }
            settings = load().map_err(RunError::Config)?;
        }
    });
    // What matters was waited for; who still asks a store that doesn't answer would wait for ever.
    runtime.shutdown_background();
    ended
}

async fn start(
    mut settings: Settings,
    exit_at_end: bool,
    place: Option<&Place>,
    stop: &mut Signals,
) -> Result<Ended, RunError> {
    let terminal = Arc::new(Terminal::default());
    settings.advice.iter().for_each(|line| terminal.news(line));
    if place.is_some() {
        shared_by_all(&settings.output).map_err(RunError::Config)?;
    }
    if place.is_some() && matches!(settings.source, SourceSettings::Log(..)) {
        let problem = "the embedded log is one process's: those of a cluster need a source that all of them reach, such as \
                       kafka";
        return Err(RunError::Config(ConfigError::new("source.kind", problem)));
    }
    let port = tidewatch_api::listen(&settings.api).await;
    let port = port.map_err(|error| error.to_string())?;
    let around = Surroundings {
        give_up: stop.give_up.clone(),
        failed: Arc::default(),
        outages: Arc::default(),
        places: Arc::default(),
        terminal: terminal.clone(),
    };
    stop.begun(false);
    settings.engine.journal = true;
    settings.engine.stored_ms = settings.output.stored_ms(&settings.engine.jobs());
    let mut begun = Begun::begin(&settings, place, &around).await?;
    let changes = Changes::watch(begun.source.log.kafka()).map_err(|error| error.to_string())?;
    begun.team.all_ready().await?;
    stop.begun(true);
    let (tending, first) = Tending::start(&settings.registry, &settings.metrics, &around)?;
    let mut wired = Wired::wire(begun, settings, &around, &first, (port, tending.catalogue.clone()))?;
    let watched = watch(&mut wired, tending, stop, &changes, &around).await?;
    let mut errors = watched.errors;
    if let Some(Verdict::Again(news)) = &watched.verdict {
        terminal.news(news);
    }
    let is_alone = wired.talk.is_alone();
    if !is_alone && !errors.is_empty() {
        // The engine's threads wait for the others: these end when this process does.
        return Err(RunError::Failed(errors));
    }
    let (serving, written) = wired.finish(&around).await?;
    errors.extend(written);
    let input_ended = !watched.stopping && errors.is_empty();
    if input_ended {
        terminal.news(&status::total(&serving.stats));
        if !exit_at_end {
            terminal.news("the input has ended; the results stay readable until you stop with Ctrl-C");
            stop.recv().await;
        }
    }
    serving.close().await;
    match errors.is_empty() {
        true if watched.verdict.is_some() => Ok(Ended::Again),
        true => Ok(Ended::Done),
        false => Err(RunError::Failed(errors)),
    }
}

/// Refuses what one process of a cluster would have for itself.
fn shared_by_all(output: &OutputSettings) -> Result<(), ConfigError> {
    if matches!(output.store, StoreKind::Memory | StoreKind::Embedded) {
        let problem = "the processes of a cluster need a store that all of them share: postgres, or discard";
        return Err(ConfigError::new("output.store", problem));
    }
    if matches!(output.dead_letter, DeadLetterSettings::Embedded) {
        let problem = "the processes of a cluster can't share the embedded store: postgres or kafka keep them";
        return Err(ConfigError::new("dead_letter.kind", problem));
    }
    Ok(())
}

/// What was seen until the workers had ended.
struct Watched {
    /// What went wrong.
    errors: Vec<String>,
    /// Whether somebody wanted the end.
    stopping: bool,
    /// What is to be done about a topic that has changed.
    verdict: Option<Verdict>,
}

/// Watches until the workers have ended.
async fn watch(
    wired: &mut Wired,
    mut tending: Tending,
    stop: &mut Signals,
    changes: &Changes,
    around: &Surroundings,
) -> Result<Watched, RunError> {
    let terminal = around.terminal.clone();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut seconds = 0;
    let mut stopping = false;
    let mut verdict = None;
    loop {
        tokio::select! {
            end = &mut wired.collecting => {
                let mut errors = end.map_err(|error| error.to_string())?;
                if let Some(Verdict::Stop(problem)) = &verdict {
                    errors.insert(0, problem.clone());
                }
                let stopping = stopping || wired.stops.load(Ordering::SeqCst);
                return Ok(Watched { errors, stopping, verdict });
            }
            () = stop.recv(), if !stopping => {
                stopping = true;
                terminal.news("stopping: source, workers, sinks, api");
                if around.outages.load(Ordering::SeqCst) > 0 {
                    terminal.news("a sink can't be reached; it is waited for some seconds, or until you stop once more");
                }
                wired.stop();
            }
            () = wired.wants_stop.notified(), if !stopping => {
                stopping = true;
                terminal.news("stopping, as another process was told to");
                wired.stop();
            }
            _ = ticks.tick() => {
                seconds += 1;
                tending.tend(&wired.handle, &terminal);
                wired.talk.time(wired.clock.epoch());
                if terminal.is_in_place() || seconds % PLAIN_STATUS_S == 1 {
                    terminal.status(&tending.status.line(&wired.handle.stats));
                }
                if !stopping {
                    verdict = changes.verdict(around.outages.load(Ordering::SeqCst) > 0);
                }
                if (verdict.is_some() || around.failed.load(Ordering::SeqCst)) && !stopping {
                    stopping = true;
                    wired.stop();
                }
            }
        }
    }
}
