//! How a run begins: with the others of its team, from the newest checkpoint.

use super::RunError;
use super::clock::SystemClock;
use super::crashes::Crashes;
use super::log::Terminal;
use super::state::State;
use super::team::{Begin, Team};
use super::{seeded, topic};
use crate::config::{ConfigError, Settings, SourceSettings};
use std::sync::Arc;
use tidewatch_checkpoints::Store;
use tidewatch_cluster::Place;
use tidewatch_dataflow::checkpoint::{Meta, Restored};
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::source::SourceFactory;
use tidewatch_sinks::SinkError;
use tidewatch_sinks::fence::{Fence, Newest};
use tidewatch_sources::file::FileFactory;
use tidewatch_sources::fleet::FleetFactory;
use tidewatch_sources::kafka::KafkaFactory;

/// The source, and the factory once more when it is Kafka's: it commits positions for lag tools.
pub type Opened = (Arc<dyn SourceFactory>, Option<Arc<KafkaFactory>>);

fn open_source(settings: &SourceSettings, terminal: &Arc<Terminal>) -> Result<Opened, RunError> {
    Ok(match settings {
        SourceSettings::Fleet(fleet) => (Arc::new(FleetFactory::new(fleet.clone())), None),
        SourceSettings::File(file) => (Arc::new(FileFactory::new(file.clone())), None),
        SourceSettings::Kafka(kafka) => {
            let connected = KafkaFactory::connect(kafka);
            let connected =
                connected.map_err(|error| RunError::Config(ConfigError::new(error.object, error.problem)))?;
            let terminal = terminal.clone();
            let factory = Arc::new(connected.with_events(Arc::new(move |event| terminal.trouble(&event.to_string()))));
            (factory.clone(), Some(factory))
        }
    })
}

/// All that a run begins with.
pub struct Begun {
    /// This process and the others.
    pub team: Team,
    /// Where checkpoints are kept.
    pub store: Arc<dyn Store>,
    /// The source.
    pub source: Opened,
    /// The run.
    pub generation: Generation,
    /// The run's first epoch.
    pub begun: Epoch,
    /// What shuts older runs out of sinks that don't know runs.
    pub fence: Fence,
    /// The state to go on from.
    pub restored: Option<Restored>,
    /// What was said of that state.
    pub was: Option<Meta>,
}

impl Begun {
    /// Finds the others and the newest checkpoint.
    ///
    /// # Errors
    /// When the others, the source or the store can't be reached, or there are checkpoints of which none can be used.
    pub async fn begin(
        settings: &Settings,
        place: Option<&Place>,
        terminal: &Arc<Terminal>,
    ) -> Result<Begun, RunError> {
        let state = tokio::task::block_in_place(|| State::open(&settings.state, place.is_some()))?;
        let source = open_source(&settings.source, terminal)?;
        let partitions = source.0.partitions().to_vec();
        let mut team = Team::join(place.cloned(), settings.engine.threads.max(1), terminal).await?;
        check(Point::RestoreBegin)?;
        let (begin, former, saved) = match team.talk.member.is_first() {
            true => tokio::task::block_in_place(|| first(&team, &state, settings, &partitions, terminal))?,
            false => {
                let begin = team.hear_begin().await?;
                if begin.partitions != partitions {
                    let problem = "the first process of the cluster sees other partitions of the source than this one";
                    return Err(problem.to_owned().into());
                }
                let restore = |chosen| state.restore_chosen(chosen, &partitions, &settings.engine);
                let saved = tokio::task::block_in_place(|| begin.checkpoint.map(restore).transpose())?;
                (begin, 0, saved)
            }
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
        if let Some(kafka) = &source.1 {
            let begun = tokio::task::block_in_place(|| topic::begin(kafka, was.as_ref(), restored, partitions.len()));
            restored = Some(begun.map_err(|error| error.to_string())?);
        }
        let member = team.talk.member;
        let fence = Fence {
            slot: member.index,
            former: member.processes..former,
            newest: newest(state.store.clone(), begin.generation),
        };
        Ok(Begun {
            team,
            fence,
            store: state.store,
            source,
            generation: begin.generation,
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
            let partitions = self.source.0.partitions().len();
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
            partition_names: self.source.0.partitions().to_vec(),
            log: self
                .source
                .1
                .as_ref()
                .map_or_else(String::new, |kafka| kafka.log().to_owned()),
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

/// What a run goes on from.
type Going = Option<(Meta, Restored)>;

/// The first process claims the generation, finds the newest checkpoint, and tells the others. It also gets to know how
/// many processes older runs had.
fn first(
    team: &Team,
    state: &State,
    settings: &Settings,
    partitions: &[String],
    terminal: &Terminal,
) -> Result<(Begin, usize, Going), RunError> {
    let claimed = state.claim(team.talk.member.processes)?;
    let saved = state.restore(partitions, &settings.engine, terminal)?;
    let meta = saved.as_ref().map(|(meta, _)| meta);
    let begin = Begin {
        generation: claimed.generation,
        begun: SystemClock::first_epoch(meta.map(|meta| meta.epoch)),
        checkpoint: meta.map(|meta| (meta.generation, meta.epoch)),
        partitions: partitions.to_vec(),
    };
    team.tell_begin(&begin);
    Ok((begin, claimed.former, saved))
}
