//! Processes that join: messages and bytes arrive, strangers harm nothing, and whoever goes is missed.

mod certificates;
mod tls;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidewatch_cluster::{ClusterError, Incoming, Mesh, Place, join};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// Places of so many processes on free ports.
fn places(count: usize) -> Vec<Place> {
    let held: Vec<_> = (0..count)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"))
        .collect();
    let addresses: Vec<String> = held
        .iter()
        .map(|port| port.local_addr().expect("bound").to_string())
        .collect();
    let place = |index| Place {
        index,
        addresses: addresses.clone(),
        cluster: "tests".into(),
        secret: b"a secret of the tests".to_vec(),
        agreement: 1,
        tls: None,
    };
    (0..count).map(place).collect()
}

/// What a process has said while it joined.
#[derive(Clone, Debug, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    async fn join(self, place: Place, patience: Duration) -> Result<Mesh, ClusterError> {
        join(place, patience, |line| {
            self.0.lock().expect("not poisoned").push(line.to_owned());
        })
        .await
    }

    /// How many lines have these words.
    fn count(&self, words: &str) -> usize {
        let lines = self.0.lock().expect("not poisoned");
        lines.iter().filter(|line| line.contains(words)).count()
    }

    fn is_said_once(&self, words: &str) {
        assert_eq!(self.count(words), 1, "`{words}` in {self:?}");
    }
}

async fn joined(place: Place, patience: Duration) -> Result<Mesh, ClusterError> {
    Said::default().join(place, patience).await
}

async fn all(places: Vec<Place>) -> Vec<Mesh> {
    let joining: Vec<_> = places
        .into_iter()
        .map(|place| tokio::spawn(joined(place, PATIENCE)))
        .collect();
    let mut meshes = Vec::new();
    for joined in joining {
        meshes.push(joined.await.expect("no panic").expect("all are there"));
    }
    meshes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_arrives_at_the_right_one() {
    sends(places(3)).await;
}

async fn sends(places: Vec<Place>) {
    let mut meshes = all(places).await;
    meshes[0].links.send_to_all(b"to all");
    meshes[2].links.send(1, b"to one".to_vec());
    let mut heard = vec![
        meshes[1].incoming.recv().await.expect("open"),
        meshes[1].incoming.recv().await.expect("open"),
    ];
    heard.sort_by_key(|incoming| matches!(incoming, Incoming::Message { from: 2, .. }));
    let message = |from, bytes: &[u8]| Incoming::Message {
        from,
        bytes: bytes.to_vec(),
    };
    assert_eq!(heard, [message(0, b"to all"), message(2, b"to one")]);
    let data = vec![7_u8; 3 << 20];
    let mut from = meshes[1].sockets[0].take().expect("a socket");
    let mut to = meshes[0].sockets[1].take().expect("a socket");
    let sent = data.clone();
    let sending = std::thread::spawn(move || from.write_all(&sent).map(|()| from));
    let arrived = tokio::task::spawn_blocking(move || {
        let mut arrived = vec![0; sent_bytes()];
        to.read_exact(&mut arrived).expect("all of it");
        (arrived, to)
    });
    let (arrived, _to) = arrived.await.expect("no panic");
    assert_eq!(arrived, data);
    drop(sending.join().expect("no panic").expect("sent"));
}

const fn sent_bytes() -> usize {
    3 << 20
}

/// Says these things to an address, each on a connection of its own.
fn knock(address: &str, said: &[&[u8]]) {
    for garbage in said {
        let mut stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(_) => std::thread::yield_now(),
            }
        };
        // It may have been refused already.
        let _ = stream.write_all(garbage);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_strangers_on_the_port_harm_nothing() {
    let mut places = places(2);
    let address = places[0].addresses[0].clone();
    let second = places.pop().expect("two");
    let said = Said::default();
    let first = tokio::spawn(said.clone().join(places.remove(0), PATIENCE));
    let garbage: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", &[0xff; 4096], b"TWCLUST1", b""];
    let knocking = tokio::task::spawn_blocking(move || knock(&address, &garbage));
    knocking.await.expect("no panic");
    let mut stranger = second.clone();
    stranger.secret[0] ^= 1;
    let heard = Said::default();
    let refused = heard.clone().join(stranger, Duration::from_millis(500)).await;
    assert!(
        matches!(&refused, Err(ClusterError::Alone { .. })),
        "a stranger is not let in"
    );
    heard.is_said_once("it doesn't know the cluster's secret");
    let second = joined(second, PATIENCE).await.expect("it is let in");
    first.await.expect("no panic").expect("it has waited for the right one");
    said.is_said_once("it doesn't belong to this cluster");
    said.is_said_once("it has closed the connection");
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_runs_with_other_settings_is_told() {
    let mut places = places(2);
    places[1].agreement = 2;
    let second = tokio::spawn(joined(places.pop().expect("two"), PATIENCE));
    let first = joined(places.pop().expect("one"), PATIENCE).await;
    assert!(matches!(first, Err(ClusterError::Disagreed { other: 1, .. })));
    let second = second.await.expect("no panic");
    assert!(matches!(second, Err(ClusterError::Disagreed { other: 0, .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_without_a_word_is_lost_and_who_says_good_bye_is_not() {
    goes(places(3)).await;
}

async fn goes(places: Vec<Place>) {
    let mut meshes = all(places).await;
    // The dataflow of the third has not ended.
    drop(meshes.pop());
    let lost = meshes[0].incoming.recv().await.expect("open");
    assert!(matches!(lost, Incoming::Lost { from: 2, .. }), "{lost:?}");
    for (own, other) in [(0, 1), (1, 0)] {
        drop(meshes[own].sockets[other].take());
    }
    let mut second = meshes.pop().expect("two are left");
    let first = meshes.pop().expect("one is left");
    let lost = second.incoming.recv().await.expect("open");
    assert!(matches!(lost, Incoming::Lost { from: 2, .. }), "{lost:?}");
    let Mesh {
        links, mut incoming, ..
    } = first;
    links.say_bye();
    second.links.say_bye();
    assert_eq!(second.incoming.recv().await, None, "good-bye is no loss");
    assert_eq!(incoming.recv().await, None, "good-bye is no loss");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dataflow_is_the_last_to_see_that_another_is_lost() {
    let mut meshes = all(places(2)).await;
    let (mut gone, mut left) = (meshes.remove(0), meshes.remove(0));
    // Its dataflow has not ended: that end would be told on its own.
    let _dataflow = gone.sockets[1].take().expect("a socket");
    drop(gone);
    let told = timeout(PATIENCE, left.incoming.recv()).await.expect("in time");
    assert!(matches!(told, Some(Incoming::Lost { from: 0, .. })), "{told:?}");
    // It would panic if its socket closed; whoever is told ends the process.
    let socket = left.sockets[0].take().expect("a socket");
    socket.set_nonblocking(true).expect("set");
    let read = (&socket).read(&mut [0; 8]).map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::WouldBlock));
    assert_eq!((&socket).write(&[1]).map_err(|error| error.kind()), Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_comes_is_named() {
    let mut places = places(2);
    let missing = places[1].addresses[1].clone();
    let problem = joined(places.remove(0), Duration::from_millis(100))
        .await
        .err()
        .expect("alone");
    assert!(problem.to_string().contains(&missing), "{problem}");
}
