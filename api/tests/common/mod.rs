//! A server on a free port with rows in memory, and a client that writes requests by hand.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::NamedTempFile;
use tidewatch_api::{
    Anomalies, AnomalyReader, ApiConfig, BoundServer, BuildInfo, Catalogue, DeviceReader, Handles, Kept, LetterReader,
    Letters, LiveFeed, MemoryReader, Places, ReadError, ReadErrorKind, Readiness, ReplayRefusal, RunInfo, SeriesReader,
    SinkStats, Tap, listen, serve,
};
use tidewatch_dataflow::live::Listener;
use tidewatch_dataflow::stats::Stats;
use tidewatch_dataflow::{Live, Watch};
use tidewatch_proto::anomaly::{Anomaly, AnomalyStatus, Evidence, Field, Observation, Severity};
use tidewatch_proto::ids::{Epoch, Name, Offset};
use tidewatch_proto::metric::Metadata;
use tidewatch_proto::query::{AnomalyQuery, DeviceQuery, DeviceSummary, Letter, LetterQuery, Replay, SeriesQuery};
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::row::{Job, Quantiles, Row, Status, Values};
use tidewatch_proto::time::EventTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

pub(crate) const VIEWER: &str = "viewer-0123456789";
pub(crate) const OPERATOR: &str = "operator-0123456789";
pub(crate) const ADMIN: &str = "admin-0123456789";
/// 2023-11-14T22:00:00Z.
const START: i64 = 1_699_999_200_000;

/// Rows in memory, and devices that fail in each way.
struct Fake(MemoryReader);

impl SeriesReader for Fake {
    fn series(&self, query: SeriesQuery) -> Result<Option<Vec<Row>>, ReadError> {
        match &*query.key {
            "busy" => Err(ReadError::new(ReadErrorKind::Busy, "the pool is empty")),
            "away" => Err(ReadError::new(ReadErrorKind::Unavailable, "the store").with_source("secret-host:5432")),
            "broken" => Err(ReadError::new(ReadErrorKind::Failed, "a row can't be decoded")),
            "panics" => panic!("on purpose"),
            "slow" => {
                std::thread::sleep(Duration::from_secs(4));
                Ok(None)
            }
            _ => self.0.series(query),
        }
    }

    fn as_of(&self) -> Option<Epoch> {
        Some(Epoch(7000))
    }
}

impl DeviceReader for Fake {
    fn devices(&self, query: &DeviceQuery) -> Result<Vec<DeviceSummary>, ReadError> {
        match &*query.search {
            "away" => Err(ReadError::new(ReadErrorKind::Unavailable, "the store")),
            _ => self.0.devices(query),
        }
    }
}

/// That a letter was replayed.
const REPLAY: Replay = Replay {
    id: 7,
    at_ms: START + 1,
    from: Offset(90),
    offset: Some(Offset(99)),
};

/// Three dead letters.
struct ThreeLetters;

impl LetterReader for ThreeLetters {
    fn letters(&self, query: &LetterQuery) -> Result<Vec<Letter>, ReadError> {
        let letter = |number: u64| Letter {
            number,
            partition: "raw.events/0".to_owned(),
            offset: Offset(10 * number as i64),
            log_time_ms: (number > 1).then_some(START),
            reason: [Reason::Schema, Reason::Future][number as usize % 2],
            detail: format!("letter {number} is wrong"),
            key: (number > 1).then(|| b"dev-1".to_vec()),
            payload: vec![number as u8; 600 * number as usize],
            replay: (number == 2).then_some(REPLAY),
        };
        let asked = |letter: &Letter| {
            let is_before = query.before.is_none_or(|before| letter.number < before);
            is_before && query.reason.is_none_or(|reason| letter.reason == reason)
        };
        Ok((1..4).rev().map(letter).filter(asked).take(query.limit).collect())
    }

    fn replay(&self, number: u64, force: bool) -> Result<(String, Replay), ReplayRefusal> {
        let error = |kind| ReadError::new(kind, "secret-host:9092");
        let done = || ("raw.events/0".to_owned(), REPLAY);
        match number {
            1 => Ok(done()),
            2 if force => Ok(done()),
            2 => Err(ReplayRefusal::Done(done().0, done().1)),
            3 => Err(ReplayRefusal::NoLog("the source is no log".to_owned())),
            4 => Err(ReplayRefusal::Refused(error(ReadErrorKind::Failed))),
            5 => Err(ReplayRefusal::Lost),
            6 => Err(ReplayRefusal::Failed(error(ReadErrorKind::Unavailable))),
            _ => Err(ReplayRefusal::Unknown),
        }
    }
}

impl AnomalyReader for Fake {
    fn anomalies(&self, query: &AnomalyQuery) -> Result<Vec<Anomaly>, ReadError> {
        match query.device.as_deref() {
            Some("away") => Err(ReadError::new(ReadErrorKind::Unavailable, "the store")),
            _ => self.0.anomalies(query),
        }
    }

    fn raised(&self) -> Result<u64, ReadError> {
        self.0.raised()
    }
}

/// One that goes on, and began so many minutes after the first.
pub(crate) fn anomaly(rule: &str, device: &str, metric: &str, minute: i64) -> Anomaly {
    let at = EventTime(START + minute * 60_000);
    Anomaly {
        rule: rule.into(),
        detector: "threshold".into(),
        severity: Severity::Warning,
        device: device.into(),
        metric: metric.into(),
        started_at: at,
        ended_at: None,
        status: AnomalyStatus::Raised,
        evidence: Evidence::Threshold {
            of: Field::Mean,
            low: None,
            high: Some(38.0),
            first: Observation { at, value: 38.5 },
            worst: Observation { at, value: 41.25 },
        },
        revision: Epoch(6000),
    }
}

/// Some of each kind; three began at the same instant.
fn found() -> Vec<Anomaly> {
    let ended = |anomaly: Anomaly, minutes: i64| Anomaly {
        ended_at: Some(EventTime(anomaly.started_at.0 + minutes * 60_000)),
        status: AnomalyStatus::Cleared,
        ..anomaly
    };
    let silent = Anomaly {
        detector: "dead_man".into(),
        severity: Severity::Critical,
        evidence: Evidence::DeadMan { minutes: 10 },
        ..anomaly("silent", "a/b ü", "", 3)
    };
    vec![
        anomaly("hot", "dev-1", "temp", 3),
        anomaly("hot", "dev-2", "temp", 3),
        silent,
        ended(anomaly("hot", "dev-1", "temp", 0), 2),
        Anomaly {
            severity: Severity::Info,
            ..ended(anomaly("warm", "dev-1", "temp", 0), 5)
        },
        Anomaly {
            status: AnomalyStatus::Withdrawn,
            ..anomaly("hot", "dev-1", "load", 1)
        },
    ]
}

/// Hands the workers' end of what is listened to to the test.
#[derive(Default)]
pub(crate) struct Feed(pub(crate) Mutex<Vec<Listener>>);

impl LiveFeed for Feed {
    fn watch(&self, watch: Watch) -> Live {
        let (listener, live) = Listener::pair(watch);
        self.0.lock().expect("not poisoned").push(listener);
        live
    }
}

struct NotReady(Vec<String>);

impl Readiness for NotReady {
    fn not_ready(&self) -> Vec<String> {
        self.0.clone()
    }
}

pub(crate) fn row(job: Job, key: &str, metric: &str, start: i64, length: i64, status: Status) -> Row {
    let of_series = job.is_per_series().then_some(20.25);
    Row {
        job,
        key: Name::from(key),
        metric: Name::from(metric),
        window_start: EventTime(start),
        window_end: EventTime(start + length),
        values: Values {
            count: 3,
            invalid_count: 1,
            devices: if job.is_per_series() { 1 } else { 3 },
            sum: 61.5,
            min: Some(20.25),
            max: Some(21.0),
            first: of_series,
            last: of_series,
            mean: Some(20.5),
            stddev: of_series.map(|_| 0.5),
            quantiles: of_series.map(|p50| Quantiles {
                p50,
                p95: 21.0,
                p99: 21.0,
            }),
        },
        status,
        revision: Epoch(6000),
    }
}

fn rows() -> Vec<Row> {
    const MINUTE: i64 = 60_000;
    let mut rows = Vec::new();
    for n in 0..4 {
        let status = [Status::Final, Status::Corrected, Status::Final, Status::Live][n as usize];
        rows.push(row(Job::Minute, "dev-1", "temp", START + n * MINUTE, MINUTE, status));
    }
    rows.push(row(Job::FiveMinutes, "dev-1", "temp", START, 5 * MINUTE, Status::Final));
    rows.push(row(Job::Hour, "dev-1", "temp", START, 60 * MINUTE, Status::Live));
    rows.push(row(Job::Minute, "a/b ü", "100%", START, MINUTE, Status::Final));
    rows.push(row(Job::SiteMinute, "north", "temp", START, MINUTE, Status::Final));
    rows.push(row(Job::FleetMinute, "all", "temp", START, MINUTE, Status::Final));
    let mut empty = row(Job::Minute, "silent", "temp", START, MINUTE, Status::Final);
    empty.values = Values {
        invalid_count: 2,
        devices: 1,
        ..Values::default()
    };
    rows.push(empty);
    rows
}

fn catalogue() -> Catalogue {
    let temperature = Metadata {
        name: Some("Temperature".into()),
        unit: Some("°C".into()),
        min: Some(-40.0),
        max: Some(85.5),
        description: None,
    };
    let share = Metadata {
        min: Some(0.0),
        ..Metadata::default()
    };
    Catalogue::new([("temp".into(), temperature), ("a/b 100%".into(), share)].into())
}

/// Where two of the devices belong, and one that has never sent anything.
fn places() -> Places {
    let places = Places::default();
    let placement = |device: &str, site: &str| Placement {
        device: device.into(),
        site: site.into(),
        fleet: "all".into(),
        from: EventTime(0),
        to: None,
    };
    places.change(&RegistryChange {
        removed: Vec::new(),
        added: vec![
            placement("dev-1", "north"),
            placement("dev-2", "north"),
            placement("silent", "south"),
        ],
    });
    places
}

/// A server, and what it said to the log.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) events: Arc<Mutex<Vec<String>>>,
    pub(crate) token_file: NamedTempFile,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) bound: BoundServer,
    pub(crate) feed: Arc<Feed>,
    pub(crate) tap: Arc<Tap>,
    pub(crate) stats: Arc<Stats>,
}

/// A file with a token of each role.
pub(crate) fn token_file() -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    writeln!(file, "# tokens\nviewer {VIEWER}\noperator {OPERATOR}\nadmin {ADMIN}").expect("written");
    file
}

pub(crate) fn handles(not_ready: &[&str], events: Arc<Mutex<Vec<String>>>) -> Handles {
    Handles {
        stats: Arc::new(Stats::new(2)),
        partition_names: vec!["raw.events/0".to_owned(), "raw.events/1".to_owned()],
        sinks: vec![Arc::new(SinkStats::new("memory"))],
        kept: Arc::new(Kept::default),
        series: Arc::new(Fake(MemoryReader::new(rows()))),
        devices: Arc::new(Fake(MemoryReader::new(rows()))),
        calendar: Arc::default(),
        catalogue: Arc::new(catalogue()),
        places: Arc::new(places()),
        letters: Letters::Here(Arc::new(ThreeLetters)),
        anomalies: Anomalies::Here(Arc::new(Fake({
            let reader = MemoryReader::default();
            found().into_iter().for_each(|one| reader.found(one));
            reader
        }))),
        live: Arc::new(Feed::default()),
        tap: Arc::default(),
        run: RunInfo {
            started_ms: START,
            generation: 3,
            process: 0,
            processes: 1,
            threads: 2,
        },
        readiness: Arc::new(NotReady(not_ready.iter().map(|reason| reason.to_string()).collect())),
        build: BuildInfo {
            version: "0.1.0".to_owned(),
            revision: "abc".to_owned(),
        },
        events: Arc::new(move |event| events.lock().expect("not poisoned").push(event.to_string())),
    }
}

/// Starts a server of one of the kinds that tables name, with this configuration otherwise.
pub(crate) async fn start(kind: &str, config: ApiConfig) -> Server {
    let events = Arc::new(Mutex::new(Vec::new()));
    let token_file = token_file();
    let mut config = ApiConfig {
        listen: "127.0.0.1:0".to_owned(),
        ..config
    };
    let mut not_ready: &[&str] = &[];
    match kind {
        "open" => {}
        "tokens" => config.token_file = Some(token_file.path().to_owned()),
        "named" => {
            config.public_hosts = vec!["tw.example".to_owned()];
            config.allowed_origins = vec!["https://dash.example".to_owned()];
        }
        "elsewhere" => {}
        "not_ready" => not_ready = &["the engine restores its state", "sink timescale is away"],
        other => panic!("there is no kind of server called {other}"),
    }
    let settings = config.resolve(false).expect("the configuration is good");
    let (stop, stopped) = watch::channel(false);
    let port = listen(&settings).await.expect("a free port");
    let feed = Arc::new(Feed::default());
    let mut handles = handles(not_ready, events.clone());
    handles.live = feed.clone();
    if kind == "elsewhere" {
        handles.letters = Letters::Elsewhere("dead letters go to the topic raw.events.dead of Kafka".to_owned());
        handles.anomalies = Anomalies::Elsewhere("no rule looks for anomalies".to_owned());
    }
    let (tap, stats) = (handles.tap.clone(), handles.stats.clone());
    let bound = serve(port, settings, handles, stopped);
    Server {
        feed,
        tap,
        stats,
        address: bound.local_addr(),
        events,
        token_file,
        stop,
        bound,
    }
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Sends bytes as they are, and reads until the server closes.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Sends a request, asking to close afterwards, and takes the answer apart.
pub(crate) async fn ask(address: SocketAddr, method: &str, target: &str, headers: &[String]) -> Answer {
    let mut request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    request.push_str("\r\n");
    parse(&exchange(address, request.as_bytes()).await.expect("an answer"))
}

pub(crate) async fn get(address: SocketAddr, target: &str) -> Answer {
    ask(address, "GET", target, &[format!("Host: {address}")]).await
}

pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let headers = lines.map(|line| line.split_once(": ").expect("a header"));
    Answer {
        status: status.parse().expect("a number"),
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}
