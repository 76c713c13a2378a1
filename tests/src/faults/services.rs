//! The services that the program works with: those that all tests share, or some of a trial's own, which can be killed or
//! lie behind ways on which things go wrong.

use crate::proxies::Proxies;
use crate::sinks::component;
use crate::sinks::server::Server;
use crate::sources::Node;

/// A service that can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The only broker.
    Kafka,
    /// The database.
    Postgres,
}

/// Which services a trial has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those that all tests share.
    Shared,
    /// A broker and a database of its own.
    Own,
    /// A broker of its own, and ways to everything on which things can go wrong.
    Hindered,
}

/// Where services are reached.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The brokers.
    pub kafka: String,
    /// The database.
    pub postgres: String,
    /// The object store.
    pub s3: String,
}

/// The services of a trial.
pub struct Services {
    /// Where the harness reaches them.
    pub direct: Addresses,
    /// Where the program reaches them.
    pub program: Addresses,
    /// Ways on which things can go wrong.
    pub proxies: Option<Proxies>,
    node: Option<Node>,
    server: Option<Server>,
}

impl Services {
    /// Services that answer.
    ///
    /// # Panics
    /// When one doesn't.
    pub fn start(whose: Whose) -> Services {
        let proxies = (whose == Whose::Hindered).then(Proxies::start);
        let way = |name: &str, to: &str| proxies.as_ref().map(|proxies| proxies.way(name, to));
        let mut kafka_way = None;
        let behind = |inner: u16| {
            let to = format!("127.0.0.1:{inner}");
            kafka_way = way("kafka", &to);
            kafka_way.clone().unwrap_or(to)
        };
        let node = (whose != Whose::Shared).then(|| Node::start_behind(behind));
        let server = (whose == Whose::Own).then(Server::start);
        let direct = Addresses {
            kafka: node
                .as_ref()
                .map_or_else(|| component("TIDEWATCH_TEST_KAFKA"), |node| node.brokers.clone()),
            postgres: server
                .as_ref()
                .map_or_else(|| component("TIDEWATCH_TEST_POSTGRES"), |server| server.url.clone()),
            s3: component("TIDEWATCH_TEST_S3"),
        };
        let program = Addresses {
            kafka: kafka_way.unwrap_or_else(|| direct.kafka.clone()),
            postgres: redirected(&direct.postgres, |to| way("postgres", to)),
            s3: redirected(&direct.s3, |to| way("s3", to)),
        };
        Services {
            direct,
            program,
            proxies,
            node,
            server,
        }
    }

    /// Kills a service.
    ///
    /// # Panics
    /// When it is not the trial's own.
    pub fn kill(&mut self, service: Service) {
        match service {
            Service::Kafka => self.node.as_mut().expect("it is the trial's own").kill(),
            Service::Postgres => self.server.as_mut().expect("it is the trial's own").kill(),
        }
    }

    /// Starts it again, and waits until it answers.
    ///
    /// # Panics
    /// When it doesn't.
    pub fn resume(&mut self, service: Service) {
        match service {
            Service::Kafka => self.node.as_mut().expect("it is the trial's own").resume(),
            Service::Postgres => self.server.as_mut().expect("it is the trial's own").resume(),
        }
    }
}

/// A URL with another host and port, if there is a way to them.
fn redirected(url: &str, way: impl FnOnce(&str) -> Option<String>) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let from = url[after_scheme..]
        .find('@')
        .map_or(after_scheme, |at| after_scheme + at + 1);
    let to = url[from..].find('/').map_or(url.len(), |at| from + at);
    match way(&url[from..to]) {
        Some(begin) => format!("{}{begin}{}", &url[..from], &url[to..]),
        None => url.to_owned(),
    }
}
