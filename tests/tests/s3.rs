//! Checkpoints in a bucket: the store's contract, what is said of a bucket that can't be used, and a run that was
//! replaced.

use std::net::TcpListener;
use std::time::{Duration, Instant};
use tidewatch_checkpoints::{S3, S3Settings, Store, conformance};
use tidewatch_settings::Secret;
use tidewatch_tests::running::Running;
use tidewatch_tests::s3::Bucket;

#[test]
fn a_bucket_is_a_store() {
    let place = Bucket::default();
    conformance::check(&S3::open(&place.settings()).expect("it is there"));
}

#[test]
fn what_is_elsewhere_in_the_bucket_is_not_seen() {
    let place = Bucket::default();
    let settings = place.settings();
    let inner = S3Settings {
        prefix: format!("{}inner/", settings.prefix),
        ..settings.clone()
    };
    let (outer, inner) = (S3::open(&settings).expect("there"), S3::open(&inner).expect("there"));
    inner.put("a", b"inner").expect("put");
    assert_eq!(outer.list().expect("names"), [""; 0]);
    assert!(outer.put_new("a", b"outer").expect("put"));
    assert_eq!(inner.get("a").expect("there"), b"inner");
    for store in [&inner, &outer] {
        store.remove("a").expect("removed");
    }
}

#[test]
fn what_cannot_be_used_is_named_by_its_key() {
    let place = Bucket::default();
    let good = place.settings();
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "something else").expect("written");
    let wrong = Secret::read(secret.path(), "secret").expect("it was written");
    let (id, right) = good.access_key.clone().expect("it has one");
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("bound");
    let cases = [
        (
            "state.s3.bucket: there is no bucket no-such-bucket: ",
            S3Settings {
                bucket: "no-such-bucket".to_owned(),
                ..good.clone()
            },
        ),
        (
            "state.s3.secret_key_file: ",
            S3Settings {
                access_key: Some((id, wrong)),
                ..good.clone()
            },
        ),
        (
            "state.s3.access_key_id: ",
            S3Settings {
                access_key: Some(("nobody".to_owned(), right)),
                ..good.clone()
            },
        ),
        (
            "state.s3.endpoint: http://127.0.0.1:",
            S3Settings {
                endpoint: Some(format!("http://{nowhere}")),
                ..good
            },
        ),
    ];
    for (expected, settings) in cases {
        let problem = S3::open(&settings).expect_err("it can't be used").to_string();
        assert!(problem.starts_with(expected), "{problem}, not {expected}");
        assert!(!problem.contains('\n'), "{problem}");
    }
}

#[test]
fn a_store_that_does_not_answer_holds_nothing_up_for_ever() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = Bucket::default();
    let settings = S3Settings {
        endpoint: Some(format!("http://{}", silent.local_addr().expect("bound"))),
        ..place.settings()
    };
    let begun = Instant::now();
    let problem = S3::open(&settings).expect_err("no answer").to_string();
    assert!(problem.starts_with("state.s3.endpoint: "), "{problem}");
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
}

#[test]
fn a_run_that_is_replaced_stops_and_the_newer_one_goes_on() {
    let place = Bucket::default();
    // The checkpoints are shared; what is embedded is each one's own.
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let mut variables = place.variables();
    variables.push(("API__LISTEN", "127.0.0.1:0".to_owned()));
    // What both can read at the same time.
    variables.push(("SOURCE__KIND", "fleet".to_owned()));
    let older = Running::start(&variables, folders[0].path());
    older.wait_for_checkpoints(1);
    let newer = Running::start(&variables, folders[1].path());
    assert_eq!(older.ended().code(), Some(1), "it was refused");
    newer.wait_for_checkpoints(2);
    newer.stop();
    let store = S3::open(&place.settings()).expect("there");
    let names = store.list().expect("names");
    let claims: Vec<&String> = names.iter().filter(|name| name.starts_with("generation-")).collect();
    let [claim] = claims[..] else {
        panic!("only the newest is left: {claims:?}")
    };
    let generation = claim.trim_start_matches("generation-");
    let files = names
        .iter()
        .filter(|name| name.starts_with("manifest-") || name.starts_with("segment-"));
    let foreign: Vec<&String> = files.filter(|name| !name.contains(generation)).collect();
    assert!(foreign.is_empty(), "{foreign:?} are not of {generation}");
}
