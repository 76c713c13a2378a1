//! How a run begins: with the others of its team, from the newest checkpoint.

use super::RunError;
use super::clock::SystemClock;
use super::crashes::Crashes;
use super::log::Terminal;
use super::opened::Opened;
use super::sinks::{Sinks, Surroundings};
use super::state::State;
use super::talk::{Begin, Claim, Way};
use super::team::Team;
use super::{seeded, topic};
use crate::config::{ConfigError, Settings};
use std::sync::Arc;
use tidewatch_checkpoints::Store;
use tidewatch_cluster::Place;
use tidewatch_dataflow::checkpoint::{Meta, Restored};
use tidewatch_dataflow::config::EngineConfig;
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::ids::{Epoch, Generation, Offset, Partition};
use tidewatch_sinks::SinkError;
use tidewatch_sinks::fence::{Fence, Newest};
use tidewatch_sinks::parts::Parts;
use tokio::task::{JoinHandle, spawn_blocking};

/// All that a run begins with.
pub struct Begun {
    /// This process and the others.
    pub team: Team,
    /// Where checkpoints are kept.
    pub store: Arc<dyn Store>,
    /// The source.
    pub source: Opened,
    /// The sinks, from which older runs are shut out.
    pub sinks: Sinks,
    /// The run.
    pub generation: Generation,
    /// The run's first epoch.
    pub begun: Epoch,
    /// The state to go on from.
    pub restored: Option<Restored>,
    /// What was said of that state.
    pub was: Option<Meta>,
}

impl Begun {
    /// Finds the others, starts the sinks, and finds the newest checkpoint. The sinks wait for others, and the state for
    /// this processor: so both are begun at once.
    ///
    /// # Errors
    /// When the others, the source, a sink or the store can't be reached, or there are checkpoints of which none can be
    /// used.
    pub async fn begin(settings: &Settings, place: Option<&Place>, around: &Surroundings) -> Result<Begun, RunError> {
        let terminal = &around.terminal;
        let state = tokio::task::block_in_place(|| State::open(&settings.state, place.is_some()))?;
        let source = tokio::task::block_in_place(|| Opened::open(&settings.source, terminal))?;
        if settings.archive.is_some() {
            let count = source.factory.partitions().len() as u32;
            let first = (0..count).map(|partition| (Partition(partition), Offset(0)));
            source.log.hold(&first.collect::<Vec<_>>());
        }
        let mut team = Team::join(place.cloned(), settings.engine.threads.max(1), terminal).await?;
        check(Point::RestoreBegin)?;
        let (claim, former) = claim(&mut team, &state, source.factory.partitions()).await?;
        let fence = Fence {
            slot: team.talk.member.index,
            former: team.talk.member.processes..former,
            newest: newest(state.store.clone(), claim.generation),
        };
        let sinks = started(settings, &claim, (team.parts(), fence), around.clone());
        let restoring = Restoring {
            state: state.clone(),
            partitions: claim.partitions.into(),
            engine: settings.engine.clone().into(),
        };
        let (begin, saved) = match team.talk.member.is_first() {
            true => tokio::task::block_in_place(|| restoring.first(&team, terminal))?,
            false => restoring.other(&mut team).await?,
        };
        let (was, mut restored) = saved.unzip();
        restored.iter_mut().for_each(seeded::restored);
        check(Point::RestoreDone)?;
        if was
            .as_ref()
            .is_some_and(|was| was.settings != settings.engine.fingerprint())
        {
            terminal.news("[engine] has changed since the state was saved: windows that were open are made by both");
        }
        let count = restoring.partitions.len();
        let begun = tokio::task::block_in_place(|| topic::begin(&source.log, was.as_ref(), restored, count));
        let restored = begun.map_err(|error| error.to_string())?;
        let sinks = sinks.await.map_err(|error| error.to_string())?;
        let sinks = sinks.map_err(|error| RunError::Config(ConfigError::new(error.object, error.problem)))?;
        check(Point::SinksStarted)?;
        Ok(Begun {
            team,
            store: state.store,
            source,
            sinks,
            generation: claim.generation,
            begun: begin.begun,
            restored,
            was,
        })
    }

    /// Where crashes are noted; the engine is to know of those that lie ahead.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn crashes(&mut self, meta: &Meta, terminal: &Terminal) -> Result<Crashes, RunError> {
        let crashes = Crashes::new(self.store.clone(), meta);
        let ahead = tokio::task::block_in_place(|| crashes.ahead(&meta.positions))?;
        if !ahead.is_empty() {
            terminal.news("records at which a worker has crashed are taken one by one");
            let partitions = self.source.factory.partitions().len();
            let restored = self.restored.get_or_insert_with(|| Restored::fresh(partitions));
            restored.crashes = ahead;
        }
        Ok(crashes)
    }

    /// What the run's checkpoints say alike.
    pub fn meta(&self, settings: &Settings) -> Meta {
        let member = self.team.talk.member;
        let restored = self.restored.as_ref();
        Meta {
            generation: self.generation,
            epoch: self.was.as_ref().map_or(Epoch(0), |was| was.epoch),
            workers: member.processes * member.threads,
            settings: settings.engine.fingerprint(),
            rules: settings.engine.rules.to_vec(),
            partition_names: self.source.factory.partitions().to_vec(),
            log: self.source.log.id(),
            positions: restored.map_or_else(Vec::new, |restored| restored.positions.clone()),
            delivered: Epoch(0),
        }
    }
}

/// Tells sinks whether a run is the newest.
fn newest(store: Arc<dyn Store>, generation: Generation) -> Newest {
    Arc::new(move || match tidewatch_checkpoints::replaced(&*store, generation) {
        Ok(None) => Ok(()),
        Ok(Some(replaced)) => Err(SinkError::stop("the run", replaced.to_string())),
        Err(error) => Err(SinkError::retry(store.place(), error.to_string())),
    })
}

/// The first process claims the generation, and tells the others. It also gets to know how many processes older runs had.
async fn claim(team: &mut Team, state: &State, partitions: &[String]) -> Result<(Claim, usize), RunError> {
    if !team.talk.member.is_first() {
        let claim = team.hear_claim().await?;
        if claim.partitions != partitions {
            let problem = "the first process of the cluster sees other partitions of the source than this one";
            return Err(problem.to_owned().into());
        }
        return Ok((claim, 0));
    }
    let claimed = tokio::task::block_in_place(|| state.claim(team.talk.member.processes))?;
    let claim = Claim {
        generation: claimed.generation,
        partitions: partitions.to_vec(),
    };
    team.talk.claimed(claim.clone());
    Ok((claim, claimed.former))
}

/// Starts the sinks, in the background.
fn started(
    settings: &Settings,
    claim: &Claim,
    (parts, fence): (Parts, Fence),
    around: Surroundings,
) -> JoinHandle<Result<Sinks, SinkError>> {
    let (output, engine, claim) = (settings.output.clone(), settings.engine.clone(), claim.clone());
    spawn_blocking(move || {
        let run = (&claim.partitions[..], claim.generation);
        Sinks::start((&output, &engine), run, (&parts, &fence), &around)
    })
}

/// What a run goes on from.
type Going = Option<(Meta, Restored)>;

/// Finds what a run goes on from. Cheap to clone.
#[derive(Clone)]
struct Restoring {
    state: State,
    partitions: Arc<[String]>,
    engine: Arc<EngineConfig>,
}

impl Restoring {
    /// The first process finds the newest checkpoint; the others hear of what it tries, and of what it has found.
    fn first(&self, team: &Team, terminal: &Terminal) -> Result<(Begin, Going), RunError> {
        let trying = |generation, epoch| team.talk.trying((generation, epoch));
        let saved = self.state.restore((&self.partitions, &self.engine), trying, terminal)?;
        let meta = saved.as_ref().map(|(meta, _)| meta);
        let begin = Begin {
            begun: SystemClock::first_epoch(meta.map(|meta| meta.epoch), self.engine.border_epochs),
            checkpoint: meta.map(|meta| (meta.generation, meta.epoch)),
        };
        team.talk.begin(begin);
        Ok((begin, saved))
    }

    /// The others restore what the first one tries at the same time as it does; what it was begun with counts.
    async fn other(&self, team: &mut Team) -> Result<(Begin, Going), RunError> {
        let mut tried = None;
        let begin = loop {
            match team.hear_way().await? {
                Way::Trying(chosen) => tried = Some((chosen, self.chosen(chosen))),
                Way::Begin(begin) => break begin,
            }
        };
        let Some(chosen) = begin.checkpoint else {
            return Ok((begin, None));
        };
        let restoring = match tried {
            Some((tried, restoring)) if tried == chosen => restoring,
            _ => self.chosen(chosen),
        };
        let saved = restoring.await.map_err(|error| error.to_string())??;
        Ok((begin, Some(saved)))
    }

    /// Restores a checkpoint, in the background.
    fn chosen(&self, chosen: (Generation, Epoch)) -> JoinHandle<Result<(Meta, Restored), RunError>> {
        let Restoring {
            state,
            partitions,
            engine,
        } = self.clone();
        spawn_blocking(move || state.restore_chosen(chosen, (&partitions, &engine)))
    }
}
