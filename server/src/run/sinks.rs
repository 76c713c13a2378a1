//! The sinks of a run: each on a thread of its own, wrapped in retries, measured.

use super::log::Terminal;
use super::parcel::{Inbox, Inboxes, Parcel, Stored};
use crate::config::{DeadLetterSettings, OutputSettings, StoreKind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidewatch_api::{Places, SinkStats};
use tidewatch_dataflow::config::EngineConfig;
use tidewatch_failpoints::{Point, pass};
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::{Delivery, Row};
use tidewatch_sinks::discard::Discard;
use tidewatch_sinks::fence::Fence;
use tidewatch_sinks::hot::{AnomalyStore, HotStore, LetterStore};
use tidewatch_sinks::kafka::{KafkaDeadLetters, KafkaSink};
use tidewatch_sinks::memory::{MemoryAnomalies, MemoryDeadLetters, MemorySink};
use tidewatch_sinks::parts::Parts;
use tidewatch_sinks::postgres::{
    Mending, PostgresAnomalies, PostgresAnomalyStore, PostgresDeadLetters, PostgresHotStore, PostgresLetterStore,
    PostgresSink,
};
use tidewatch_sinks::retry::{Backoff, Retrying, SinkEvent};
use tidewatch_sinks::sqlite::{Sqlite, SqliteSettings, Usage};
use tidewatch_sinks::{ErrorKind, Sink, SinkError, Storing};

/// The running sinks.
pub struct Sinks {
    /// Where deliveries go.
    pub inboxes: Inboxes,
    /// What is measured of each.
    pub stats: Vec<Arc<SinkStats>>,
    /// Where published rows are read.
    pub store: Arc<dyn HotStore>,
    /// Where dead letters are read, or where else they go.
    pub letters: Result<Arc<dyn LetterStore>, String>,
    /// Where anomalies are read, or why nowhere.
    pub anomalies: Result<Arc<dyn AnomalyStore>, String>,
    /// How large the embedded store is, when there is one.
    pub usage: Option<Arc<Usage>>,
    /// What they have taken.
    pub confirmed: Confirmed,
    generation: Generation,
    /// Whether a sink gives the others rows that it has mended.
    mends: bool,
    threads: Vec<Thread>,
}

/// A sink's thread, by the sink's name.
type Thread = (String, JoinHandle<Result<(), SinkError>>);

/// How long a delivery that is under way is waited for when sinks have given up.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// How often a wait for sinks looks whether they have ended or given up.
const LOOK: Duration = Duration::from_millis(10);

/// Through which epoch each sink has taken what it was given.
#[derive(Clone, Debug, Default)]
pub struct Confirmed {
    sinks: Vec<Arc<AtomicU64>>,
}

impl Confirmed {
    /// One more sink: what says through which epoch it has taken everything.
    pub fn add(&mut self) -> Arc<AtomicU64> {
        let sink = Arc::new(AtomicU64::new(0));
        self.sinks.push(sink.clone());
        sink
    }

    /// The last epoch that all of them have taken.
    pub fn through(&self) -> Epoch {
        let sinks = self.sinks.iter().map(|sink| sink.load(Ordering::SeqCst));
        Epoch(sinks.min().unwrap_or(0))
    }

    /// Says that all of them had taken everything through an epoch before.
    pub fn begin(&self, through: Epoch) {
        self.sinks
            .iter()
            .for_each(|sink| sink.store(through.0, Ordering::SeqCst));
    }
}

/// What the sinks share.
#[derive(Clone)]
pub struct Surroundings {
    /// Set when the process ends at once: retries give up.
    pub give_up: Arc<AtomicBool>,
    /// Set when a sink has failed for good.
    pub failed: Arc<AtomicBool>,
    /// Where devices belong.
    pub places: Arc<Places>,
    /// How many sinks are in an outage.
    pub outages: Arc<AtomicUsize>,
    /// The terminal.
    pub terminal: Arc<Terminal>,
}

impl Surroundings {
    /// Does something with a sink, unless what can't be delivered is given up, before or meanwhile: then `None`. What
    /// it was given is durable, so nothing is lost.
    fn unless_given_up<T>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T, SinkError>,
    ) -> Result<Option<T>, SinkError> {
        let gives_up = || self.give_up.load(Ordering::SeqCst);
        let done = match gives_up() {
            true => None,
            false => Some(work()),
        };
        match done {
            Some(Ok(done)) => Ok(Some(done)),
            Some(Err(error)) if error.kind != ErrorKind::Retry || !gives_up() => Err(error),
            _ => {
                let news = format!("sink {name} has not taken everything: the next start delivers the rest");
                self.terminal.news(&news);
                Ok(None)
            }
        }
    }
}

impl Sinks {
    /// Starts the configured sinks. Each begins with an empty delivery, which shuts out older generations.
    ///
    /// # Errors
    /// When a store can't be reached or isn't as it should be.
    pub fn start(
        (output, engine): (&OutputSettings, &EngineConfig),
        (partitions, generation): (&[String], Generation),
        (parts, fence): (&Parts, &Fence),
        around: &Surroundings,
    ) -> Result<Sinks, SinkError> {
        let embedded = embedded(output, around)?;
        let mut sinks = Sinks {
            mends: output.stored_ms(&engine.jobs()).is_some(),
            inboxes: Inboxes::default(),
            stats: Vec::new(),
            store: Arc::new(MemorySink::new(&output.memory)),
            letters: Err("dead letters are discarded: they are counted and not kept (dead_letter.kind)".to_owned()),
            anomalies: Err("output.store is \"discard\": anomalies are not kept".to_owned()),
            threads: Vec::new(),
            usage: embedded.as_ref().map(Sqlite::usage),
            confirmed: Confirmed::default(),
            generation,
        };
        let mending = Mending {
            jobs: engine.jobs(),
            quantiles: engine.quantiles,
            partitions: partitions.to_vec(),
            calendar: engine.calendar.clone(),
        };
        sinks.start_rows((output, &embedded), mending, (parts, fence), around)?;
        sinks.start_letters((output, &embedded), (partitions, parts, fence), around)?;
        sinks.start_anomalies((output, &embedded), parts, around)?;
        Ok(sinks)
    }

    /// Starts the sink for dead letters.
    fn start_letters(
        &mut self,
        (output, embedded): (&OutputSettings, &Option<Sqlite>),
        (partitions, parts, fence): (&[String], &Parts, &Fence),
        around: &Surroundings,
    ) -> Result<(), SinkError> {
        match (&output.dead_letter, embedded) {
            (DeadLetterSettings::Embedded, Some(embedded)) => {
                self.letters = Ok(Arc::new(embedded.letters()));
                self.add_letters(embedded.dead_letters(parts.clone(), partitions), around)
            }
            (DeadLetterSettings::Memory | DeadLetterSettings::Embedded, _) => {
                let letters = MemoryDeadLetters::new(&output.memory).naming(partitions);
                self.letters = Ok(Arc::new(letters.clone()));
                self.add_letters(letters, around)
            }
            (DeadLetterSettings::Discard, _) => self.add_letters(Discard::new(), around),
            (DeadLetterSettings::Postgres(postgres), _) => {
                let mut sink = PostgresDeadLetters::new(postgres.clone(), parts.clone(), partitions);
                sink.check()?;
                self.letters = Ok(Arc::new(PostgresLetterStore::new(postgres.clone())));
                self.add_letters(sink, around)
            }
            (DeadLetterSettings::Kafka(kafka), _) => {
                KafkaDeadLetters::check(kafka)?;
                let topic = kafka.dead_letter_topic();
                self.letters = Err(format!(
                    "dead letters go to the topic {topic} of Kafka: read them there"
                ));
                self.add_letters(KafkaDeadLetters::new(kafka.clone(), partitions, fence.clone()), around)
            }
        }
    }

    /// Starts the sinks for anomalies: each store that keeps rows keeps them too.
    fn start_anomalies(
        &mut self,
        (output, embedded): (&OutputSettings, &Option<Sqlite>),
        parts: &Parts,
        around: &Surroundings,
    ) -> Result<(), SinkError> {
        if let Some(postgres) = &output.postgres {
            let mut sink = PostgresAnomalies::new(postgres.clone(), parts.clone());
            sink.check()?;
            self.add_anomalies(sink, around)?;
        }
        match (output.store, &output.postgres, embedded) {
            (StoreKind::Postgres, Some(postgres), _) => {
                self.anomalies = Ok(Arc::new(PostgresAnomalyStore::new(postgres.clone())));
                Ok(())
            }
            (StoreKind::Embedded, _, Some(embedded)) => {
                self.anomalies = Ok(Arc::new(embedded.reader()));
                self.add_anomalies(embedded.anomalies(parts.clone()), around)
            }
            (StoreKind::Discard, ..) => self.add_anomalies(Discard::new(), around),
            _ => {
                let anomalies = MemoryAnomalies::new(&output.memory);
                self.anomalies = Ok(Arc::new(anomalies.clone()));
                self.add_anomalies(anomalies, around)
            }
        }
    }

    /// Starts the sinks of rows; the storing one last, since it gives the others what it has mended.
    fn start_rows(
        &mut self,
        (output, embedded): (&OutputSettings, &Option<Sqlite>),
        mending: Mending,
        (parts, fence): (&Parts, &Fence),
        around: &Surroundings,
    ) -> Result<(), SinkError> {
        let postgres = output.postgres.as_ref().map(|postgres| {
            let mut sink = PostgresSink::new(postgres.clone(), parts.clone()).mending(mending.clone());
            sink.check().map(|()| sink)
        });
        let postgres = postgres.transpose()?;
        if let Some(kafka) = &output.kafka {
            KafkaSink::check(kafka)?;
            self.add_rows(KafkaSink::new(kafka.clone(), fence.clone()), around)?;
        }
        match (output.store, &output.postgres, embedded) {
            (StoreKind::Postgres, Some(postgres), _) => self.store = Arc::new(PostgresHotStore::new(postgres.clone())),
            (StoreKind::Embedded, postgres, Some(embedded)) => {
                self.store = Arc::new(embedded.reader());
                let sink = embedded.sink(parts.clone());
                match postgres {
                    // It gets the rows that PostgreSQL has mended.
                    Some(_) => self.add_rows(sink, around)?,
                    None => self.add_storing(sink.mending(mending), around)?,
                }
            }
            (StoreKind::Discard, ..) => self.add_rows(Discard::new(), around)?,
            _ => {
                let memory = MemorySink::new(&output.memory);
                self.store = Arc::new(memory.clone());
                self.add_rows(memory, around)?;
            }
        }
        match postgres {
            Some(sink) => self.add_storing(sink, around),
            None => Ok(()),
        }
    }

    fn add_rows(&mut self, sink: impl Sink<Row> + 'static, around: &Surroundings) -> Result<(), SinkError> {
        let stats = SinkStats::new(sink.name());
        let mended = self.mends.then(|| self.confirmed.add());
        let inbox = self.add(sink, stats, around, mended)?;
        self.inboxes.rows.push(inbox);
        Ok(())
    }

    fn add_letters(&mut self, sink: impl Sink<Reject> + 'static, around: &Surroundings) -> Result<(), SinkError> {
        let stats = SinkStats::new(format!("dead_letter_{}", sink.name()));
        let inbox = self.add(sink, stats, around, None)?;
        self.inboxes.rejects.push(inbox);
        Ok(())
    }

    fn add_anomalies(&mut self, sink: impl Sink<Anomaly> + 'static, around: &Surroundings) -> Result<(), SinkError> {
        let stats = SinkStats::new(format!("anomaly_{}", sink.name()));
        let inbox = self.add(sink, stats, around, None)?;
        self.inboxes.anomalies.push(inbox);
        Ok(())
    }

    /// Starts a sink's thread, which ends when the inbox is dropped. `mended` is told of rows that a store has mended.
    fn add<T: Clone + Send + Sync + 'static>(
        &mut self,
        sink: impl Sink<T> + 'static,
        stats: SinkStats,
        around: &Surroundings,
        mended: Option<Arc<AtomicU64>>,
    ) -> Result<Inbox<T>, SinkError> {
        let stats = Arc::new(stats);
        self.stats.push(stats.clone());
        let mut sink = Retrying::new(sink, Backoff::default(), around.give_up.clone(), told(around, &stats));
        sink.deliver(&Delivery::nothing(self.generation))?;
        let name = sink.name();
        let (inbox, deliveries) = mpsc::channel::<Arc<Parcel<T>>>();
        let confirmed = self.confirmed.add();
        let failed = EndsBadly(around.failed.clone());
        let around = around.clone();
        let work = move || {
            let mut last = Epoch(0);
            for parcel in deliveries {
                let begun = Instant::now();
                let (delivery, size) = (&parcel.delivery, parcel.delivery.items.len());
                let delivered = around.unless_given_up(name, || match (parcel.is_mended, size) {
                    (false, _) => {
                        last = delivery.through;
                        sink.deliver(delivery)
                    }
                    (true, 0) => Ok(()),
                    // Those of later epochs may have come before: what is delivered never goes back.
                    (true, _) => sink.deliver(&Delivery {
                        through: last.max(delivery.through),
                        ..delivery.clone()
                    }),
                })?;
                if delivered.is_none() {
                    break;
                }
                if !parcel.is_mended || size > 0 {
                    stats.delivered(size as u64, begun.elapsed());
                }
                let confirmed = mended.as_ref().filter(|_| parcel.is_mended).unwrap_or(&confirmed);
                pass(Point::Confirm);
                confirmed.store(delivery.through.0, Ordering::SeqCst);
                pass(Point::Confirmed);
            }
            failed.well();
            Ok(())
        };
        self.spawn(name, work)?;
        Ok(inbox)
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<(), SinkError> + Send + 'static,
    ) -> Result<(), SinkError> {
        let thread = std::thread::Builder::new().name(format!("sink-{name}"));
        let thread = thread.spawn(work);
        let thread =
            thread.map_err(|error| SinkError::stop(format!("the thread of sink {name}"), error.to_string()))?;
        self.threads.push((name.to_owned(), thread));
        Ok(())
    }

    /// Starts the thread of the sink that adds stragglers to its rows, and gives the other sinks these rows.
    fn add_storing(&mut self, sink: impl Storing + 'static, around: &Surroundings) -> Result<(), SinkError> {
        let stats = Arc::new(SinkStats::new(sink.name()));
        self.stats.insert(0, stats.clone());
        let mut sink = Retrying::new(sink, Backoff::default(), around.give_up.clone(), told(around, &stats));
        sink.deliver(&Delivery::nothing(self.generation))?;
        let name = sink.name();
        let (inbox, deliveries) = mpsc::channel::<Stored>();
        let (confirmed, others) = (self.confirmed.add(), self.inboxes.rows.clone());
        let (failed, around) = (EndsBadly(around.failed.clone()), around.clone());
        self.inboxes.storing = Some(inbox);
        self.spawn(name, move || {
            for (rows, stragglers) in deliveries {
                let begun = Instant::now();
                let mended = around.unless_given_up(name, || sink.mend(&rows.delivery, &stragglers.delivery.items))?;
                let Some(mended) = mended else { break };
                let items = rows.delivery.items.len() + mended.len();
                stats.delivered(items as u64, begun.elapsed());
                let bytes = (mended.len() * size_of::<Row>()) as i64;
                let is_mended = !mended.is_empty();
                let mended = rows.mended(mended, bytes);
                if is_mended {
                    pass(Point::MendedGive);
                }
                // Also when there are none: so they know that nothing more comes of these epochs.
                others.iter().for_each(|inbox| drop(inbox.send(mended.clone())));
                if is_mended {
                    pass(Point::MendedGiven);
                }
                pass(Point::Confirm);
                confirmed.store(rows.delivery.through.0, Ordering::SeqCst);
                pass(Point::Confirmed);
            }
            failed.well();
            Ok(())
        })
    }

    /// Waits until all that was sent is delivered or given up, and gives what went wrong. Nobody holds their inboxes any
    /// more.
    pub fn finish(self, around: &Surroundings) -> Vec<String> {
        drop(self.inboxes);
        let mut given_up = None;
        while !self.threads.iter().all(|(_, thread)| thread.is_finished()) {
            if around.give_up.load(Ordering::SeqCst) {
                let since: &mut Instant = given_up.get_or_insert_with(Instant::now);
                if since.elapsed() > UNDER_WAY {
                    break;
                }
            }
            std::thread::sleep(LOOK);
        }
        let (ended, hanging): (Vec<Thread>, Vec<Thread>) =
            self.threads.into_iter().partition(|(_, thread)| thread.is_finished());
        for (name, _) in hanging {
            // It ends with the process; whatever came of it, the next start delivers it again.
            around
                .terminal
                .news(&format!("sink {name} doesn't answer: the next start delivers the rest"));
        }
        let problem = |(_, thread): Thread| match thread.join() {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("a sink panicked".to_owned()),
        };
        ended.into_iter().filter_map(problem).collect()
    }
}

/// Opens the embedded store, when something is kept there.
fn embedded(output: &OutputSettings, around: &Surroundings) -> Result<Option<Sqlite>, SinkError> {
    let open = |settings: &SqliteSettings| {
        let terminal = around.terminal.clone();
        Sqlite::open(settings.clone(), Arc::new(move |line: &str| terminal.news(line)))
    };
    output.embedded.as_ref().map(open).transpose()
}

/// Says that a sink has failed when its thread ends in any way but well: by an error or a panic.
struct EndsBadly(Arc<AtomicBool>);

impl EndsBadly {
    fn well(self) {
        std::mem::forget(self);
    }
}

impl Drop for EndsBadly {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn told(around: &Surroundings, stats: &Arc<SinkStats>) -> impl Fn(&SinkEvent<'_>) + Send + use<> {
    let (around, stats) = (around.clone(), stats.clone());
    let is_away = AtomicBool::new(false);
    move |event| {
        let failed = matches!(event, SinkEvent::Failed { .. });
        match (is_away.swap(failed, Ordering::SeqCst), failed) {
            (false, true) => around.outages.fetch_add(1, Ordering::SeqCst),
            (true, false) => around.outages.fetch_sub(1, Ordering::SeqCst),
            _ => 0,
        };
        if failed {
            stats.retried();
        }
        if event.is_news() {
            around.terminal.news(&event.to_string());
        }
    }
}
