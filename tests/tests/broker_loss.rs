//! A broker that is killed and comes back. Each run starts one of its own, apart from the tests that count seconds.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidewatch_proto::ids::Partition;
use tidewatch_proto::source::{Assignment, Polled, Source, SourceFactory};
use tidewatch_sources::conformance::Collected;
use tidewatch_sources::kafka::Client;
use tidewatch_tests::sources::{Node, Topic};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Polls until there are so many records in all.
fn read_into(source: &mut dyn Source, intake: &mut Collected, wanted: usize) {
    let begun = Instant::now();
    while intake.total() < wanted {
        assert!(begun.elapsed() < TIMEOUT, "{} of {wanted} records came", intake.total());
        if source.poll(intake, 1_000).expect("reading goes on") == Polled::Idle {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn either_client_outlives_its_broker() {
    [Client::Rdkafka, Client::Native]
        .into_iter()
        .for_each(outlives_its_broker);
}

fn outlives_its_broker(client: Client) {
    let mut node = Node::start();
    let topic = Topic::create_at(&node.brokers, 2, &[]).read_by(client);
    (0..2).for_each(|partition| topic.fill(partition, 500));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&heard);
    let factory = topic
        .connect(&topic.config())
        .with_events(Arc::new(move |event| hook.lock().unwrap().push(event.to_string())));
    let assigned = [0, 1].map(|partition| Assignment {
        partition: Partition(partition),
        from: None,
    });
    let mut source = factory.open_with_headers(&assigned).unwrap();
    let mut intake = Collected::new(2);
    read_into(source.as_mut(), &mut intake, 1_000);
    for round in 1..3 {
        node.kill();
        let told = heard.lock().unwrap().len();
        let begun = Instant::now();
        while heard.lock().unwrap().len() == told {
            assert_eq!(source.poll(&mut intake, 1_000).unwrap(), Polled::Idle);
            assert!(begun.elapsed() < TIMEOUT, "nothing is said about the broker");
        }
        node.resume();
        topic.wait_until_led();
        (0..2).for_each(|partition| topic.fill(partition, 100));
        read_into(source.as_mut(), &mut intake, 1_000 + 200 * round);
    }
    assert_eq!(intake.partitions, topic.holds());
}
