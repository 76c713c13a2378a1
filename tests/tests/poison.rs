//! A record at which a worker crashes twice goes to the dead letter, and everything else goes on.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer};
use tidewatch_dataflow::witness::{POISON_TO_APPLY, POISON_TO_DECODE};
use tidewatch_proto::time::EventTime;
use tidewatch_proto::wire::Telemetry;
use tidewatch_tests::pipeline::Pipeline;
use tidewatch_tests::running::{LIMIT, Running};
use tidewatch_tests::sinks::{component, kafka, unique};

const START: i64 = 1_750_003_200_000;
const MESSAGES: i64 = 600;
/// Where the poison lies among them.
const AT: i64 = 333;

fn message(n: i64, ts: i64) -> Vec<u8> {
    prost::Message::encode_to_vec(&Telemetry {
        device_id: format!("device-{}", n % 7),
        ts,
        metrics: [("temperature".to_owned(), n as f64)].into(),
        raw: Vec::new(),
    })
}

fn survives(poison: EventTime, threads: usize) {
    let (pipeline, letters) = (Pipeline::new(1), unique("letters"));
    let Pipeline {
        topic,
        producer,
        database,
        folder,
    } = &pipeline;
    let mut variables = pipeline.variables();
    variables.extend([
        ("DEAD_LETTER__KIND", "kafka".to_owned()),
        ("DEAD_LETTER__TOPIC", letters.clone()),
        ("OUTPUT__KAFKA__TOPIC", unique("rows")),
        ("OUTPUT__KAFKA__CREATE_TOPICS", "true".to_owned()),
        ("ENGINE__THREADS", threads.to_string()),
    ]);
    let send = |payload: &[u8]| {
        let record = BaseRecord::<str, [u8]>::to(&topic.name).partition(0).payload(payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    };
    let poisonous = message(AT, poison.0);
    for n in 0..MESSAGES {
        match n {
            AT => send(&poisonous),
            _ => send(&message(n, START + n * 50)),
        }
    }
    // Closes the windows.
    send(&message(0, START + 600_000));
    producer.flush(LIMIT).unwrap();
    for _ in 0..2 {
        let run = Running::start(&variables, folder.path());
        run.wait_until_it_says("panicked: ");
        assert_eq!(run.ended().code(), Some(1));
    }
    let run = Running::start(&variables, folder.path());
    run.wait_for_messages(MESSAGES as u64);
    run.wait_for_checkpoints(2);
    assert_eq!(run.counter("tidewatch_dead_letters_total{reason=\"poison\"}"), 1);
    run.stop();

    let mut found = Vec::new();
    kafka::each_message(&component("TIDEWATCH_TEST_KAFKA"), &letters, |message| {
        found.push(message.payload().map(<[u8]>::to_vec));
    });
    assert_eq!(found, [Some(poisonous)], "the record, once");
    let sums = database.client().query_one(
        "SELECT sum(count)::bigint, sum(sum) FROM aggregates_minute WHERE window_start < to_timestamp($1)",
        &[&((START + 600_000) as f64 / 1_000.0)],
    );
    let sums = sums.unwrap();
    let values = (0..MESSAGES).filter(|n| *n != AT);
    assert_eq!(
        sums.get::<_, i64>(0),
        values.clone().count() as i64,
        "all others count once"
    );
    assert_eq!(sums.get::<_, f64>(1), values.sum::<i64>() as f64);

    // What lies behind is forgotten.
    let next = Running::start(&variables, folder.path());
    next.wait_for_checkpoints(1);
    assert_eq!(next.counter("tidewatch_messages_total"), 0);
    next.stop();
    let names = std::fs::read_dir(folder.path().join("state")).unwrap();
    let names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!names.iter().any(|name| name.starts_with("crash-")), "{names:?}");
}

#[test]
fn a_record_that_can_not_be_decoded_is_poison() {
    survives(POISON_TO_DECODE, 1);
}

#[test]
fn a_record_that_can_not_be_applied_is_poison() {
    survives(POISON_TO_APPLY, 2);
}
