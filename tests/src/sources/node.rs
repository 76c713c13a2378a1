//! A Kafka node of a test's own, which can be killed and started again on the same log.

use crate::sinks::component;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a node may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// How long one attempt to reach it takes.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);
/// Any name of a cluster, as Kafka writes it.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// A node, broker and controller in one; it is killed in the end.
pub struct Node {
    /// Its address.
    pub brokers: String,
    /// Another port of it, for a way of which [`Node::start_behind`] was told.
    pub inner: u16,
    folder: TempDir,
    running: Option<Child>,
}

impl Node {
    /// Formats a log and starts a node on it.
    ///
    /// # Panics
    /// When it doesn't come up.
    pub fn start() -> Node {
        Node::start_behind(|inner| format!("127.0.0.1:{inner}"))
    }

    /// The same; who comes to its port `inner` is told to come by the way that leads there.
    ///
    /// # Panics
    /// When it doesn't come up.
    pub fn start_behind(way: impl FnOnce(u16) -> String) -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        let [port, controller, inner] = free_ports();
        let way = way(inner);
        let data = folder.path().join("data");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},INNER://127.0.0.1:{inner}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port},INNER://{way}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,INNER:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\n\
             log.dirs={}\noffsets.topic.replication.factor=1\ngroup.initial.rebalance.delay.ms=0\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n",
            data.display()
        );
        std::fs::write(folder.path().join("server.properties"), text).expect("written");
        let mut node = Node {
            brokers: format!("127.0.0.1:{port}"),
            inner,
            folder,
            running: None,
        };
        let mut format = node.java("kafka.tools.StorageTool");
        format
            .args(["format", "-t", CLUSTER_ID, "-c"])
            .arg(node.configuration());
        assert!(format.status().expect("java runs").success(), "the log is formatted");
        node.resume();
        node
    }

    /// Kills it, as `kill -9` does.
    ///
    /// # Panics
    /// When it doesn't run.
    pub fn kill(&mut self) {
        let mut child = self.running.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("waited for");
    }

    /// Starts it again and waits until it answers.
    ///
    /// # Panics
    /// When it doesn't.
    pub fn resume(&mut self) {
        let mut server = self.java("kafka.Kafka");
        self.running = Some(server.arg(self.configuration()).spawn().expect("java runs"));
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()
            .expect("a client");
        let begun = Instant::now();
        while client
            .fetch_metadata(None, ATTEMPT_TIMEOUT)
            .map_or(true, |metadata| metadata.brokers().is_empty())
        {
            assert!(
                begun.elapsed() < START_TIMEOUT,
                "the node at {} is not up",
                self.brokers
            );
        }
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command
            .args(["-Xmx512m", "-cp", &component("TIDEWATCH_TEST_KAFKA_CLASSPATH"), class])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
    }
}

fn free_ports() -> [u16; 3] {
    // All are held until all are known.
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    held.map(|listener| listener.local_addr().expect("an address").port())
}
