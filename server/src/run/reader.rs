//! Answers the API's questions: published rows and devices from the store, open windows from the engine of the process
//! that has them.

use super::talk::Talk;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidewatch_api::{AnomalyReader, DeviceReader, LiveFeed, ReadError, ReadErrorKind, SeriesReader};
use tidewatch_dataflow::{Handle, Live, Watch};
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::{Epoch, KeyGroup, Name};
use tidewatch_proto::query::{AnomalyQuery, DeviceQuery, DeviceSummary, Order, SeriesQuery};
use tidewatch_proto::row::Row;
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN, EventTime};
use tidewatch_sinks::hot::{AnomalyStore, HotStore};
use tidewatch_sinks::{ErrorKind, SinkError};

/// How long the engine, or the process that has it, may take to show a series' open windows.
pub const PEEK_WAIT: Duration = Duration::from_millis(500);

/// Reads series.
pub struct Reader {
    /// Where published rows are.
    pub store: Arc<dyn HotStore>,
    /// The engine of this process.
    pub engine: Handle,
    /// The other processes.
    pub talk: Talk,
    /// The last epoch that was completed.
    pub as_of: Arc<AtomicU64>,
}

impl SeriesReader for Reader {
    fn series(&self, query: SeriesQuery) -> Result<Option<Vec<Row>>, ReadError> {
        let mut rows = self.store.series(&query).map_err(read_error)?;
        let open = match query.job.is_per_series() {
            true => self.open_windows(&query.key, &query.metric),
            false => Ok(Vec::new()),
        };
        // What is published is answered all the same.
        let (open, unanswered) = match open {
            Ok(open) => (open, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let live: Vec<Row> = open.into_iter().filter(|row| row.job == query.job).collect();
        if rows.is_empty() && live.is_empty() {
            let any = SeriesQuery {
                from: EVENT_TIME_MIN,
                to: EventTime(EVENT_TIME_MAX.0 + 1),
                limit: 1,
                order: Order::NewestFirst,
                ..query
            };
            let known = self.store.series(&any).map_err(read_error)?;
            return match unanswered {
                // Nobody can say whether there is such a series.
                Some(error) if known.is_empty() => Err(error),
                _ => Ok((!known.is_empty()).then(Vec::new)),
            };
        }
        for row in live {
            let asked = row.window_start >= query.from && row.window_start < query.to;
            if asked && !rows.iter().any(|stored| stored.window_start == row.window_start) {
                rows.push(row);
            }
        }
        rows.sort_by_key(|row| row.window_start);
        let beyond = rows.len().saturating_sub(query.limit);
        match query.order {
            Order::NewestFirst => drop(rows.drain(..beyond)),
            Order::OldestFirst => rows.truncate(query.limit),
        }
        Ok(Some(rows))
    }

    fn as_of(&self) -> Option<Epoch> {
        Some(Epoch(self.as_of.load(Ordering::Relaxed)))
    }
}

impl DeviceReader for Reader {
    fn devices(&self, query: &DeviceQuery) -> Result<Vec<DeviceSummary>, ReadError> {
        self.store.devices(query).map_err(read_error)
    }
}

/// Reads anomalies where they are stored.
pub struct Found(pub Arc<dyn AnomalyStore>);

impl AnomalyReader for Found {
    fn anomalies(&self, query: &AnomalyQuery) -> Result<Vec<Anomaly>, ReadError> {
        self.0.anomalies(query).map_err(read_error)
    }

    fn raised(&self) -> Result<u64, ReadError> {
        self.0.raised().map_err(read_error)
    }
}

/// The open windows of this process's engine.
pub struct Open(pub Handle);

impl LiveFeed for Open {
    fn watch(&self, watch: Watch) -> Live {
        self.0.watch(watch)
    }
}

impl Reader {
    /// The open windows of a series, from the process whose worker owns the device.
    fn open_windows(&self, device: &Name, metric: &Name) -> Result<Vec<Row>, ReadError> {
        let member = self.talk.member;
        let owner = member.owner(KeyGroup::of(device.as_bytes()));
        if owner == member.index {
            return Ok(self.engine.peek(device, metric, PEEK_WAIT).unwrap_or_default());
        }
        self.talk.peek(owner, device, metric, PEEK_WAIT).ok_or_else(|| {
            let problem = format!("process {owner} of the cluster doesn't answer which windows of the series are open");
            ReadError::new(ReadErrorKind::Unavailable, problem)
        })
    }
}

/// A store's error, as the API has it.
pub fn read_error(error: SinkError) -> ReadError {
    let kind = if error.kind == ErrorKind::Retry {
        ReadErrorKind::Unavailable
    } else {
        ReadErrorKind::Failed
    };
    ReadError::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::clock::SystemClock;
    use crate::run::log::Terminal;
    use crate::run::team::Team;
    use std::net::TcpListener;
    use tidewatch_cluster::Place;
    use tidewatch_dataflow::Engine;
    use tidewatch_dataflow::config::EngineConfig;
    use tidewatch_proto::row::{Job, Status, Values};
    use tidewatch_sources::memory::MemoryFactory;

    /// Some rows.
    struct Store(Vec<Row>);

    impl HotStore for Store {
        fn series(&self, query: &SeriesQuery) -> Result<Vec<Row>, SinkError> {
            let asked = |row: &&Row| row.key == query.key && row.metric == query.metric;
            Ok(self.0.iter().filter(asked).cloned().collect())
        }

        fn devices(&self, _: &DeviceQuery) -> Result<Vec<DeviceSummary>, SinkError> {
            Ok(Vec::new())
        }
    }

    /// Two processes that have joined.
    async fn two() -> (Team, Team) {
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let addresses = ports.map(|port| port.local_addr().expect("bound").to_string());
        let place = |index| Place {
            index,
            addresses: addresses.to_vec(),
            cluster: "tests".into(),
            secret: b"a secret of the tests".to_vec(),
            agreement: 1,
            tls: None,
        };
        let terminal = Terminal::default();
        let first = Team::join(Some(place(0)), 1, &terminal);
        let second = Team::join(Some(place(1)), 1, &terminal);
        let (first, second) = tokio::join!(first, second);
        (first.expect("joined"), second.expect("joined"))
    }

    fn row(device: &str) -> Row {
        Row {
            job: Job::Minute,
            key: device.into(),
            metric: "a".into(),
            window_start: EventTime(60_000),
            window_end: EventTime(120_000),
            values: Values::default(),
            status: Status::Final,
            revision: Epoch(1),
        }
    }

    fn query(device: &str) -> SeriesQuery {
        SeriesQuery {
            job: Job::Minute,
            key: device.into(),
            metric: "a".into(),
            from: EventTime(0),
            to: EventTime(600_000),
            limit: 10,
            order: Order::NewestFirst,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn published_rows_are_answered_when_another_process_is_silent() {
        // The second one is there, but doesn't listen to what it is asked.
        let (first, _second) = two().await;
        let member = first.talk.member;
        let names = (0..).map(|number| format!("device-{number}"));
        let mut theirs = names.filter(|name| member.owner(KeyGroup::of(name.as_bytes())) == 1);
        let (known, unknown) = (theirs.next().expect("one"), theirs.next().expect("another"));
        let source = Arc::new(MemoryFactory::open_ended(vec![Vec::new()]));
        let clock = Arc::new(SystemClock::starting_at(Epoch(1)));
        let (engine, _captured) = Engine::start(EngineConfig::default(), source, clock, None);
        let reader = Reader {
            store: Arc::new(Store(vec![row(&known)])),
            engine: engine.handle(),
            talk: first.talk.clone(),
            as_of: Arc::default(),
        };
        let (published, missing) = tokio::task::block_in_place(|| {
            let answers = (reader.series(query(&known)), reader.series(query(&unknown)));
            engine.handle().stop();
            engine.join();
            answers
        });
        assert_eq!(published.expect("answered"), Some(vec![row(&known)]));
        let problem = missing.expect_err("nobody can say");
        assert_eq!(problem.kind(), ReadErrorKind::Unavailable);
        assert!(problem.to_string().contains("process 1"), "{problem}");
    }
}
