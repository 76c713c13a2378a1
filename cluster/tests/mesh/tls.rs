//! The same with certificates: nothing can be read on the way, and only who has a good one is let in.

use crate::certificates::{Authority, HOST};
use crate::{PATIENCE, Said, all, goes, joined, knock, places, sends};
use rcgen::{CertificateParams, date_time_ymd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidewatch_cluster::{ClusterError, Incoming, Mesh, Place, Tls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long a stranger tries: several times.
const TRIES: Duration = Duration::from_secs(1);

fn encrypted(count: usize) -> Vec<Place> {
    let authority = Authority::new();
    let mut places = places(count);
    places.iter_mut().for_each(|place| place.tls = Some(authority.tls()));
    places
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_arrives_at_the_right_one() {
    sends(encrypted(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_without_a_word_is_lost_and_who_says_good_bye_is_not() {
    goes(encrypted(3)).await;
}

/// Passes on what it reads, and keeps it.
async fn tap(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, seen: Arc<Mutex<Vec<u8>>>) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        seen.lock().expect("not poisoned").extend(&bytes[..length]);
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
    // The other end may have gone.
    let _ = to.shutdown().await;
}

/// All that can be seen on the way between two processes, from the first byte until a message has come each way.
async fn seen_on_the_way(mut places: Vec<Place>) -> Vec<u8> {
    const WORDS: &[u8] = b"words that nobody else may read";
    let way = TcpListener::bind((HOST, 0)).await.expect("a port");
    let goal = places[0].addresses[0].clone();
    places[1].addresses[0] = way.local_addr().expect("bound").to_string();
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let seeing = seen.clone();
    tokio::spawn(async move {
        loop {
            let (near, _) = way.accept().await.expect("it listens");
            // It is tried again when the first one doesn't listen yet.
            let Ok(far) = TcpStream::connect(&goal).await else {
                continue;
            };
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            tokio::spawn(tap(near_read, far_write, seeing.clone()));
            tokio::spawn(tap(far_read, near_write, seeing.clone()));
        }
    });
    let mut meshes = all(places).await;
    for (from, to) in [(0, 1), (1, 0)] {
        meshes[from].links.send(to, WORDS.to_vec());
        let heard = meshes[to].incoming.recv().await;
        let bytes = WORDS.to_vec();
        assert_eq!(heard, Some(Incoming::Message { from, bytes }));
    }
    let seen = seen.lock().expect("not poisoned").clone();
    assert!(seen.len() > 2 * WORDS.len(), "it all came this way");
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_can_be_read_on_the_way() {
    let found = |seen: &[u8], words: &[u8]| seen.windows(words.len()).filter(|part| *part == words).count();
    let clear = seen_on_the_way(places(2)).await;
    assert_eq!((found(&clear, b"TWCLUST1"), found(&clear, b"nobody else")), (2, 2));
    let seen = seen_on_the_way(encrypted(2)).await;
    assert_eq!((found(&seen, b"TWCLUST1"), found(&seen, b"nobody else")), (0, 0));
}

fn expired(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
}

fn not_yet_valid(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(4020, 1, 1), date_time_ymd(4021, 1, 1));
}

/// Tries to join, over and over, and is refused with these words, which are said once.
async fn is_refused(stranger: Place, said: &Said, words: &str) {
    let begun = Instant::now();
    while said.count(words) == 0 {
        assert!(begun.elapsed() < PATIENCE, "`{words}` is not in {said:?}");
        let refused = joined(stranger.clone(), TRIES).await;
        assert!(matches!(&refused, Err(ClusterError::Alone { .. })), "it is not let in");
    }
    said.is_said_once(words);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_said_once_and_harm_nothing() {
    let authority = Authority::new();
    let with = |change: fn(&mut CertificateParams)| authority.files(HOST, change).read().expect("good files");
    let mut places = places(2);
    places[0].tls = Some(authority.tls());
    let good = Place {
        tls: Some(authority.tls()),
        ..places.remove(1)
    };
    let address = good.addresses[0].clone();
    let said = Said::default();
    let first = tokio::spawn(said.clone().join(places.remove(0), PATIENCE));
    let garbage: [&[u8]; 3] = [b"GET / HTTP/1.1\r\n\r\n", &[0xff; 4096], &[22, 3, 1, 0, 2, 9, 9]];
    let knocking = tokio::task::spawn_blocking(move || knock(&address, &garbage));
    knocking.await.expect("no panic");
    let by_another = Authority::new().files(HOST, |_| {});
    by_another.write("ca.pem", &authority.pem());
    let strangers: [(Option<Tls>, &str); 4] = [
        (None, "it speaks something else than TLS"),
        (
            Some(by_another.read().expect("good files")),
            "its certificate is by nobody in cluster.ca_file",
        ),
        (Some(with(expired)), "its certificate has expired"),
        (Some(with(not_yet_valid)), "its certificate is not valid yet"),
    ];
    for (tls, words) in strangers {
        is_refused(Place { tls, ..good.clone() }, &said, words).await;
    }
    // It says so itself: who is connected to proves itself first.
    let mut without_secret = good.clone();
    without_secret.secret[0] ^= 1;
    let heard = Said::default();
    let refused = heard.clone().join(without_secret, TRIES).await;
    assert!(refused.is_err(), "a certificate alone lets nobody in");
    heard.is_said_once("it doesn't know the cluster's secret");
    let second = joined(good, PATIENCE).await.expect("it is let in");
    first.await.expect("no panic").expect("it has waited for the right one");
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_silent_is_let_go() {
    let mut places = encrypted(2);
    let (second, first) = (places.pop().expect("two"), places.remove(0));
    let said = Said::default();
    let address = first.addresses[0].clone();
    let first = tokio::spawn(said.clone().join(first, PATIENCE));
    let mut silent = loop {
        match TcpStream::connect(&address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(silent.read(&mut [0]).await.expect("closed"), 0);
    let second = joined(second, PATIENCE).await.expect("it is let in");
    first.await.expect("no panic").expect("it has waited for the right one");
    said.is_said_once("it is silent");
    drop(second);
}

/// What the second process comes to, and says, when the first is like this.
async fn who_connects_to(first: Place, second: Place) -> (Said, Result<Mesh, ClusterError>) {
    let listening = tokio::spawn(joined(first, PATIENCE));
    let said = Said::default();
    let ended = said.clone().join(second, TRIES).await;
    listening.abort();
    (said, ended)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_certificate_of_the_one_that_listens_is_said() {
    let authority = Authority::new();
    let with = |host, change: fn(&mut CertificateParams)| authority.files(host, change).read().expect("good files");
    let listeners = [
        (
            Authority::new().tls(),
            "its certificate is by nobody in cluster.ca_file",
        ),
        (with(HOST, expired), "its certificate has expired"),
        (
            with("elsewhere.example", |_| {}),
            "its certificate is for another host than its address",
        ),
    ];
    for (tls, words) in listeners {
        let mut places = places(2);
        places[0].tls = Some(tls);
        places[1].tls = Some(authority.tls());
        let (second, first) = (places.pop().expect("two"), places.remove(0));
        let (said, ended) = who_connects_to(first, second).await;
        said.is_said_once(words);
        let problem = ended.err().expect("it doesn't join").to_string();
        assert!(problem.contains(words), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_checked_by_name_too() {
    let authority = Authority::new();
    let mut places = places(2);
    for place in &mut places {
        place.tls = Some(authority.files("localhost", |_| {}).read().expect("good files"));
    }
    let (first, second) = (places.remove(0), places.remove(0));
    let (said, ended) = who_connects_to(first.clone(), second.clone()).await;
    said.is_said_once("its certificate is for another host than its address");
    assert!(ended.is_err());
    let named = |mut place: Place| {
        for address in &mut place.addresses {
            *address = address.replace(HOST, "localhost");
        }
        place
    };
    all(vec![named(first), named(second)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_encrypts_is_no_harm_to_who_does_not() {
    let mut places = places(2);
    let (second, first) = (places.pop().expect("two"), places.remove(0));
    let said = Said::default();
    let first = tokio::spawn(said.clone().join(first, PATIENCE));
    let tls = Some(Authority::new().tls());
    let stranger = Place { tls, ..second.clone() };
    is_refused(stranger, &said, "it speaks TLS, and this process has no certificate").await;
    let second = joined(second, PATIENCE).await.expect("it is let in");
    first.await.expect("no panic").expect("it has waited for the right one");
    drop(second);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let other = Authority::new().files(HOST, |_| {});
    let text = |name| std::fs::read_to_string(other.path(name)).expect("read");
    let check = |name: &str, text: Option<&str>, expected: &str| {
        let files = authority.files(HOST, |_| {});
        match text {
            Some(text) => files.write(name, text),
            None => std::fs::remove_file(files.path(name)).expect("removed"),
        }
        let problem = files.read().err().expect("it can't be used").to_string();
        let file = files.path(name).display().to_string();
        assert!(problem.replace(&file, "FILE").starts_with(expected), "{problem}");
    };
    check("ca.pem", None, "cluster.ca_file: can't read FILE: No such file");
    check("cert.pem", None, "cluster.cert_file: can't read FILE: No such file");
    check("key.pem", None, "cluster.key_file: can't read FILE: No such file");
    check(
        "ca.pem",
        Some("hush\n"),
        "cluster.ca_file: FILE holds no certificate in PEM",
    );
    check(
        "cert.pem",
        Some(&text("key.pem")),
        "cluster.cert_file: FILE holds no certificate in PEM",
    );
    check(
        "key.pem",
        Some(&text("cert.pem")),
        "cluster.key_file: FILE holds no private key",
    );
    check(
        "key.pem",
        Some(&text("key.pem")),
        "cluster.key_file: FILE is not the key of the certificate in cluster.cert_file",
    );
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check("ca.pem", Some(garbage), "cluster.ca_file: FILE can't be used");
    check("cert.pem", Some(garbage), "cluster.cert_file: FILE can't be used");
    let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    check("cert.pem", Some(torn), "cluster.cert_file: FILE is no PEM");
}
