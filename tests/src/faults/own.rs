//! What a trial has for itself, and how the program is told of it.

use super::archive::Archive;
use super::run::Start;
use super::schedule::{Letters, Shape, StoreKind};
use super::services::Services;
use crate::s3::Bucket;
use crate::sinks::postgres::Database;
use crate::sinks::unique;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Where processes of a cluster listen: nothing else takes a port of it, since connections go out from 127.0.0.1.
const HOST: &str = "127.0.0.2";

/// What is looked for: each finds something in every workload, some of it only until late readings come.
const RULES: &str = r#"
[hot]
detector = "threshold"
metric = "temperature"
of = "mean"
above = 700.0
hysteresis = 300.0

[pressed]
detector = "threshold"
severity = "critical"
metric = "pressure"
of = "max"
above = 60000.0
for = "2m"

[silent]
detector = "dead_man"
for = "2m"
"#;

/// A group, topics, a schema and a place for checkpoints that nobody else uses.
pub struct Own {
    /// The consumer group.
    pub group: String,
    /// The topic of rows.
    pub rows: String,
    /// The topic of dead letters.
    pub letters: String,
    /// The schema, in a database that the harness reaches.
    pub database: Database,
    /// Where raw telemetry is archived.
    pub archive: Archive,
    /// Where checkpoints are kept when it is a folder.
    pub state: PathBuf,
    /// Where the embedded store is, when there is one.
    pub embedded: PathBuf,
    bucket: Option<Bucket>,
    secret: PathBuf,
    rules: PathBuf,
    store: StoreKind,
    letters_to: Letters,
    outbox_bytes: Option<u64>,
}

impl Own {
    /// New names; files go into a folder. The harness reaches the database at this URL.
    ///
    /// # Panics
    /// When a file can't be written.
    pub fn new(folder: &Path, database: &str, store: StoreKind, letters_to: Letters) -> Own {
        let secret = folder.join("secret");
        std::fs::write(&secret, unique("known-to-processes-of-one-cluster")).expect("written");
        let rules = folder.join("rules.toml");
        std::fs::write(&rules, RULES).expect("written");
        Own {
            group: unique("faults"),
            rows: unique("rows"),
            letters: unique("letters"),
            database: Database::new(database),
            archive: Archive::new(folder, store),
            state: folder.join("state"),
            embedded: folder.join("embedded"),
            bucket: (store == StoreKind::Bucket).then(Bucket::default),
            secret,
            rules,
            store,
            letters_to,
            outbox_bytes: None,
        }
    }

    /// The same, with a bound of what may wait for sinks.
    #[must_use]
    pub fn with_outbox_bytes(self, outbox_bytes: Option<u64>) -> Own {
        Own { outbox_bytes, ..self }
    }

    /// What the processes of a run are started with: those of a cluster where runs share the store.
    pub fn starts(&self, shape: Shape, topic: &str, services: &Services) -> Vec<Start> {
        let keys = self.keys(shape, topic, services);
        if self.store == StoreKind::Folder {
            return vec![Start::of(Vec::new(), keys)];
        }
        let addresses = free_addresses(shape.processes);
        let ways = ways_to(&addresses, services);
        let start = |index: usize| {
            let args = [
                "worker",
                "--process",
                &index.to_string(),
                "--of",
                &shape.processes.to_string(),
            ];
            let mut keys = keys.clone();
            // A process listens on its own address; to the others it may go by ways.
            let mut seen = ways.clone();
            seen[index].clone_from(&addresses[index]);
            keys.push(("CLUSTER__ADDRESSES", seen.join(",")));
            keys.push(("CLUSTER__SECRET_FILE", self.secret.display().to_string()));
            Start::of(args.map(str::to_owned).to_vec(), keys)
        };
        (0..shape.processes).map(start).collect()
    }

    fn keys(&self, shape: Shape, topic: &str, services: &Services) -> Vec<(&'static str, String)> {
        let mut keys = vec![
            ("SOURCE__KIND", "kafka".to_owned()),
            ("KAFKA__BROKERS", services.program.kafka.clone()),
            ("KAFKA__TOPIC", topic.to_owned()),
            ("KAFKA__GROUP_ID", self.group.clone()),
            ("KAFKA__START", "earliest".to_owned()),
            ("POSTGRES__URL", services.program.postgres.clone()),
            ("POSTGRES__SCHEMA", self.database.config.schema.clone()),
            // Some readings are months late.
            ("POSTGRES__MINUTE_RETENTION", "36500days".to_owned()),
            ("POSTGRES__FIVE_MINUTE_RETENTION", "36500days".to_owned()),
            ("POSTGRES__HOUR_RETENTION", "36500days".to_owned()),
            ("POSTGRES__ROLLUP_RETENTION", "36500days".to_owned()),
            ("OUTPUT__KAFKA__TOPIC", self.rows.clone()),
            ("OUTPUT__KAFKA__CREATE_TOPICS", "true".to_owned()),
            ("ENGINE__THREADS", shape.threads.to_string()),
            ("API__LISTEN", "127.0.0.1:0".to_owned()),
            ("RULES__FILE", self.rules.display().to_string()),
        ];
        keys.extend(match self.letters_to {
            Letters::Kafka => vec![
                ("DEAD_LETTER__KIND", "kafka".to_owned()),
                ("DEAD_LETTER__TOPIC", self.letters.clone()),
            ],
            Letters::Postgres => vec![("DEAD_LETTER__KIND", "postgres".to_owned())],
            Letters::Embedded => vec![
                ("OUTPUT__STORE", "embedded".to_owned()),
                ("EMBEDDED__FOLDER", self.embedded.display().to_string()),
                ("DEAD_LETTER__KIND", "embedded".to_owned()),
            ],
        });
        keys.extend(
            self.outbox_bytes
                .map(|bytes| ("ENGINE__OUTBOX_BYTES", bytes.to_string())),
        );
        keys.extend(self.archive.keys(&services.program.s3));
        match &self.bucket {
            Some(bucket) => keys.extend(bucket.variables_at(&services.program.s3)),
            None => keys.push(("STATE__FOLDER", self.state.display().to_string())),
        }
        keys
    }
}

/// What the ways to processes are called.
pub const WAY_TO_PROCESS: &str = "process-";

/// Where the ways to processes begin, where there are any; those to a run before are gone.
fn ways_to(addresses: &[String], services: &Services) -> Vec<String> {
    let Some(proxies) = &services.proxies else {
        return addresses.to_vec();
    };
    for name in proxies.names() {
        if name.starts_with(WAY_TO_PROCESS) {
            proxies.end(&name);
        }
    }
    let way = |(index, address): (usize, &String)| proxies.way(&format!("{WAY_TO_PROCESS}{index}"), address);
    addresses.iter().enumerate().map(way).collect()
}

impl Start {
    fn of(args: Vec<String>, keys: Vec<(&'static str, String)>) -> Start {
        Start {
            args,
            keys,
            orders: String::new(),
            faults: Vec::new(),
        }
    }
}

/// So many addresses that nobody uses.
///
/// # Panics
/// When there are no ports.
pub fn free_addresses(count: usize) -> Vec<String> {
    // All are held until all are known.
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((HOST, 0)).expect("a free port"))
        .collect();
    let address = |port: &TcpListener| port.local_addr().expect("bound").to_string();
    held.iter().map(address).collect()
}
