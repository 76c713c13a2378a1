//! Processes that join: messages and bytes arrive, strangers harm nothing, and whoever goes is missed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tidewatch_cluster::{ClusterError, Incoming, Mesh, Place, join};

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
    };
    (0..count).map(place).collect()
}

async fn all(places: Vec<Place>) -> Vec<Mesh> {
    let joining: Vec<_> = places
        .into_iter()
        .map(|place| tokio::spawn(join(place, PATIENCE)))
        .collect();
    let mut meshes = Vec::new();
    for joined in joining {
        meshes.push(joined.await.expect("no panic").expect("all are there"));
    }
    meshes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_arrives_at_the_right_one() {
    let mut meshes = all(places(3)).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_strangers_on_the_port_harm_nothing() {
    let mut places = places(2);
    let address = places[0].addresses[0].clone();
    let second = places.pop().expect("two");
    let first = tokio::spawn(join(places.remove(0), PATIENCE));
    let knocking = tokio::task::spawn_blocking(move || {
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"TWCLUST1", b""] {
            let mut stream = loop {
                match TcpStream::connect(&address) {
                    Ok(stream) => break stream,
                    Err(_) => std::thread::yield_now(),
                }
            };
            // It may have been refused already.
            let _ = stream.write_all(garbage);
        }
    });
    knocking.await.expect("no panic");
    let mut stranger = second.clone();
    stranger.secret[0] ^= 1;
    let refused = join(stranger, Duration::from_millis(500)).await;
    assert!(
        matches!(&refused, Err(ClusterError::Alone { .. })),
        "a stranger is not let in"
    );
    let second = join(second, PATIENCE).await.expect("it is let in");
    first.await.expect("no panic").expect("it has waited for the right one");
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_runs_with_other_settings_is_told() {
    let mut places = places(2);
    places[1].agreement = 2;
    let second = tokio::spawn(join(places.pop().expect("two"), PATIENCE));
    let first = join(places.pop().expect("one"), PATIENCE).await;
    assert!(matches!(first, Err(ClusterError::Disagreed { other: 1, .. })));
    let second = second.await.expect("no panic");
    assert!(matches!(second, Err(ClusterError::Disagreed { other: 0, .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_without_a_word_is_lost_and_who_says_good_bye_is_not() {
    let mut meshes = all(places(3)).await;
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
async fn who_never_comes_is_named() {
    let mut places = places(2);
    let missing = places[1].addresses[1].clone();
    let problem = join(places.remove(0), Duration::from_millis(100))
        .await
        .err()
        .expect("alone");
    assert!(problem.to_string().contains(&missing), "{problem}");
}
