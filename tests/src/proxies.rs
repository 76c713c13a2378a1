//! Ways through toxiproxy, on which nothing moves, connections are reset or replies are lost.

use crate::sinks::component;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// The only thing that is wrong with a way at a time.
const TOXIC: &str = "wrong";

/// What is wrong with a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing moves; connections stay.
    Stall,
    /// Connections are reset.
    Reset,
    /// What is asked arrives, and the connection ends when the reply comes.
    LostReplies,
}

impl Wrong {
    /// All of it.
    pub const ALL: [Wrong; 3] = [Wrong::Stall, Wrong::Reset, Wrong::LostReplies];

    fn toxic(self) -> Value {
        let (kind, attributes) = match self {
            Wrong::Stall => ("bandwidth", json!({"rate": 0})),
            Wrong::Reset => ("reset_peer", json!({"timeout": 0})),
            Wrong::LostReplies => ("limit_data", json!({"bytes": 0})),
        };
        json!({"name": TOXIC, "type": kind, "stream": "downstream", "attributes": attributes})
    }
}

/// A running toxiproxy; it is killed in the end.
pub struct Proxies {
    api: String,
    child: Child,
    names: Mutex<Vec<String>>,
}

impl Proxies {
    /// Starts it.
    ///
    /// # Panics
    /// When it doesn't come up.
    pub fn start() -> Proxies {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr());
        let port = port.expect("a port").port();
        let mut command = Command::new(component("TIDEWATCH_TEST_TOXIPROXY"));
        command.args(["-host", "127.0.0.1", "-port", &port.to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let proxies = Proxies {
            api: format!("127.0.0.1:{port}"),
            child: command.spawn().expect("toxiproxy runs"),
            names: Mutex::default(),
        };
        let begun = Instant::now();
        while TcpStream::connect(&proxies.api).is_err() {
            assert!(begun.elapsed() < START_TIMEOUT, "toxiproxy is not up");
            std::thread::sleep(POLL);
        }
        proxies
    }

    /// A way to an address, with a name: where it begins.
    ///
    /// # Panics
    /// When there is one of this name.
    pub fn way(&self, name: &str, to: &str) -> String {
        let asked = json!({"name": name, "listen": "127.0.0.1:0", "upstream": to, "enabled": true});
        let made = self.ask("POST", "/proxies", &asked);
        self.names.lock().expect("not poisoned").push(name.to_owned());
        made["listen"].as_str().expect("an address").to_owned()
    }

    /// Ends a way.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn end(&self, name: &str) {
        self.ask("DELETE", &format!("/proxies/{name}"), &Value::Null);
        self.names.lock().expect("not poisoned").retain(|known| known != name);
    }

    /// The names of all ways.
    ///
    /// # Panics
    /// When a thread that made one has panicked.
    pub fn names(&self) -> Vec<String> {
        self.names.lock().expect("not poisoned").clone()
    }

    /// Something is wrong with a way for a time.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn hinder(&self, name: &str, wrong: Wrong, time: Duration) {
        self.ask("POST", &format!("/proxies/{name}/toxics"), &wrong.toxic());
        std::thread::sleep(time);
        self.ask("DELETE", &format!("/proxies/{name}/toxics/{TOXIC}"), &Value::Null);
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut stream = TcpStream::connect(&self.api).expect("toxiproxy runs");
        let (host, length) = (&self.api, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .expect("it is asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
        let (_, answer) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(answer).unwrap_or(Value::Null)
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
